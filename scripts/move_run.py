"""``azr move-run`` from a clone: azr/cli/move_run.py."""

from _command import start

if __name__ == "__main__":
    start("move-run")
