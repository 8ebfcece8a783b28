"""``azr sandbox-suite`` from a clone: azr/cli/sandbox_suite.py."""

from _command import start

if __name__ == "__main__":
    start("sandbox-suite")
