"""``azr control`` from a clone: azr/cli/control.py."""

from _command import start

if __name__ == "__main__":
    start("control")
