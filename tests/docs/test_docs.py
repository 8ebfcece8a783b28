"""What the documentation says exists: links, scripts, flags, keys, and the generated reference."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from azr.config.load import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command in an indented or fenced block, or between backquotes, that starts one
    of our scripts."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        lines += [
            line.strip()
            for block in re.findall(r"```(?:bash|sh)\n(.*?)```", text, flags=re.DOTALL)
            for line in block.splitlines()
        ]
        lines += re.findall(r"`((?:python|bash) [^`\n]+)`", text)
        for line in lines:
            if re.match(r"(python|bash) \S+\.(py|sh)\b", line):
                found.append((page.name, shlex.split(line.removesuffix("\\"), comments=True)))
    return found


COMMANDS = _commands()


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 30
    assert {"azr_single_gpu_pipeline.py", "scripts/report.py", "scripts/watch.py"} <= {
        words[1] for _, words in COMMANDS
    }


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src(?:set)?="([^"]+)"', text)]:
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in _anchors(place), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_functions_and_constants_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for file in re.findall(r"`((?:azr|scripts|configs|tests|benchmarks)/[\w./-]+\.\w+)`", text):
        assert (ROOT / file).exists(), f"{page.name} names {file}"
    before = re.findall(r"`(\w+)` in\s+`(azr/[\w/]+\.py)`", text)
    behind = [(name, file) for file, name in re.findall(r"`(azr/[\w/]+\.py)` \(`(\w+)`\)", text)]
    for name, file in [*before, *behind]:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"\bdef {name}\(|^{name} = ", source, re.MULTILINE), f"{name} in {file}"


@pytest.mark.parametrize("script", sorted({words[1] for _, words in COMMANDS}))
def test_scripts_exist(script: str) -> None:
    assert (ROOT / script).exists()


@cache
def _help(script: str) -> str:
    return subprocess.run(
        [sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    ).stdout


_FLAGS = sorted(
    {
        (words[1], word.partition("=")[0])
        for _, words in COMMANDS
        if words[0] == "python"
        for word in words
        if word.startswith("--")
    }
)


@pytest.mark.parametrize(("script", "flag"), _FLAGS)
def test_flags_exist(script: str, flag: str) -> None:
    if (script, flag) != ("azr_single_gpu_pipeline.py", "--cfg"):
        assert flag in _help(script)


_OVERRIDES = sorted(
    {
        tuple(word for word in words[2:] if "=" in word and "..." not in word and not word.startswith("--"))
        for _, words in COMMANDS
        if words[1] in ("azr_single_gpu_pipeline.py", "scripts/run.sh", "scripts/preflight.py")
    }
)


@pytest.mark.parametrize("overrides", _OVERRIDES, ids=lambda item: " ".join(item) or "defaults")
def test_overrides_are_accepted(overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    load_config(list(overrides))


def test_keys_in_tables_and_text_exist() -> None:
    known = set(
        re.findall(
            r"^\| `([\w.]+)` \|",
            (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
    )
    sections = "|".join(sorted({key.partition(".")[0] for key in known if "." in key}))
    for page in PAGES:
        for key in re.findall(
            rf"`((?:{sections})\.[a-z_0-9.]+)(?:=[^`]*)?`", page.read_text(encoding="utf-8")
        ):
            if not key.endswith((".py", ".md", ".safetensors", ".")):
                assert key in known, f"{page.name} names the key {key}"


def test_the_configuration_reference_is_current() -> None:
    command = [sys.executable, "scripts/dev/make_config_reference.py", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr


def test_every_file_of_ours_that_is_named_somewhere_exists() -> None:
    """In code, configuration and benchmarks too: files move, and what names them does not notice."""
    named = re.compile(r"(?<![\w/.-])(?:scripts|configs|requirements|azr)/[\w/.-]+\.(?:py|sh|yaml|in)\b")
    folders = [
        ROOT / name
        for name in ("azr", "scripts", "docs", "configs", "benchmarks", "requirements", "data/models")
    ]
    files = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {".py", ".sh", ".md", ".yaml", ".in", ".json"}
    ]
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*files, *ROOT.glob("*.md"), ROOT / "pyproject.toml"]
        for name in named.findall(path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    }
    assert not missing
