"""Qwen3's untrained think tokens, on a small tokenizer built in the same way."""

from __future__ import annotations

import json

import pytest

from azr.errors import ModelError
from azr.prompts.tokenizer import has_untrained_think_tokens, write_plain_think_tokens

tokenizers = pytest.importorskip("tokenizers")


@pytest.fixture
def qwen3(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["think </think> answer"], trainer)
    tokenizer.add_special_tokens(["<|im_end|>"])
    tokenizer.add_tokens(
        [tokenizers.AddedToken("<think>", special=False), tokenizers.AddedToken("</think>", special=False)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    decoder = {
        str(tokenizer.token_to_id(token)): {"content": token}
        for token in ("<|im_end|>", "<think>", "</think>")
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "added_tokens_decoder": decoder,
                "eos_token": "<|im_end|>",
            }
        )
    )
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_tags_become_ordinary_text(qwen3, tmp_path):
    assert has_untrained_think_tokens(qwen3, raw_frame=True) and not has_untrained_think_tokens(
        qwen3, raw_frame=False
    )
    before = tokenizers.Tokenizer.from_file(str(qwen3 / "tokenizer.json"))
    assert len(before.encode("<think>").ids) == 1
    target = tmp_path / "plain"
    write_plain_think_tokens(qwen3, target)
    after = tokenizers.Tokenizer.from_file(str(target / "tokenizer.json"))
    ids = after.encode("User<|im_end|><think> a </think>").ids
    assert before.token_to_id("<think>") not in ids and before.token_to_id("<|im_end|>") in ids
    assert after.decode(ids, skip_special_tokens=False) == "User<|im_end|><think> a </think>"
    assert not has_untrained_think_tokens(target, raw_frame=True)
    assert (target / "model.safetensors").read_bytes() == b"weights"
    assert has_untrained_think_tokens(qwen3, raw_frame=True)  # the original is untouched


@pytest.mark.slow  # importing transformers takes longer than all other tests of this folder
def test_transformers_reads_the_copy(qwen3, tmp_path):
    from transformers import AutoTokenizer

    write_plain_think_tokens(qwen3, tmp_path / "plain")
    assert len(AutoTokenizer.from_pretrained(qwen3).encode("<think>", add_special_tokens=False)) == 1
    assert (
        len(AutoTokenizer.from_pretrained(tmp_path / "plain").encode("<think>", add_special_tokens=False)) > 1
    )


def test_other_models_are_left_alone(qwen3):
    (qwen3 / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert not has_untrained_think_tokens(qwen3, raw_frame=True)
    (qwen3 / "config.json").write_text("{")
    with pytest.raises(ModelError):
        has_untrained_think_tokens(qwen3, raw_frame=True)
