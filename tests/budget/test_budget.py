import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from azr.budget.advice import judge_fit, require_fit
from azr.budget.estimate import ResourceEstimate, checkpoints_at_most, estimate
from azr.budget.proposals import propose
from azr.budget.shape import shape_from_config, shape_of
from azr.cli import preflight
from azr.cli.preflight import _answer
from azr.config import Config, from_container
from azr.config.load import compose_container, recipe_names
from azr.config.train import RolloutConfig
from azr.errors import BudgetError, ConfigError, ModelError
from azr.run.checkpoint_store import steps_to_delete
from azr.run.identity import SETTINGS
from azr.system import GIB
from azr.system.hardware import Gpu, Machine

ROOT = Path(__file__).resolve().parents[2]
CARD_16 = Machine((Gpu("card", 15.92, 15.4, (12, 0)),), cpu_cores=16, ram_gib=31.0, ram_available_gib=28.0)
CARD_8 = replace(CARD_16, gpus=(Gpu("card", 8.0, 7.6, (8, 9)),))
TWO_80 = replace(CARD_16, gpus=(Gpu("card", 79.6, 79.0, (9, 0)),) * 2, ram_gib=128.0)


@cache
def recipe(name, *overrides):
    return from_container(compose_container([f"recipe={name}", *overrides]))


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-0.5B", 0.494),
        ("Qwen/Qwen2.5-Coder-1.5B", 1.544),
        ("Qwen/Qwen2.5-Coder-3B", 3.086),
        ("Qwen/Qwen2.5-7B", 7.616),
    ],
)
def test_published_parameter_counts(name, billions):
    shape = shape_of(name)
    assert shape is not None
    assert shape.parameters / 1e9 == pytest.approx(billions, abs=0.001)


