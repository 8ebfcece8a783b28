"""``azr preflight`` from a clone: azr/cli/preflight.py."""

from _command import start

if __name__ == "__main__":
    start("preflight")
