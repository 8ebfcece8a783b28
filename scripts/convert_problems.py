"""``azr convert-problems`` from a clone: azr/cli/convert_problems.py."""

from _command import start

if __name__ == "__main__":
    start("convert-problems")
