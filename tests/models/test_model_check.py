"""Models that people bring: what cannot be trained is refused in one sentence, before anything starts."""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_folders import POINTER, TINY, change, rewrite, split, tiny_copy

from azr.budget.shape import shape_of
from azr.cli import run_command
from azr.config.load import load_config
from azr.errors import ModelError
from azr.evaluate.models import of_folder
from azr.models.check import CPU_HEAD_SIZES, refuse_head_size, require_ended_turns, require_trainable
from azr.models.context import context_tokens, engine_context_tokens
from azr.models.model_hash import hash_model
from azr.models.weight_files import Tensor, require_whole_files
from azr.system.hardware import detect
from azr.train.model_source import require_usable_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_copy(tmp_path / "a model")


def check(folder: Path, *settings: str) -> None:
    require_trainable(folder, load_config(["recipe=cpu_tiny", *settings]).config)


def refused(folder: Path, *settings: str) -> str:
    with pytest.raises(ModelError) as error:
        check(folder, *settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_bundled_model_can_be_trained(folder: Path) -> None:
    check(folder)
    split(folder)
    check(folder)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    "file", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"]
)
def test_git_lfs_pointers(folder: Path, file: str) -> None:
    (folder / file).write_bytes(POINTER)
    text = refused(folder)
    assert file in text and "git lfs pull" in text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "merges.txt",
    ],
)
def test_texts_that_an_editor_of_windows_saved_again(folder: Path, file: str, encoding: str) -> None:
    """transformers reads none of the JSON files then, and takes the mark in a template for a part of the prompt."""
    path = folder / file
    path.write_bytes((path.read_text(encoding="utf-8") if path.exists() else "a").encode(encoding))
    text = refused(folder)
    assert str(path) in text and "save it as plain UTF-8" in text
    if file == "config.json":
        with pytest.raises(ModelError, match="save it as plain UTF-8"):
            shape_of(str(folder))


@pytest.mark.parametrize(
    "content", ['{"tie_word_embeddings": False}', '{"eos_token_id": 1,}', "[]", "null", ""]
)
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_slip_in_a_file_that_was_edited_as_a_message_said(folder: Path, file: str, content: str) -> None:
    """An evaluation ended in a traceback, or after the engine's start; the advice was to fetch the file again."""
    (folder / file).write_text(content)
    text = refused(folder)
    assert str(folder / file) in text
    assert "not hold a mapping" in text or ("line 1 column" in text and "correct that place" in text)
    with pytest.raises(ModelError) as error:
        of_folder(folder)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("_attn_implementation", "flash_attention_2", "remove that entry"),
        ("_attn_implementation", "eager", "remove that entry"),
        ("torch_dtype", "auto", 'mostly "bfloat16"'),
        ("dtype", "torch.bfloat16", 'mostly "bfloat16"'),
    ],
)
def test_what_a_script_left_in_the_settings(folder: Path, key: str, value: str, told: str) -> None:
    """The run ended with the advice to install all packages again, or to change the tokenizer's files."""
    change(folder, "config.json", **{key: value})
    assert key in refused(folder) and told in refused(folder)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("hidden_size", "256", 'hidden_size is "256", and it has to be a whole number above 0; write "hidden_size": 256'),
        ("num_hidden_layers", False, "num_hidden_layers is false, and it has to be a whole number above 0; correct that entry"),
        ("vocab_size", 4096.0, 'write "vocab_size": 4096'),
        ("num_attention_heads", [4], 'write "num_attention_heads": 4'),
        ("head_dim", 0, "head_dim is 0"),
        ("rms_norm_eps", "1e-6", 'rms_norm_eps is "1e-6", and it has to be a number; write "rms_norm_eps": 1e-06'),
        ("tie_word_embeddings", "True", 'write "tie_word_embeddings": true'),
        ("use_sliding_window", 0, "it has to be true or false"),
        ("architectures", "Qwen2ForCausalLM", 'write "architectures": ["Qwen2ForCausalLM"]'),
        ("rope_parameters", "linear", "it has to be a mapping"),
        ("eos_token_id", "1", 'write "eos_token_id": 1'),
        ("layer_types", ["full_attention"] * 3, "has 3 entries, and num_hidden_layers is 6; write one for each layer"),
        ("rope_scaling", {"type": "mrope", "mrope_section": [8]}, "is of the kind 'mrope', and transformers computes default"),
        ("rope_scaling", {"rope_type": "linear", "factor": "4.0"}, 'factor is "4.0", and it has to be a number; write "factor": 4.0'),
    ],
)  # fmt: skip
def test_a_field_of_a_wrong_type(folder: Path, key: str, value: Any, told: str) -> None:
    """Such a model passed, and transformers or the engine failed at it minutes later."""
    change(folder, "config.json", **{key: value})
    text = refused(folder)
    assert text.startswith(f"{folder / 'config.json'}") and key in text and told in text
    with pytest.raises(ModelError) as error:
        of_folder(folder)
    assert str(error.value) == text
    with pytest.raises(ModelError) as error:
        shape_of(str(folder))
    assert str(error.value) == text


