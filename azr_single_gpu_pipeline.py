"""Absolute Zero self-play on one GPU, in one command: consolidate data -> train -> watch -> merge -> next cycle.

    python azr_single_gpu_pipeline.py [key=value ...]

The same command goes on where it stopped. ``--help`` says what is often set; the campaign itself is in ``azr/campaign``.
"""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    from azr.config.load import help_text, load, to_yaml
    from azr.config.paths import runs_folder
    from azr.errors import AzrError
    from azr.places import prepare
    from azr.terminal import tolerate_any_encoding

    tolerate_any_encoding()
    if {"-h", "--help"} & set(arguments):
        print(help_text())
        return 0
    show = "--cfg" in arguments
    overrides = [item for item in arguments if item not in ("--cfg", "job")] if show else arguments
    try:
        if not show:
            prepare()
        loaded = load(overrides)
        if show:
            print(to_yaml(loaded.config), end="")
            return 0
        print(loaded.recipe_reason)
        from azr.campaign.driver import run_campaign
        from azr.campaign.start_check import require_startable
        from azr.hardware import detect, device_for
        from azr.rundir import RunDir

        run = RunDir(runs_folder(loaded.config) / loaded.config.name)
        machine = detect()
        require_startable(loaded.config, machine, run)
        if not loaded.config.train.ray_address:
            device = device_for(machine, loaded.config.train.device, loaded.config.train.n_gpus_per_node)
            device.take()
            print(f"It computes on {device}.")
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
    sys.exit(main(sys.argv[1:]))
