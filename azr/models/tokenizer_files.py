"""What a model folder says about its tokens, read from its JSON files alone."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from azr.errors import ModelError
from azr.models.weight_files import read_json_file

_OF_TEMPLATES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class TokenizerFiles:
    folder: Path
    settings: dict[str, Any]
    """tokenizer_config.json, over special_tokens_map.json; empty where there is neither."""
    ids: dict[str, int]
    """The whole vocabulary with the added tokens; empty where no tokenizer.json spells it out."""
    added: dict[str, int]
    """The added tokens alone."""

    @property
    def chat_template(self) -> str | None:
        """As transformers finds it: a file of its own, or in tokenizer_config.json (one, or several with a
        default)."""
        file = self.folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text(encoding="utf-8", errors="replace").strip() or None
        template = self.settings.get("chat_template")
        if isinstance(template, list):
            named = [entry for entry in template if isinstance(entry, dict)]
            template = next((each.get("template") for each in named if each.get("name") == "default"), None)
        return template if isinstance(template, str) and template.strip() else None

    def after_answer(self) -> str:
        """What the chat template writes after an answer; empty where that is not to be told without transformers."""
        # without the marks that transformers alone knows
        template = re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", self.chat_template or "")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["strftime_now"] = time.strftime
        messages = [{"role": "user", "content": "QUESTION"}, {"role": "assistant", "content": "ANSWER"}]
        named = {
            name: self.special(name) or "" for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        }
        try:
            said = environment.from_string(template).render(
                messages=messages, tools=None, documents=None, **named
            )
        except _OF_TEMPLATES:  # the trainer tells where it uses it
            return ""
        _, answer, after = said.rpartition("ANSWER")
        return after if answer else ""

    def special(self, name: str) -> str | None:
        """The text of ``eos_token``, ``pad_token`` ...; None where it is not named."""
        value = self.settings.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        return text if isinstance(text, str) else None

    def special_id(self, name: str) -> int | None:
        """Its id; a token that is named and not in tokenizer.json comes behind all others. None where it is
        not named or not known."""
        text = self.special(name)
        if text is None or not self.ids:
            return None
        return self.ids.get(text, len(self.ids))


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """
    Raises:
        ModelError: there is no tokenizer, or one of its files is damaged.
    """
    names = {path.name for path in folder.iterdir()}
    one_file = names & {"tokenizer.json", "tokenizer.model", "spiece.model"}
    if not one_file and not {"vocab.json", "merges.txt"} <= names:
        tekken = " (tekken.json alone is Mistral's own format, which is not read here)"
        other = tekken if "tekken.json" in names else ""
        raise ModelError(
            f"{folder} has no tokenizer (tokenizer.json or tokenizer.model){other}; "
            "copy the tokenizer's files from the model that this one was made from"
        )
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if name in names:
            said = read_json_file(folder / name)
            settings |= {key: value for key, value in said.items() if value is not None}
    added: dict[str, int] = {}
    ids: dict[str, int] = {}
    if "tokenizer.json" in names:
        content = read_json_file(folder / "tokenizer.json")
        model = content.get("model")
        if not isinstance(model, dict):
            raise ModelError(
                f"{folder / 'tokenizer.json'} does not describe a tokenizer; fetch that file again"
            )
        vocabulary = model.get("vocab")
        if isinstance(vocabulary, dict):
            ids = {token: number for token, number in vocabulary.items() if isinstance(number, int)}
        elif isinstance(vocabulary, list):  # Unigram: [[token, score], ...]
            numbered = enumerate(vocabulary)
            ids = {entry[0]: number for number, entry in numbered if isinstance(entry, list) and entry}
        entries = content.get("added_tokens") or []
        added = {
            str(entry.get("content")): number
            for entry in entries
            if isinstance(entry, dict) and isinstance(number := entry.get("id"), int)
        }
    for number, entry in (settings.get("added_tokens_decoder") or {}).items():
        if str(number).isdigit() and isinstance(entry, dict):
            added.setdefault(str(entry.get("content")), int(number))
    return TokenizerFiles(folder, settings, {**ids, **added} if ids else {}, added)


def named_end_tokens(folder: Path) -> tuple[int, ...]:
    """Ids that end a response by the model's generation settings: generation_config.json, or else
    config.json.

    The engine stops at each of them, beside the tokenizer's own end token.
    """
    for name in ("generation_config.json", "config.json"):
        if (folder / name).is_file():
            ends = read_json_file(folder / name).get("eos_token_id")
            ends = [ends] if isinstance(ends, int) else ends
            return tuple(end for end in ends if isinstance(end, int)) if isinstance(ends, list) else ()
    return ()