def test_an_end_token_of_a_wrong_type(folder: Path) -> None:
    """It was passed over, and responses ended elsewhere."""
    change(folder, "generation_config.json", eos_token_id="1")
    assert 'generation_config.json: eos_token_id is "1"' in refused(folder)


def test_null_where_a_number_belongs(folder: Path) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    for key in ("hidden_size", "num_hidden_layers", "vocab_size"):
        path.write_text(json.dumps(values | {key: None}))
        assert f"{key} is null" in refused(folder)
    path.write_text(json.dumps(values | {"head_dim": None, "rope_scaling": None, "pad_token_id": None}))
    require_whole_files(folder)
    # as the first Llama has it; transformers loads it
    path.write_text(json.dumps(values | {"pad_token_id": -1}))
    require_whole_files(folder)


@pytest.mark.parametrize("left", [0, 5, 8, 100, -1])
def test_weights_that_break_off(folder: Path, left: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    assert "model.safetensors" in refused(folder) and "fetch it again" in refused(folder)


@pytest.mark.parametrize(
    "content",
    [b"<!doctype html><html>not found</html>", b"\x02\0\0\0\0\0\0\0[]", b"\x08\0\0\0\0\0\0\0not json"],
)
def test_weights_that_are_something_else(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert "fetch it again" in refused(folder)


@given(st.binary(max_size=200))
def test_no_content_of_a_weight_file_is_a_crash(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "model.safetensors").write_bytes(content)
    with contextlib.suppress(ModelError):
        require_whole_files(folder)


def test_weights_on_a_share_that_maps_no_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer, minutes later: "No such device (os error 19)", with the advice to check the files."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert "cannot be mapped into memory (No such device)" in refused(folder)


def test_an_index_without_its_pieces(folder: Path) -> None:
    first, second = split(folder)
    (folder / second).unlink()
    assert (
        f"1 of the 2 weight files that model.safetensors.index.json names are missing ({second})"
        in refused(folder)
    )
    shutil.copy(folder / first, folder / second)
    assert "index and weights are of different models" in refused(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert "no model.safetensors.index.json, which says what is in which" in refused(folder)


def test_weights_of_two_models_in_one_folder(folder: Path) -> None:
    """One program would load the one, another the other."""
    whole = (folder / "model.safetensors").read_bytes()
    split(folder)
    (folder / "model.safetensors").write_bytes(whole)
    text = refused(folder)
    assert (
        "holds weights twice: model.safetensors, and the pieces that model.safetensors.index.json names"
        in text
    )
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"] = dict.fromkeys(index["weight_map"], "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    require_whole_files(folder)


@pytest.mark.parametrize(
    "other", ["model (1).safetensors", "model_old.safetensors", "consolidated.safetensors"]
)
def test_further_weights_beside_the_model(folder: Path, other: str) -> None:
    """The engine reads every such file where there is no index: one of them was scored in the model's place."""
    before = hash_model(folder)
    shutil.copy(folder / "model.safetensors", folder / other)
    assert hash_model(folder) == before, "a run whose model it lies beside would be told of another model"
    assert f"holds {other} beside model.safetensors" in refused(folder)
    (folder / other).rename(folder / f"._{other}")  # macOS's, which nobody reads
    require_whole_files(folder)
    (folder / f"._{other}").rename(folder / other)
    split(folder)  # an index says which files count
    require_whole_files(folder)


def test_an_index_that_transformers_or_the_engine_cannot_follow(folder: Path) -> None:
    split(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps({"weight_map": index["weight_map"]}))
    assert 'has no "metadata", without which transformers does not read it' in refused(folder)
    for piece in set(index["weight_map"].values()):
        (folder / "pieces").mkdir(exist_ok=True)
        shutil.copy(folder / piece, folder / "pieces" / piece)
    for place in ("./", "pieces/", f"{folder}/"):
        moved = {name: f"{place}{piece}" for name, piece in index["weight_map"].items()}
        path.write_text(json.dumps(index | {"weight_map": moved}))
        assert f"names {place}model-00001" in refused(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {"a": 3}}'])
def test_a_damaged_index(folder: Path, content: str) -> None:
    split(folder)
    (folder / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json" in refused(folder)


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("pytorch_model.bin", "other_models.md#models-in-another-format"),
        ("model.gguf", "original safetensors"),
        ("Model-Q4_K_M.GGUF", "original safetensors"),
        ("weights.npz", "MLX"),
        ("model.onnx", "cannot be trained"),
        ("adapter_model.safetensors", "merge"),
        ("consolidated.safetensors", "rename it"),
        ("adapter_config.json", "merge"),
        ("training_args.bin", "no weights"),
    ],
)
def test_no_weights_of_the_kind_that_is_read(folder: Path, file: str, advice: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / file).write_bytes(b"x")
    (folder / "tokenizer.json").unlink()  # often missing there as well, and not what is wrong
    assert advice in refused(folder)


def test_an_adapter_beside_the_weights_that_it_was_merged_into(folder: Path) -> None:
    """transformers loads it over the merged weights, or over its own base; the engine does not look at it."""
    (folder / "adapter_config.json").write_text("{}")
    assert "adapter_config.json beside model.safetensors" in refused(folder)
    split(folder)
    assert "adapter_config.json beside model.safetensors.index.json" in refused(folder)


def test_a_link_into_a_cache_that_was_cleared(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "blobs" / "gone")
    assert "link to a file that is not there" in refused(folder)


# ---------------------------------------------------------------- weights that are not the configuration's


def test_weights_of_another_model(folder: Path) -> None:
    change(folder, "config.json", num_hidden_layers=7, layer_types=None)
    assert "says 7 layers, and the weights lack layer 6" in refused(folder)
    change(folder, "config.json", num_hidden_layers=4)  # the engine ended with KeyError: 'layers.4...'
    text = refused(folder)
    assert (
        'config.json says 4 layers, and the weights hold 6, which the engine does not load. Write "num_hidden_layers": 6'
        in text
    )
    with pytest.raises(ModelError, match="the weights hold 6"):
        of_folder(folder)
    change(folder, "config.json", num_hidden_layers=6, hidden_size=512)
    assert "4096 embeddings of 512 numbers, and the weights hold 4096 x 256" in refused(folder)
    change(folder, "config.json", hidden_size=256, tie_word_embeddings=False)
    assert "no lm_head.weight" in refused(folder)


@pytest.mark.parametrize(
    "lost",
    ["model.layers.2.input_layernorm.weight", "model.layers.5.self_attn.q_proj.bias", "model.norm.weight"],
)
def test_a_tensor_that_is_missing(folder: Path, lost: str) -> None:
    """transformers would fill it with fresh values, and the engine with others."""
    rewrite(folder, lambda weights: {name: tensor for name, tensor in weights.items() if name != lost})
    assert f"the weights lack {lost}" in refused(folder)


@pytest.mark.parametrize(
    ("prefix", "way_out"),
    [
        ("_orig_mod.model.", "take _orig_mod. off"),
        ("module.model.", "take module. off"),
        ("language_model.model.", "take language_model. off"),
        ("model.language_model.", "take another save"),
        ("", "save the model again with AutoModelForCausalLM"),
    ],
)
def test_weights_under_other_names(folder: Path, prefix: str, way_out: str) -> None:
    """transformers would leave them out and go on with random ones. Saving them again with it, as it was advised for all,
    saved random ones under the right names, which then fit."""
    rewrite(
        folder,
        lambda weights: {name.replace("model.", prefix, 1): tensor for name, tensor in weights.items()},
    )
    told = refused(folder)
    assert "there is no model.embed_tokens.weight" in told and way_out in told
    with pytest.raises(ModelError, match=way_out):  # it was the engine's traceback
        of_folder(folder)
    if not prefix:  # as Qwen3-Embedding, which was to be saved again, and then would have been trained
        (folder / "modules.json").write_text('[{"type": "sentence_transformers.models.Pooling"}]')
        assert "is an embedding model" in refused(folder)


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.layers.3.mlp.down_proj.weight"])
def test_weights_that_zero_3_did_not_gather(folder: Path, name: str) -> None:
    """ "fits", then two starts of a run that sent to the doctor, and a traceback of an evaluation."""
    rewrite(folder, lambda weights: weights | {name: torch.empty(0)})
    assert "zero_to_fp32.py" in refused(folder)
    with pytest.raises(ModelError, match="is empty, as ZeRO-3"):
        of_folder(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_in_any_plain_precision(folder: Path, dtype: torch.dtype) -> None:
    rewrite(folder, lambda weights: {name: tensor.to(dtype) for name, tensor in weights.items()})
    check(folder)


# ---------------------------------------------------------------- what cannot be trained

PACKED = "model.layers.0.mlp.up_proj.qweight"


def with_packed_layer(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**weights, PACKED: torch.zeros(4, 4, dtype=torch.int32)}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("quantization_config", {"quant_method": "gptq", "bits": 4}, "gptq, 4 bit"),
        ("quantization_config", {"quant_method": "awq", "bits": 4}, "awq, 4 bit"),
        (
            "quantization_config",
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            "bitsandbytes, 4 bit",
        ),
        ("quantization_config", {"quant_method": "fp8"}, "fp8"),
        (
            "quantization_config",
            {"quant_method": "compressed-tensors", "format": "pack-quantized"},
            "compressed-tensors",
        ),
        ("quantization", {"group_size": 64, "bits": 8}, "MLX, 8 bit"),
    ],
)
def test_quantised_models(folder: Path, key: str, value: dict[str, Any], told: str) -> None:
    change(folder, "config.json", **{key: value})
    assert f"says that the weights are quantised ({told}), and they are not" in refused(folder)
    with pytest.raises(ModelError, match="Remove that entry"):
        of_folder(folder)
    rewrite(folder, with_packed_layer)
    assert f"is quantised ({told})" in refused(folder) and "model.lora_rank" in refused(folder)


INT4 = ("recipe=cpu_tiny", "model.base_format=int4", "model.lora_rank=8", "rollout.dtype=bfloat16")


def test_an_int4_base_is_made_of_a_plain_model_or_read_as_it_is(folder: Path) -> None:
    config = load_config(INT4).config
    require_trainable(folder, config)
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": True, "desc_act": False}
    change(folder, "config.json", quantization_config=gptq)
    require_trainable(folder, config)
    change(folder, "config.json", quantization_config={**gptq, "desc_act": True})
    with pytest.raises(ModelError, match="desc_act is True"):
        require_trainable(folder, config)


def test_an_int4_base_of_another_family(folder: Path) -> None:
    change(folder, "config.json", model_type="gemma2", architectures=["Gemma2ForCausalLM"])
    with pytest.raises(ModelError, match="llama, qwen2, qwen3, not for gemma2"):
        require_trainable(folder, load_config(INT4).config)


def test_quantised_weights_whose_configuration_does_not_say_so(folder: Path) -> None:
    rewrite(folder, with_packed_layer)
    assert f"is quantised ({PACKED} is I32)" in refused(folder)
    rewrite(
        folder, lambda tensors: {name: tensor.char() for name, tensor in tensors.items() if name != PACKED}
    )
    assert ".weight is I8)" in refused(folder)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"architectures": ["Qwen2VLForConditionalGeneration"], "vision_config": {}},
            "reads images or sound",
        ),
        (
            {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True},
            "an encoder with a decoder",
        ),
        ({"architectures": ["Qwen2ForSequenceClassification"]}, "does not write text"),
        ({"architectures": ["Qwen2ForRewardModel"]}, "does not write text"),
        (
            {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 8},
            "a mixture of 8 experts",
        ),
        ({"architectures": None}, "it has to name one class, for example ['Qwen2ForCausalLM']"),
        ({"architectures": []}, "it has to name one class"),
        ({"model_type": None}, "has no model_type"),
    ],
)
def test_models_of_another_kind(folder: Path, values: dict[str, Any], told: str) -> None:
    change(folder, "config.json", **values)
    assert told in refused(folder)


