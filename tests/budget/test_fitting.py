"""What is left to the card: never worse than what was measured, more on a larger card, always within it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.budget.advice import judge_fit
from azr.budget.estimate import estimate
from azr.budget.fitting import SEQUENCES, SMALLEST_KEPT, Fitted, fit_card
from azr.budget.shape import shape_for, shape_of
from azr.budget.speed import Card, step_time
from azr.config import Config
from azr.config.budget import AUTOMATIC_KEYS
from azr.config.load import load_config
from azr.system.boards import Gpu
from azr.system.hardware import Machine

RECIPES = {"0_5b_8gb": 8.0, "0_5b_16gb": 16.0, "1_5b_16gb": 16.0, "3b_lora_16gb": 16.0}


def machine(gib: float, ram_gib: float = 64.0) -> Machine:
    return Machine((Gpu("a card", gib, gib),), 16, ram_gib, ram_gib)


@cache
def configured(recipe: str, *overrides: str) -> Config:
    return load_config([f"recipe={recipe}", *overrides]).config


def fitted(recipe: str, gib: float, *overrides: str) -> Fitted:
    config = configured(recipe, *overrides)
    return fit_card(config, machine(gib), shape_of(config.model.path))


def generation_s(config: Config, gib: float) -> float:
    shape = shape_of(config.model.path)
    assert shape is not None
    return step_time(config, shape, Card("a card", gib, 960.0, 112.0)).generate_s


@pytest.mark.parametrize("gib", [15.92, 16.0])
@pytest.mark.parametrize("recipe", [name for name, size in RECIPES.items() if size == 16])
def test_sixteen_gib_get_no_less_than_was_measured(recipe: str, gib: float) -> None:
    measured, chosen = configured(recipe), fitted(recipe, gib).config
    assert chosen.rollout.max_sequences >= measured.rollout.max_sequences
    assert chosen.train.micro_batch_tokens >= measured.train.micro_batch_tokens
    assert chosen.rollout.max_batched_tokens >= measured.rollout.max_batched_tokens
    assert (chosen.train.param_offload, chosen.train.optimizer_offload) == (
        measured.train.param_offload,
        measured.train.optimizer_offload,
    )
    assert generation_s(chosen, gib) <= generation_s(measured, gib)


INT4 = {"7b_int4_16gb": (16.0, 15.0), "7b_int4_12gb": (12.0, 12.0), "3b_int4_8gb": (8.0, 8.0)}
"""Recipe -> card, and what its largest moment may take of it, GiB."""


@pytest.mark.parametrize("automatic", [True, False])
@pytest.mark.parametrize("recipe", INT4)
def test_int4_recipes_fit_their_cards(recipe: str, automatic: bool) -> None:
    """By calculation; a card says a little less than its name does."""
    gib, limit = INT4[recipe]
    config = configured(recipe, *([] if automatic else ["budget.automatic=[]"]))
    shape = shape_for(config)
    assert shape is not None and shape.int4_group == 64
    config = fit_card(config, machine(gib - 0.08), shape).config
    assert judge_fit(config, machine(gib - 0.08, 24.0), shape).fits
    needed = estimate(config, shape, gib)
    assert needed.gpu_peak.gib <= limit and needed.ram.gib <= 20
    assert needed.kv_tokens >= config.rollout.max_sequences * 1100


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_larger_card_is_used(recipe: str) -> None:
    sizes = (RECIPES[recipe], 24.0, 32.0, 48.0, 80.0)
    configs = [fitted(recipe, gib).config for gib in sizes]
    counts = [config.rollout.max_sequences for config in configs]
    assert counts == sorted(counts) and counts[0] < counts[-1] == SEQUENCES[-1]
    assert not configs[-1].train.param_offload and not configs[-1].train.optimizer_offload
    recomputing = [config.train.gradient_checkpointing for config in configs]
    assert recomputing == sorted(recomputing, reverse=True) and recomputing[0] and not recomputing[-1]
    for recompute in (True, False):
        tokens = [c.train.micro_batch_tokens for c in configs if c.train.gradient_checkpointing == recompute]
        assert tokens == sorted(tokens) and (recompute or tokens[0] >= SMALLEST_KEPT)
    assert all(config.rollout.cuda_graph_sizes[-1] == config.rollout.max_sequences for config in configs)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(RECIPES)),
    st.floats(6.0, 200.0),
    st.sets(st.sampled_from(AUTOMATIC_KEYS)),
    st.sampled_from([1024, 4096]),
)
def test_what_is_chosen_fits_whenever_the_recipe_does(
    recipe: str, gib: float, keys: set[str], response: int
) -> None:
    config = configured(recipe, f"rollout.max_response_tokens={response}")
    config = replace(config, budget=replace(config.budget, automatic=sorted(keys)))
    shape = shape_of(config.model.path)
    assert shape is not None
    result = fit_card(config, machine(gib), shape)
    assert {choice.key for choice in result.choices} <= keys
    for key in set(AUTOMATIC_KEYS) - keys:
        section, _, name = key.partition(".")
        assert getattr(getattr(result.config, section), name) == getattr(getattr(config, section), name)
    result.config.validate()
    if set(AUTOMATIC_KEYS) <= keys and judge_fit(config, machine(0.95 * gib), shape).fits:
        assert judge_fit(result.config, machine(gib), shape).fits


def test_a_limit_below_the_card_is_kept() -> None:
    whole, limited = fitted("1_5b_16gb", 80.0), fitted("1_5b_16gb", 80.0, "budget.gpu_limit_gib=16")
    shape = shape_of(limited.config.model.path)
    assert shape is not None
    assert judge_fit(limited.config, machine(80.0), shape).estimate.gpu_peak.gib < 15.4
    assert limited.config.rollout.max_sequences == 96 < whole.config.rollout.max_sequences


def test_numbers_of_the_user_stay() -> None:
    result = fitted("1_5b_16gb", 80.0, "rollout.max_sequences=40", "train.micro_batch_tokens=auto")
    assert result.config.rollout.max_sequences == 40
    assert "rollout.max_sequences" not in {choice.key for choice in result.choices}
    assert result.config.train.micro_batch_tokens == 8192 and not result.config.train.gradient_checkpointing
    own = fitted("1_5b_16gb", 80.0, "train.gradient_checkpointing=true").config.train
    assert own.gradient_checkpointing and own.micro_batch_tokens == 24576
    larger = fitted("1_5b_16gb", 80.0, "train.micro_batch_tokens=24576").config.train
    assert larger.gradient_checkpointing and larger.micro_batch_tokens == 24576, "too many to keep theirs"
    assert fitted("1_5b_16gb", 80.0, "budget.automatic=[]").choices == ()


def test_engine_and_trainer_stay_awake_only_where_it_costs_no_sequences() -> None:
    assert fitted("0_5b_16gb", 16.0, "rollout.sleep=auto").config.rollout.sleep
    large = fitted("0_5b_16gb", 80.0, "rollout.sleep=auto").config
    assert not large.rollout.sleep and large.rollout.max_sequences == SEQUENCES[-1]


@pytest.mark.parametrize("recipe", [*RECIPES, *INT4])
@pytest.mark.parametrize("gib", [8.0, 10.0, 12.0, 16.0, 20.0])
def test_every_batch_has_a_graph(recipe: str, gib: float) -> None:
    """3B int4 with 8 GiB left got 48 sequences at once and graphs up to 32: a ninth of the card was busy."""
    config = configured(recipe)
    fitted_config = fit_card(config, machine(gib), shape_for(config)).config
    assert fitted_config.rollout.cuda_graph_sizes[-1] == fitted_config.rollout.max_sequences


def test_nothing_is_chosen_without_a_card_or_a_size() -> None:
    config = configured("1_5b_16gb")
    assert fit_card(config, Machine((), 16, 64.0, 64.0), shape_of(config.model.path)) == Fitted(config)
    assert fit_card(config, machine(80.0), None) == Fitted(config)
    assert fitted("1_5b_16gb", 12.0) == Fitted(config), "too small: judge refuses the recipe's own numbers"


def test_each_choice_says_why() -> None:
    lines = [str(choice) for choice in fitted("3b_lora_16gb", 16.0).choices]
    assert any(line.startswith("train.param_offload=true: else the engine feeds fewer") for line in lines)
    recomputing = (
        "train.gradient_checkpointing=true: an update that keeps all activations of 6,144 tokens does not fit"
    )
    assert any(line.startswith(recomputing) for line in lines)
    assert any(line.startswith("rollout.cuda_graph_sizes=[1,4,16,") for line in lines)
    assert all(": " in line and not line.endswith(": ") for line in lines)


def test_a_card_below_the_reserve_has_nothing_to_give() -> None:
    """It had -0.1 GiB."""
    config = configured("0_5b_8gb")
    shape = shape_for(config)
    assert shape is not None
    verdict = judge_fit(config, machine(0.5, ram_gib=1.0), shape)
    assert verdict.available_gpu_gib == verdict.available_ram_gib == 0
    told = [str(shortage) for shortage in verdict.shortages]
    assert told[0].endswith("GiB, and budget.gpu_reserve_gib leaves none")
    assert told[-1].endswith("GiB, and budget.ram_reserve_gib leaves none")
