"""``azr plot-metrics`` from a clone: azr/cli/plot_metrics.py."""

from _command import start

if __name__ == "__main__":
    start("plot-metrics")