SLOW = ("train.packed_sequences=false", "train.compile_layers=false", "train.chunked_logprobs=false")


def test_an_architecture_that_was_never_compared_is_trained_the_slow_way(folder: Path) -> None:
    change(folder, "config.json", model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"])
    text = refused(folder)
    assert (
        "never compared with the original for gpt_neox models" in text
        and " ".join(SLOW) in text
        and "granite" in text
    )
    check(folder, *SLOW)


def test_models_with_code_of_their_own(folder: Path) -> None:
    code = {"AutoModelForCausalLM": "modeling_new.NewForCausalLM"}
    change(folder, "config.json", model_type="new_kind", architectures=["NewForCausalLM"])
    assert "transformers does not support new_kind models" in refused(folder, *SLOW)
    change(folder, "config.json", auto_map=code)
    assert "model.trust_remote_code=true" in refused(folder, *SLOW)
    check(folder, *SLOW, "model.trust_remote_code=true")
    change(folder, "config.json", model_type="phi3", architectures=["Phi3ForCausalLM"])
    check(folder)
    assert "set model.trust_remote_code=false" in refused(folder, "model.trust_remote_code=true")


def test_a_tokenizer_with_code_of_its_own(folder: Path) -> None:
    change(
        folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_new.NewTokenizer", None]}
    )
    check(folder)
    (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    assert "the tokenizer of" in refused(folder) and "model.trust_remote_code=true" in refused(folder)
    check(folder, "model.trust_remote_code=true")


def test_adapters_where_the_engine_serves_none(folder: Path) -> None:
    change(folder, "config.json", model_type="starcoder2", architectures=["Starcoder2ForCausalLM"])
    check(folder)
    assert "set model.lora_rank=0" in refused(folder, "model.lora_rank=8")


def test_a_head_of_its_own_where_the_engine_has_the_embeddings(folder: Path) -> None:
    for model_type, name in (("gemma2", "Gemma2ForCausalLM"), ("cohere", "CohereForCausalLM")):
        change(folder, "config.json", model_type=model_type, architectures=[name], tie_word_embeddings=True)
        check(folder)
        change(folder, "config.json", tie_word_embeddings=False)
        assert f"the engine runs {model_type} models only with the embeddings as output head" in refused(
            folder
        )


@pytest.mark.parametrize("pieces", [False, True])
def test_a_head_of_its_own_where_the_configuration_says_that_there_is_none(
    folder: Path, pieces: bool
) -> None:
    """transformers uses that head, the engine the embeddings: a run ended in its first step, and an evaluation
    asked another model."""

    def with_head(weights: dict[str, torch.Tensor], change: float) -> dict[str, torch.Tensor]:
        return weights | {"lm_head.weight": weights["model.embed_tokens.weight"] + change}

    rewrite(folder, lambda weights: with_head(weights, 0))
    check(folder)
    of_folder(folder)
    rewrite(folder, lambda weights: with_head(weights, 0.5))
    if pieces:
        split(folder)
    told = refused(folder)
    assert "lm_head.weight" in told and '"tie_word_embeddings": false' in told
    with pytest.raises(ModelError, match="head of its own"):
        of_folder(folder)
    change(folder, "config.json", tie_word_embeddings=False)
    check(folder)
    of_folder(folder)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("v_head.summary.weight", "v_head.summary.weight is no part of Qwen2ForCausalLM"),
        ("score.weight", "score.weight is no part of"),
        ("model.layers.0.self_attn.q_proj.lora_A.default.weight", "an adapter that was not merged"),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", ""),  # older transformers saved it; the engine knows
    ],
)
def test_what_a_trainer_leaves_in_the_weights(folder: Path, name: str, told: str) -> None:
    """A value head of TRL's: "fits", and two minutes later the engine ended, with the advice to ask the doctor, for
    whom the files were in order."""
    rewrite(folder, lambda weights: weights | {name: torch.zeros(1, 256)})
    if not told:
        check(folder)
        of_folder(folder)
        return
    assert told in refused(folder)
    with pytest.raises(ModelError, match=told):
        of_folder(folder)


