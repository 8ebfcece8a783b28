"""scripts/dev/experiment.py: which settings win, and that a command ends at its limit or when it is asked
to."""

import argparse
import importlib.util
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

PROGRAM = """
import time
try:
    print("up", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("saved")
    raise SystemExit(3)
"""
SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "dev" / "experiment.py"


@pytest.fixture
def experiment():
    spec = importlib.util.spec_from_file_location("experiment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["experiment"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["experiment"]


def test_an_arms_settings_win_over_those_of_all_and_of_the_recipe(experiment, tmp_path):
    arms = experiment.ARMS | {"small": ("recipe=0_5b_16gb", "selfplay.frame=short")}
    arm = experiment.parse_arm("small:3", "1", arms)
    args = argparse.Namespace(
        recipe="1_5b_16gb",
        out=tmp_path,
        model="/m",
        steps=5,
        minutes=1.0,
        settings=["selfplay.frame=chat", "seed=9"],
    )
    command = experiment.training_command(arm, args)
    assert [word for word in command if word.startswith(("recipe=", "selfplay.frame="))] == [
        "recipe=0_5b_16gb",
        "selfplay.frame=short",
    ]
    assert (
        "name=small-3" in command
        and len({word.partition("=")[0] for word in command[2:]}) == len(command) - 2
    )


@pytest.mark.parametrize("text", ["full", "full:x", "nothing:1"])
def test_an_unknown_arm_is_a_sentence(experiment, text):
    with pytest.raises(argparse.ArgumentTypeError, match="write NAME:SEED"):
        experiment.parse_arm(text, "0", experiment.ARMS)


@pytest.mark.parametrize("asked", [False, True])
def test_a_command_is_asked_to_stop_at_its_limit_or_by_ctrl_c(experiment, tmp_path, asked):
    log = tmp_path / "log"

    def when_up():
        while b"up" not in log.read_bytes().split(b"\n")[-2:]:
            time.sleep(0.05)
        experiment.stopping.set()

    if asked:
        log.write_bytes(b"")
        threading.Thread(target=when_up, daemon=True).start()
    arm = experiment.Arm("full", 1, "0", ())
    assert experiment.call([sys.executable, "-c", PROGRAM], arm, log, 30.0 if asked else 3.0) == 3
    assert b"saved" in log.read_bytes()


def test_what_travels_holds_no_weights(experiment, tmp_path):
    for name in (
        "runs/a/metrics.jsonl",
        "runs/a/checkpoints/step_00000001/manifest.json",
        "runs/a/model.safetensors",
        "logs/a.log",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    experiment.collect(tmp_path)
    with tarfile.open(tmp_path / "results.tar.xz") as archive:
        assert sorted(archive.getnames()) == ["logs/a.log", "runs/a/metrics.jsonl"]


def test_an_arm_on_two_cards_has_a_plain_temporary_folder(experiment, tmp_path):
    """Ray and libraries that are given lists of paths do not take a comma in one."""
    log = tmp_path / "log"
    arm = experiment.Arm("full", 1, "0,1", ())
    program = "import os; print(os.environ['TMPDIR'], os.environ['CUDA_VISIBLE_DEVICES'], sep='\\n')"
    assert experiment.call([sys.executable, "-c", program], arm, log, 30.0) == 0
    folder, cards = log.read_text().splitlines()[-2:]
    assert cards == "0,1"
    assert "," not in folder


def test_a_refused_start_is_not_evaluated(experiment, tmp_path, monkeypatch, capsys):
    """Another --model for the same OUT: the old run's checkpoint was evaluated as if it were the new model's."""
    called = []
    monkeypatch.setattr(experiment, "call", lambda command, *_: called.append(command[1]) or 2)
    monkeypatch.setattr(experiment, "collect", lambda _: None)
    args = argparse.Namespace(
        recipe="cpu_tiny", out=tmp_path, model="/m", steps=5, minutes=1.0, settings=[], suites=["probes"], evaluate=[],
        evaluate_minutes=1.0,
    )  # fmt: skip
    experiment.run_arm(experiment.parse_arm("full:1", "0", experiment.ARMS), args)
    assert called == ["azr_single_gpu_pipeline.py"] and "full-1 is not evaluated" in capsys.readouterr().out


def test_an_arm_that_is_named_twice_is_refused(experiment, tmp_path, monkeypatch, capsys):
    words = [
        str(tmp_path),
        "--model",
        "m",
        "--recipe",
        "r",
        "--arms",
        "full:1",
        "full:1",
        "--cards",
        "0",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", ["experiment.py", *words])
    with pytest.raises(SystemExit):
        experiment.parse_arguments()
    assert "named twice" in capsys.readouterr().err
