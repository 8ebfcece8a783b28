"""What the runner looks at before engine and trainer are built."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

from azr.config.load import load_config
from azr.errors import ConfigError
from azr.protocol import TrainRequest
from azr.rundir import RunDir
from azr.start_record import START_FILE
from azr.train.verl.runner import FINAL_ERRORS, VERL_SAYS, marks_of_verl, require_room_for_prompts
from azr.trainer_link import TrainerLink

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
