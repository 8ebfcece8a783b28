"""``azr doctor`` from a clone: azr/cli/doctor.py."""

from _command import start

if __name__ == "__main__":
    start("doctor")
