"""The suite of proposals: a run's own reference tasks, the same requests for everybody, judged by the code of
training."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from run_fixture import PROJECT, TINY, make_run

from azr.config.load import read_config
from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.errors import DataError, ModelError
from azr.evaluate import proposals
from azr.evaluate.answers import Answer
from azr.evaluate.engine import prompt_limit
from azr.evaluate.evaluation import evaluate
from azr.evaluate.items import evenly, everything_fits, suite_fingerprint
from azr.evaluate.models import ask_record, of_folder
from azr.evaluate.options import Options
from azr.evaluate.proposals import REQUESTS_PER_TYPE, proposal_suite
from azr.evaluate.scoring import judge_all, score
from azr.evaluate.suites import build_suite
from azr.evaluate.summary import legend, score_table
from azr.run.rundir import RunDir
from azr.sandbox import Sandbox
from azr.system.files import read_jsonl, write_json_atomic, write_jsonl_atomic
from azr.tasks import Task

SEEDS = PROJECT / "data" / "seeds" / "azr_tiny.jsonl"
GENERAL = PROJECT / "data" / "seeds" / "seed_io.jsonl"
COMPACT = SelfPlayConfig(frame="compact", references=2)
LIMIT = 400
FITS = prompt_limit(TINY, LIMIT)
GOOD = "```python\ndef f(x):\n    return x + 1\n```\n```input\n3\n```"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run that started from every fourth of the tiny model's seeds."""
    run = make_run(tmp_path, selfplay={"references": 3})
    write_jsonl_atomic(run.cycle_tasks(1), list(read_jsonl(SEEDS))[::4])
    return run


def test_requests_are_the_same_each_time_and_follow_the_frame() -> None:
    suite = build_suite(f"proposals={SEEDS}", COMPACT)
    assert [item.kind for item in suite.items] == [
        kind for kind in COMPACT.task_types for _ in range(REQUESTS_PER_TYPE)
    ]
    assert suite_fingerprint(suite) == suite_fingerprint(proposal_suite([SEEDS], COMPACT, everything_fits))
    assert suite_fingerprint(suite) != suite_fingerprint(build_suite("proposals", COMPACT))
    assert len({item.item_id for item in suite.items}) == len(suite.items)


def test_a_run_s_references_are_the_tasks_that_it_started_from(run: RunDir) -> None:
    config = read_config(run.config).selfplay
    suite = build_suite("proposals", config, run=run)
    started_from = {Task.from_json(record).code for record in read_jsonl(run.cycle_tasks(1))}
    shown = [row.references for row in suite.rows.values()]  # pyright: ignore[reportAttributeAccessIssue]
    assert {task.code for references in shown for task in references} <= started_from
    assert {len(references) for references in shown} == {3, 1}, (
        "as many as the run shows; induction shows one"
    )
    assert suite.notes == (
        f"references are drawn from the {len(list(read_jsonl(run.cycle_tasks(1))))} tasks that run tiny started from",
    )
    # what the run learnt later changes nothing: two checkpoints get the same requests
    write_jsonl_atomic(run.cycle_tasks(2), read_jsonl(SEEDS))
    assert suite_fingerprint(build_suite("proposals", config, run=run)) == suite_fingerprint(suite)


def test_a_run_without_its_first_tasks_is_an_error_not_another_source(run: RunDir) -> None:
    run.cycle_tasks(1).unlink()
    with pytest.raises(DataError, match=r"tasks that run tiny started from are unknown.*proposals=FILE"):
        build_suite("proposals", COMPACT, run=run)


def test_requests_over_the_limit_are_drawn_again_and_said() -> None:
    """General seeds are long for the bundled tiny model: nearly half of the first drafts are over its
    limit."""
    free, limited = (proposal_suite([GENERAL], COMPACT, fits) for fits in (everything_fits, FITS))
    assert len(limited.items) == len(free.items)
    assert not any(item.remedy for item in free.items)
    assert all(FITS(item.prompt) for item in limited.items)
    changed = [new for old, new in zip(free.items, limited.items, strict=True) if not FITS(old.prompt)]
    assert len(changed) > 50
    assert [item for item in limited.items if item.remedy] == changed
    kept = [new.item_id for old, new in zip(free.items, limited.items, strict=True) if FITS(old.prompt)]
    assert set(kept) <= {item.item_id for item in free.items}, (
        "a request that fits does not depend on those that do not"
    )

    answers = [Answer(item.item_id, 0, "I cannot") for item in limited.items]
    with Sandbox(SandboxConfig()) as sandbox:
        scores = score(
            limited,
            "m",
            limited.items,
            judge_all(limited, limited.items, answers, sandbox, progress=False),
            (1,),
            LIMIT,
        )
    assert scores.too_long == len(changed)
    assert (
        f"{len(changed)} of 300 requests were longer than the model's limit of {LIMIT} tokens; they were drawn again"
        in scores.notes[1]
    )
    assert asdict(scores)["notes"] == scores.notes
    assert score_table([scores]).splitlines()[2].split()[-1] == str(len(changed))


