"""Names of models on the Hugging Face hub, and where its cache keeps them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from azr.system.files import text_of

_NAME = re.compile(r"(?P<name>\w[\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_CACHED = re.compile(r"/models--(?P<name>[\w.-]+?--[\w.-]+)/snapshots/(?P<commit>[^/]+)/?$", re.ASCII)
_URL = re.compile(
    r"(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|(?:hf|huggingface):)(?P<rest>.*)", re.IGNORECASE
)


@dataclass(frozen=True)
class HubName:
    """``org/name``, or ``org/name@revision`` with a branch, tag or commit."""

    name: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubName | None:
        """None where the text has another form."""
        found = _NAME.fullmatch(text)
        return cls(found["name"], found["revision"]) if found else None

    @classmethod
    def of_cached(cls, folder: str) -> HubName | None:
        """The model and commit that a folder of the hub's cache holds (``models--org--name/snapshots/COMMIT``)."""
        found = _CACHED.search(folder)
        return cls(found["name"].replace("--", "/"), found["commit"]) if found else None

    @property
    def download(self) -> str:
        """The command that fetches it into the cache."""
        return f"hf download {self.name}" + (f" --revision {self.revision}" if self.revision else "")

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def name_in_url(text: str) -> str | None:
    """What to write for an address that people paste: ``org/name`` of one of the hub, with the branch that it may name;
    the folder of ``file://``. None for any other text."""
    if text.startswith("file:"):
        found = re.fullmatch(r"file:(?://(?:localhost(?=/))?)?(.+)", text, re.DOTALL)
        return unquote(found[1]) if found else None
    found = _URL.fullmatch(text.strip())
    parts = [part for part in (found["rest"].split("?")[0].split("/") if found else []) if part]
    if len(parts) < 2:
        return None
    branch = parts[3] if len(parts) > 3 and parts[2] in ("tree", "blob", "resolve") else ""
    return f"{parts[0]}/{parts[1]}" + (f"@{branch}" if branch and branch != "main" else "")


def name_meant(text: str, caches: Path) -> str:
    """What to write for a name of the hub with a slash, a blank, ``:main`` or ``@`` too many, as its cache's folder is called, or
    without its owner where ``caches`` (``hub_cache``) holds one such; empty for any other text."""
    if text.startswith(("/", ".", "~")):  # a folder
        return ""
    plain = re.sub(r"\s*[/\\]+\s*", "/", text.strip()).strip("/")
    plain = plain.removeprefix("models--").replace("--", "/", 1) if plain.startswith("models--") else plain
    found = re.fullmatch(r"([^:@]+)(?:@+([^:@]*)|:(main|latest|[0-9a-f]{7,40}))", plain)
    name, branch = (found[1], found[2] or found[3] or "") if found else (plain, "")
    if "/" not in name:
        owned = sorted(caches.glob(f"models--*--{glob.escape(name)}")) if name else []
        name = owned[0].name.removeprefix("models--").replace("--", "/", 1) if len(owned) == 1 else name
    meant = name if branch in ("", "main", "latest") else f"{name}@{branch}"
    return meant if meant != text and HubName.parse(meant) else ""


def hub_cache(environment: Mapping[str, str]) -> Path:
    """Where huggingface_hub keeps models, by the variables that it reads."""
    caches = environment.get("XDG_CACHE_HOME", "~/.cache")
    home = environment.get("HF_HOME", f"{caches}/huggingface")
    hub = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return Path(os.path.expandvars(os.path.expanduser(hub)))  # noqa: PTH111


def in_a_copy(folder: Path) -> str:
    """Where to change a file of a model, as the beginning of an advice: the hub's cache is not to be written into."""
    return "in a copy of the folder, " if "snapshots" in folder.parts else ""


def cached_folder(hub_name: HubName) -> Path | None:
    """The model's folder in the hub's cache, whole or not; None where nothing is cached. Asks no network."""
    model = hub_cache(os.environ) / f"models--{hub_name.name.replace('/', '--')}"
    revision = hub_name.revision or "main"
    commit = text_of(model / "refs" / revision).strip()
    folder = model / "snapshots" / (commit or revision)
    if folder.is_dir():
        return folder
    if hub_name.revision is None:
        return next(iter(sorted((model / "snapshots").glob("*/"))), None)
    return None
