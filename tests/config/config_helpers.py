"""What the tests of settings share."""

from __future__ import annotations

from pathlib import Path

from azr.config import Config
from azr.config.load import load_config

PROJECT = Path(__file__).resolve().parents[2]


def loaded(*items: str) -> Config:
    return load_config(["recipe=cpu_tiny", *items]).config
