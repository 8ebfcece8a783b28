"""The one command: python azr_single_gpu_pipeline.py [key=value ...]. It is ``azr run`` (azr/cli/run.py), and
needs no installation."""

from azr.strays import refuse_strays

if __name__ == "__main__":
    refuse_strays("run")
    from azr.cli import start

    start("run")
