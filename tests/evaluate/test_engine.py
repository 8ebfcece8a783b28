"""The real engine with the bundled tiny model: answers, going on, a checkpoint against its base, and the check of an export."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from run_fixture import PROJECT, TINY, make_run, save_checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from azr.config.load import read_config
from azr.evaluate.engine import EngineOptions, generate
from azr.evaluate.evaluation import Options, evaluate
from azr.evaluate.export import ExportOptions, export_model
from azr.files import append_jsonl, read_jsonl

pytestmark = pytest.mark.slow


def test_a_checkpoint_is_evaluated_compared_and_gone_on_with(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    state = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).state_dict()
    save_checkpoint(run, 2, state, AutoConfig.from_pretrained(TINY))
    options = Options(suites=["probes"], limit=12, progress=False)
    record = evaluate([f"{run.root}@0", str(run.root)], options, lambda _: None)

    # base and checkpoint hold the same weights: greedy answers are the same, and the comparison says so
    base, trained = record["results"]
    assert base["item_scores"] == trained["item_scores"]
    assert len(base["item_scores"]) == 12
    assert record["comparisons"][0]["p_value"] == 1.0
    assert not list((run.root / "evaluations").glob(".model*")), "the merged copy of the checkpoint is removed"

    # going on: an answer that was lost is asked again, greedy gives it again, the others stay
    answers_path = run.root / "evaluations" / "tiny@2" / "probes" / "answers.jsonl"
    before = {answer["item_id"]: answer["completion"] for answer in read_jsonl(answers_path)}
    kept = list(read_jsonl(answers_path))[:-1]
    answers_path.unlink()
    append_jsonl(answers_path, kept)
    evaluate([str(run.root)], options, lambda _: None)
    assert {answer["item_id"]: answer["completion"] for answer in read_jsonl(answers_path)} == before


def test_an_export_answers_the_trainer_s_probe_tasks(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    state = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).state_dict()
    save_checkpoint(run, 2, state, AutoConfig.from_pretrained(TINY))
    folder = export_model(run, tmp_path / "out", ExportOptions(step="2", tolerance=1.0), lambda _: None)
    record = json.loads((folder / "azr.json").read_text())
    assert record["measured"]["tasks"] == read_config(run.config).train.probe_tasks
    assert record["recorded"]["probe/all/accuracy"] == 0.3
    assert "Measured again on this folder" in (folder / "README.md").read_text()
    assert not (tmp_path / "out.unchecked").exists()


def test_more_seeded_prompts_than_fit_one_pass_are_answered(tmp_path: Path) -> None:
    """A prompt read in two pieces takes back a sample of its generator, which torch's CPU generator cannot: the engine died."""
    probes = f"probes={PROJECT / 'data/probes/azr_tiny_train_families.jsonl'}"
    options = Options(suites=[probes], limit=80, samples=2, temperature=1.0, cpu_kv_cache_gib=0.25, out=tmp_path / "out", progress=False)
    [result] = evaluate([f"{make_run(tmp_path).root}@0"], options, lambda _: None)["results"]
    assert sum(result["reasons"].values()) == 160


def test_sampled_answers_do_not_depend_on_where_an_evaluation_went_on(tmp_path: Path) -> None:
    from azr.config.selfplay import SelfPlayConfig
    from azr.evaluate.answers import AnswerStore
    from azr.evaluate.suites import evenly
    from azr.evaluate.tasks_suite import probe_suite

    items = evenly(probe_suite(TINY.parents[1] / "probes" / "azr_tiny_heldout.jsonl", SelfPlayConfig(frame="compact")).items, 3)
    how = EngineOptions(samples=3, temperature=1.0, max_prompt_tokens=300, max_response_tokens=48, dtype="float32")
    whole, parts = AnswerStore(tmp_path / "whole"), AnswerStore(tmp_path / "parts")
    with whole.opened({}), parts.opened({}):
        generate(TINY, items, how, whole)
        append_jsonl(parts.path, [answer.to_json() for key, answer in whole.read().items() if key[1] == 1])
        generate(TINY, items, how, parts)
    assert {key: answer.completion for key, answer in whole.read().items()} == {
        key: answer.completion for key, answer in parts.read().items()
    }
    assert len({answer.completion for answer in whole.read().values()}) > 3, "samples differ"
    assert "vllm" not in sys.modules, "the engine lives in its own process"
