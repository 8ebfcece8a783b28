"""Reads ``supervision.jsonl``: what the driver saw of memory and disk, every ``campaign.sample_s`` seconds."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from azr.files import read_jsonl
from azr.report.metrics import FloatArray

TAIL_BYTES = 8192


@dataclass(frozen=True)
class MachineSample:
    """GiB; NaN where it was not measured."""

    unix_s: float
    trainer_gib: float
    driver_gib: float
    host_available_gib: float
    disk_free_gib: float
    vram_gib: float


FIELDS = ("unix_s", "trainer_gib", "driver_gib", "host_available_gib", "disk_free_gib", "vram_gib")


def sample_from_json(record: dict[str, Any]) -> MachineSample:
    values = [record.get(name) for name in FIELDS]
    return MachineSample(*(float(value) if isinstance(value, (int, float)) else math.nan for value in values))


def last_sample(path: Path) -> MachineSample | None:
    """The latest whole line; reads the end of the file only."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            return sample_from_json(record)
    return None


def read_samples(path: Path) -> dict[str, FloatArray]:
    """All samples as columns by field name, in order of time."""
    samples = sorted((sample_from_json(record) for record in read_jsonl(path)), key=lambda sample: sample.unix_s)
    samples = [sample for sample in samples if math.isfinite(sample.unix_s)]
    return {name: np.array([getattr(sample, name) for sample in samples], dtype=np.float64) for name in FIELDS}
