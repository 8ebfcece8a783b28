"""How an exported checkpoint was trained, where its run changed its mind on the way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azr.config import Config, flat, to_container
from azr.run import metric_names as names
from azr.run.asked_otherwise import control_words, solver_alone_words, trained_under
from azr.run.protocol import read_metrics
from azr.run.records import KNOWN_PROBES, Incident, read_log
from azr.run.rundir import RunDir

_ON_THE_CARD = (
    "train.learning_rate",
    *(
        f"selfplay.{key}"
        for key in ("task_types", "batch_size", "variant", "advantage", "difficulty_samples")
    ),
)
"""Settings that the card names, of which a run may change its mind."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def how_trained(run: RunDir, last: int, config: Config) -> dict[str, Any]:
    """What ``azr.json`` says of the steps that made the checkpoint of step ``last``, and of the model and probes before them."""
    steps = [item for item in read_metrics(run) if 0 < item.step <= last]
    places = [(item.cycle, item.attempt) for item in steps]
    incidents, now = list(read_log(Incident, run.incidents)), flat(to_container(config))

    def under(key: str) -> dict[str, int]:
        return trained_under(places, incidents, str(now[key]), key) or {str(now[key]): last}

    asked = [item.values[names.PROPOSED] for item in steps if names.PROPOSED in item.values]
    alone = sum(count == 0 for count in asked) if asked else last * (not config.selfplay.train_propose)
    return {
        "trained_under": under("train.control"),
        "solver_alone_steps": last if alone == len(asked) > 0 else alone,
        "changed": {key: found for key in _ON_THE_CARD if len(found := under(key)) > 1},
        # not their paths, which concern nobody else
        "user_files": max(len(_QUOTED.findall(files)) for files in under("data.extra_files")),
        "known_probes": " ".join(item.cause for item in incidents if item.kind == KNOWN_PROBES),
    }


def caveats(record: Mapping[str, Any]) -> list[str]:
    """What has to be known of a checkpoint's scores, in sentences, from ``how_trained``."""
    under = record["trained_under"]
    alone = solver_alone_words(record["solver_alone_steps"], sum(under.values()))
    return [told for told in (control_words(under), alone, record["known_probes"]) if told]
