"""Absolute Zero self-play on one GPU, in one command: consolidate data -> train -> watch -> merge -> next
cycle.

    azr run [key=value ...]                          or, from a clone: python azr_single_gpu_pipeline.py [key=value ...]

The same command resumes where it stopped. ``--help`` lists common settings; the campaign itself is in
``azr/campaign``.
"""

from __future__ import annotations

from collections.abc import Sequence

from azr.config.load import help_text, load, to_yaml
from azr.config.paths import runs_folder
from azr.imports import require_no_shadows
from azr.places import prepare


def main(words: Sequence[str]) -> int:
    if {"-h", "--help"} & set(words):
        print(help_text())
        return 0
    show = "--cfg" in words
    overrides = [word for word in words if not show or word not in ("--cfg", "job")]
    if not show:
        require_no_shadows()
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
