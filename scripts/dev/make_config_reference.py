"""Writes docs/configuration.md from the typed configuration: python scripts/dev/make_config_reference.py
[--check]

Keys, types and defaults come from the dataclasses in azr/config, meanings from the string after each field.
``--check`` writes nothing and fails where the page is not what it would write; the tests call it.
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import ast
import dataclasses
import inspect
import itertools
import sys
import typing
from pathlib import Path
from typing import Any

from azr.config import Config
from azr.config.limits import limit_text
from azr.system.files import write_text_atomic
from azr.system.terminal import outlive_the_terminal

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
HEAD = """# Configuration

Every key, its default and its meaning. This page is written by `scripts/dev/make_config_reference.py` from `azr/config/*.py`;
do not edit it.

Keys are set in `configs/pipeline.yaml`, in a group file (`configs/recipe`, `configs/selfplay`), or on the command line, which
wins: `python azr_single_gpu_pipeline.py campaign.hours=12 selfplay.batch_size=32`. `--cfg job` prints what a run would use. A recipe
changes many of the defaults below; it is chosen from the machine unless `recipe=` names one.
"""


def field_docs(cls: type) -> dict[str, str]:
    """The string literal after each annotated field, on one line."""
    tree = ast.parse(inspect.getsource(cls).lstrip())
    body = typing.cast(ast.ClassDef, tree.body[0]).body
    docs = {}
    for field, after in itertools.pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if (
            isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            docs[field.target.id] = " ".join(after.value.value.split())
    return docs


def type_name(hint: Any) -> str:
    """``int``, ``list of str``, ``int or empty`` ..."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(f"`{value}`" for value in arguments)
    if typing.get_origin(hint) is typing.Annotated:
        return f"{type_name(arguments[0])}, {limit_text(hint)}"
    if type(None) in arguments:
        return " or ".join(
            [type_name(argument) for argument in arguments if argument is not type(None)] + ["null"]
        )
    if typing.get_origin(hint) is list:
        return f"list of {type_name(arguments[0])}"
    if typing.get_origin(hint) is dict:
        return f"map of {type_name(arguments[0])} to {type_name(arguments[1])}"
    if isinstance(hint, type) and issubclass(hint, str) and hint is not str:
        return "one of " + ", ".join(f"`{item.value}`" for item in typing.cast(Any, hint))
    return getattr(hint, "__name__", str(hint))


def value_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if hasattr(value, "value"):
        return str(value.value)
    if isinstance(value, list):
        return "[" + ", ".join(value_text(item) for item in value) + "]"
    return '""' if value == "" else str(value)


def cell(text: str) -> str:
    """As it may stand in a table: double backquotes become single ones."""
    return text.replace("``", "`").replace("|", "\\|")


def tables(instance: Any, prefix: str) -> list[str]:
    """One table of the plain fields, then one for each nested section.

    Raises:
        SystemExit: a field has no docstring; the message names it.
    """
    cls = type(instance)
    docs, hints = field_docs(cls), typing.get_type_hints(cls, include_extras=True)
    rows, nested = [], []
    for field in dataclasses.fields(instance):
        value, key = getattr(instance, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            nested.append((key, value))
        elif field.name not in docs:
            raise SystemExit(
                f"make_config_reference: {cls.__module__}.{cls.__name__}.{field.name} has no docstring"
            )
        else:
            rows.append(
                f"| `{key}` | {type_name(hints[field.name])} | `{value_text(value)}` | {cell(docs[field.name])} |"
            )
    lines = ["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""] if rows else []
    for key, value in nested:
        lines += [f"{'##' if not prefix else '###'} {key}", ""]
        if type(value).__doc__ and not str(type(value).__doc__).startswith(type(value).__name__ + "("):
            lines += [cell(inspect.cleandoc(str(type(value).__doc__))), ""]
        lines += tables(value, f"{key}.") or ["No keys.", ""]
    return lines


def render() -> str:
    return HEAD + "\n" + "\n".join(tables(Config(), "")).rstrip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="only compare; status 1 where the page is out of date"
    )
    arguments = parser.parse_args()
    text = render()
    if not arguments.check:
        write_text_atomic(PAGE, text)
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print(
            "docs/configuration.md is out of date: run python scripts/dev/make_config_reference.py",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
