"""A run's model as an ordinary Hugging Face folder: merged weights, tokenizer, model card, and a probe score
measured again.

The folder appears under its name only when all checks have passed: every tensor equals the checkpoint's,
plain transformers loads it, and the probe tasks of training, answered again by the exported model, give the
score that the trainer recorded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from azr.config import Config
from azr.config.load import read_config
from azr.data.frozen import probe_files_in
from azr.errors import ConfigError, ModelError
from azr.evaluate.doubts import trained_programs
from azr.evaluate.engine import prompt_limit
from azr.evaluate.evaluation import evaluate_suite
from azr.evaluate.export_cards import caveats, how_trained, model_card, shown_model
from azr.evaluate.gguf import convert_to_gguf, find_converter
from azr.evaluate.gpu_lock import lock_folder
from azr.evaluate.items import Item
from azr.evaluate.models import ask_record, find_checkpoint, of_folder, probe_scores
from azr.evaluate.options import Options
from azr.evaluate.prompt_format import PromptFormat, modelfile, prompt_format_of
from azr.evaluate.scoring import Scores
from azr.evaluate.tasks_suite import TaskSuite
from azr.evaluate.weights import require_new_folder, write_model_folder
from azr.models.exported import (
    EXPORT_RECORD,
    earlier_runs,
    frame_taken_along,
    record_programs,
    recorded_programs,
)
from azr.models.model_hash import hash_weights
from azr.report.series import difference_interval
from azr.run import metric_names as names
from azr.run.asked_otherwise import asked_alike, asked_otherwise
from azr.run.checkpoints import Checkpoint, reading
from azr.run.identity import base_records
from azr.run.protocol import MetricsRecord, read_metrics
from azr.run.records import Incident, read_log
from azr.run.rundir import RunDir
from azr.selfplay.rows import PromptRow
from azr.system.files import write_json_atomic, write_text_atomic
from azr.system.hashes import text_hash
from azr.system.locks import locked
from azr.system.scratch import scratch_folder
from azr.train.base_model import require_base_unchanged
from azr.wording import counted

TOLERANCE = 0.03
"""Difference of two greedy probe scores that is put down to arithmetic: batches and rounding flip near ties
in a few answers."""


@dataclass(frozen=True)
class ExportOptions:
    step: str = "best"
    dtype: str = "bfloat16"
    check: bool = True
    tolerance: float = TOLERANCE
    gguf: str | None = None
    """Outtype of a GGUF file to write beside the weights (``bf16``, ``f16``, ``q8_0`` ...); None writes none."""
    llama_cpp: Path | None = None
    gpu_memory_share: float = 0.85


def export_model(
    run: RunDir, target: Path, options: ExportOptions, say: Callable[[str], None] = print
) -> Path:
    """Exports a checkpoint of ``run`` to ``target``, which must not exist.

    Raises:
        RunError: the run has no such checkpoint, or another export into ``target`` goes on.
        CheckpointError: it is damaged.
        ModelError: the folder exists, another model lies where the run's base model lay, or the exported
            model differs from the checkpoint in weights or probe score.
        ConfigError: a GGUF file was requested and there is no converter.
    """
    lock = lock_folder() / f"export-{text_hash(str(target.resolve()), 12)}.lock"
    busy = f"another export into {target} is going on; wait until it ends, or give another --out"
    unchecked = target.parent / f"{target.name}.unchecked"  # with_name raises for / and .
    with locked(lock, 0, busy):
        try:
            return _export(run, target, unchecked, options, say)
        except ModelError:  # for inspection
            raise
        except BaseException:
            shutil.rmtree(unchecked, ignore_errors=True)
            raise


def _export(
    run: RunDir, target: Path, unchecked: Path, options: ExportOptions, say: Callable[[str], None]
) -> Path:
    require_new_folder(target)
    converter = find_converter(options.llama_cpp) if options.gguf else None  # before the long work
    config = read_config(run.config_record)
    identity = require_base_unchanged(run)
    checkpoint = find_checkpoint(run, options.step)
    if options.check:
        probe_files_in(run.probes)  # before the long work too
    say(f"{run.root.name}, step {checkpoint.step}: merging weights to {options.dtype}")

    shutil.rmtree(unchecked, ignore_errors=True)
    with reading(checkpoint):
        write_model_folder(
            checkpoint, unchecked, dtype=options.dtype, trust_remote_code=config.model.trust_remote_code
        )

    records, since = _asked_alike(run, checkpoint)
    best = config.campaign.best_metric
    choice = {item.step for item in read_metrics(run) if item.step and best in item.values}
    frame = frame_taken_along(config.selfplay.frame, unchecked)
    record: dict[str, Any] = {
        "format": 1,
        "run": run.root.name,
        "step": checkpoint.step,
        "cycle": checkpoint.info.get("cycle"),
        "base_model": shown_model(identity.model if identity else config.model.path),
        "base_model_hash": identity.model_hash if identity else None,
        "earlier_runs": [
            made | {"base_model": shown_model(made["base_model"])} for made in earlier_runs(base_records(run))
        ],
        "picked": options.step == "best" and len(choice) > 1,
        "weights": options.dtype,
        "tensors_hash": hash_weights(unchecked),
        "weights_hash": hash_weights(unchecked, by_file=True),  # for earlier versions
        "ask": ask_record(replace(config, selfplay=replace(config.selfplay, frame=frame))),
        "recorded": probe_scores(run, checkpoint.step),
        **how_trained(run, checkpoint.step, config),
    }
    for told in caveats(record):
        say(told)
    write_json_atomic(unchecked / EXPORT_RECORD, record)
    before, missing = recorded_programs(base_records(run))
    record_programs(unchecked, before | trained_programs([run]), missing)
    say("weights equal the checkpoint's, and plain transformers loads them")
    if options.check:
        record["measured"] = {}
        if scores := _ask_probes(run, config, unchecked, options, say):
            record["measured"] = compare_with_record(
                scores, record["recorded"], checkpoint.step, unchecked, options.tolerance, say, since
            )
        write_json_atomic(unchecked / EXPORT_RECORD, record)
    scored = (item.values for item in records if {names.PROBE_ALL, names.PROBE_COUNT} <= item.values.keys())
    begun, now = next(scored, None), record["recorded"].get(names.PROBE_ALL)
    if begun is not None and now is not None:
        first = begun[names.PROBE_ALL]
        if difference_interval(first, now, begun[names.PROBE_COUNT])[1] < 0:  # by more than chance
            say(
                f"the model that the run began with scored more on its probe tasks: {first:.1%}, and this one {now:.1%}"
            )

    prompt_format = _prompt_format(unchecked, config, say)
    write_text_atomic(
        unchecked / "README.md", model_card(record, config, records, target.name, prompt_format)
    )
    not_converted: ModelError | None = None
    if converter is not None and options.gguf:
        file = unchecked / f"{target.name}-{options.gguf}.gguf"
        try:
            convert_to_gguf(converter, unchecked, file, options.gguf)
            say(f"wrote {file.name} ({file.stat().st_size / 2**20:.0f} MiB)")
        except ModelError as error:  # the model itself is written and checked
            not_converted = error
            file.unlink(missing_ok=True)
        if prompt_format is not None and not_converted is None:
            write_text_atomic(unchecked / "Modelfile", modelfile(prompt_format, file.name))
            say(f"wrote Modelfile; for Ollama: ollama create {target.name.lower()} -f {target / 'Modelfile'}")

    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(unchecked, target)
    say(f"wrote {target}")
    if not_converted is not None:
        raise ModelError(
            f"{target} is exported, but without the GGUF file: {not_converted}"
        ) from not_converted
    return target


def _asked_alike(run: RunDir, checkpoint: Checkpoint) -> tuple[list[MetricsRecord], str]:
    """The records whose scores compare with the checkpoint's, and what has been changed since that makes the same weights
    answer otherwise."""
    place = tuple(int(checkpoint.info.get(key) or 0) for key in ("cycle", "attempt"))
    changes = asked_otherwise(read_log(Incident, run.incidents))
    since = ", ".join(told for at, told in changes.items() if at >= place)
    return asked_alike(read_metrics(run), {at: told for at, told in changes.items() if at < place}), since


def _prompt_format(folder: Path, config: Config, say: Callable[[str], None]) -> PromptFormat | None:
    """How the model is asked; None, and a sentence, where that cannot be written down. The weights are good
    all the same."""
    try:
        return prompt_format_of(folder, config)
    except (ConfigError, ModelError) as error:
        say(f"the card does not show the training prompt: {error}")
        return None


def _ask_probes(
    run: RunDir, config: Config, folder: Path, options: ExportOptions, say: Callable[[str], None]
) -> Scores | None:
    """What the exported model scores on the probe tasks of training; None where there are none."""
    suite = training_probes(run, config, folder)
    if suite is None:
        say("the run has no probe tasks, so no score could be measured again")
        return None
    with scratch_folder("export") as scratch:
        share, cards = options.gpu_memory_share, config.rollout.tensor_parallel
        asked = Options(suites=(), gpu_memory_share=share, tensor_parallel=cards)
        trusted = config.model.trust_remote_code
        source = replace(of_folder(folder), label="exported model", trust_remote_code=trusted)
        return evaluate_suite(source, suite, scratch, asked, say)


def compare_with_record(
    scores: Scores,
    recorded: dict[str, float],
    step: int,
    folder: Path,
    tolerance: float,
    say: Callable[[str], None],
    since: str = "",
) -> dict[str, float]:
    """Whether the score measured now is the one that the trainer recorded.

    Args:
        since: how the run asks otherwise now than when it trained this checkpoint; empty where it does not.

    Returns:
        ``accuracy`` and ``tasks`` as measured now.

    Raises:
        ModelError: it is not, by more than ``tolerance`` and more than one task.
    """
    now = scores.estimates["pass@1"]
    measured = {"accuracy": now.value, "tasks": float(now.n)}
    before = recorded.get(names.PROBE_ALL)
    if before is None or since or recorded.get(names.PROBE_COUNT) != now.n:
        if before is None:
            why = "recorded none"
        elif since:
            why = f"recorded {before:.1%}, but asked otherwise ({since})"
        else:
            why = f"recorded one on {counted(int(recorded.get(names.PROBE_COUNT, 0)), 'task')}"
        say(
            f"probe score {now.value:.1%} on {counted(now.n, 'task')}; the trainer {why} at step {step}, "
            "so there is nothing to compare it with"
        )
        return measured

    difference = abs(now.value - before)
    if difference > max(tolerance, 1.01 / now.n):
        raise ModelError(
            f"the exported model scores {now.value:.1%} on the run's {counted(now.n, 'probe task')}, the checkpoint scored {before:.1%}; "
            f"more than {tolerance:.0%} apart, so this is not the same model. It is left in {folder} for inspection. If the weights' type "
            f"is the reason (the run's engine used another one), try --dtype float32, or --tolerance"
        )
    say(
        f"probe score {now.value:.1%} on {counted(now.n, 'task')}; the trainer recorded {before:.1%} at step {step}: they agree"
    )
    return measured


def training_probes(run: RunDir, config: Config, folder: Path) -> TaskSuite | None:
    """The probe tasks that the trainer asked, chosen by its own code; None where it asked none."""
    from azr.train.probes import first_probe_rows

    fits = prompt_limit(folder, config.rollout.max_prompt_tokens, config.model.trust_remote_code)
    rows: Sequence[PromptRow] = []
    if config.train.probe_tasks:
        rows = first_probe_rows(
            run.probes, run.first_probe_scores, config.train.probe_tasks, config.selfplay, fits
        )
    if not rows:
        return None
    tasks = {row.row_id: row.task for row in rows if row.task is not None}
    items = [Item(row.row_id, row.stream.task_type.value, row.prompt) for row in rows]
    return TaskSuite(name="probes", tasks=tasks, config=config.selfplay, items=items)
