"""From a proposal to a verified task: rules on the source, then execution in the sandbox.

A task is accepted when its program resembles no probe, runs without an error, its result has a canonical text of
acceptable size, and repeated runs in processes with different hash seeds agree. Everything else is a ``Rejection`` with
one of ``REASONS``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from azr.config.selfplay import SelfPlayConfig
from azr.copies import argument_key
from azr.parsing.proposal import comments
from azr.programs.source import SourceError, parse_program
from azr.prompts import BANNED_ERROR_WORDS
from azr.prompts.examples import INDUCTION_EXAMPLES
from azr.sandbox import CallResult, Job, Sandbox, Status
from azr.sandbox.values import ValueReadError, parse_arguments
from azr.selfplay.buffer import said
from azr.selfplay.composite import composite_fault
from azr.selfplay.options import banned_words
from azr.tasks import NO_ERROR, Proposal, Rejection, Task, TaskType, whole_program

Resembles = Callable[[str], str]
"""Name of the probe or evaluation item that a program resembles, '' for none."""
LEAKED_EVALUATION = "leaked_evaluation"
"""As the pool calls it (``azr.data.reasons``), which makes the same comparison."""
GUESSABLE = "guessable"

REASONS = {
    LEAKED_EVALUATION: "the program resembles one of a probe or evaluation file, so nothing is learned from it",
    "banned_import": "the program imports a banned module",
    "banned_word": "an error task uses assert, raise, try or except",
    "prompt_markup": "program, input, output or message holds fences, think or answer tags, or chat tokens, which would break prompts",
    "leaked_program": "the message of an induction task holds the program",
    "copied_example": "the message of an induction task is copied from the prompt's example",
    "leaked_output": "a comment or docstring of the program holds the output",
    "input_not_literal": "an input is not a list of literal arguments",
    "exception": "the program raised",
    "forbidden_import": "the program imports a module that the sandbox does not have",
    "timeout": "the program ran into its time limit",
    "killed": "the program's process died or flooded its output",
    "blocked": "the program tried something that is forbidden",
    "nondeterministic": "repeated runs did not agree",
    "output_not_literal": "the result has no canonical text (generator, object, too deep, too large)",
    "output_too_long": "the result's text is longer than a task may show",
    "constant_outputs": "all outputs of an induction proposal are equal",
    "composite": "a composite function is not called as required, or is redefined",
    GUESSABLE: "a typical input of the latest abduction tasks solves it (where such tasks are refused)",
    "solve_prompt_too_long": "the task's solve prompt does not fit the context",
    "duplicate": "the buffer holds the same task",
    "duplicate_renamed": "the buffer holds the same task with other variable names",
    "duplicate_puzzle": "the buffer holds an induction task with the same program and hint (where duplicates are not paid)",
    "filtered": "the program filter excludes tasks of this accuracy, or of responses without the format",
}
"""Reason codes of validation and buffering, with their meanings (those of parsing: ``azr.parsing.REASONS``)."""

_MARKUP = re.compile(r"```|</?(?:think|answer)>|<\|[^|<>\n]{1,40}\|>", re.IGNORECASE)
_RAISING = ("Assert", "Raise", "Try", "TryStar")
"""Statements no error task may hold; by name, because Python 3.10 has no ``except*``."""
_MIN_LEAK_CHARS = 6
"""Shorter outputs occur in comments by chance."""
ERROR_NAME = re.compile(r"[A-Za-z_]\w{0,79}")

_SPARE = 4
"""Inputs run beyond twice the needed number: a bound on what a proposal of sixty blocks may cost."""
_INPUT_FAULTS = (Status.ERROR, Status.REFUSED)
"""How a call may end without counting against the program where inputs are judged one by one; anything else (time-out, a
forbidden call) refuses the proposal."""
_EXAMPLE_INPUTS = frozenset(argument_key(text) for example in INDUCTION_EXAMPLES for text in example.inputs)
_EXAMPLE_MESSAGES = frozenset(said(example.message) for example in INDUCTION_EXAMPLES)

_STATUS_REASONS = {
    Status.ERROR: "exception",
    Status.TIMEOUT: "timeout",
    Status.KILLED: "killed",
    Status.BLOCKED: "blocked",
    Status.NONDETERMINISTIC: "nondeterministic",
    Status.REFUSED: "output_not_literal",
}


async def validate(
    proposal: Proposal,
    sandbox: Sandbox,
    config: SelfPlayConfig,
    composites: tuple[str, ...] = (),
    resembles: Resembles | None = None,
) -> Task | Rejection:
    """Verifies a proposal by execution.

    Args:
        composites: sources of ``g_0``, ``g_1`` ... which the program must call.
        resembles: is asked first, of the whole program and of the proposer's part: a proposal that fails by something
            else as well would be learned from as a bad one.

    Raises:
        SandboxError: the sandbox itself failed; says nothing about the proposal.
    """
    if resembles:
        for code in dict.fromkeys(("\n".join([*composites, proposal.code]), proposal.code)):
            if item := resembles(whole_program(code, proposal.imports)):
                return Rejection(LEAKED_EVALUATION, item)
    if fault := _source_fault(proposal, config):
        return fault

    code, tree, original = proposal.code, proposal.tree, ""
    if composites:
        if detail := composite_fault(tree, len(composites)):
            return Rejection("composite", detail)
        code, original = "\n".join([*composites, proposal.code]), proposal.code
        try:
            tree = parse_program(code)
        except SourceError as error:  # too long together
            return Rejection(error.reason, error.detail)

    task = Task(
        task_type=proposal.task_type,
        code=code,
        inputs=proposal.inputs,
        outputs=("",) * len(proposal.inputs),
        imports=proposal.imports,
        message=proposal.message,
        thought=proposal.thought,
        composite_functions=composites,
        original_code=original,
    )

    executed = await _executed(task, sandbox, config)
    if isinstance(executed, Rejection):
        return executed
    return _output_fault(executed, tree, config) or executed


async def _executed(task: Task, sandbox: Sandbox, config: SelfPlayConfig) -> Task | Rejection:
    """The task with its outputs, or why there are none."""
    if task.task_type is TaskType.INDUCTION and config.usable_inputs:
        return await _with_usable_inputs(task, sandbox, config)
    of_errors = task.task_type is TaskType.ERROR
    result = await sandbox.run(Job(code=task.program, inputs=task.inputs, verify_errors=of_errors))
    outputs: list[str] = []
    for call in result.calls:
        output = _error_label(call) if of_errors else _output(call)
        if isinstance(output, Rejection):
            return output
        outputs.append(output)
    if len(outputs) != len(task.inputs):
        return Rejection("killed", result.reason)
    return replace(task, outputs=tuple(outputs))


async def _with_usable_inputs(task: Task, sandbox: Sandbox, config: SelfPlayConfig) -> Task | Rejection:
    """An induction task with its usable inputs and their outputs, in the order in which they were written: each is judged by
    itself (``selfplay.usable_inputs``), and the rejection says how close the proposal came.

    The published rule refuses a proposal for one bad input and gives it nothing but -1. Models of 0.5B and 1.5B write one or
    two blocks where ten are required, so none of their proposals is ever valid, and no reward says which came closer.
    """

    def check(call: CallResult) -> str | Rejection:
        output = _output(call)
        return output if isinstance(output, Rejection) else (_text_fault(output, config) or output)

    needed, most = config.num_inputs, config.num_inputs + config.induction_spare_inputs
    message = said(task.message)
    if message and message in _EXAMPLE_MESSAGES:
        return Rejection("copied_example", task.message[:200])

    inputs, fault = _distinct_literals(task.inputs, 2 * most + _SPARE)
    outputs: list[str] = []
    while inputs:
        # inputs that failed are left out and the rest is run again: after a failure the second process was not asked
        result = await sandbox.run(Job(code=task.program, inputs=tuple(inputs)))
        if len(result.calls) != len(inputs):
            return Rejection("killed", result.reason)
        if refusing := [call for call in result.calls if call.status not in (Status.OK, *_INPUT_FAULTS)]:
            return _refusal(refusing[0])

        checked = [(text, check(call)) for text, call in zip(inputs, result.calls, strict=True)]
        kept = [(text, output) for text, output in checked if isinstance(output, str)][:most]
        faults = (f"{bad.reason} {bad.detail}".strip() for _, bad in checked if isinstance(bad, Rejection))
        fault = fault or next(faults, "")
        inputs, outputs = [text for text, _ in kept], [output for _, output in kept]
        if result.ok:
            break

    # the message counts as much as an input; below 1 while something is missing
    progress = (min(len(inputs), needed) + bool(message)) / (needed + 1)
    if len(inputs) < needed:
        detail = f"{len(inputs)} usable of {needed}" + (f"; {fault}" if fault else "")
        return Rejection("too_few_inputs", detail[:300], progress)
    if not message:
        return Rejection("no_message", "it is missing, or says nothing", progress)
    return replace(task, inputs=tuple(inputs), outputs=tuple(outputs))


def _distinct_literals(texts: Sequence[str], most: int) -> tuple[list[str], str]:
    """The inputs worth running, and the first fault found."""
    kept: dict[str, str] = {}
    fault = ""
    for text in texts:
        key = None if _MARKUP.search(text) else argument_key(text)
        if key is None:
            fault = fault or f"no list of literals: {text[:80]}"
        elif key in kept:
            fault = fault or f"written twice: {text[:80]}"
        elif key in _EXAMPLE_INPUTS:
            fault = fault or f"an input of the example: {text[:80]}"
        elif len(kept) < most:
            kept[key] = text
    return list(kept.values()), fault


def _source_fault(proposal: Proposal, config: SelfPlayConfig) -> Rejection | None:
    """Everything that can be said without running the program."""
    is_induction = proposal.task_type is TaskType.INDUCTION
    if not is_induction and (name := banned_import(proposal.tree, banned_words(config))):
        return Rejection("banned_import", name)
    nodes = ast.walk(proposal.tree)
    if proposal.task_type is TaskType.ERROR and any(type(node).__name__ in _RAISING for node in nodes):
        return Rejection("banned_word", ", ".join(BANNED_ERROR_WORDS))

    # with usable_inputs each input is judged by itself, later
    inputs = () if is_induction and config.usable_inputs else proposal.inputs
    for text in (proposal.code, *inputs, proposal.message):
        if found := _MARKUP.search(text):
            return Rejection("prompt_markup", found[0])
    for text in inputs:
        try:
            parse_arguments(text)
        except ValueReadError as error:
            return Rejection("input_not_literal", str(error)[:200])

    if is_induction and config.reject_leaks and _message_leaks(proposal.message, proposal.code):
        return Rejection("leaked_program")
    return None


def banned_import(tree: ast.AST, banned: tuple[str, ...]) -> str:
    """The first imported module that a banned entry names (``os.path`` bans ``os.path`` and what is inside
    it); '' for none."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            for word in banned:
                if f".{word}." in f".{name}.":
                    return name
    return ""


