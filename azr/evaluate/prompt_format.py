"""How to prompt an exported model the way it was trained: the text around a question, for the model card and
for Ollama."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.config import Config
from azr.errors import ModelError
from azr.evaluate.texts import filled
from azr.models.tokenizer_files import named_end_tokens
from azr.prompts import load_frame
from azr.selfplay.options import prompt_options
from azr.tasks import NO_ERROR, Prompt, Role, Task, TaskType
from azr.train.tokens import load_tokenizer, prompt_token_ids

_CODE = "def f(items, n):\n    return sorted(items)[:n]"
_PAIRS = {"[3, 1, 2], 2": "[1, 2]", "[5], 1": "[5]", "[9, 8], 1": "[8]", "[], 3": "[]"}
_MARK = "QUESTION"


@dataclass(frozen=True)
class PromptFormat:
    """What the model read in training is ``before`` + question + ``after``; special tokens stand in them as text."""

    before: str
    after: str
    question: str
    """An example: a deduction task where the run trained them, else one of its first kind."""
    kind: TaskType
    system: str
    """The frame's system message, a part of ``before``; empty where there is none."""
    beginning: str
    """The beginning-of-sequence token, if ``before`` begins with it."""
    stops: tuple[str, ...]
    """Tokens that end an answer."""
    max_prompt_tokens: int
    max_response_tokens: int


def prompt_format_of(folder: Path, config: Config) -> PromptFormat:
    """
    Args:
        folder: the exported model, with its tokenizer.

    Raises:
        ConfigError: the run's frame is not there any more.
        ModelError: the model's chat template changes the question.
    """
    tokenizer = load_tokenizer(folder, config.model.trust_remote_code)
    frame = load_frame(config.selfplay.frame)
    text = _as_read(tokenizer, frame.wrap(_MARK))
    before, mark, after = text.partition(_MARK)
    if not mark or _MARK in after:
        raise ModelError(
            f"the model's chat template does not hold a question once and as it is: {text[:200]!r}"
        )
    kinds = [TaskType(kind) for kind in config.selfplay.task_types]
    kind = TaskType.DEDUCTION if TaskType.DEDUCTION in kinds else kinds[0]
    question = (
        frame.tasks[Role.SOLVE, kind]
        .render(task=_example(kind), options=prompt_options(config.selfplay))
        .strip()
    )
    beginning = tokenizer.bos_token or ""
    ends = dict.fromkeys([tokenizer.eos_token_id, *named_end_tokens(folder)])
    return PromptFormat(
        before=before,
        after=after,
        question=question,
        kind=kind,
        system=frame.system if frame.system and before.count(frame.system) == 1 else "",
        beginning=beginning if beginning and before.startswith(beginning) else "",
        stops=tuple(tokenizer.convert_ids_to_tokens(number) for number in ends if number is not None),
        max_prompt_tokens=config.rollout.max_prompt_tokens,
        max_response_tokens=config.rollout.max_response_tokens,
    )


def _example(kind: TaskType) -> Task:
    if kind is TaskType.INDUCTION:
        inputs, outputs = tuple(_PAIRS), tuple(_PAIRS.values())
        return Task(
            task_type=kind, code=_CODE, inputs=inputs, outputs=outputs, message="Which items come first?"
        )
    given, output = next(iter(_PAIRS.items()))
    return Task(
        task_type=kind,
        code=_CODE,
        inputs=(given,),
        outputs=(NO_ERROR if kind is TaskType.ERROR else output,),
    )


def _as_read(tokenizer: Any, prompt: Prompt) -> str:
    """The very tokens of training as text. Where a tokenizer cannot give its text back, a raw prompt's own text."""
    ids = prompt_token_ids(tokenizer, prompt)
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    exact = list(tokenizer.encode(text, add_special_tokens=False)) == list(ids)
    return prompt.text if prompt.raw and not exact else text


def snippet(prompt_format: PromptFormat, name: str) -> str:
    """A Python program that asks the example question."""
    texts = {part: _literal(getattr(prompt_format, part)) for part in ("before", "question", "after")}
    return filled("snippet", name=json.dumps(name), max_tokens=prompt_format.max_response_tokens, **texts)


def _literal(text: str) -> str:
    """A Python literal over several lines where that reads well."""
    special = ("\\", '"""', "\r")
    plain = "\n" in text and text.isascii() and not text.endswith('"') and not any(s in text for s in special)
    return f'"""{text}"""' if plain else repr(text)


def modelfile(prompt_format: PromptFormat, weights: str) -> str:
    """Ollama's ``Modelfile``: ``ollama create NAME -f Modelfile``.

    Args:
        weights: file name of the GGUF file beside it.
    """
    # llama.cpp puts the beginning there itself
    before, system = prompt_format.before.removeprefix(prompt_format.beginning), ""
    if prompt_format.system and '"""' not in prompt_format.system:
        head, _, tail = before.partition(prompt_format.system)
        before = f"{_go_text(head)}{{{{ .System }}}}{_go_text(tail)}"
        system = f'SYSTEM """{prompt_format.system}"""\n'
    else:
        before = _go_text(before)
    template = f"{before}{{{{ .Prompt }}}}{_go_text(prompt_format.after)}{{{{ .Response }}}}"
    stops = "".join(f"PARAMETER stop {_quoted(stop)}\n" for stop in prompt_format.stops)
    return (
        f"# One question, as in training. Make it known to Ollama with: ollama create NAME -f Modelfile\n"
        f'FROM {_quoted(f"./{weights}")}\nTEMPLATE """{template}"""\n{system}{stops}'
        f"PARAMETER num_ctx {prompt_format.max_prompt_tokens + prompt_format.max_response_tokens}\n"
        f"PARAMETER num_predict {prompt_format.max_response_tokens}\nPARAMETER temperature 0\n"
    )


def _go_text(text: str) -> str:
    """Text that a Go template gives back as it is, and that does not end a Modelfile's quotation."""
    return text.replace("{{", "{{ `{{` }}").replace('"""', '""{{ `"` }}')


def _quoted(text: str) -> str:
    return f'"""{text}"""' if '"' in text else f'"{text}"'