def test_fewer_references_are_told_apart_from_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "REQUESTS_PER_TYPE", 20)
    suite = proposal_suite([GENERAL], replace(COMPACT, references=3), FITS)
    for item in suite.items:
        shown = len(suite.rows[item.item_id].references)
        assert (item.remedy == "fewer references") == (item.kind != "induction" and shown < 3)
    assert {item.remedy for item in suite.items} == {"", "fewer references", "other references"}


def test_a_limit_that_no_request_fits_is_an_error_with_the_remedy() -> None:
    with pytest.raises(ModelError, match=r"no \w+ request in the frame compact fits.*--max-prompt-tokens"):
        proposal_suite([SEEDS], COMPACT, prompt_limit(TINY, 10))


def test_prompts_that_were_not_asked_count_as_wrong_and_are_said() -> None:
    suite = build_suite(f"probes={PROJECT / 'data/probes/azr_tiny_heldout.jsonl'}", COMPACT)
    items = suite.items[:4]
    answers = [Answer(item.item_id, 0, "no", n_tokens=3, finished=False) for item in items[:3]]
    answers.append(Answer(items[3].item_id, 0, "", n_tokens=500, prompt_too_long=True))
    with Sandbox(SandboxConfig()) as sandbox:
        scores = score(
            suite, "m", items, judge_all(suite, items, answers, sandbox, progress=False), (1,), LIMIT
        )
    assert scores.too_long == 1
    assert scores.notes == [
        "1 of 4 prompts are longer than the model's limit of 400 tokens; they were not asked and count as wrong"
    ]
    assert (scores.estimates["pass@1"].n, scores.cut, scores.mean_tokens) == (4, 1.0, 3.0), (
        "what was not asked has no length"
    )


def test_a_proposal_counts_when_it_is_verified() -> None:
    suite = proposal_suite([SEEDS], COMPACT, everything_fits)
    items = [item for item in suite.items if item.kind == "deduction"][:3]
    texts = [
        f"</think><answer>\n{GOOD}\n</answer>",
        f"<answer>\n{GOOD.replace('x + 1', 'x / 0')}\n</answer>",
        "I cannot",
    ]
    with Sandbox(SandboxConfig()) as sandbox:
        judged = judge_all(
            suite,
            items,
            [Answer(item.item_id, 0, text) for item, text in zip(items, texts, strict=True)],
            sandbox,
            progress=False,
        )
    by_id = {each.answer.item_id: each.verdict for each in judged}
    assert [by_id[item.item_id].score for item in items] == [1.0, 0.0, 0.0]
    assert [by_id[item.item_id].reason for item in items] == ["valid", "exception", "no_answer"]
    scores = score(suite, "model", items, judged)
    assert scores.estimates["pass@1"].value == pytest.approx(1 / 3)
    assert legend([scores]).startswith("pass@1: valid proposals;")


def test_evenly_spaced_requests_cover_the_types() -> None:
    assert {item.kind for item in evenly(proposal_suite([SEEDS], COMPACT, everything_fits).items, 6)} == set(
        COMPACT.task_types
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl"):
        proposal_suite([tmp_path / "none.jsonl"], COMPACT, everything_fits)


def test_an_export_is_asked_with_its_run_s_prompt_settings(run: RunDir, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for file in TINY.iterdir():
        (folder / file.name).symlink_to(file)
    record = {"ask": ask_record(read_config(run.config))}
    write_json_atomic(folder / "azr.json", record)
    assert (of_folder(folder).selfplay.frame, of_folder(folder).selfplay.references) == ("compact", 3)
    config = read_config(run.config)
    rules = {
        "int_equals_float": False,
        "bool_equals_int": True,
        "format_reward": False,
        "induction_reward": "accuracy",
        "reject_constant_outputs": True,
        "code_location": "last",
        "banned_modules": ["os"],
    }
    limits = replace(config.sandbox.limits, cpu_s=0.5)
    judged = replace(
        config,
        selfplay=replace(config.selfplay, **rules),
        sandbox=replace(config.sandbox, limits=limits),
    )
    write_json_atomic(folder / "azr.json", {"ask": ask_record(judged)})
    # or one model has two scores
    assert of_folder(folder).selfplay == judged.selfplay and of_folder(folder).sandbox.limits == limits
    write_json_atomic(folder / "azr.json", {"ask": ask_record(judged) | {"selfplay": {"num_inputs": "many"}}})
    with pytest.raises(DataError, match=r"azr\.json is damaged .*num_inputs"):
        of_folder(folder)
    del record["ask"]["selfplay"]  # an export of an earlier version
    write_json_atomic(folder / "azr.json", record)
    assert of_folder(folder).selfplay == SelfPlayConfig(frame="compact")


@pytest.mark.slow
def test_the_real_engine_is_asked_only_what_fits(run: RunDir, tmp_path: Path) -> None:
    write_jsonl_atomic(run.cycle_tasks(1), read_jsonl(GENERAL))  # long ones
    said: list[str] = []
    options = Options(suites=["proposals"], limit=24, out=tmp_path / "out")
    [result] = evaluate([f"{run.root}@0"], options, said.append)["results"]
    assert result["too_long"] > 0
    assert "prompt_too_long" not in result["reasons"]
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert (
        f"proposals, tiny@0: {result['too_long']} of 24 requests were longer than the model's limit of 300 tokens"
        in summary
    )
    assert summary.strip() in "\n".join(said)
