"""``azr export`` from a clone: azr/cli/export.py."""

from _command import start

if __name__ == "__main__":
    start("export")
