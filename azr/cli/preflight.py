"""Does a run fit this machine? Predicted before anything loads: GPU memory by phase, host memory, disk.

    azr preflight [key=value ...]                 the run that these settings would start
    azr preflight recipe=1_5b_16gb --gpu 16       on a card of 16 GiB that is not in this machine
    azr preflight --propose [--gpu 24]            which recipes fit, the largest model first
    azr preflight --speed                         what an RTX 5080 should do per recipe (a model, not a measurement)

Exit status 0: fits. 1: does not, and the cheapest change that would is printed; or other programs hold too much of the card
now. 2: the question cannot be answered.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from azr.budget.advice import (
    CLOSE_THEM,
    Fit,
    card_in_use,
    file_limit,
    fit_refusal,
    judge_fit,
    room_for,
)
from azr.budget.fitting import fit_card
from azr.budget.proposals import RecipeFit, propose
from azr.budget.shape import ModelShape, shape_for
from azr.budget.speed import RTX_5080, Card, step_time
from azr.campaign.identity_check import refusal_of_start
from azr.cli import command_parser, options_and_settings
from azr.cli.numbers import above_zero, card_gib, count, memory_gib
from azr.config import Config, from_container
from azr.config.load import compose_container, load_config, recipe_names
from azr.config.paths import runs_folder
from azr.errors import ConfigError
from azr.models.hub import HubName
from azr.run.identity import kept_keys
from azr.run.rundir import RunDir
from azr.system.disks import free_gib
from azr.system.hardware import Gpu, Machine, detect, device_for
from azr.system.places import prepare_places
from azr.train.model_source import is_to_be_fetched, require_usable_model

WEEKEND_H = 48
"""For a run without a limit of hours."""


def main(words: Sequence[str]) -> int:
    parser = command_parser("preflight", __doc__)
    parser.add_argument(
        "overrides", nargs="*", help="as for azr_single_gpu_pipeline.py: recipe=NAME key=value ..."
    )
    parser.add_argument("--gpu", type=card_gib, metavar="GIB", help="plan for a card of this memory")
    parser.add_argument("--gpus", type=count, metavar="N", help="with --gpu: number of cards (1)")
    parser.add_argument("--ram", type=memory_gib, metavar="GIB", help="plan for this much host memory")
    parser.add_argument("--propose", action="store_true", help="judge every recipe, the largest model first")
    parser.add_argument("--speed", action="store_true", help="expected seconds per step on a card, by recipe")
    parser.add_argument(
        "--bandwidth",
        type=above_zero,
        default=RTX_5080.bandwidth_gb_s,
        metavar="GB/S",
        help="with --speed: memory bandwidth of the card (960)",
    )
    parser.add_argument(
        "--tflops",
        type=above_zero,
        default=RTX_5080.bf16_tflops,
        help="with --speed: dense bf16 of the card (112)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = options_and_settings(parser, words)
    if options.speed and options.json:
        parser.error("--speed has no JSON; leave one of the two out")
    if options.gpus is not None and (options.gpu is None or options.speed):
        parser.error(
            "--gpus goes with --gpu, the memory of each card, and not with --speed, which knows one card only"
        )
    prepare_places()
    machine = _machine(options)
    if options.speed:
        return _speed(options)
    if options.propose:
        return _propose(machine, options)
    return _preflight(machine, options)


def _machine(options: argparse.Namespace) -> Machine:
    machine = detect()
    if options.gpu is not None:
        machine = replace(
            machine, gpus=(Gpu("an assumed card", options.gpu, options.gpu),) * (options.gpus or 1)
        )
    if options.ram is not None:
        machine = replace(machine, ram_gib=options.ram, ram_available_gib=options.ram)
    return machine


def _preflight(machine: Machine, options: argparse.Namespace) -> int:
    loaded = load_config(options.overrides, machine)
    config = loaded.config
    run = RunDir(runs_folder(config) / config.name)
    if told := refusal_of_start(run, config):
        print(told + "\n", file=sys.stderr)
    if not is_to_be_fetched(config.model.path):
        require_usable_model(config, begun=run.state.exists())
    shape = shape_for(config)
    if shape is None:
        name = HubName.parse(config.model.path)
        how = f" ({name.download})" if name else ""
        print(f"preflight: the size of model.path={config.model.path} is not known, as it is not here yet. Download it{how}, or name "
              "a folder", file=sys.stderr)  # fmt: skip
        return 2
    fitted = fit_card(config, machine, shape)
    config = fitted.config
    verdict = judge_fit(config, machine, shape, room_for(config, run.root.parent), kept=kept_keys(run))
    in_use = card_in_use(config, machine, shape)
    is_here = options.gpu is None and options.ram is None
    limited = file_limit(config, machine, shape) if is_here else ""
    fits = verdict.fits and not in_use and not limited
    if options.json:
        why_not = {"card_in_use": in_use, "file_limit": limited}
        answer = {"recipe": loaded.recipe_reason, "fits": fits, **why_not, **asdict(verdict)}
        print(json.dumps(answer, indent=1))
        return 0 if fits else 1
    print(
        f"{loaded.recipe_reason}\nmodel {config.model.path}: {shape.parameters / 1e9:.2f} billion parameters"
    )
    device = device_for(machine, config.train.device, config.train.n_gpus_per_node)
    print(
        f"on {device}\nmachine: {machine.name}, {machine.ram_gib:.0f} GiB host memory{', WSL' if machine.is_wsl else ''}\n"
    )
    if fitted.choices:
        print("chosen for this card (budget.automatic):", *fitted.choices, sep="\n    ", end="\n\n")
    if not any(shortage.no_card for shortage in verdict.shortages):
        print(phase_table(verdict))
    if fits:
        print("\nfits.")
        return 0
    if not verdict.fits:
        print("\n" + fit_refusal(verdict, list(verdict.shortages), run))
    elif in_use:
        print(f"\nfits this card, but not now: {in_use}; {CLOSE_THEM}.")
    if limited:
        print(f"\nrefused: {limited}.")
    return 1


def _propose(machine: Machine, options: argparse.Namespace) -> int:
    proposals = propose(machine, _recipes(options.overrides, machine), free_gib(Path()))
    fitting = [item.recipe for item in proposals if item.fits]
    status = 0 if fitting else 1
    if options.json:
        answers = [
            {"recipe": item.recipe, "fits": item.fits, "card_in_use": item.in_use, **asdict(item.verdict)}
            for item in proposals
        ]
        print(json.dumps(answers, indent=1))
        return status
    print(f"machine: {machine.name}, {machine.ram_gib:.0f} GiB host memory\n")
    for item in proposals:
        print(_line(item))
    print("\n" + _answer(fitting))
    needs = {
        item.recipe: item.verdict
        for item in proposals
        if item.verdict.wsl and {shortage.resource for shortage in item.verdict.shortages} == {"ram"}
    }
    if needs:
        least = min(needs, key=lambda name: needs[name].estimate.ram.gib)
        print(f"recipe={least} lacks only host memory: {needs[least].wsl}")
    busy = next((item for item in proposals if item.verdict.fits and item.in_use), None)
    if busy is not None:
        held_gib = max(gpu.used_gib for gpu in machine.cards)
        print(
            f"With the card free, recipe={busy.recipe} fits as well, but {busy.in_use}; {CLOSE_THEM}.\n"
            f"What fits beside them: azr preflight --propose budget.gpu_reserve_gib={math.ceil(10 * held_gib) / 10:g}"
        )
    return status


def _answer(fitting: Sequence[str]) -> str:
    """Which to take of the recipes that fit, the largest model first."""
    if not fitting:
        return "none of them fits this machine."
    answer = f"the largest that fits: recipe={fitting[0]}"
    if "int4" in fitting[0]:
        answer += "\nNo recipe over an int4 base has been run on a card yet; its memory is calculated (docs/quantised.md)."
        if others := [name for name in fitting if "int4" not in name]:
            answer += f" The largest of the others: recipe={others[0]}"
    return answer


def _recipes(overrides: Sequence[str], machine: Machine) -> dict[str, Config]:
    """Every recipe under the overrides, or the one that they name, as it would run on this machine.

    One of many that refuses them (two cards, for adapters) is left out and told.

    Raises:
        ConfigError: none takes them.
    """
    named = [item.removeprefix("recipe=") for item in overrides if item.startswith("recipe=")]
    others = [item for item in overrides if not item.startswith("recipe=")]
    composed: dict[str, Config] = {}
    refused: dict[str, ConfigError] = {}
    for name in named[-1:] or recipe_names():
        try:
            composed[name] = from_container(compose_container([f"recipe={name}", *others]))
        except ConfigError as error:
            refused[name] = error
    if not composed:
        raise next(iter(refused.values()))
    for name, error in refused.items():
        print(f"recipe={name} is left out: {error}", file=sys.stderr)
    return {name: fit_card(config, machine, shape_for(config)).config for name, config in composed.items()}


def _speed(options: argparse.Namespace) -> int:
    own = (options.bandwidth, options.tflops) != (RTX_5080.bandwidth_gb_s, RTX_5080.bf16_tflops)
    memory_gib = options.gpu or RTX_5080.memory_gib
    card = Card(
        "this card" if own or options.gpu else RTX_5080.name, memory_gib, options.bandwidth, options.tflops
    )
    peaks = f"{card.memory_gib:g} GiB, {card.bandwidth_gb_s:g} GB/s, {card.bf16_tflops:g} TFLOP/s bf16"
    print(f"{card.name}: {peaks}. A model, not a measurement: azr/budget/speed.py")
    print(
        f"{'recipe':16} {'s/step':>7} {'generate':>9} {'train':>7} {'other':>6} {'at once':>8} {'steps':>14}"
    )
    planned = Machine((Gpu(card.name, memory_gib, memory_gib),), 16, 64.0, 64.0)
    recipes = _recipes(options.overrides, planned)
    for name, config in recipes.items():
        shape = shape_for(config)
        outside = _outside_the_speed_model(config, shape)
        if shape is None or outside:
            if len(recipes) == 1:
                print(f"{name}: no estimate, {outside}")
            continue
        time = step_time(config, shape, card)
        numbers = f"{time.total_s:7.0f} {time.generate_s:9.0f} {time.train_s:7.0f} {time.other_s:6.0f} {time.concurrent_sequences:8d}"
        fit = judge_fit(config, planned, shape, advise=False)
        peak_gib, have_gib = fit.estimate.gpu_peak.gib, fit.available_gpu_gib
        misfit = f"  DOES NOT FIT: {peak_gib:.1f} of {have_gib:.1f} GiB" if peak_gib > have_gib else ""
        hours = config.campaign.hours or WEEKEND_H
        steps = f"{time.steps_in(hours):,d} in {hours:g} h"
        print(f"{name:16} {numbers} {steps:>14}{misfit}")
    return 0


def _outside_the_speed_model(config: Config, shape: ModelShape | None) -> str:
    """Why ``azr/budget/speed.py`` says nothing about such a run; empty where it does."""
    if shape is None:
        return "the size of its model is not known"
    if config.train.device == "cpu":
        return "it runs without a card"
    if config.train.n_gpus_per_node > 1:
        return "it runs on several cards"
    return "" if config.train.packed_sequences else "its padded batches are not in the model"


def _line(item: RecipeFit) -> str:
    verdict = item.verdict
    if verdict.estimate.gpu:
        peak = verdict.estimate.gpu_peak
        need = f"peak {peak.gib:5.1f} of {verdict.available_gpu_gib:.1f} GiB ({peak.name})"
    else:
        need = "no GPU"
    problem = "" if verdict.fits else "  " + "; ".join(str(shortage) for shortage in verdict.shortages)
    mark = "fits" if item.fits else "busy" if verdict.fits else "no  "
    head = f"{mark}  {item.recipe:22} {item.parameters / 1e9:5.2f} B  {need},"
    return f"{head} RAM {verdict.estimate.ram.gib:.0f}, disk {verdict.estimate.disk.gib:.0f} GiB{problem}"


def phase_table(verdict: Fit) -> str:
    """The phases side by side with their parts, GiB."""
    rows = []
    resources = [(phase, verdict.available_gpu_gib) for phase in verdict.estimate.gpu]
    resources.append((verdict.estimate.ram, verdict.available_ram_gib))
    if verdict.available_disk_gib is not None:
        resources.append((verdict.estimate.disk, verdict.available_disk_gib))
    for phase, available in resources:
        mark = "" if phase.gib <= available else "   TOO MUCH"
        rows.append(f"{phase.name:28} {phase.gib:6.2f} of {available:6.1f} GiB{mark}")
        rows += [f"    {part.name:36} {part.gib:6.2f}" for part in phase.parts if part.gib >= 0.005]
    if verdict.estimate.kv_tokens:
        rows.append(f"KV cache: {verdict.estimate.kv_tokens:,} tokens")
    return "\n".join(rows)
