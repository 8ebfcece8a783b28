"""Reads ``supervision.jsonl``: what the driver saw of memory and disk, every ``campaign.sample_s`` seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from azr.records import MachineSample, read_log
from azr.report.metrics import FloatArray

FIELDS = ("unix_s", "trainer_gib", "driver_gib", "host_available_gib", "disk_free_gib", "vram_gib")


def read_samples(path: Path) -> dict[str, FloatArray]:
    """All samples as columns by field name, in order of time; NaN where a thing was not measured."""
    samples = sorted(read_log(MachineSample, path), key=lambda sample: sample.unix_s)
    return {
        name: np.array([getattr(sample, name) for sample in samples], dtype=np.float64) for name in FIELDS
    }
