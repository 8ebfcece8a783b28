"""The one command: python azr_single_gpu_pipeline.py [key=value ...]. It is ``azr run`` (azr/cli/run.py), and
needs no installation."""

from azr.start import start

if __name__ == "__main__":
    start("run")
