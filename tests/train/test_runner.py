"""What the runner looks at before engine and trainer are built."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.config.load import load
from azr.errors import ConfigError
from azr.train.verl.runner import FINAL_ERRORS, require_room_for_prompts

MODEL = Path("data/models/azr-tiny")


def test_a_prompt_limit_without_room_ends_the_run_in_a_sentence():
    require_room_for_prompts(load(["recipe=cpu_tiny"]).config, MODEL)
    with pytest.raises(
        ConfigError, match=r"max_prompt_tokens=60 is too small for selfplay\.frame=compact"
    ) as error:
        require_room_for_prompts(load(["recipe=cpu_tiny", "rollout.max_prompt_tokens=60"]).config, MODEL)
    assert isinstance(error.value, FINAL_ERRORS)
