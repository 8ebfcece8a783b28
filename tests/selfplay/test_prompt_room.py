"""A prompt limit that is too small for the frame is told before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from azr.config.load import load_config
from azr.errors import ConfigError
from azr.selfplay.options import last_resorts, require_room
from azr.tasks import Prompt


def words(prompt: Prompt) -> int:
    return len(prompt.text.split())


@pytest.mark.parametrize("recipe", ["cpu_tiny", "0_5b_8gb", "published_single_gpu"])
def test_the_longest_of_the_last_resorts_decides(recipe):
    game = load_config([f"recipe={recipe}"]).config.selfplay
    longest = max(words(prompt) for _, prompt in last_resorts(game, game.num_inputs))

    require_room(game, 2.0, words, longest)
    with pytest.raises(
        ConfigError, match=rf"max_prompt_tokens={longest - 1} is too small .* has {longest} tokens"
    ):
        require_room(game, 2.0, words, longest - 1)


def test_every_worked_example_and_the_most_inputs_of_a_curriculum_count():
    game = replace(
        load_config(["recipe=cpu_tiny"]).config.selfplay,
        frame="short",
        induction_prompt="example",
        num_inputs=12,
        induction_inputs_start=2,
    )
    prompts = [prompt for stream, prompt in last_resorts(game, 12) if stream.name == "propose-induction"]
    assert len(set(prompts)) == 3 and all("input_12" in prompt.text for prompt in prompts)
    with pytest.raises(ConfigError, match="the shortest propose-induction prompt"):
        require_room(game, 2.0, words, max(words(prompt) for _, prompt in last_resorts(game, 2)))


def test_a_solver_alone_needs_room_for_tasks_only():
    game = replace(load_config(["recipe=cpu_tiny"]).config.selfplay, train_propose=False)
    assert {stream.role.value for stream, _ in last_resorts(game, game.num_inputs)} == {"solve"}
