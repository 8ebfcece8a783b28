"""How a model is spoken to is read from its folder: the template, and whether the model stops where the
template ends an answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from run_fixture import TINY
from transformers import AutoTokenizer

from azr.errors import ModelError
from azr.evaluate.speaker import speaker_of

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"


def folder(path: Path, template: Any, end: int | list[int] | None = None) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    if template:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(path)
    shutil.copyfile(TINY / "config.json", path / "config.json")
    if end is not None:
        (path / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    return path


def test_the_bundled_model_has_no_template() -> None:
    speaker = speaker_of(TINY)
    assert (speaker.chat, speaker.context) == (False, 1024)
    with pytest.raises(ModelError, match="no chat template"):
        speaker_of(TINY, "chat")


def test_a_template_that_ends_with_the_model_s_end_token_is_spoken(tmp_path: Path) -> None:
    assert speaker_of(folder(tmp_path / "a", TEMPLATE)).chat
    assert not speaker_of(tmp_path / "a", "plain").chat


def test_a_base_model_that_carries_its_sibling_s_template_continues_text(tmp_path: Path) -> None:
    other = TEMPLATE.replace("<|end|>", "<|im_end|>")
    assert not speaker_of(folder(tmp_path / "base", other)).chat
    assert speaker_of(tmp_path / "base", "chat").chat
    pad = AutoTokenizer.from_pretrained(TINY).pad_token
    by_generation = TEMPLATE.replace("<|end|>", pad)
    assert speaker_of(folder(tmp_path / "listed", by_generation, [1, 0])).chat, (
        "end tokens of generation_config.json count too"
    )


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for m in messages %}{{ m.content }", "unexpected"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ({"tool_use": "{{ messages }}"}, "no default"),
    ],
)
def test_a_template_that_cannot_be_used(tmp_path: Path, template: Any, told: str) -> None:
    """It was a traceback, also where the model was only to be asked in a frame."""
    with pytest.raises(
        ModelError, match=f"chat template of .* cannot be used: .*{told}.*--native-form plain"
    ):
        speaker_of(folder(tmp_path / "a", template))
    assert not speaker_of(tmp_path / "a", "plain").chat
