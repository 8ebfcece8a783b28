"""What the runner looks at before engine and trainer are built."""

from __future__ import annotations

import inspect
import json
import pickle
from pathlib import Path

import pytest

from azr.config.data import DataConfig
from azr.config.load import load_config
from azr.data.guard import prepare_probes
from azr.errors import ConfigError
from azr.run.protocol import TrainRequest
from azr.run.rundir import RunDir
from azr.run.start_record import START_FILE
from azr.run.trainer_link import TrainerLink
from azr.train.verl.runner import (
    FINAL_ERRORS,
    VERL_SAYS,
    kept_out,
    marks_of_verl,
    require_room_for_prompts,
    with_the_engines_words,
)

MODEL = Path("data/models/azr-tiny")


def test_a_prompt_limit_without_room_ends_the_run_in_a_sentence():
    require_room_for_prompts(load_config(["recipe=cpu_tiny"]).config, MODEL)
    with pytest.raises(
        ConfigError, match=r"max_prompt_tokens=60 is too small for selfplay\.frame=compact"
    ) as error:
        require_room_for_prompts(
            load_config(["recipe=cpu_tiny", "rollout.max_prompt_tokens=60"]).config, MODEL
        )
    assert isinstance(error.value, FINAL_ERRORS)


def test_what_verl_says_while_it_builds_marks_the_start(tmp_path):
    from verl.trainer.ppo.v1 import trainer_base

    built = inspect.getsource(trainer_base.PPOTrainer._setup)
    assert [words for words in VERL_SAYS if f'"{words}' not in built] == []

    run, request = RunDir(tmp_path), TrainRequest(cycle=1, attempt=1, first_step=1, last_step=1)
    with marks_of_verl(TrainerLink(run, request)):
        for said in (
            "create worker group dict_keys([])",
            "reward loop manager initialized",
            "all initialize finished, ready",
        ):
            trainer_base.logger.info(said)
    trainer_base.logger.info("create worker group of another trainer")
    lines = (run.attempt(1, 1) / START_FILE).read_text().splitlines()
    assert [json.loads(line)["part"] for line in lines] == ["workers' processes", "checkpoint"]


def test_proposals_are_compared_with_the_runs_probes_and_evaluation_files(tmp_path):
    program = "def f(words, n):\n    kept = [word for word in words if len(word) > n]\n    return sorted(kept)[::-1]"
    other = "def f(a, b):\n    while b:\n        a, b = b, a % b\n    return [a, a * a, 'gcd']"
    (tmp_path / "other.jsonl").write_text(json.dumps({"code": other}) + "\n", encoding="utf-8")
    (tmp_path / "probes.jsonl").write_text(
        json.dumps({"snippet": program, "input": "['a'], 0", "output": "['a']"}) + "\n", encoding="utf-8"
    )
    run = RunDir(tmp_path / "run")
    run.probes.mkdir(parents=True)
    prepare_probes(run, DataConfig(probe_files=[]))
    assert kept_out(run, DataConfig(probe_files=[])) is None, "nothing to compare with, nothing to pay"

    config = DataConfig(
        probe_files=[str(tmp_path / "probes.jsonl")], evaluation_files=[str(tmp_path / "other.jsonl")]
    )
    prepare_probes(RunDir(tmp_path / "second"), config)
    resembles = pickle.loads(pickle.dumps(kept_out(RunDir(tmp_path / "second"), config)))  # noqa: S301  as Ray sends it
    found = [resembles(text) for text in (program.replace("kept", "left"), other, "def f(x):\n    return x")]
    assert found == ["probes.jsonl:2", "other.jsonl:1", ""]


SERVER, CORE = (
    "\x1b[36m(vLLMHttpServer pid=31)\x1b[0m ",
    "(EngineCore pid=37) ERROR 11-28 06:38:12 [core.py:1233] ",
)
FULL = (
    "CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of 139.80 GiB of which 2.56 GiB is free. "
    "12.44 GiB allowed; and 964.02 MiB is reserved by PyTorch but unallocated."
)
ADVICE = " If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True"
DEAD = "\x1b[36m(SelfPlayAgentLoopWorker pid=44)\x1b[0m vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."


@pytest.mark.parametrize(
    "lines",
    [
        [
            f"{SERVER}{CORE}RuntimeError: Worker failed with error '{FULL}{ADVICE}', please check the stack trace above"
        ],
        # a compiled layer's: the exception hides it, and the engine goes on to another
        [
            f"{SERVER}[rank0]:[E1128] Exception in aoti_torch: {FULL}{ADVICE}",
            f"{SERVER}{CORE}KeyError: 'c00de04b'",
        ],
    ],
)
def test_an_engine_that_ran_out_of_memory_is_the_reason_with_its_figures(tmp_path, lines):
    """The run ended with "no agent loop of step 1 came back", hundreds of tracebacks after the error that counts."""
    log = tmp_path / "trainer.log"
    log.write_text("\n".join([*lines, *[DEAD] * 96]) + "\n", encoding="utf-8")
    reason = with_the_engines_words("no agent loop of step 1 came back", log)
    assert reason.startswith(
        "the card ran out of memory in the generation engine; set rollout.max_sequences "
    )
    assert f"{FULL} (no agent loop of step 1 came back)" in reason and "expandable" not in reason


def test_an_engine_that_does_not_wake_names_its_share(tmp_path):
    """Another program took memory while it slept; fewer sequences would not help."""
    log, error = (
        tmp_path / "trainer.log",
        "CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62",
    )
    log.write_text(f"{SERVER}{CORE}RuntimeError: {error}\n{DEAD}\n", encoding="utf-8")
    told = "the card has no room for the engine's share; close what else uses it (`nvidia-smi`), or lower rollout.gpu_memory_share by"
    assert with_the_engines_words("no answer", log) == f"{told} 0.05: RuntimeError: {error} (no answer)"


def test_another_error_of_the_engine_is_told_and_one_of_others_is_not(tmp_path):
    log = tmp_path / "trainer.log"
    assert with_the_engines_words("no answer", log) == "no answer"
    others = "\x1b[36m(WorkerDict pid=12)\x1b[0m ValueError: of the trainer"
    log.write_text(f"{others}\n{DEAD}\n", encoding="utf-8")
    assert with_the_engines_words("no answer", log) == "no answer"
    dead = f"{SERVER}{CORE}vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above)"
    log.write_text(f"{others}\n{SERVER}{CORE}KeyError: 'c00de'\n{dead}\n{DEAD}\n", encoding="utf-8")
    assert (
        with_the_engines_words("no answer", log)
        == "the generation engine failed: KeyError: 'c00de' (no answer)"
    )