def test_parameter_count_is_that_of_the_real_model(tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    sizes = {
        "vocab_size": 999,
        "hidden_size": 96,
        "intermediate_size": 200,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
    }
    for model_class, config in [
        (Qwen2ForCausalLM, Qwen2Config(**sizes, num_key_value_heads=2, tie_word_embeddings=True)),
        (LlamaForCausalLM, LlamaConfig(**sizes, num_key_value_heads=3, tie_word_embeddings=False)),
    ]:
        with torch.device("meta"):
            model = model_class(config)
        config.save_pretrained(tmp_path)
        shape = shape_of(str(tmp_path))
        assert shape is not None
        assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_lora_parameters_are_those_of_field_notes():
    shape = shape_of("Qwen/Qwen2.5-3B")
    assert shape is not None
    assert shape.lora_parameters(32) / 1e6 == pytest.approx(59.9, abs=0.1)
    assert shape.kv_bytes_per_token() == 36 * 1024


@pytest.mark.parametrize("name", ["0_5b_16gb", "1_5b_16gb", "3b_lora_16gb"])
def test_recipes_fit_their_card_within_15_gib(name):
    config = recipe(name)
    shape = shape_of(config.model.path)
    assert shape is not None
    verdict = judge_fit(config, CARD_16, shape, 100.0)
    assert verdict.fits, verdict.shortages
    assert verdict.estimate.gpu_peak.gib <= 15.0
    assert verdict.estimate.phase("engine asleep").gib <= 1.2
    assert verdict.estimate.ram.gib <= (12.0 if name == "0_5b_16gb" else 24.0)


def test_checkpoints_of_adapters_on_one_device_are_small():
    config = recipe("3b_lora_16gb")
    shape = shape_of(config.model.path)
    assert shape is not None
    several = recipe("3b_lora_16gb", "train.n_gpus_per_node=2", "train.compile_layers=false")
    sizes = [
        judge_fit(each, machine, shape).estimate.disk.parts[0].gib
        for each, machine in ((config, CARD_16), (several, TWO_80))
    ]
    assert sizes[0] < 2 and sizes[1] > 20, "several devices save their shards of the frozen model too"


def test_small_and_large_recipes_fit_theirs():
    for name, machine in (("0_5b_8gb", CARD_8), ("paper_multi_gpu", TWO_80)):
        config = recipe(name)
        shape = shape_of(config.model.path)
        assert shape is not None
        assert judge_fit(config, machine, shape, 500.0).fits, name


def test_stock_settings_do_not_fit_and_say_where():
    config = recipe("published_single_gpu")
    shape = shape_of(config.model.path)
    assert shape is not None
    verdict = judge_fit(config, CARD_16, shape, 100.0)
    assert "update" in {shortage.phase for shortage in verdict.shortages}
    update = verdict.estimate.phase("update")
    others = sum(part.gib for part in update.parts if part.name in ("trainer context", "engine asleep"))
    assert update.gib - others == pytest.approx(21, rel=0.1)  # measured in the trainer's allocator: 21 GB


def test_advice_is_cheap_and_true():
    """What is advised fits when it is done, and nothing dear is advised where something cheap is enough."""
    cases = [
        (recipe("published_single_gpu"), CARD_16, "train.chunked_logprobs=true"),
        (recipe("0_5b_16gb", "train.micro_batch_tokens=64000"), CARD_16, "train.micro_batch_tokens=16000"),
        (recipe("0_5b_16gb"), CARD_8, "train.optimizer=adamw_8bit"),
    ]
    for config, machine, expected in cases:
        shape = shape_of(config.model.path)
        assert shape is not None
        verdict = judge_fit(config, machine, shape, 100.0)
        assert verdict.advice is not None
        assert expected in verdict.advice.settings
        name = config.recipe
        overrides = [
            *verdict.advice.settings,
            *(["train.micro_batch_tokens=16000"] if "16000" in expected else []),
        ]
        fixed = recipe(name, *dict.fromkeys(overrides))
        assert judge_fit(fixed, machine, shape, 100.0).fits


def test_a_run_that_has_begun_is_not_told_to_change_what_it_keeps(tmp_path):
    """The next start refused what this one had advised."""
    kept = ("model.path", *SETTINGS.values())
    config = recipe("0_5b_16gb")
    shape = shape_of(config.model.path)
    assert shape is not None
    assert judge_fit(config, CARD_8, shape, 100.0, kept=kept).advice is None
    wide = recipe("0_5b_16gb", "train.micro_batch_tokens=64000")
    advice = judge_fit(wide, CARD_16, shape, 100.0, kept=kept).advice
    assert advice is not None and "train.micro_batch_tokens=16000" in advice.settings
    for each in (config, recipe("0_5b_16gb", "train.n_gpus_per_node=2")):
        with pytest.raises(BudgetError) as error:
            require_fit(each, CARD_8, tmp_path, kept)
        told = str(error.value)
        assert "azr export" in told and "name=OTHER" in told and "cheapest change" not in told


@pytest.mark.parametrize(("missing", "resource"), [({"ram_gib": 6.0}, "ram"), ({}, "disk")])
def test_host_memory_and_disk_count(missing, resource):
    config = recipe("0_5b_16gb")
    shape = shape_of(config.model.path)
    assert shape is not None
    verdict = judge_fit(config, replace(CARD_16, **missing), shape, 100.0 if resource == "ram" else 5.0)
    assert [shortage.resource for shortage in verdict.shortages] == [resource]


@pytest.mark.parametrize(("disk_gib", "advised"), [(60.0, "100"), (30.0, "0")])
def test_checkpoints_that_all_stay_are_thinned_out_before_the_experiment_is_another(disk_gib, advised):
    """The advice was to train adapters in place of all weights."""
    config = recipe("1_5b_16gb", "campaign.keep_every=1")
    shape = shape_of(config.model.path)
    assert shape is not None
    verdict = judge_fit(config, CARD_16, shape, disk_gib)
    assert verdict.advice is not None and verdict.advice.settings == (f"campaign.keep_every={advised}",)


@given(
    cycles=st.integers(1, 6),
    steps_per_cycle=st.integers(1, 40),
    save_every=st.integers(1, 15),
    early=st.sets(st.integers(1, 60), max_size=3),
    keep_last=st.integers(1, 4),
    keep_every=st.integers(0, 45),
    best=st.booleans(),
)
@example(
    cycles=5, steps_per_cycle=100, save_every=10, early=set(), keep_last=2, keep_every=15, best=True
)  # every 30th stays: 33 were counted, each of some GiB, in place of 16
def test_the_disk_needs_room_for_the_checkpoints_that_a_run_keeps(
    cycles, steps_per_cycle, save_every, early, keep_last, keep_every, best
):
    config = Config(
        train=replace(Config().train, save_every_steps=save_every, early_saves=sorted(early)),
        campaign=replace(
            Config().campaign,
            cycles=cycles,
            steps_per_cycle=steps_per_cycle,
            keep_last=keep_last,
            keep_every=keep_every,
            best_metric="metric" if best else "",
        ),
    )
    there: list[int] = []
    most = 0
    for step in range(1, cycles * steps_per_cycle + 1):
        if step % save_every and step % steps_per_cycle and step not in early:
            continue
        there.append(step)
        most = max(most, len(there))
        kept_best = {there[0]} if best else set()  # the best may be any; the first is kept longest
        for doomed in steps_to_delete(there, keep_last=keep_last, keep_every=keep_every, protected=kept_best):
            there.remove(doomed)
    assert most <= checkpoints_at_most(config) <= most + best


def test_limit_below_the_card_leaves_the_engines_share_alone():
    """A large card of which 16 GiB may be used: the engine takes its share of the whole card, as vLLM
    does."""
    card_80 = replace(CARD_16, gpus=(replace(CARD_16.gpus[0], total_gib=80.0, free_gib=80.0),))
    small = recipe("0_5b_16gb")
    imitated = recipe(
        "0_5b_16gb",
        "budget.gpu_limit_gib=15.92",
        f"rollout.gpu_memory_share={small.rollout.gpu_memory_share * CARD_16.gpus[0].total_gib / 80:.6f}",
    )
    shape = shape_of(small.model.path)
    assert shape is not None
    real, played = judge_fit(small, CARD_16, shape, 100.0), judge_fit(imitated, card_80, shape, 100.0)
    assert played.fits and played.estimate.gpu_peak.gib == pytest.approx(real.estimate.gpu_peak.gib, abs=0.01)
    assert not judge_fit(recipe("0_5b_16gb", "budget.gpu_limit_gib=12"), card_80, shape, 100.0).fits


def test_driver_refuses_and_can_be_overridden(tmp_path):
    config = recipe("0_5b_16gb")
    machine = replace(CARD_8, ram_gib=64.0)
    with pytest.raises(BudgetError) as refused:
        require_fit(config, machine, tmp_path)
    message = str(refused.value)
    assert "phase update" in message and "cheapest change" in message and "budget.override=[gpu" in message
    allowed = recipe("0_5b_16gb", "budget.override=[gpu,disk]")
    verdict = require_fit(allowed, machine, tmp_path)
    assert verdict is not None and not verdict.fits


def test_unknown_model_is_not_judged(tmp_path):
    assert require_fit(recipe("0_5b_16gb", "model.path=someone/unheard-of"), CARD_16, tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    with pytest.raises(ModelError, match="Llama- and Qwen-like"):
        shape_of(str(tmp_path))


def test_largest_recipe_of_a_machine():
    recipes = {name: recipe(name) for name in recipe_names()}
    names = [item.recipe for item in propose(CARD_16, recipes, 100.0) if item.verdict.fits]
    assert set(names[:2]) == {"7b_int4_12gb", "7b_int4_16gb"}, "plain weights before int4 ones of one size"
    assert names[2:6] == ["3b_lora_16gb", "3b_int4_8gb", "1_5b_16gb", "0_5b_16gb"]
    fitting = [item.recipe for item in propose(CARD_8, recipes, 100.0) if item.verdict.fits]
    assert fitting == ["3b_int4_8gb", "0_5b_8gb", "cpu_tiny"]
    bfloat16 = [item.recipe for item in propose(TWO_80, recipes, 500.0) if "int4" not in item.recipe]
    assert bfloat16[0] == "paper_multi_gpu"


def test_more_of_anything_never_needs_less():
    plain = "train.compile_layers=false"  # which padded batches ask for
    base = recipe("1_5b_16gb", plain)
    shape = shape_of(base.model.path)
    assert shape is not None
    peak = judge_fit(base, CARD_16, shape).estimate.phase("update").gib
    for override in ("train.micro_batch_tokens=16384", "train.logprob_chunk_tokens=4096", "train.gradient_checkpointing=false",
                     "train.chunked_logprobs=false", "train.packed_sequences=false"):  # fmt: skip
        more = recipe("1_5b_16gb", plain, override)
        assert judge_fit(more, CARD_16, shape).estimate.phase("update").gib >= peak, override


def test_two_cards_share_the_states():
    one, two = recipe("paper_multi_gpu", "train.n_gpus_per_node=1"), recipe("paper_multi_gpu")
    shape = shape_of(two.model.path)
    assert shape is not None

    def states(config):
        parts = {
            part.name: part.gib for part in judge_fit(config, TWO_80, shape).estimate.phase("update").parts
        }
        return parts["weights"] + parts["gradients"] + parts["optimizer states"]

    assert states(two) == pytest.approx(states(one) / 2)


def test_machine_without_a_gpu_counts_host_memory():
    shape = shape_from_config(
        {
            "model_type": "qwen2",
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 6,
            "num_attention_heads": 6,
            "vocab_size": 1024,
        }
    )
    config = Config(rollout=RolloutConfig(dtype="float32"))
    verdict = judge_fit(config, Machine((), 2, 16.0, 15.0), shape, 50.0)
    assert verdict.fits and not verdict.estimate.gpu
    assert not judge_fit(Config(), Machine((), 2, 4.0, 3.0), shape, 50.0).fits


def test_command_needs_no_torch(tmp_path):
    """The tables come without torch, ray, verl or vllm being imported."""
    code = (
        "import sys; from azr.cli import main\n"
        "status = main(['preflight', 'recipe=0_5b_16gb', '--gpu', '15.92', '--ram', '31'])\n"
        "assert not {'torch','ray','verl','vllm','transformers'} & set(sys.modules), 'heavy import'\n"
        "sys.exit(status)"
    )
    started = time.perf_counter()
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "update" in answer.stdout and "fits." in answer.stdout
    print(f"{time.perf_counter() - started:.2f} s")


@pytest.mark.parametrize(
    ("free_gib", "told"),
    [
        (15.4, ""),
        (13.9, ""),  # a desktop and a browser
        (4.0, "hold 12.0 of the 16.0 GiB of card: this run needs 14.8 GiB (phase rollout), and 4.0 are free"),
    ],
)
def test_a_card_that_others_use(tmp_path, monkeypatch, capsys, free_gib, told):
    """The plan was compared with the whole card, and said that it fits while a game held most of it."""
    machine = {"gpus": [{"name": "card", "total_gib": 16.0, "free_gib": free_gib}], "ram_gib": 64}
    described = tmp_path / "machine.json"
    described.write_text(json.dumps(machine))
    monkeypatch.setenv("AZR_MACHINE", str(described))
    words = ["recipe=0_5b_16gb", f"runs_dir={tmp_path}"]
    assert preflight.main(words) == (1 if told else 0)
    answer = capsys.readouterr().out
    assert told in answer and ("nvidia-smi" in answer) == bool(told) and ("\nfits.\n" in answer) != bool(told)
    assert preflight.main([*words, "--json"]) == (1 if told else 0)
    assert json.loads(capsys.readouterr().out)["fits"] is not bool(told)
    assert preflight.main([*words, "--gpu", "16"]) == 0, "an assumed card is nobody's"


def test_proposals_leave_out_what_others_hold_of_the_card(tmp_path, monkeypatch, capsys):
    """It proposed 3B for a card of which a game held three quarters, and every run of it was then refused."""
    described = tmp_path / "machine.json"
    described.write_text(
        json.dumps({"gpus": [{"name": "card", "total_gib": 16.0, "free_gib": 9.0}], "ram_gib": 64})
    )
    monkeypatch.setenv("AZR_MACHINE", str(described))
    assert preflight.main(["--propose", "budget.gpu_reserve_gib=7"]) == 0
    assert "The largest of the others: recipe=0_5b_8gb" in capsys.readouterr().out, "as the sentence advises"
    assert preflight.main(["--propose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    marks = {line.split()[1]: line.split()[0] for line in lines if line[:4] in ("fits", "busy", "no  ")}
    assert marks["cpu_tiny"] == "fits" and marks["0_5b_16gb"] == marks["1_5b_16gb"] == "busy"
    assert "hold 7.0 of the 16.0 GiB of card" in lines[-2] and "nvidia-smi" in lines[-2]
    assert lines[-1].endswith("azr preflight --propose budget.gpu_reserve_gib=7")
    assert preflight.main(["--propose", "--json"]) == 0
    fits = {item["recipe"]: item["fits"] for item in json.loads(capsys.readouterr().out)}
    assert {name: mark == "fits" for name, mark in marks.items()} == fits
    assert preflight.main(["--propose", "recipe=0_5b_16gb"]) == 1
    assert "none of them fits this machine" in capsys.readouterr().out


def test_a_recipe_that_refuses_a_setting_does_not_hide_the_proposals(tmp_path, monkeypatch, capsys):
    """Two cards: the first recipe with adapters ended the command, without a table."""
    described = tmp_path / "machine.json"
    described.write_text(json.dumps({"gpus": [{"total_gib": 16.0}, {"total_gib": 12.0}], "ram_gib": 64}))
    monkeypatch.setenv("AZR_MACHINE", str(described))
    assert preflight.main(["--propose", "train.n_gpus_per_node=2"]) == 0
    told = capsys.readouterr()
    assert (
        "fits  0_5b_8gb" in told.out and "recipe=3b_lora_16gb is left out: train.compile_layers" in told.err
    )
    with pytest.raises(ConfigError, match="several GPUs"):
        preflight.main(["--propose", "train.n_gpus_per_node=2", "recipe=3b_lora_16gb"])
    with pytest.raises(ConfigError, match="no configuration key"):
        preflight.main(["--propose", "train.n_gpu=2"])


def test_speed_model_by_hand():
    """0.5B on a 5080, worked out by hand: 345,600 tokens trained, 1,920 sequences of 300 tokens generated."""
    from azr.budget.speed import RTX_5080, Assumptions, step_time

    config = recipe("0_5b_16gb", "selfplay=code")
    shape = shape_of(config.model.path)
    assert shape is not None
    time_of = step_time(config, shape, RTX_5080)
    assert time_of.concurrent_sequences == 256
    assert time_of.train_s == pytest.approx(6 * 0.494e9 * 345_600 / (0.29 * 112e12), rel=0.01)
    step_bytes = 2 * 0.494e9 + 256 * 750 * 12 * 1024
    prefill_s = 2 * 0.494e9 * (384 + 192) * 600 / (0.6 * 112e12)
    assert time_of.generate_s == pytest.approx(2250 * step_bytes / 960e9 / 0.5 + prefill_s, rel=0.01)
    assert (
        step_time(config, shape, RTX_5080, Assumptions(valid_share=0.2)).generate_s < 0.5 * time_of.generate_s
    )


def test_adapters_beside_every_product_take_time_and_merged_ones_none():
    from azr.budget.speed import RTX_5080, step_time

    shape = shape_of("Qwen/Qwen2.5-Coder-3B-Instruct")
    assert shape is not None
    merged, beside = (
        step_time(recipe("3b_lora_16gb", f"rollout.merge_adapters={merge}"), shape, RTX_5080)
        for merge in ("true", "false")
    )
    assert merged.generate_s < beside.generate_s < 1.4 * merged.generate_s
    assert merged.train_s == beside.train_s


def test_adapters_are_advised_without_compiled_layers():
    """The configuration refuses both together, so the advice must not name them together."""
    from azr.budget.changes import _changes

    config = recipe("0_5b_16gb")
    assert config.train.compile_layers
    settings = next(settings for _, settings, _ in _changes(config) if "model.lora_rank=32" in settings)
    assert "train.compile_layers=false" in settings


def test_the_tables_of_all_recipes_keep_to_the_one_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """``recipe=`` won over each row's own recipe: every line said the same."""
    preflight.main(["--speed", "recipe=1_5b_16gb"])
    [_, _, only] = capsys.readouterr().out.splitlines()
    preflight.main(["--speed"])
    [_, _, *rows] = capsys.readouterr().out.splitlines()
    assert only.startswith("1_5b_16gb") and only in rows and len({row[16:] for row in rows}) > 2


def test_the_speed_of_a_run_that_does_not_fit_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    preflight.main(["--speed", "--gpu", "8", "recipe=1_5b_16gb"])
    assert "DOES NOT FIT: 14.4 of 7.4 GiB" in capsys.readouterr().out
    preflight.main(["--speed", "--gpu", "16", "recipe=1_5b_16gb"])
    assert "FIT" not in capsys.readouterr().out


@pytest.mark.parametrize(("hours", "told"), [("10", "in 10 h"), ("0.5", "in 0.5 h"), ("0", "in 48 h")])
def test_the_steps_are_those_of_the_hours_that_are_set(
    hours: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were those of 48 hours always."""
    preflight.main(["--speed", "recipe=1_5b_16gb", f"campaign.hours={hours}"])
    [_, _, only] = capsys.readouterr().out.splitlines()
    seconds, steps = only.split()[1], only.split()[6].replace(",", "")
    assert only.endswith(told)
    assert int(steps) == pytest.approx(float(told.split()[1]) * 3600 / float(seconds), rel=0.01, abs=1)


@pytest.mark.parametrize("name", ["cpu_tiny", "published_single_gpu", "paper_multi_gpu"])
def test_a_named_recipe_without_an_estimate_says_why(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The table was empty, without a word."""
    preflight.main(["--speed", f"recipe={name}"])
    [_, _, only] = capsys.readouterr().out.splitlines()
    assert only.startswith(f"{name}: no estimate, it")


@pytest.mark.parametrize(
    "words", ["--speed --bandwidth 0", "--speed --tflops -5", "--ram nan", "--gpu 0", "--gpu 16 --gpus 0"]
)
def test_numbers_of_no_card_are_refused(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bandwidth of 0 ended in a traceback, a memory of nan "fits"."""
    with pytest.raises(SystemExit) as ended:
        preflight.main(words.split())
    assert ended.value.code == 2 and "above 0" in capsys.readouterr().err


def test_memory_in_mib_is_not_taken_for_gib(capsys: pytest.CaptureFixture[str]) -> None:
    """8188 MiB, as nvidia-smi has it, or the 4090 of a name "fits" everything, with a KV cache of millions of
    tokens."""
    for words, told in (("--gpu 8188", "8188 MiB are 8.0"), ("--gpu 4090", "GiB"), ("--ram 32000", "31.2")):
        with pytest.raises(SystemExit) as ended:
            preflight.main(words.split())
        assert ended.value.code == 2 and told in capsys.readouterr().err


def test_adapters_beside_their_base_take_room_from_the_engines_cache() -> None:
    """7B with rank 32 loaded in 5.52 GiB on a card, the base alone is 5.26."""
    shape = shape_of("Qwen/Qwen2.5-Coder-7B")
    assert shape is not None
    packed = replace(shape, int4_group=64)
    beside, merged = (
        estimate(
            recipe("7b_int4_16gb", f"rollout.merge_adapters={merge}", "model.base_format=plain"), packed, 16.0
        )
        for merge in ("false", "true")
    )
    tokens = 2 * packed.lora_parameters(32) / packed.kv_bytes_per_token()
    assert merged.kv_tokens - beside.kv_tokens == pytest.approx(tokens, abs=2)
    assert beside.gpu_peak.gib == merged.gpu_peak.gib, "both are in the engine's share"


def test_an_int4_base_takes_the_room_of_its_words_and_scales() -> None:
    """7B by hand: 6.525 billion weights of 4.25 bits, 1.09 billion in bfloat16, and as trainer's base, engine's
    weights and host copy the same."""
    plain = shape_of("Qwen/Qwen2.5-Coder-7B")
    assert plain is not None
    packed = replace(plain, int4_group=64)
    assert packed.linear_parameters == pytest.approx(6.525e9, rel=1e-3)
    assert packed.base_bytes(2) / GIB == pytest.approx(5.26, abs=0.01)
    assert plain.base_bytes(2) / GIB == pytest.approx(14.18, abs=0.01)
    config = recipe("3b_lora_16gb", "rollout.gpu_memory_share=0.74")
    before, after = (estimate(config, shape, 16.0) for shape in (plain, packed))

    def part(needed: ResourceEstimate, phase: str, name: str) -> float:
        return next(part.gib for part in needed.phase(phase).parts if part.name == name)

    adapters = 2 * packed.lora_parameters(32) / GIB
    assert part(after, "update", "weights") == pytest.approx(5.26 + adapters, abs=0.01)
    engine = part(after, "rollout", "engine awake") - part(after, "sync", "engine context and graphs")
    given_back = 0.17 * 6.525e9 / 2 / GIB  # while it loads, and its share is not filled again
    assert engine == pytest.approx(0.74 * 16 - given_back + 0.5, abs=0.01)
    assert after.phase("update").gib < 15 < before.phase("update").gib
    assert next(item.gib for item in after.ram.parts if item.name == "offloaded weights") == pytest.approx(
        5.26, abs=0.01
    )
    assert after.kv_tokens > 99_000 and before.kv_tokens == 0


def test_what_no_card_has_run_is_said_where_it_is_proposed() -> None:
    assert _answer([]) == "none of them fits this machine."
    assert _answer(["1_5b_16gb", "7b_int4_16gb"]) == "the largest that fits: recipe=1_5b_16gb"
    answer = _answer(["7b_int4_16gb", "3b_int4_8gb", "3b_lora_16gb"])
    assert "recipe=7b_int4_16gb" in answer and answer.endswith("recipe=3b_lora_16gb")


def test_a_planned_card_decides_the_recipe_too(capsys: pytest.CaptureFixture[str]) -> None:
    """``azr preflight --gpu 8`` judged the recipe of the machine that it ran on: the tiny model "fits" any card."""
    for size, recipe in (("8", "0_5b_8gb"), ("24", "0_5b_16gb"), ("5", "cpu_tiny")):
        preflight.main(["--gpu", size, "name=no_such_run"])
        assert capsys.readouterr().out.startswith(f"recipe {recipe}: an assumed card, {size}.0 GiB")


@pytest.mark.parametrize("words", ["--gpus 2", "--gpu 24 --gpus 2 --speed"])
def test_a_number_of_cards_that_would_be_ignored_is_refused(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        preflight.main(words.split())
    assert "--gpus goes with --gpu" in capsys.readouterr().err
