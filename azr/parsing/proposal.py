"""Reading a proposal: the program, its input or inputs, and the message."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable

from azr.config.selfplay import SelfPlayConfig
from azr.parsing.response import Block, fenced_blocks
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import (
    SourceError,
    collect_imports,
    drop_globals,
    drop_prints,
    parse_program,
    strip_comments,
    top_level_functions,
)
from azr.tasks import Proposal, Rejection, Task, TaskType

ENTRY = "f"
_INPUT_HEADING = re.compile(r"#[ \t]*Input:(.*?)(?=```|\Z)", re.IGNORECASE | re.DOTALL)
_MESSAGE_HEADING = re.compile(r"#[ \t]*Message:(.*?)(?=```|\Z)", re.IGNORECASE | re.DOTALL)
_TEST_COMMENT = re.compile(r"#\s*(?:test|example)", re.IGNORECASE)
_RESULT_NAMES = ("expected", "output", "result")


def parse_proposal(
    task_type: TaskType,
    answer: str,
    config: SelfPlayConfig,
    *,
    thought: str = "",
    program: Task | None = None,
) -> Proposal | Rejection:
    """What a proposer's answer proposes. Never raises, whatever the text is.

    Args:
        answer: what stood in the answer tags.
        config: its options, and ``num_inputs`` that an induction proposal needs.
        program: the task whose program an induction proposal is for (its own code block is not looked at).
    """
    if not answer.strip():
        return Rejection("no_answer")
    blocks = fenced_blocks(answer)
    if task_type is TaskType.INDUCTION:
        if program is None:
            raise ValueError("an induction proposal belongs to the program it was asked about")
        return _induction(answer, blocks, config, thought, program)
    codes = [block.text for block in blocks if block.is_code]
    if not codes:
        return Rejection("no_code_block")
    code = codes[0 if config.code_location == "first" else -1].strip()
    input_text = next((block.text for block in blocks if block.label == "input"), None)
    if input_text is None:
        heading = _INPUT_HEADING.search(answer)
        input_text = heading[1] if heading else None
    if input_text is None:
        return Rejection("no_input_block")
    if not input_text.strip():
        return Rejection("empty_input")
    try:
        code, tree, imports = _prepare_program(code, config)
    except SourceError as error:
        return Rejection(error.reason, error.detail)
    except NameConflict as error:
        return Rejection("name_conflict", str(error))
    return Proposal(task_type, code, tree, (input_text.strip(),), imports, thought=thought)


def _induction(
    answer: str, blocks: list[Block], config: SelfPlayConfig, thought: str, program: Task
) -> Proposal | Rejection:
    inputs = [block.text.strip() for block in blocks if re.fullmatch(r"input(?:_\d+)?", block.label)]
    message = _message(answer, blocks)
    if config.usable_inputs:  # validation counts them, which knows which of them are usable
        inputs = [text for text in inputs if text]
        if not inputs:
            return Rejection("too_few_inputs", f"0 of {config.num_inputs}")
        message = message or ""  # refused there as well
    else:
        if len(inputs) < config.num_inputs:
            return Rejection("too_few_inputs", f"{len(inputs)} of {config.num_inputs}")
        inputs = inputs[-config.num_inputs :]  # the last ones, as published
        if not all(inputs):
            return Rejection("empty_input")
        if message is None:
            return Rejection("no_message")
    try:
        tree = parse_program(program.code)
    except SourceError as error:
        return Rejection(error.reason, error.detail)
    return Proposal(
        TaskType.INDUCTION,
        program.code,
        tree,
        tuple(inputs),
        program.imports,
        message=message.strip(),
        thought=thought,
    )


def _message(answer: str, blocks: list[Block]) -> str | None:
    for block in blocks:
        if block.label == "message":
            return block.text
    tagged = re.search(
        r"<message>(.*?)</message>", answer, re.DOTALL | re.IGNORECASE
    ) or _MESSAGE_HEADING.search(answer)
    return tagged[1] if tagged else None


def _prepare_program(source: str, config: SelfPlayConfig) -> tuple[str, ast.Module, tuple[str, ...]]:
    """The program with its entry function called ``f`` and the configured parts removed, its tree and its imports.
    A text is parsed again only where it was changed.

    Raises:
        SourceError: with the reason code of the rejection.
        NameConflict: ``f`` means something else in the program.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    tree = parse_program(source)
    functions = top_level_functions(tree)
    if not functions:
        raise SourceError("no_function", "the program defines no function at the top level")
    if config.reject_multiple_functions and len(functions) > 1:
        raise SourceError("multiple_functions", ", ".join(function.name for function in functions)[:200])
    names = [function.name for function in functions]
    entry = names[0 if config.entry_point in ("not_first", "any_first") else -1]
    if config.entry_point in ("any_first", "any_last") and ENTRY in names:
        entry = ENTRY
    if config.reject_test_input and (found := _test_input(source, tree, entry)):
        raise SourceError("test_input_in_code", found)
    if entry != ENTRY:
        if ENTRY in names:  # another function is called f: make room for the entry
            spare = next(name for number in range(1, 1000) if (name := f"{ENTRY}_{number}") not in source)
            source = rename_function(source, ENTRY, spare)
        source = rename_function(source, entry, ENTRY)
        tree = parse_program(source)
    imports = collect_imports(tree)

    if config.strip_comments:
        source = strip_comments(tree)
        tree = parse_program(source)
    if config.strip_globals:
        source = drop_globals(source, tree)
        tree = parse_program(source)
    if config.strip_prints:
        source = drop_prints(tree)
        tree = parse_program(source)
    return source, tree, imports


def _test_input(source: str, tree: ast.Module, entry: str) -> str:
    """What gives a test away: by the tree, so strings and recursive calls are fine."""
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for node in ast.walk(statement):
            if _calls(node, entry):
                return "a call of the entry function at the top level"
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and _is_telling(node.id):
                return f"a top-level variable {node.id}"
        if (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Name)
            and statement.value.id == "input"
        ):
            return "a statement that is the word input"
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            return "an assert"
        if (
            isinstance(node, ast.Call)
            and _calls(node, "print")
            and any(_calls(inner, entry) for inner in node.args)
        ):
            return "a printed call of the entry function"
    for comment in comments(source):
        if _TEST_COMMENT.match(comment):
            return "a comment that announces a test or example"
    return ""


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def _is_telling(name: str) -> bool:
    return "input" in name.lower() or name.lower() in _RESULT_NAMES


def comments(source: str) -> Iterable[str]:
    """The comments of a program that parses, with their ``#``."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.string
    except (tokenize.TokenError, SyntaxError):
        return
