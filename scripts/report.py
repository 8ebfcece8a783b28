"""``azr report`` from a clone: azr/cli/report.py."""

from _command import start

if __name__ == "__main__":
    start("report")
