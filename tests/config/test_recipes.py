"""What a GPU recipe starts from, and how the published settings come back."""

import pytest

from azr.config.load import load_config
from azr.config.selfplay import SelfPlayConfig
from azr.config.train import TrainConfig
from azr.errors import ConfigError

INT4 = ["7b_int4_16gb", "7b_int4_12gb", "3b_int4_8gb"]
SMALL = ["0_5b_8gb", "0_5b_16gb", "1_5b_16gb", "3b_lora_16gb", *INT4]


@pytest.mark.parametrize("recipe", SMALL)
def test_gpu_recipes_start_from_instruct_models_and_the_game_for_them(recipe):
    config = load_config([f"recipe={recipe}"]).config
    assert config.model.path.endswith("-Instruct") and config.selfplay.frame in ("chat", "short")
    assert (
        config.selfplay.advantage_mode == "group"
        and config.selfplay.train_on_samples
        and config.selfplay.strict_format
    )
    assert config.selfplay.duplicate_reward == -1 and config.selfplay.usable_inputs
    adapters = 2e-5 if recipe in INT4 else 4e-5
    assert config.train.learning_rate == (adapters if config.model.lora_rank else 2e-6)
    assert min(config.train.early_saves) == 1 < config.train.save_every_steps
    assert config.rollout.max_response_tokens <= 1024


@pytest.mark.parametrize("recipe", SMALL)
@pytest.mark.parametrize("variant", ["code", "paper"])
def test_one_override_brings_the_published_game_back(recipe, variant):
    config = load_config([f"recipe={recipe}", f"selfplay={variant}"]).config
    assert config.selfplay == SelfPlayConfig(variant=variant)
    published = TrainConfig()
    for key in (
        "entropy_floor",
        "early_saves",
        "drop_zero_advantages",
        *(["learning_rate"] if not config.model.lora_rank else []),
    ):
        assert getattr(config.train, key) == getattr(published, key), key


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("model.lora_rank=0", r"set model\.lora_rank=32"),
        ("train.n_gpus_per_node=2 train.compile_layers=false", r"set train\.n_gpus_per_node=1"),
        ("rollout.merge_adapters=true", r"set rollout\.merge_adapters=false"),
        ("rollout.dtype=float32", r"set rollout\.dtype=bfloat16"),
        ("train.liger_kernels=true train.compile_layers=false", r"set train\.liger_kernels=false"),
        ("train.master_dtype=float32", r"set train\.master_dtype=bfloat16"),
        ("train.compute_dtype=float32", "train.compute_dtype=bfloat16"),
        ("model.base_format=int8", "int4"),
    ],
)
def test_what_an_int4_base_does_not_go_with(change, why):
    with pytest.raises(ConfigError, match=why):
        load_config(["recipe=7b_int4_16gb", *change.split()])


def test_an_int4_base_on_a_cpu_trains_in_float32():
    overrides = ["model.base_format=int4", "model.lora_rank=8", "rollout.dtype=bfloat16"]
    assert load_config(["recipe=cpu_tiny", *overrides]).config.train.master_dtype == "float32"


def test_a_single_key_still_wins():
    config = load_config(
        [
            "recipe=1_5b_16gb",
            "selfplay.num_inputs=6",
            "train.learning_rate=1e-6",
            "model.path=Qwen/Qwen2.5-Coder-1.5B",
        ]
    ).config
    assert (config.selfplay.num_inputs, config.train.learning_rate, config.model.path) == (
        6,
        1e-6,
        "Qwen/Qwen2.5-Coder-1.5B",
    )


def test_a_length_guard_as_long_as_the_response_is_refused():
    with pytest.raises(ConfigError, match=r"selfplay\.overlong_tokens.*every response would be penalised"):
        load_config(["recipe=1_5b_16gb", "rollout.max_response_tokens=128"])
    with pytest.raises(
        ConfigError, match=r"selfplay\.short_wrong_tokens is 900, but responses of more than 896"
    ):
        load_config(["recipe=1_5b_16gb", "selfplay.short_wrong_tokens=900"])
    load_config(["recipe=1_5b_16gb", "selfplay.short_wrong_tokens=896"])
