"""``azr evaluate`` from a clone: azr/cli/evaluate.py."""

from _command import start

if __name__ == "__main__":
    start("evaluate")
