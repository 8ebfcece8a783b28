"""Renders a template of this package into one self-contained HTML page.

Everything that came from a model or a file goes through Jinja's autoescape; a content security policy with
the hash of the page's only script is the second line of defence. The pages load nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from azr.report.text import cut, duration, gist, signed, when

TEMPLATES = Path(__file__).resolve().parent / "templates"


def code_spans(text: str) -> Markup:
    """Escapes a text; what stands between backquotes becomes code."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
        for index, part in enumerate(text.split("`"))
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"code_spans": code_spans, "duration": duration, "when": when}
    environment.filters |= {"cut": cut, "gist": gist, "signed": signed}
    return environment


def render_page(template: str, title: str, script_name: str, **values: Any) -> str:
    """A template with the page's style and its one script, whose hash is in the content security policy."""
    css = (TEMPLATES / "base.css").read_text(encoding="utf-8")
    script = (TEMPLATES / script_name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Style and script are files of this package, not text from a run.
    page = _environment().get_template(template)
    return page.render(title=title, css=Markup(css), script=Markup(script), script_hash=digest, **values)
