"""Absolute Zero self-play on one GPU, in one command: consolidate data -> train -> watch -> merge -> next cycle.

    python azr_single_gpu_pipeline.py [key=value ...]

The same command goes on where it stopped. ``--help`` says what is often set; the campaign itself is in ``azr/campaign``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    from azr.config.load import help_text, load, to_yaml
    from azr.errors import AzrError
    from azr.terminal import tolerate_any_encoding

    tolerate_any_encoding()
    if {"-h", "--help"} & set(arguments):
        print(help_text())
        return 0
    show = "--cfg" in arguments
    overrides = [item for item in arguments if item not in ("--cfg", "job")] if show else arguments
    try:
        loaded = load(overrides)
        if show:
            print(to_yaml(loaded.config), end="")
            return 0
        print(loaded.recipe_reason)
        from azr.campaign.driver import run_campaign
        from azr.campaign.start_check import require_startable
        from azr.hardware import detect
        from azr.rundir import RunDir

        run = RunDir(Path(loaded.config.runs_dir).expanduser().absolute() / loaded.config.name)
        require_startable(loaded.config, detect(), run)
        return run_campaign(loaded.config, run.root)
    except AzrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted before anything was started.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    from azr.terminal import outlive_the_terminal

    outlive_the_terminal()
    os.chdir(Path(__file__).resolve().parent)
    sys.exit(main(sys.argv[1:]))