def test_heads_that_the_engine_has_not_without_a_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny random model, as people try things with: two starts, then "Unsupported CPU attention configuration"."""
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    assert tuple(CPUAttentionBackend.get_supported_head_sizes()) == CPU_HEAD_SIZES
    change(folder, "config.json", num_attention_heads=16)
    assert "its attention heads have 16 numbers" in refused(folder)
    machine = detect()
    monkeypatch.setattr("azr.models.check.detect", lambda: replace(machine, gpus=()))
    assert "its attention heads have 16 numbers" in refused(folder, "train.device=auto")
    change(folder, "config.json", num_attention_heads=4)
    refuse_head_size(folder)


def test_windows_in_some_layers_where_the_engine_has_all_or_none(folder: Path) -> None:
    layers = json.loads((folder / "config.json").read_text())["num_hidden_layers"]
    change(folder, "config.json", use_sliding_window=True, sliding_window=512, max_window_layers=1)
    assert "sliding_window (512) tokens, use_sliding_window=false in a copy" in refused(folder)
    change(folder, "config.json", max_window_layers=layers)
    check(folder)
    change(folder, "config.json", max_window_layers=1, use_sliding_window=False)
    check(folder)


def test_a_mistral_model_whose_tokenizer_class_is_not_named(folder: Path) -> None:
    from transformers import AutoTokenizer

    change(
        folder,
        "config.json",
        model_type="mistral",
        architectures=["MistralForCausalLM"],
        tokenizer_class=None,
    )
    change(folder, "tokenizer_config.json", tokenizer_class=None)
    assert 'Write "tokenizer_class": "PreTrainedTokenizerFast"' in refused(folder)
    # what transformers would make of it; if not, the check can go
    with pytest.raises(ValueError, match="No tokenizer file found"):
        AutoTokenizer.from_pretrained(folder)
    change(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    check(folder)
    AutoTokenizer.from_pretrained(folder)


# ---------------------------------------------------------------- context


def test_a_context_shorter_than_prompt_and_response(folder: Path) -> None:
    limits = ("rollout.max_prompt_tokens=600", "rollout.max_response_tokens=200")
    check(folder, *limits)
    change(folder, "config.json", max_position_embeddings=512)
    text = refused(folder, *limits)
    assert "its context is 512 tokens" in text and "is 800" in text
    advised = text.partition("for example: ")[2].split()
    check(folder, *advised)


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 2.0}}, 8192),
        (
            {"max_position_embeddings": 131072, "rope_parameters": {"rope_type": "llama3", "factor": 32.0}},
            131072,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            },
            131072,
        ),
        ({"max_position_embeddings": 32768, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 131072),
        (
            {
                "max_position_embeddings": 131072,
                "original_max_position_embeddings": 4096,
                "rope_scaling": {"type": "longrope"},
            },
            4096,
        ),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "dynamic", "factor": 4.0}}, 4096),
        (
            {
                "max_position_embeddings": 4096,
                "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
                "rope_scaling": {"type": "linear", "factor": 2.0},  # added as the model's card says
            },
            8192,
        ),
        (
            {
                "max_position_embeddings": 32768,
                "model_type": "gemma3_text",
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
            32768,
        ),
        (
            {
                "max_position_embeddings": 8192,
                "rope_parameters": {
                    "full_attention": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1.0}
                },
            },
            16384,
        ),
        ({}, None),
    ],
)
def test_how_long_a_context_is(values: dict[str, Any], tokens: int | None) -> None:
    assert context_tokens(values)[0] == tokens


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, 16384),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 1024}, 4096),
        ({"model_max_length": 8192}, 8192),
        ({"max_position_embeddings": None, "n_positions": 512}, 512),
        ({"max_position_embeddings": None}, None),
    ],
)
def test_what_the_engine_alone_takes_is_not_refused(more: dict[str, Any], tokens: int | None) -> None:
    """An evaluation beyond the original length of dynamic positions was refused, which the engine computes."""
    assert engine_context_tokens({"max_position_embeddings": 4096, **more}) == tokens


# ---------------------------------------------------------------- tokenizer


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer" in refused(folder)
    (folder / "tekken.json").write_text("{}")
    assert "tekken.json alone" in refused(folder)


def test_a_frame_that_needs_a_chat_template(folder: Path) -> None:
    assert "has no chat template" in refused(
        folder, "selfplay.frame=chat"
    ) and "selfplay.frame=paper" in refused(folder, "selfplay.frame=short")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    check(folder, "selfplay.frame=chat")
    (folder / "chat_template.jinja").write_text(" \n")  # as transformers reads it: prompts of nothing
    (folder / "chat_template.json").write_text('{"chat_template": "{{ messages }}"}')
    assert "has its chat template in chat_template.json, which is not read" in refused(
        folder, "selfplay.frame=chat"
    )
    (folder / "chat_template.json").unlink()
    assert "has no chat template" in refused(folder, "selfplay.frame=chat")
    (folder / "chat_template.jinja").unlink()
    change(folder, "tokenizer_config.json", chat_template=[{"name": "tool_use", "template": "x"}])
    assert "has no chat template" in refused(folder, "selfplay.frame=chat")
    change(folder, "tokenizer_config.json", chat_template=[{"name": "default", "template": "x"}])
    check(folder, "selfplay.frame=chat")


def test_no_end_token(folder: Path) -> None:
    change(folder, "tokenizer_config.json", eos_token=None)
    assert "has no eos_token" in refused(folder)
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": {"content": "<|end|>"}}))
    check(folder)


TOKENS = 4089
"""Of the bundled tokenizer; the model has 4,096 embeddings."""


def test_an_end_token_that_is_none(folder: Path) -> None:
    change(folder, "tokenizer_config.json", eos_token="<|nowhere|>")
    assert f"'<|nowhere|>' would have id {TOKENS}, and tokenizer.json has {TOKENS} tokens" in refused(folder)


def test_added_tokens_of_another_form(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**content, "added_tokens": [1, "a", None]}))
    check(folder)


def test_a_padding_token_without_an_embedding(folder: Path) -> None:
    """Named and not in tokenizer.json: it is added behind all others."""
    change(folder, "tokenizer_config.json", pad_token="[PAD]")
    change(folder, "config.json", vocab_size=TOKENS)
    assert f"pad_token '[PAD]' has id {TOKENS}, and the model has {TOKENS} embeddings" in refused(folder)


def test_a_padding_token_within_a_padded_vocabulary(folder: Path) -> None:
    change(folder, "tokenizer_config.json", pad_token="[PAD]")
    check(folder)


def test_an_end_token_that_the_engine_cannot_take(folder: Path) -> None:
    """verl has the engine sample ids below the number of tokens alone, so an end token behind a gap would
    never come."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({"id": 4100, "content": "<|stop|>", "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    change(folder, "tokenizer_config.json", eos_token="<|stop|>")
    change(folder, "config.json", vocab_size=4160)
    assert f"'<|stop|>' would have id 4100, and tokenizer.json has {TOKENS + 1} tokens" in refused(folder)


