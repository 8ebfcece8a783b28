"""A score that says less than it seems to: of the checkpoint that did best on these tasks, or of a model that may have been
trained on them elsewhere."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_fixture import TINY, make_run

from azr.config import Config
from azr.config.load import read_config
from azr.errors import ModelError
from azr.evaluate import models
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.doubts import picked_items, picking_runs, trained_elsewhere
from azr.evaluate.evaluation import evaluate
from azr.evaluate.models import ModelSource, ask_record, of_folder, resolve
from azr.evaluate.options import Options
from azr.evaluate.tasks_suite import probe_suite
from azr.models.exported import (
    copy_records,
    earlier_runs,
    record_programs,
    recorded_programs,
    trained_in_another_frame,
)
from azr.models.model_hash import ModelHash, hash_weights
from azr.programs.canonical import program_fingerprint
from azr.run.identity import RunIdentity, base_records, write_identity
from azr.run.rundir import RunDir
from azr.system.files import append_jsonl, read_jsonl, write_json_atomic, write_jsonl_atomic
from azr.tasks import Task
from azr.train.base_model import identify


def judged(run: RunDir, suite: str, out: Path) -> str:
    """What is said of five wrong answers to a suite."""
    options = Options(suites=[suite], out=out, partial=True)
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([f"{run.root}@0"], options, say=lambda _: None)
    [request] = out.glob("*/probes/request.json")
    asked = Path(suite.partition("=")[2] or run.probes)
    for item in probe_suite(asked, Config().selfplay).items[:5]:
        AnswerStore(request.parent).append(
            [Answer(item.item_id, 0, "hm</think><answer>no</answer>", n_tokens=9)]
        )
    said: list[str] = []
    evaluate([f"{run.root}@0"], options, say=said.append)
    return "\n".join(said)


@pytest.mark.parametrize(
    ("picked", "metric", "scored", "told"),
    [
        (True, "probe/all/accuracy", 3, True),
        (False, "probe/all/accuracy", 3, False),
        (True, "verdict/all/accuracy", 3, False),
        (True, "probe/all/accuracy", 1, False),
    ],
)
def test_the_tasks_by_which_the_best_checkpoint_was_picked_are_set_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, picked: bool, metric: str, scored: int, told: bool
) -> None:
    run = make_run(tmp_path, campaign={"best_metric": metric})
    lines = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join(lines[: scored + 1]))
    write_json_atomic(
        run.first_probe_scores, {"scores": {f"probe/probes/{number}": 0.0 for number in (0, 2)}}
    )
    source = replace(resolve(f"{run.root}@0"), picked=picked)
    monkeypatch.setattr(models, "resolve", lambda _: source)

    said = judged(run, "probes", tmp_path / "out")
    expected = "2 of 5 tasks are those by whose scores the best checkpoint was picked"
    assert (expected in said) is told
    assert ("pass@1 of the other 3, frame, strict: 0.0% (" in said) is told
    file = shutil.copy(run.probes / "probes.jsonl", tmp_path / "mine.jsonl")
    assert (expected in judged(run, f"probes={file}", tmp_path / "file")) is told, (
        "also as a file of another name"
    )


def test_an_exported_best_checkpoint_was_picked_as_well(tmp_path: Path) -> None:
    """Beside its run it looked like a model that had no part in the choice. Rows that a user wrote have no id (a KeyError)."""
    run = make_run(tmp_path)
    rows = [
        {key: row[key] for key in row if key != "task_id"} for row in read_jsonl(run.probes / "probes.jsonl")
    ]
    write_jsonl_atomic(run.probes / "probes.jsonl", rows)
    write_json_atomic(run.first_probe_scores, {"scores": {"probe/probes/0": 0.0}})
    model = of_folder(exported(tmp_path / "model", "tiny", picked=True), "mine")
    start = resolve(f"{run.root}@0")
    suite = probe_suite(run.probes, Config().selfplay)
    assert picking_runs([start, model]) == ({run}, [])
    assert len(picked_items(suite, [run])) == 1 and not picked_items(suite, [])
    [told] = picking_runs([model])[1]
    assert told.startswith(
        "mine was picked as the best checkpoint of the run tiny: on that run's probes its score"
    )
    other = of_folder(exported(tmp_path / "last", "tiny", picked=False))
    assert picking_runs([start, other]) == (set(), [])


def exported(folder: Path, run: str, **more: Any) -> Path:
    """The bundled model as the run exported it; runs a and then this one made it."""
    shutil.copytree(TINY, folder)
    earlier = [{"run": "a", "step": 20, "base_model": "org/name"}]
    record = {
        "run": run,
        "step": 40,
        "base_model": "first",
        "earlier_runs": earlier,
        "ask": ask_record(Config()),
    }
    write_json_atomic(folder / "azr.json", record | more)
    return folder


def test_a_model_of_a_run_that_is_not_named_may_have_been_trained_on_the_tasks(tmp_path: Path) -> None:
    """Tasks of a run that is named are counted, if it is the run that made the model."""
    model = ModelSource("mine", "hash", folder=exported(tmp_path / "model", "b"))
    [told] = trained_elsewhere([model])[1]
    assert told.startswith("mine comes out of the run b and a: tasks that it was trained on there")

    run = make_run(tmp_path, model={"path": str(model.folder)})
    assert "run b and a: tasks" in judged(run, f"probes={run.probes / 'probes.jsonl'}", tmp_path / "out")

    alone = {"earlier_runs": [], "base_model_hash": "0" * 32}
    model = ModelSource("mine", "hash", folder=exported(tmp_path / "of-tiny", "tiny", **alone))
    beside = ModelSource("tiny@0", "hash", folder=tmp_path / "nowhere", run=run)
    assert trained_elsewhere([beside, model])[1] == [], "its tasks are counted"
    write_identity(
        run, RunIdentity.of(Config(), tmp_path / "nowhere", ModelHash("", "", files="1" * 32)), tmp_path
    )
    assert trained_elsewhere([beside, model])[1], "another one of that name"


def test_probes_whose_programs_the_run_has_proposed_itself_are_counted(tmp_path: Path) -> None:
    """Earlier versions compared them at the merge only, and a run's own probes were taken for tasks it had never met."""
    run = make_run(tmp_path)
    proposed = next(read_jsonl(run.probes / "probes.jsonl"))
    append_jsonl(run.shard(1), [proposed])
    assert "1 of 5 tasks have the program of a task that a run" in judged(run, "probes", tmp_path / "out")


