"""The real engine with the bundled tiny model: answers, going on, a checkpoint against its base, and the
check of an export."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_fixture import PROBE_FILE, PROJECT, TINY, make_run, save_checkpoint
from transformers import AutoConfig, AutoModelForCausalLM

from azr.config.load import read_config
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ModelError
from azr.evaluate.answers import AnswerStore
from azr.evaluate.engine import Batch, EngineModel, EngineOptions, answer_all
from azr.evaluate.engine_requests import Decoding, Request
from azr.evaluate.evaluation import evaluate
from azr.evaluate.export import ExportOptions, export_model
from azr.evaluate.items import evenly
from azr.evaluate.models import resolve
from azr.evaluate.options import Options
from azr.evaluate.suite_run import engine_model
from azr.evaluate.tasks_suite import probe_suite
from azr.system.files import append_jsonl, read_jsonl
from azr.tasks import Prompt

pytestmark = pytest.mark.slow
OPTIONS = EngineOptions(dtype="float32")


def within(tokens: int) -> Decoding:
    return Decoding(max_prompt_tokens=300, max_response_tokens=tokens)


def test_two_evaluations_of_one_checkpoint_do_not_share_a_folder(tmp_path: Path) -> None:
    """The first to end removed what the other's engine was about to read."""
    run = make_run(tmp_path)
    state = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).state_dict()
    save_checkpoint(run, 2, state, AutoConfig.from_pretrained(TINY))
    with engine_model(resolve(str(run.root))) as one:
        with engine_model(resolve(str(run.root))) as other:
            assert one.folder != other.folder
        assert not other.folder.exists() and (one.folder / "config.json").is_file()
    assert not one.folder.exists()


def test_a_checkpoint_is_evaluated_compared_and_gone_on_with(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    state = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).state_dict()
    save_checkpoint(run, 2, state, AutoConfig.from_pretrained(TINY))
    options = Options(suites=["probes"], limit=12)
    record = evaluate([f"{run.root}@0", str(run.root)], options, lambda _: None)

    # base and checkpoint hold the same weights: greedy answers are the same, and the comparison says so
    base, trained = record["results"]
    assert base["item_scores"] == trained["item_scores"]
    assert len(base["item_scores"]) == 12
    assert record["comparisons"][0]["p_value"] == 1.0

    # going on: an answer that was lost is asked again, greedy gives it again, the others stay
    answers_path = run.root / "evaluations" / "tiny@2" / "probes" / "answers.jsonl"
    before = {answer["item_id"]: answer["completion"] for answer in read_jsonl(answers_path)}
    kept = list(read_jsonl(answers_path))[:-1]
    answers_path.unlink()
    append_jsonl(answers_path, kept)
    evaluate([str(run.root)], options, lambda _: None)
    assert {answer["item_id"]: answer["completion"] for answer in read_jsonl(answers_path)} == before


def test_a_checkpoint_of_nan_is_a_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    state = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32).state_dict()
    name = "model.layers.0.mlp.up_proj.weight"
    state[name] = torch.full_like(state[name], float("nan"))
    path = save_checkpoint(run, 2, state, AutoConfig.from_pretrained(TINY))
    options = Options(suites=["probes"], limit=4)
    with pytest.raises(ModelError, match=rf"{path}: {name} holds NaN or infinity"):
        evaluate([str(run.root)], options, lambda _: None)


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
    """A prompt read in two pieces takes back a sample of its generator, which torch's CPU generator cannot:
    the engine died."""
    probes = f"probes={PROJECT / 'data/probes/azr_tiny_train_families.jsonl'}"
    options = Options(
        suites=[probes],
        limit=80,
        samples=2,
        temperature=1.0,
        cpu_kv_cache_gib=0.25,
        out=tmp_path / "out",
    )
    [result] = evaluate([f"{make_run(tmp_path).root}@0"], options, lambda _: None)["results"]
    assert sum(result["reasons"].values()) == 160


