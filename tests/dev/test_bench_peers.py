"""Equal work, and what is made of the peers' lines: the parts of ``bench_peers.py`` that need no card."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench_peers
import bench_step
from azr.budget.shape import shape_of
from azr.errors import ConfigError
from azr.selfplay.game import SelfPlay
from azr.system.hardware import Machine
from azr.train.fixed_lengths import drawn_prompt
from peers import attempt, common, figures, plan

WORK = common.Work()
SMALL = common.Work(groups=6, group=4, prompt_tokens=20, response_tokens=10, steps=2)


def options(**changes):
    values = {
        "set": [], "rehearse": False, "recipe": None, "model": Path("Qwen/Qwen2.5-Coder-1.5B-Instruct"),
        "lora_rank": 0, "steps": 3, "groups": 0,
    }  # fmt: skip
    return argparse.Namespace(**{**values, **changes})


def step(number, **seconds):
    return {"step": number, "seconds": seconds, "total_s": sum(seconds.values()), "mismatch": 0.003}


# ---------------------------------------------------------------- the work


def test_the_work_is_what_the_issue_says() -> None:
    assert WORK.sequences == 480
    assert WORK.generated_tokens == 480 * 300
    assert WORK.trained_tokens == 480 * 900


def test_peers_get_the_prompts_that_our_rows_draw() -> None:
    """The names that prompts are drawn from are those of the rows that the game plans."""
    config = replace(
        bench_step.load_config(["recipe=cpu_tiny", "selfplay.train_propose=false"]).config.selfplay,
        batch_size=2,
    )
    game = SelfPlay(config, seed=0)
    game.start(bench_step.synthetic_tasks(8))
    rows = game.plan_step(2, lambda prompt: True)
    expected = [drawn_prompt(row.row_id, SMALL.prompt_tokens) for row in rows]
    given = plan.prompts(SMALL)[1]
    assert sorted(given) == sorted(expected) and len(given) == SMALL.groups
    assert all(len(ids) == 20 and max(ids) < 256 for ids in given)
    assert plan.prompts(SMALL)[0] != given


def test_rewards_differ_inside_a_group_and_are_the_same_for_all_peers() -> None:
    drawn = [common.reward(0, place) for place in range(8)]
    assert len(set(drawn)) == 8 and drawn == [common.reward(0, place) for place in range(8)]
    assert np.all((np.array(drawn) >= 0) & (np.array(drawn) < 1))


def test_groups_fill_our_three_streams() -> None:
    assert plan.work_of(options(groups=30)).sequences == 240
    with pytest.raises(ConfigError, match="multiple of 3"):
        plan.work_of(options(groups=20))


def test_an_order_survives_the_environment() -> None:
    order = common.Order(SMALL, "model", "prompts.json", {"micro": 4, "liger": True}, rehearse=True)
    assert common.Order.from_text(order.to_text()) == order


# ---------------------------------------------------------------- what is tried


@pytest.mark.parametrize("peer", plan.PEERS)
@pytest.mark.parametrize(("room_gib", "rank"), [(80.0, 0), (16.0, 0), (80.0, 32), (16.0, 32)])
def test_every_peer_has_as_many_tries(peer, room_gib, rank) -> None:
    tries = plan.tries_of(peer, replace(WORK, lora_rank=rank), room_gib, options())
    assert len(tries) == 3 and len({json.dumps(each) for each in tries}) == 3
    for each in tries:
        if peer != "ours":
            assert WORK.sequences % each["micro"] == 0 and 0 < each["share"] < 1


def test_a_large_card_is_used_by_the_others_too() -> None:
    # neither an engine that sleeps nor activations computed twice, where there is room for both
    first, *_, last = plan.tries_of("trl", WORK, 139.0, options())
    assert first["sleep"] is False and first["checkpoint"] is False and "checkpoint" not in last
    assert all("checkpoint" not in each for each in plan.tries_of("trl", WORK, 16.0, options()))
    own = plan.tries_of("trl", WORK, 139.0, options(set=["trl.micro=8", "trl.checkpoint=false"]))
    assert own == ({"micro": 8, "checkpoint": False},)


def test_settings_of_ones_own_are_tried_alone() -> None:
    own = options(set=["trl.micro=16", "trl.share=0.5", "trl.attention=flex", "agilerl.micro=2"])
    assert plan.tries_of("trl", WORK, 80.0, own) == ({"micro": 16, "share": 0.5, "attention": "flex"},)
    assert plan.tries_of("trl-liger", WORK, 80.0, own) == plan.TRIES["trl"][0]
    assert plan.tries_of("ours", WORK, 80.0, options(set=["ours.plus=+seed=3"])) == ({"plus": "+seed=3"},)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tlr.micro=8", "a peer from ours, trl"),
        ("trl.batch=8", "a key from micro"),
        ("trl.micro", "PEER.KEY=VALUE"),
        ("trl.micro=7", "must divide the 480 sequences"),
        ("trl.share=0.5", "must divide"),
    ],
)
def test_a_slip_in_a_setting_is_told(text, said) -> None:
    with pytest.raises(ConfigError, match=said):
        plan.tries_of("trl", WORK, 80.0, options(set=[text]))


def test_a_share_of_what_is_left_becomes_one_of_the_whole_card() -> None:
    settings = attempt.of_the_whole_card({"share": 0.5, "micro": 8}, 16.0, 80.0)
    assert settings == {"share": 0.1, "micro": 8}
    assert attempt.of_the_whole_card({"micro": 8}, 16.0, 80.0) == {"micro": 8}


def test_a_folder_of_packages_goes_first_and_a_virtual_environment_runs_itself(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "before")
    assert attempt.peer_environment(tmp_path)["PYTHONPATH"] == f"{tmp_path}:before"
    assert attempt.interpreter(tmp_path) == sys.executable
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    assert attempt.peer_environment(tmp_path)["PYTHONPATH"] == "before"
    assert attempt.interpreter(tmp_path) == str(tmp_path / "bin" / "python")


def test_our_recipe_follows_the_model() -> None:
    assert plan.our_recipe(options(), WORK) == "1_5b_16gb"
    assert plan.our_recipe(options(model="Qwen/Qwen2.5-Coder-0.5B"), WORK) == "0_5b_16gb"
    adapters = plan.our_recipe(options(), replace(WORK, lora_rank=8))
    assert adapters == "3b_lora_16gb+model.lora_rank=8+model.lora_alpha=16"
    rehearsed = plan.our_recipe(options(rehearse=True), replace(WORK, lora_rank=8))
    assert rehearsed == "cpu_tiny+model.lora_rank=8+model.lora_alpha=16"
    with pytest.raises(ConfigError, match="--recipe"):
        plan.our_recipe(options(model="Qwen/Qwen2.5-Coder-7B"), WORK)


def test_our_own_try_goes_through_the_benchmark_of_steps(tmp_path, monkeypatch, capsys) -> None:
    """With options of another program it ended in an AttributeError, on a card that was rented for it."""
    start = subprocess.Popen

    def dying_trainer(command, **settings):
        if "azr.train" in command:
            command = [sys.executable, "-c", "raise SystemExit('ValueError: no room')"]
        return start(command, **settings)

    monkeypatch.setattr(subprocess, "Popen", dying_trainer)
    monkeypatch.setattr(bench_peers, "prepare_places", lambda: None)
    monkeypatch.setattr(bench_peers, "detect", lambda: Machine((), 2, 16.0, 12.0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # chosen there, and as before after this test
    model, found = bench_step.ROOT / "data" / "models" / "azr-tiny", tmp_path / "found.json"
    words = f"--rehearse --peers ours --envs {tmp_path} --model {model} --json {found}"
    monkeypatch.setattr(sys, "argv", ["bench_peers.py", *words.split()])
    assert bench_peers.main() == 0
    [ours] = json.loads(found.read_text())["results"]
    assert "ValueError: no room" in ours["failed"]
    assert "cpu_tiny" in capsys.readouterr().out


# ---------------------------------------------------------------- what a peer printed


def test_step_lines_are_found_among_others() -> None:
    good = step(1, generate=2.0)
    output = (
        f'{{"loss": 1}}\nSTEP {json.dumps(good)}\nSTEP {{"step": 2, "sec\nSTEP 7\nSETTINGS {{"micro": 4}}\nx'
    )
    assert figures.step_lines(output) == [good]
    assert figures.settings_line(output) == {"micro": 4}
    assert figures.settings_line("") == {}


@pytest.mark.parametrize(
    ("output", "status", "finished", "outcome"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", 1, 0, figures.OUT_OF_MEMORY),
        ("ValueError: No available memory for the cache blocks. Try", 1, 0, figures.OUT_OF_MEMORY),
        ("ValueError: Free memory on device cuda:0 (8.0/16.0 GiB) on startup is less than desired GPU memory utilization",
         1, 0, figures.OUT_OF_MEMORY),
        ("ModuleNotFoundError: No module named 'unsloth'", 1, 0, figures.DOES_NOT_START),
        ("ImportError: late", 1, 2, figures.FAILED),
        ("", None, 1, figures.TIMED_OUT),
        ("RuntimeError: x", 1, 0, figures.FAILED),
        ("warning: out of memory once, went on", 0, 3, figures.RAN),
    ],
)  # fmt: skip
def test_running_out_of_memory_is_a_result(output, status, finished, outcome) -> None:
    assert figures.outcome_of(output, status, finished, 3) == outcome


def test_the_error_is_the_line_that_names_one() -> None:
    log = "Traceback\n  File x\nImportError: no vllm\n  during handling\nnote: see above"
    assert figures.last_error(log) == "ImportError: no vllm"
    assert figures.last_error("only this\n") == "only this"
    assert figures.last_error("") == ""


def test_phases_count_once_and_add_up_to_the_step(capsys, monkeypatch) -> None:
    """A phase inside another is not counted twice; what none counts goes to the rest."""
    clock = iter([0.0, 1.0, 3.0, 6.0, 7.0, 9.0, 9.0])
    monkeypatch.setattr(common.time, "perf_counter", lambda: next(clock))
    phases = common.Phases()  # 0
    with phases.timed("update"):  # 1
        with phases.timed("generate"):  # 3 to 6
            pass
        # update until 7
    phases.end_step(1, rest="other", sequences=4)  # 9
    [found] = figures.step_lines(capsys.readouterr().out)
    assert found["seconds"] == {"generate": 3.0, "log_probs": 0.0, "update": 3.0, "sync": 0.0, "other": 3.0}
    assert found["total_s"] == 9.0 == sum(found["seconds"].values())


# ---------------------------------------------------------------- figures


def test_figures_are_medians_after_the_first_step() -> None:
    steps = [
        step(1, generate=90.0, update=90.0),
        {**step(2, generate=10.0, update=4.0, log_probs=2.0), "mismatch": None},
        step(3, generate=12.0, update=6.0, log_probs=2.0),
    ]
    found = figures.figures(WORK, steps, figures.Roofline(2.2, 3.5, 480))
    assert found["seconds"]["generate"] == 11.0 and found["step_s"] == 18.0
    assert found["generated_tokens_per_s"] == round(480 * 300 / 11)
    assert found["update_tokens_per_s"] == round(480 * 900 / 7)
    assert found["mismatch_nats"] == 0.003  # at the first optimizer step
    assert found["share_of_roofline"] == {"generate": 0.2, "update": 0.5}
    assert figures.figures(WORK, steps[:1], None)["step_s"] == 180.0


def test_roofline_by_hand() -> None:
    shape = shape_of("Qwen/Qwen2.5-Coder-1.5B-Instruct")
    assert shape is not None
    bound = figures.roofline(shape, WORK, 80.0, 3000.0, 800.0)
    kv = shape.kv_bytes_per_token()
    decode_s = 300 * (2 * shape.parameters + 480 * 750 * kv) / 3e12
    prefill_s = 2 * shape.parameters * 60 * 600 / 800e12
    assert bound.at_once == 480
    assert bound.generate_s == pytest.approx(decode_s + prefill_s, abs=1e-3)
    assert bound.update_s == pytest.approx(6 * shape.parameters * 480 * 900 / 800e12, abs=1e-3)
    small = figures.roofline(shape, WORK, 8.0, 3000.0, 800.0)  # weights are read once a wave
    assert small.at_once < 480 and small.generate_s > bound.generate_s
    adapters = figures.roofline(shape, replace(WORK, lora_rank=32), 80.0, 3000.0, 800.0)
    assert adapters.update_s == pytest.approx(bound.update_s * 4 / 6, abs=1e-3)
    assert figures.roofline(shape, WORK, 1.0, 3000.0, 800.0).at_once == 1


RAN = {
    "peer": "trl", "hold": "whole card", "recipe": "trl, m, all weights, whole card", "step_s": 30.0,
    "seconds": {"generate": 12.0, "log_probs": 0.0, "update": 16.0, "sync": 1.0, "other": 1.0},
    "tokens_per_s": 14_400, "gpu_peak_gib": 53.2, "host_peak_gib": 9.0, "mismatch_nats": None,
    "update_tokens_per_s": 27_000, "generated_tokens_per_s": 12_000,
}  # fmt: skip
OURS = {
    **RAN,
    "peer": "ours",
    "recipe": "ours, m, all weights, whole card",
    "step_s": 20.0,
    "mismatch_nats": 0.0012,
}
LACKS = {
    "peer": "trl", "hold": "16 GiB left", "recipe": "trl, m, all weights, 16 GiB left",
    "outcome": figures.OUT_OF_MEMORY, "failed": "CUDA out of memory",
}  # fmt: skip
OURS_HELD = {**OURS, "hold": "16 GiB left", "recipe": "ours, m, all weights, 16 GiB left", "step_s": 25.0}


def test_the_table_has_a_line_for_what_did_not_fit() -> None:
    text = figures.table([OURS, RAN, OURS_HELD, LACKS], {"whole card": figures.Roofline(1.5, 5.0, 480)})
    lines = text.splitlines()
    assert len({len(line) for line in lines[1:3]}) == 1  # aligned
    assert "14,400" in lines[2] and lines[2].endswith("?") and lines[1].endswith("0.0012")
    assert "out of memory" in lines[4]
    assert lines[5].startswith("roofline, whole card") and "6.5" in lines[5]
    assert lines[-1] == "trl, m, all weights, 16 GiB left: out of memory: CUDA out of memory"


def test_ours_is_compared_with_the_best_peer_of_the_same_hold() -> None:
    slower = {**RAN, "peer": "agilerl", "step_s": 90.0}
    assert figures.comparisons([OURS, slower, RAN, OURS_HELD, LACKS]) == [
        "whole card: ours 20.0 s a step, the best peer (trl) 30.0 s: 1.50 times as fast",
        "16 GiB left: ours 25.0 s a step; no peer ran",
    ]


def test_the_regression_check_reads_this_format() -> None:
    baseline = {"machine": "H100", "results": [OURS, LACKS, OURS_HELD]}

    def against(*results):
        return bench_step.regressions({"machine": "H100", "results": list(results)}, baseline, 0.15)

    assert not against(OURS, LACKS, OURS_HELD)
    assert against({**OURS, "step_s": 30.0}) == ["ours, m, all weights, whole card: step_s was 20.0, is 30.0"]
    assert against({**OURS_HELD, "outcome": figures.OUT_OF_MEMORY, "failed": "x"}) == [
        "ours, m, all weights, 16 GiB left failed; it ran in the baseline"
    ]
    assert not against({**RAN, "hold": "16 GiB left", "recipe": LACKS["recipe"]})  # fits now
