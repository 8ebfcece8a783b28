"""Absolute Zero self-play on one GPU, in one command: consolidate data -> train -> watch -> merge -> next
cycle.

    azr run [key=value ...]                          or, from a clone: python azr_single_gpu_pipeline.py [key=value ...]

The same command resumes where it stopped. ``--help`` lists common settings; the campaign itself is in
``azr/campaign``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from azr.budget.fitting import fit_card
from azr.budget.shape import shape_for
from azr.config.load import help_text, load_config, to_yaml
from azr.config.paths import runs_folder
from azr.errors import ConfigError
from azr.run.rundir import RunDir
from azr.system.hardware import detect, device_for
from azr.system.imports import require_no_shadows
from azr.system.places import prepare_places


def main(words: Sequence[str]) -> int:
    if {"-h", "--help"} & set(words):
        print(help_text())
        return 0
    words = [part for word in words for part in (word.split("=") if word.startswith("--cfg=") else [word])]
    show = "--cfg" in words
    if show and (kind := (*words, "job")[words.index("--cfg") + 1]) in ("all", "hydra"):
        raise ConfigError(f"--cfg {kind}: write --cfg job, which prints all that can be set")
    overrides = [word for word in words if not show or word not in ("--cfg", "job")]
    if not show:
        require_no_shadows()
        prepare_places()
    loaded = load_config(overrides)
    machine = detect()
    fitted = fit_card(loaded.config, machine, shape_for(loaded.config))
    config = fitted.config
    run = RunDir(runs_folder(config) / config.name)
    if show:
        from azr.campaign.changed_settings import budget_by_control
        from azr.campaign.identity_check import refusal_of_start

        print(to_yaml(config), end="")
        for told in filter(None, [refusal_of_start(run, config), budget_by_control(run, config)]):
            print(told, file=sys.stderr)
        return 0
    print(loaded.recipe_reason)

    from azr.campaign.driver import run_campaign
    from azr.campaign.start_check import require_startable
    from azr.doctor.card import Level
    from azr.doctor.checks import package_findings

    require_startable(config, machine, run)
    if not run.state.exists() and not run.identity.exists():
        print(f"A new run in {run.root}.")
    if not config.train.ray_address:
        device = device_for(machine, config.train.device, config.train.n_gpus_per_node)
        device.take()
        print(f"Running on {device}.")
        if device.cards and machine.gpu_note:
            print(f"  {machine.gpu_note}")
        for finding in package_findings(device):
            if finding.level is Level.PROBLEM:  # `git pull` brought other pins
                print(f"The packages are not those of this version: {finding.seen}. {finding.fix}")
    for choice in fitted.choices:
        print(f"  {choice}")
    return run_campaign(config, run.root)