def test_a_tokenizer_of_a_larger_model(folder: Path) -> None:
    change(folder, "config.json", vocab_size=4000)
    assert f"tokenizer and model do not belong together: its largest token has id {TOKENS - 1}" in refused(
        folder
    )


def test_a_template_with_tokens_that_the_model_does_not_have(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({"id": 4096, "content": "<|im_start|>", "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    check(folder)
    (folder / "chat_template.jinja").write_text("<|im_start|>{{ messages[0]['content'] }}")
    assert "<|im_start|> of the chat template has id 4096" in refused(folder, "selfplay.frame=chat")


TURNS = "{% for turn in messages %}<|im_start|>{{ turn.role }}<|im_end_header|>{{ turn.content }}"


@pytest.mark.parametrize(
    ("template", "ids", "is_refused"),
    [
        (TURNS + "<|im_end|>{% endfor %}<|im_start|>", 1, True),
        (TURNS + "{% generation %}<|im_end|>{% endgeneration %}{% endfor %}", 1, True),
        (TURNS + "<|im_end|>{% endfor %}", [1, 4090], False),
        (TURNS + "<|end|>{% endfor %}", 1, False),
        (TURNS + "{{ eos_token }}{% endfor %}", 1, False),
        (TURNS + "{% endfor %}", 1, False),  # marks where a turn begins, and leaves its end to the model
        (TURNS + "<|im_end|>{% endfor %}{{ 1 / 0 }}", 1, False),  # transformers tells
    ],
)
def test_a_base_model_with_the_template_of_its_instruct_sibling(
    folder: Path, template: str, ids: Any, *, is_refused: bool
) -> None:
    """Each response ran to its limit. The token that is named is what follows an answer, not one whose name has "end" in it."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    for number, mark in ((4088, "<|im_end_header|>"), (4089, "<|im_start|>"), (4090, "<|im_end|>")):
        tokenizer["added_tokens"].append({**tokenizer["added_tokens"][1], "id": number, "content": mark})
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "chat_template.jinja").write_text(template)
    change(folder, "generation_config.json", eos_token_id=ids)
    chat, raw = (
        load_config(["recipe=cpu_tiny", f"model.path='{folder}'", f"selfplay.frame={frame}"]).config
        for frame in ("chat", "paper")
    )
    require_ended_turns(folder, raw)
    with pytest.raises(ModelError) if is_refused else contextlib.nullcontext() as error:
        require_ended_turns(folder, chat)
    if error is not None:
        assert "ends an answer with <|im_end|>, and the model stops at <|end|> alone" in str(error.value)
        assert (
            '(selfplay.frame=paper); of a model that was taught it, write "eos_token_id": [1, 4090] into'
            in str(error.value)
        )
        require_usable_model(raw)
        require_usable_model(chat, begun=True)
        with pytest.raises(ModelError, match="ends an answer with"):
            require_usable_model(chat)


# ---------------------------------------------------------------- where it is told


@pytest.mark.parametrize("command", ["run", "preflight"])
def test_the_commands_refuse_in_a_sentence(
    folder: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model.safetensors").write_bytes(POINTER)
    settings = ["recipe=cpu_tiny", f"runs_dir={tmp_path}/runs", f"model.path='{folder}'"]
    assert run_command(command, settings) == 2
    output = capsys.readouterr().err
    assert "Git LFS pointer" in output and "Traceback" not in output
    assert not (tmp_path / "runs").exists()


def test_the_doctor_tells_it_too(folder: Path, tmp_path: Path) -> None:
    from azr.doctor.checks import fit_findings
    from azr.system.hardware import Machine

    change(folder, "config.json", quantization_config={"quant_method": "gptq"})
    rewrite(folder, with_packed_layer)
    config = load_config(["recipe=cpu_tiny", f"model.path='{folder}'"]).config
    [finding] = fit_findings(Machine((), cpu_cores=8, ram_gib=64.0, ram_available_gib=60.0), config, tmp_path)
    assert finding.subject == "model" and "quantised (gptq)" in finding.seen


def test_headers_are_read_without_the_weights() -> None:
    tensors = require_whole_files(TINY)
    assert tensors["model.embed_tokens.weight"] == Tensor("BF16", (4096, 256))
