"""Settings that are chosen for the card that a run gets: the keys in ``budget.automatic``.

A recipe states the numbers for its class of card and names the keys there; ``rollout.max_sequences=auto`` names one
more. A number that the user sets, on the command line or in ``configs/pipeline.yaml``, takes its key off the list.
``azr.budget.fitting`` does the choosing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, get_args

from azr.config.budget import AutomaticKey

AUTO = "auto"
AUTOMATIC_KEYS: tuple[str, ...] = get_args(AutomaticKey)


def settle_automatic(values: dict[str, Any], defaults: dict[str, Any], set_by_user: Collection[str]) -> None:
    """Changes ``values``: every ``auto`` becomes the default and a key of ``budget.automatic``, and numbers of
    the user's leave it.

    Args:
        values: all keys, nested, as composed.
        set_by_user: dotted keys.
    """
    listed = values["budget"]["automatic"]
    if not isinstance(listed, list):
        return  # refused later, with its place
    written_auto = []
    for key in AUTOMATIC_KEYS:
        section, _, name = key.partition(".")
        if values[section][name] == AUTO:
            values[section][name] = defaults[section][name]
            written_auto.append(key)
    kept = [key for key in listed if key not in set_by_user]
    values["budget"]["automatic"] = list(dict.fromkeys([*kept, *written_auto]))
