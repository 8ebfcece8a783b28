"""``python -m azr COMMAND``: the same as ``azr COMMAND``."""

from azr.start import entry

if __name__ == "__main__":
    entry()