def test_tasks_that_an_exported_model_was_trained_on_are_counted_without_its_run(tmp_path: Path) -> None:
    """Only the run's name was known. The new run keeps its probes out of its own tasks, and not out of the model's; what the
    model says of its training stays known once its folder is gone."""
    model = exported(tmp_path / "model", "b")
    run = make_run(tmp_path, model={"path": str(model)})
    tasks = [Task.from_json(line) for line in read_jsonl(run.probes / "probes.jsonl")]
    # of the five that are asked, and one in other words
    known = [f"# other words\n{tasks[0].program}", tasks[3].program]
    before = of_folder(model).identity
    record_programs(model, set(map(program_fingerprint, known)), ["a"])
    assert of_folder(model).identity == before, "answers belong to the weights"
    asked = {program_fingerprint(each.program) for each in tasks[:5]}
    there = sum(
        program_fingerprint(each.program) in set(map(program_fingerprint, known)) for each in tasks[:5]
    )
    assert len(asked) > there >= 2
    counted = f"{there} of 5 tasks have the program of a task that a run of these models trains on"

    said = judged(run, "probes", tmp_path / "own")
    assert counted in said and "comes out of" not in said
    said = judged(run, f"probes={run.probes / 'probes.jsonl'}", tmp_path / "brought")
    assert counted in said and "tiny@0 comes out of the run a: tasks" in said

    write_identity(run, identify(read_config(run.config)), model)
    programs, _ = recorded_programs(model)
    model.rename(tmp_path / "elsewhere")
    assert recorded_programs(base_records(run)) == (programs, ["a"])
    assert earlier_runs(base_records(run))[0]["run"] == "b"


@pytest.mark.parametrize("record", ["{}", "[]", "3", '{"python": "2.7", "programs": ["x"], "missing": []}'])
def test_a_record_of_programs_that_says_nothing_leaves_them_uncounted(tmp_path: Path, record: str) -> None:
    """Another Python writes some programs otherwise, so their fingerprints are others."""
    model = exported(tmp_path / "model", "b")
    (model / "azr_trained.json").write_text(record)
    assert recorded_programs(model) == (frozenset(), ["b", "a"])
    assert recorded_programs(TINY) == (frozenset(), [])


@pytest.mark.parametrize("written_for", ["these weights", "these files", "others", "nobody knows"])
def test_a_record_counts_for_the_weights_that_it_was_written_for(tmp_path: Path, written_for: str) -> None:
    """Other weights in an export's folder were asked in its frame, and called the export's run's. Earlier versions did not say,
    or told the files."""
    known = {"tensors_hash": hash_weights(TINY)}
    if written_for == "these files":
        known = {"weights_hash": hash_weights(TINY, by_file=True)}
    elif written_for == "nobody knows":
        known = {}
    model = exported(tmp_path / "model", "b", **known)
    record_programs(model, {"x"}, [])
    (model / "generation_config.json").write_text('{"max_length": 9}')
    if written_for in ("others", "nobody knows"):
        with open(model / "model.safetensors", "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x01")
    copy_records(model, tmp_path / "copy")
    source, counts = of_folder(model), written_for != "others"
    assert bool(earlier_runs(model)) == bool(earlier_runs(tmp_path / "copy")) == source.framed == counts
    assert recorded_programs(model)[0] == (frozenset("x") if counts else frozenset())
    for told in (source.note, trained_in_another_frame(model, source.selfplay.frame)):
        assert ("azr.json was written for other weights than those beside it" in told) == (not counts)