def _message_leaks(message: str, code: str) -> bool:
    """Whether the message holds the program: a definition of f, or most of the program's lines."""
    if re.search(r"\bdef\s+f\s*\(|\bf\s*=\s*lambda\b", message):
        return True
    lines = [line for raw in code.splitlines() if len(line := "".join(raw.split())) >= 8]
    squeezed = "".join(message.split())
    return bool(lines) and sum(line in squeezed for line in lines) * 2 > len(lines)


def _output(call: CallResult) -> str | Rejection:
    return call.value if call.status is Status.OK and call.value is not None else _refusal(call)


def _refusal(call: CallResult) -> Rejection:
    if call.status is Status.ERROR and call.exception in ("ModuleNotFoundError", "ImportError"):
        return Rejection("forbidden_import", call.reason[:200])
    detail = f"{call.exception or ''} {call.reason}".strip()[:200]
    return Rejection(_STATUS_REASONS.get(call.status, "killed"), detail)


def _error_label(call: CallResult) -> str | Rejection:
    """The answer of an error task; a time-out is not an error the solver could deduce, so it is refused."""
    if call.status is Status.ERROR and call.exception and ERROR_NAME.fullmatch(call.exception):
        if call.exception in ("ModuleNotFoundError", "ImportError", "SyntaxError"):
            return _refusal(call)
        return call.exception
    output = _output(call)
    return output if isinstance(output, Rejection) else NO_ERROR


def _text_fault(output: str, config: SelfPlayConfig) -> Rejection | None:
    if len(output) > config.max_output_chars:
        return Rejection("output_too_long", f"{len(output)} characters, at most {config.max_output_chars}")
    found = _MARKUP.search(output)
    return Rejection("prompt_markup", found[0]) if found else None


def _output_fault(task: Task, tree: ast.Module, config: SelfPlayConfig) -> Rejection | None:
    outputs = task.outputs
    for output in outputs:
        if fault := _text_fault(output, config):
            return fault
    if task.task_type is TaskType.INDUCTION:
        if config.reject_constant_outputs and len(set(outputs)) == 1:
            return Rejection("constant_outputs", outputs[0][:200])
    elif config.reject_leaks and _comment_leaks(task.code, tree, outputs[0]):
        return Rejection("leaked_output", outputs[0][:200])
    return None


def _comment_leaks(code: str, tree: ast.Module, output: str) -> bool:
    if len(output) < _MIN_LEAK_CHARS:
        return False
    wanted = "".join(output.split())
    texts = list(comments(code))
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                texts.append(text)
    return any(wanted in "".join(text.split()) for text in texts)
