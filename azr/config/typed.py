"""Command-line settings as people type them: what stands after = is taken as it is, and Hydra's grammar never sees it."""

from __future__ import annotations

import os
import re
import shlex
import types
import typing
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from azr.config import Config, unknown_key_message
from azr.config.usual_names import usual_name
from azr.errors import ConfigError

GROUPS = ("recipe", "selfplay")
"""Without a dot these choose a file of configs/."""
_QUOTES = "'\""


def split_overrides(overrides: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Returns:
        group -> name of the settings that choose files (``GROUPS``), and key -> value of the others.

    Raises:
        ConfigError: a setting is none, or its key or value cannot be meant.
    """
    groups: dict[str, str] = {}
    values: dict[str, Any] = {}
    kinds = leaf_kinds()
    sections = {key.rpartition(".")[0] for key in kinds if "." in key}
    for item, following in zip_longest(overrides, overrides[1:], fillvalue=""):
        item = item.lstrip("+")  # Hydra's signs for new keys; here all keys are known
        if item.startswith("~"):
            raise ConfigError(
                f"{item}: a setting cannot be removed; without it on the command line it has its default"
            )
        key, equals, value = item.partition("=")
        if key.startswith("-") and key.lstrip("-") in (*kinds, *GROUPS):
            behind = (
                following if following and not following.startswith("--") and "=" not in following else ""
            )
            meant = shlex.quote(f"{key.lstrip('-')}={value if equals else behind or 'VALUE'}")
            raise ConfigError(f"{item}: settings have no dashes; write {meant}")
        if not equals:
            raise ConfigError(_no_setting(item))
        if not key:
            raise ConfigError(f"{item!r} has no key before its =; write KEY{item}")
        if key != key.strip() and key.strip() in kinds:
            raise ConfigError(f"{item!r}: no space before =; write {key.strip()}=VALUE")
        _refuse_bytes(key, value)
        if key in GROUPS:
            groups[key] = value
        elif key in sections:
            meant = f" ({usual})" if (usual := usual_name(key)) else ""
            raise ConfigError(f"{key} is a section; set its keys one by one: {key}.KEY=VALUE{meant}")
        elif key not in kinds:
            raise ConfigError(unknown_key_message(key))
        else:
            values[key] = _value(kinds[key], key, value)
    return groups, values


def leaf_kinds() -> dict[str, str]:
    """Dotted key -> ``text``, ``texts``, ``number``, ``numbers`` (``optional`` before each) or ``other``."""
    return dict(_kinds(Config, ""))


def _kinds(section: type, prefix: str) -> typing.Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(section)
    for field in fields(section):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _kinds(hint, f"{name}.")
        else:
            yield name, _kind(hint)


def _kind(hint: Any) -> str:
    optional = ""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part is not type(None)]
        optional, hint = "optional ", parts[0] if len(parts) == 1 else None
    if hint is str or typing.get_origin(hint) is typing.Literal:
        return f"{optional}text"
    if hint is float:
        return f"{optional}number"
    if typing.get_origin(hint) is list:
        [item] = typing.get_args(hint)
        return f"{optional}{'texts' if _kind(item) == 'text' else 'numbers'}"
    return "other"


def _value(kind: str, key: str, typed: str) -> Any:
    if typed == "null" and kind.startswith("optional"):
        return None
    if kind.endswith("texts"):
        return _texts(key, typed)
    if kind.endswith("text"):
        return _text(key, typed)
    if "," in typed and not typed.startswith("["):
        raise ConfigError(f"{key}={typed}{_comma_told(kind, key, typed)}")
    if not typed.strip() and not kind.endswith("numbers"):
        raise ConfigError(
            f"{key}= names nothing; is a variable of the shell not set? Without it on the command line, {key} has its default"
        )
    if kind.endswith("numbers"):
        return [_number(part) for part in _texts(key, typed)]
    return _number(_text(key, typed))


def _number(text: str) -> int | float | str:
    """Other words are left to the check of all values, which knows what the key takes."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _comma_told(kind: str, key: str, value: str) -> str:
    """What is wrong with a decimal comma, or a list without its brackets."""
    if kind.endswith("numbers"):
        return f": write a list in brackets: '{key}=[{value}]'"
    if kind.endswith("number") and re.fullmatch(r"-?\d+,\d+(e-?\d+)?", value):
        return f": write a point, not a comma: {key}={value.replace(',', '.')}"
    if kind == "other" and re.fullmatch(r"\d{1,3}(,\d{3})+", value):
        return f": write the number without commas: {key}={value.replace(',', '')}"
    return " names several values; a run takes one"


def _no_setting(item: str) -> str:
    if item.startswith("-"):
        meant = usual_name(item) if item.startswith("--") else ""
        return f"there is no option {item}; settings are key=value, and {meant or '--help says which are often set'}"
    if item.endswith((".yaml", ".yml")):
        return f"{item!r} is a file, and settings are key=value; {usual_name('config_file')}"
    run = Path(item).name if re.fullmatch(r"[\w./~-]*\w/?", item) and item not in leaf_kinds() else ""
    meant = f" (name={run} for the run {run})" if run else ""
    return (
        f"{item!r} is not a setting; write key=value{meant}, without spaces around =, and quote a value with spaces "
        "for the shell: 'key=a b'"
    )


def _refuse_bytes(key: str, value: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in value):
        shown = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise ConfigError(
            f"{key} contains bytes that are not UTF-8: {shown}; rename the file or folder, or make a link to it"
        )


def _text(key: str, value: str) -> str:
    """As typed; quotation marks around the whole are taken off, as Hydra does."""
    if len(value) >= 2 and value[0] in _QUOTES and value[-1] == value[0]:
        value = value[1:-1].replace(f"\\{value[0]}", value[0])
    if "${" in value:
        variable = re.search(r"\$\{([A-Za-z_]\w*)\}", value)
        if variable and variable[1] in os.environ:
            raise ConfigError(
                f"{key}: {variable[0]} is read as a reference to another key; a variable of the environment is written ${variable[1]}"
            )
        raise ConfigError(
            f"{key} holds ${{, which the trainer's libraries read as a reference to another key; rename it, or make a link"
        )
    if any(character in value for character in "\0\n\r"):
        raise ConfigError(f"{key} contains a line end or a NUL; it must be one line of text")
    return value


def _texts(key: str, value: str) -> list[str]:
    """``[a,b]``; each part as typed. One name alone needs no brackets."""
    if not (value.startswith("[") and value.endswith("]")):
        if value.startswith("["):
            raise ConfigError(
                f"{key}={value}: the list has no end, as a shell splits one at its blanks; quote it: '{key}=[a,b]'"
            )
        if "," in value:
            inside = value[1:-1] if re.fullmatch(r"\(.*\)|\{.*\}", value) else "a,b"
            raise ConfigError(
                f"{key}={value}: write '{key}=[{inside}]' for several, or '{key}=[\"{value}\"]' for one name with a comma in it"
            )
        if not value:
            raise ConfigError(
                f"{key}= names nothing; is a variable of the shell not set? An empty list is {key}=[]"
            )
        return [_text(key, value)]
    parts, current, quote = [], "", ""
    for character in value[1:-1]:
        if quote or (character in _QUOTES and not current.strip()):
            quote = character if not quote else "" if character == quote else quote
        if character == "," and not quote:
            parts.append(current)
            current = ""
        else:
            current += character
    if quote:
        raise ConfigError(f"{key}={value}: a quotation mark is not closed")
    parts = [part.strip() for part in [*parts, current]]
    if parts == [""]:
        return []
    if "" in parts:
        raise ConfigError(f"{key}={value}: there is nothing between two commas")
    return [_text(key, part) for part in parts]