def test_sampled_answers_do_not_depend_on_where_an_evaluation_went_on(tmp_path: Path) -> None:
    loaded = "vllm" in sys.modules  # by a test of another file
    items = evenly(probe_suite(PROBE_FILE, SelfPlayConfig(frame="compact")).items, 3)
    asked = [
        Request(item.item_id, item.prompt, replace(within(48), samples=3, temperature=1.0)) for item in items
    ]
    whole, parts = AnswerStore(tmp_path / "whole"), AnswerStore(tmp_path / "parts")
    with whole.opened({}), parts.opened({}):
        _answer(Batch(asked, whole))
        append_jsonl(parts.path, [vars(answer) for key, answer in whole.read().items() if key[1] == 1])
        _answer(Batch(asked, parts))
    assert {key: answer.completion for key, answer in whole.read().items()} == {
        key: answer.completion for key, answer in parts.read().items()
    }
    assert len({answer.completion for answer in whole.read().values()}) > 3, "samples differ"
    assert ("vllm" in sys.modules) == loaded, "the engine lives in its own process"


def test_models_in_one_engine_answer_as_each_does_in_its_own(tmp_path: Path) -> None:
    """A folder, checkpoints with other weights, and the first weights again: greedy, token for token, whole
    models and one merged adapter. Raw texts and chats with stops, prefill and limits of their own go through
    the same session."""
    run = make_run(tmp_path)
    config = AutoConfig.from_pretrained(TINY)
    model: Any = AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    shaken = {
        name: tensor + 2e-2 * torch.randn_like(tensor)
        for name, tensor in base.items()
        if name != "lm_head.weight"
    }
    save_checkpoint(run, 1, shaken, config)
    save_checkpoint(run, 2, base, config)
    save_checkpoint(run, 3, with_adapter(base), config, lora_alpha=8)
    prompts = [
        item.prompt for item in evenly(probe_suite(PROBE_FILE, SelfPlayConfig(frame="compact")).items, 6)
    ]
    asked = [Request(f"item {number}", prompt, within(40)) for number, prompt in enumerate(prompts)]
    asked.append(
        Request(
            "stopped",
            Prompt((("user", "def f(x):\n    return x"),), raw=True),
            within(30),
            stop=("\n",),
            begin_token=True,
        )
    )
    asked.append(Request("short", prompts[0], within(5)))
    asked.append(Request("prefilled", Prompt(prompts[1].messages, prompts[1].raw, "x = 1"), within(20)))
    sources = [resolve(spec) for spec in (f"{run.root}@0", f"{run.root}@1", f"{run.root}@2", f"{run.root}@3")]
    with contextlib.ExitStack() as held:
        work = []
        for source in sources:
            model = held.enter_context(engine_model(source))
            together, alone = (
                AnswerStore(tmp_path / f"together {source.label}"),
                AnswerStore(tmp_path / f"alone {source.label}"),
            )
            for store in (together, alone):
                held.enter_context(store.opened({}))
            work.append((model, together, alone))
        answer_all(
            [(model, OPTIONS, [Batch(asked[:5], store), Batch(asked[5:], store)]) for model, store, _ in work]
        )
        for model, _, alone in work[1:]:
            answer_all([(model, OPTIONS, [Batch(asked, alone)])])
    answers = {model.label: together.read() for model, together, _ in work}
    for model, together, alone in work[1:]:
        assert together.read() == alone.read(), model.label
    first, other, again, adapted = (answers[model.label] for model, _, _ in work)
    assert first == again
    assert first != other
    assert first != adapted
    assert first["short", 0].n_tokens <= 5
    assert "\n" not in first["stopped", 0].completion
    log = (work[0][1].folder / "engine.log").read_text()
    assert log.count("Initializing a V1 LLM engine") == 1, "one engine for all four"


def with_adapter(base: dict[str, Any]) -> dict[str, Any]:
    """The model with a LoRA adapter of rank 4 on one matrix, under the names that the trainer saves."""
    name = "model.layers.0.mlp.up_proj"
    rows, columns = base[f"{name}.weight"].shape
    state = {f"base_model.model.{key}": tensor for key, tensor in base.items() if key != f"{name}.weight"}
    state[f"base_model.model.{name}.base_layer.weight"] = base[f"{name}.weight"]
    state[f"base_model.model.{name}.lora_A.default.weight"] = 0.1 * torch.randn(4, columns)
    state[f"base_model.model.{name}.lora_B.default.weight"] = 0.1 * torch.randn(rows, 4)
    return state


def _answer(batch: Batch) -> None:
    answer_all([(EngineModel("tiny", TINY), OPTIONS, [batch])])
