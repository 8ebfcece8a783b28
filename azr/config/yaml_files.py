"""YAML files that people edit: read strictly, with errors that name file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import yaml

from azr.errors import ConfigError

MAX_DEPTH = 100
"""Levels of a value that a program has written."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses what plain YAML silently reads otherwise than it was meant: a key that stands twice in one mapping
    (the last one counts), ``1:30`` (90, to the base of 60), ``010`` (8)."""

    def construct_plain_number(self, node: yaml.ScalarNode) -> int | float:
        text, is_float = node.value.lstrip("+-"), node.tag.endswith("float")
        number = self.construct_yaml_float(node) if is_float else self.construct_yaml_int(node)
        if ":" in text or re.fullmatch(r"0[\d_]+", text):
            meant = "in quotes if it is a text, else as a decimal number"
            raise yaml.constructor.ConstructorError(
                None, None, f"YAML reads {node.value} as {number:g}; write it {meant}", node.start_mark
            )
        return number

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            line = key_node.start_mark.line + 1
            if key is not None and key in seen:
                twice = f"key {key} appears twice (first in line {seen[key]})"
                raise yaml.constructor.ConstructorError(None, None, twice, key_node.start_mark)
            seen[key] = line
        return super().construct_mapping(node, deep)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _StrictLoader.add_constructor(_tag, _StrictLoader.construct_plain_number)


def plain_yaml(text: str) -> Any:
    """The value that a program has written; by libyaml, which is eight times as fast as Python, where PyYAML has it.

    Raises:
        yaml.YAMLError: it is none, or so deeply nested that building it would end the process.
    """
    loader, depth = getattr(yaml, "CSafeLoader", yaml.SafeLoader), 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError("nested too deeply")
    return yaml.load(text, Loader=loader)


def yaml_text(value: Any) -> str:
    """YAML of plain values, in their order."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True)


def load_yaml(path: Path) -> Any:
    """The content of a YAML file; Windows line ends and a byte-order mark do no harm.

    Raises:
        ConfigError: no YAML, a key twice, or another encoding; the message has file, line and what is wrong.
        OSError: it cannot be read.
    """
    text = _text(path)
    if mark := _conflict_mark(text):
        raise ConfigError(
            f"{path}, line {mark}: a mark of git, which could not merge two versions of the file; keep one of the two and remove the lines "
            "that begin with <<<<<<<, ======= and >>>>>>>"
        )
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r" *[^\S \t]\s*\S", line):  # YAML takes it for the first letter of the key
            raise ConfigError(
                f"{path}, line {number}: a non-breaking space or another odd one before {line.strip()[:40]!r}; type plain spaces there"
            )
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}, line {line}: {_what(error, text.splitlines(), line)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def _conflict_mark(text: str) -> int:
    """The line where a conflict of git begins; 0 = there is none."""
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if re.match(r"<{7} |>{7} |={7}$", line)), 0)


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path} is saved as UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def _what(error: yaml.MarkedYAMLError, lines: list[str], line: int) -> str:
    for number in (line, line - 1):  # the parser may stop a line later
        if 0 < number <= len(lines) and re.match(r"\s*\t", lines[number - 1]):
            return f"a tab (in line {number}); YAML needs spaces there"
    problem = error.problem or error.context or "not readable"
    if odd := re.match(r"found character '([^\t])' that cannot start any token", problem):
        problem = f"a value that begins with {odd[1]} has to be in quotes"
    shown = lines[line - 1].strip()[:60] if line <= len(lines) else "the end of the file"
    ours = "twice" in problem or problem.startswith("YAML reads")
    return problem if ours else f"{problem} (at {shown!r})"


_NUMBER_FOR_HYDRA = re.compile(r"[-+]?\.?\d[\d_]*\.?[\d_]*[eE][-+]?\d+")
"""``1e5``, which is a text to PyYAML, for want of a point."""


def refuse_unquoted_names(path: Path, keys: Collection[str]) -> None:
    """Raises: ConfigError: below one of these keys of the file stands something without quotation marks that
    YAML or Hydra reads as a number, a date, true or false, where only names can stand."""

    def visit(node: yaml.Node, key: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                visit(value, name.value if isinstance(name, yaml.ScalarNode) else key)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                visit(value, key)
        elif isinstance(node, yaml.ScalarNode) and not node.style:
            text = node.tag.endswith(":str") and not _NUMBER_FOR_HYDRA.fullmatch(node.value)
            if not text and not node.tag.endswith(":null"):
                raise ConfigError(
                    f"{path}, line {node.start_mark.line + 1}: {key}: {node.value} is not read as a name; "
                    f'quote it: "{node.value}"'
                )

    root = yaml.compose(_text(path), Loader=yaml.SafeLoader)
    for name, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if isinstance(name, yaml.ScalarNode) and name.value in keys:
            visit(value, name.value)


def line_finder(path: Path, prefix: str = "") -> Callable[[str], str]:
    """A function that says in which line of ``path`` a dotted key stands, such as ``FILE, line 3``; empty
    where it does not.

    Args:
        prefix: where the file's keys belong in the configuration (``monitor.``).
    """
    places: dict[str, int] = {}

    def visit(node: yaml.Node | None, above: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    places[f"{above}{key.value}"] = key.start_mark.line + 1
                    visit(value, f"{above}{key.value}.")

    visit(yaml.compose(_text(path), Loader=yaml.SafeLoader), prefix)
    return lambda key: f"{path}, line {places[key]}" if key in places else ""
