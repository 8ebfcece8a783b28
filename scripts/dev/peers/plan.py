"""The peers of ``bench_peers.py``: which there are, what is tried with each, and what our own step must be told
to do the same work."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from azr.budget.shape import shape_of
from azr.errors import ConfigError
from azr.tasks import Role, Stream, TaskType
from azr.train.fixed_lengths import drawn_prompt
from peers.common import Work

OUR_STREAMS = (TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.INDUCTION)
ALL_WEIGHTS = ((1.0e9, "0_5b_16gb"), (2.2e9, "1_5b_16gb"))
"""Recipes of ours by parameters."""
ADAPTERS = "3b_lora_16gb"
REHEARSAL = "cpu_tiny"


@dataclass(frozen=True)
class Peer:
    module: str = ""
    """In this folder."""
    environment: str = ""
    settings: tuple[tuple[str, Any], ...] = ()
    """Besides what is tried."""
    adapters_only: bool = False


PEERS = {
    "ours": Peer(),
    "trl": Peer("peer_trl", "trl"),
    "trl-liger": Peer("peer_trl", "trl", (("liger", True),)),
    "unsloth": Peer("peer_unsloth", "unsloth", adapters_only=True),
    "agilerl": Peer("peer_agilerl", "agilerl", adapters_only=True),
}

Tries = tuple[dict[str, Any], ...]
TRIES: dict[str, tuple[Tries, Tries]] = {
    # with the whole card, and in a small one: micro is sequences in a pass of the update, share the engine's
    "trl": (
        # 0.3 of a large card holds all 480 sequences, and what is left the activations
        ({"share": 0.3, "micro": 16, "sleep": False, "checkpoint": False},
         {"share": 0.3, "micro": 8, "sleep": False, "checkpoint": False}, {"share": 0.5, "micro": 32}),
        ({"share": 0.55, "micro": 8}, {"share": 0.5, "micro": 4}, {"share": 0.4, "micro": 2}),
    ),
    "unsloth": (
        ({"share": 0.7, "micro": 32}, {"share": 0.6, "micro": 16}, {"share": 0.6, "micro": 8}),
        ({"share": 0.8, "micro": 8}, {"share": 0.7, "micro": 4}, {"share": 0.6, "micro": 2}),
    ),
    "agilerl": (
        ({"share": 0.7, "micro": 32}, {"share": 0.6, "micro": 16}, {"share": 0.5, "micro": 8}),
        ({"share": 0.75, "micro": 8, "sequences": 128}, {"share": 0.65, "micro": 4, "sequences": 96},
         {"share": 0.6, "micro": 2, "sequences": 64}),
    ),
}  # fmt: skip
OUR_TRIES: Tries = (
    {"plus": ""},
    {"plus": "+train.compile_layers=false"},
    {"plus": "+train.gradient_checkpointing=true+train.micro_batch_tokens=4096"},
)
"""Ours chooses by the memory there is; what is left to try is what the recipes leave open."""
OUR_ADAPTER_TRIES: Tries = (
    {"plus": "+rollout.merge_adapters=true"},
    {"plus": ""},
    {"plus": "+train.gradient_checkpointing=true+train.micro_batch_tokens=4096"},
)
SMALL_CARD_GIB = 30.0
SETTING_KEYS = (
    "micro", "share", "sequences", "attention", "checkpoint", "compile", "correct", "four_bit", "liger", "packed",
    "plus", "sleep",
)  # fmt: skip


def tries_of(peer: str, work: Work, room_gib: float, options: argparse.Namespace) -> Tries:
    """The settings of a peer, in order; ``share`` is of the memory that is left.

    Raises:
        ConfigError: settings of one's own that cannot be.
    """
    own = {key: value for name, key, value in map(read_setting, options.set) if name == peer}
    if own:
        micro = own.get("micro")
        if peer != "ours" and (not isinstance(micro, int) or micro < 1 or work.sequences % micro):
            raise ConfigError(
                f"--set {peer}.micro is {micro}; it must divide the {work.sequences} sequences of a step"
            )
        return (own,)
    if options.rehearse:
        if peer == "ours":
            return ({"plus": ""},)
        on_cpu = PEERS[peer].environment == "trl"  # the others' engines want a card
        return ({"share": 0.3, "micro": work.group, "engine": on_cpu},)
    if peer == "ours":
        return OUR_ADAPTER_TRIES if work.lora_rank else OUR_TRIES
    whole, small = TRIES[PEERS[peer].environment]
    return small if room_gib < SMALL_CARD_GIB else whole


def read_setting(text: str) -> tuple[str, str, Any]:
    """(peer, key, value) of ``PEER.KEY=VALUE``.

    Raises:
        ConfigError: it has another form, or there is no such peer or key.
    """
    match = re.fullmatch(r"([\w-]+)\.(\w+)=(.*)", text)
    if match is None or match[1] not in PEERS or match[2] not in SETTING_KEYS:
        raise ConfigError(
            f"--set {text}: give PEER.KEY=VALUE, a peer from {', '.join(PEERS)} and a key from {', '.join(SETTING_KEYS)}"
        )
    try:
        return match[1], match[2], json.loads(match[3])
    except ValueError:
        return match[1], match[2], match[3]


def our_recipe(options: argparse.Namespace, work: Work) -> str:
    if options.recipe:
        return options.recipe
    if work.lora_rank:
        recipe = REHEARSAL if options.rehearse else ADAPTERS
        return f"{recipe}+model.lora_rank={work.lora_rank}+model.lora_alpha={2 * work.lora_rank}"
    if options.rehearse:
        return REHEARSAL
    shape = shape_of(str(options.model))
    parameters = shape.parameters if shape else 0.0
    for most, recipe in ALL_WEIGHTS:
        if parameters < most:
            return recipe
    raise ConfigError(f"no recipe trains all weights of {options.model}; name one with --recipe")


def our_groups(step: int, work: Work) -> list[str]:
    """Names of the rows that our step of ``work.groups`` prompts has, which the prompts are drawn from."""
    each = work.groups // len(OUR_STREAMS)
    streams = [Stream(Role.SOLVE, kind) for kind in OUR_STREAMS]
    return [f"{step:07d}-{stream.name}-{index:05d}" for stream in streams for index in range(each)]


def prompts(work: Work) -> list[list[list[int]]]:
    """Each step's prompts as token ids; ours draws the same in its agent loops."""
    return [
        [drawn_prompt(name, work.prompt_tokens) for name in our_groups(step, work)]
        for step in range(1, work.steps + 1)
    ]


def work_of(options: argparse.Namespace) -> Work:
    """
    Raises:
        ConfigError: our step cannot have so many groups.
    """
    work = Work(lora_rank=options.lora_rank, steps=options.steps)
    if options.rehearse:
        work = replace(work, groups=6, group=4, prompt_tokens=60, response_tokens=24)
    if options.groups:
        work = replace(work, groups=options.groups)
    if work.groups % len(OUR_STREAMS):
        raise ConfigError(f"--groups {work.groups}: our step has them in three streams; give a multiple of 3")
    return work
