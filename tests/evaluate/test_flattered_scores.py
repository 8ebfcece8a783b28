"""A score that says less than it seems to: of the checkpoint that did best on these tasks, or of a model that may have been
trained on them elsewhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from run_fixture import TINY, make_run

from azr.config import Config
from azr.errors import ModelError
from azr.evaluate import models
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.doubts import unnamed_runs
from azr.evaluate.evaluation import Options, evaluate
from azr.evaluate.models import ModelSource, ask_record, resolve
from azr.evaluate.tasks_suite import probe_suite
from azr.run.rundir import RunDir
from azr.system.files import write_json_atomic


def judged(run: RunDir, suite: str, out: Path) -> str:
    """What is said of five wrong answers to a suite."""
    options = Options(suites=[suite], out=out, partial=True)
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([f"{run.root}@0"], options, say=lambda _: None)
    [request] = out.glob("*/probes/request.json")
    for item in probe_suite(run.probes, Config().selfplay).items[:5]:
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


def test_a_model_of_a_run_that_is_not_named_may_have_been_trained_on_the_tasks(tmp_path: Path) -> None:
    """Runs a and then b made it; tasks of a run that is named are counted."""
    earlier = [{"run": "a", "step": 20, "base_model": "org/name"}]
    record = {"run": "b", "step": 40, "base_model": "first", "earlier_runs": earlier}
    (tmp_path / "azr.json").write_text(json.dumps(record))
    model = ModelSource("mine", "hash", folder=tmp_path)
    [told] = unnamed_runs([model])
    assert told.startswith("mine comes out of the run b and a: tasks that it was trained on there")

    shutil.copytree(TINY, tmp_path / "model")
    (tmp_path / "model" / "azr.json").write_text(json.dumps({**record, "ask": ask_record(Config())}))
    run = make_run(tmp_path, model={"path": str(tmp_path / "model")})
    assert "run b and a: tasks" in judged(run, f"probes={run.probes / 'probes.jsonl'}", tmp_path / "out")

    (tmp_path / "azr.json").write_text(json.dumps({**record, "run": "tiny", "earlier_runs": []}))
    beside = ModelSource("tiny@0", "hash", folder=tmp_path / "nowhere", run=run)
    assert unnamed_runs([beside, model]) == [], "its tasks are counted"
