"""The texts of this room, filled in: the suites' prompts, as their authors have them, and the cards of exports.

They are files of ``texts/``. What is filled in is never read as a template.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_suffix("")),
        autoescape=False,  # read by language models, or as Markdown
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _cell
    return environment


def filled(file: str, /, **values: Any) -> str:
    """The text of a file, without the line break at its end."""
    return _environment().get_template(f"{file}.jinja").render(values)


def _cell(value: Any) -> str:
    """For a table of Markdown."""
    return str(value).replace("|", "\\|").replace("\n", " ")
