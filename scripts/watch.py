"""``azr watch`` from a clone: azr/cli/watch.py."""

from _command import start

if __name__ == "__main__":
    start("watch")
