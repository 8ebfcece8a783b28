"""What the peers of ``bench_peers.py`` share: the work, seconds by phase, and the lines they print.

Each peer is a process in an environment of its own, so this file needs nothing but Python; torch is used
where the peer has imported it. A peer reads its ``Order`` from the environment and prints one line for each
optimizer step::

    STEP {"step": 1, "seconds": {"generate": 12.1, ...}, "total_s": 26.6, "mismatch": 0.0026, ...}
"""

from __future__ import annotations

import functools
import json
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

VARIABLE = "AZR_BENCH_PEER"
STEP = "STEP "
SETTINGS = "SETTINGS "
PHASES = ("generate", "log_probs", "update", "sync", "other")


@dataclass(frozen=True)
class Work:
    """The same for every peer: sequences of exactly these lengths, one optimizer step on all of them."""

    groups: int = 60
    """Prompts in a step."""
    group: int = 8
    """Responses to each prompt."""
    prompt_tokens: int = 600
    response_tokens: int = 300
    steps: int = 3
    """The first warms up; the median of the others counts."""
    lora_rank: int = 0
    """0: every weight is trained."""

    @property
    def sequences(self) -> int:
        return self.groups * self.group

    @property
    def generated_tokens(self) -> int:
        return self.sequences * self.response_tokens

    @property
    def trained_tokens(self) -> int:
        return self.sequences * (self.prompt_tokens + self.response_tokens)


@dataclass(frozen=True)
class Order:
    """What ``bench_peers.py`` asks of one process."""

    work: Work
    model: str
    """Folder of the weights."""
    prompts: str
    """JSON file: for each step a list of prompts, each a list of token ids."""
    settings: dict[str, Any]
    """The peer's own: ``micro`` (sequences in a pass of the update), ``share`` (the engine's, of the whole
    card) and what its file documents."""
    rehearse: bool = False
    """Without a card: small, float32 and with whatever generates on a CPU."""

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Order:
        record = json.loads(text)
        return cls(**{**record, "work": Work(**record["work"])})

    @classmethod
    def here(cls) -> Order:
        if VARIABLE not in os.environ:
            sys.exit("this file is started by scripts/dev/bench_peers.py")
        return cls.from_text(os.environ[VARIABLE])

    def step_prompts(self) -> list[list[list[int]]]:
        with open(self.prompts, encoding="utf-8") as file:
            return json.load(file)


def reward(step: int, sequence: int) -> float:
    """Drawn from the place alone: the same for all peers, and different inside a group."""
    return random.Random(f"{step}/{sequence}").random()


class Phases:
    """Seconds by phase of the step that is running. A phase inside another counts only for itself."""

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize
        self._open: list[str] = []
        self.seconds: dict[str, float] = defaultdict(float)
        self._since = self.begun = time.perf_counter()

    def _switch(self) -> None:
        self._synchronize()
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        self._switch()
        self._open.append(name)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        """Replaces a method of one object (or class) by one that is timed."""
        method = getattr(owner, attribute)

        @functools.wraps(method)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.timed(name):
                return method(*arguments, **named)

        setattr(owner, attribute, timed)

    def restart(self) -> None:
        self._switch()
        self.seconds.clear()
        self.begun = self._since

    def end_step(self, step: int, rest: str = "other", **further: Any) -> None:
        """Prints the step and begins the next; what no phase has counted belongs to ``rest``."""
        self._switch()
        total = self._since - self.begun
        seconds = dict(self.seconds)
        seconds[rest] = seconds.get(rest, 0.0) + total - sum(seconds.values())
        say_step(step, seconds, total, **further)
        self.restart()


def say_step(step: int, seconds: dict[str, float], total_s: float, **further: Any) -> None:
    record = {
        "step": step,
        "seconds": {name: round(seconds.get(name, 0.0), 3) for name in PHASES},
        "total_s": round(total_s, 3),
        **further,
    }
    print(STEP + json.dumps(record), flush=True)


def say_settings(**settings: Any) -> None:
    """What the peer runs with, for the report."""
    print(SETTINGS + json.dumps(settings, default=str), flush=True)


class Mismatch:
    """The mean absolute difference of engine and trainer log-probs on sampled tokens."""

    def __init__(self) -> None:
        self._sum: Any = 0.0
        self._count: Any = 0

    def add(self, engine: Any, trainer: Any, mask: Any) -> None:
        """Tensors of one shape; the engine's may hold NaN where it has none."""
        known = mask.bool() & ~engine.isnan()
        self._sum = self._sum + (engine - trainer.detach()).abs()[known].double().sum()
        self._count = self._count + known.sum()

    def value(self) -> float | None:
        return float(self._sum) / int(self._count) if int(self._count) else None


def cuda_synchronize() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
