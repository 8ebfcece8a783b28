"""Answers on disk: every completion is saved as soon as it exists, so that an evaluation resumes where it was
interrupted.

A folder holds the answers of one model to one suite under one set of settings (``request.json``). Answers of
other settings are never mixed in. Verdicts are not cached: they are computed again from the answers each time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.errors import DataError, RunError
from azr.system.files import append_jsonl, fsync, read_json, read_jsonl, write_json_atomic
from azr.system.locks import locked

_OTHER = {
    "suite": "to other questions: those of another file, or asked in other words",
    "model": "of another model of this name",
}
"""What differs where a hash does."""


@dataclass(frozen=True)
class Answer:
    item_id: str
    sample: int
    completion: str
    """The response without the prompt and without special tokens."""
    n_tokens: int = 0
    finished: bool = True
    """False: cut at the response limit."""
    prompt_too_long: bool = False
    """The prompt did not fit, so the item was not asked; it counts as wrong, and ``n_tokens`` is the prompt's
    length."""


@dataclass(frozen=True)
class AnswerStore:
    """``answers.jsonl`` of one folder."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "answers.jsonl"

    @property
    def request_path(self) -> Path:
        return self.folder / "request.json"

    @contextlib.contextmanager
    def opened(
        self,
        request: dict[str, Any],
        *,
        restart: bool = False,
        earlier_model: Callable[[], str] | None = None,
    ) -> Iterator[None]:
        """Claims the folder for answers to ``request`` (plain JSON values).

        Args:
            earlier_model: what an earlier version called the model of ``request``.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        refusal = f"{self.folder}: another evaluation writes there; wait for it, or give another --out"
        with locked(self.folder / ".lock", 0, refusal):
            self._claim(request, restart, earlier_model)
            yield

    def _claim(self, request: dict[str, Any], restart: bool, earlier_model: Callable[[], str] | None) -> None:
        if restart:
            self.path.unlink(missing_ok=True)
            self.request_path.unlink(missing_ok=True)
        if self.path.exists():
            before = self._settings_of_answers()
            others = before.get("model") != request.get("model")
            if others and earlier_model is not None and before.get("model") == earlier_model():
                before["model"] = request["model"]
            different = (key for key in sorted({*before, *request}) if before.get(key) != request.get(key))
            if (key := next(different, None)) is not None:
                change = f"{key} was {before.get(key)!r}, is {request.get(key)!r}"
                raise RunError(
                    f"{self.folder} holds answers {_OTHER.get(key, f'under other settings ({change})')}; "
                    "give another --out, or --restart to discard them"
                )
        write_json_atomic(self.request_path, request)

    def _settings_of_answers(self) -> dict[str, Any]:
        with contextlib.suppress(DataError):
            before = read_json(self.request_path)
            if isinstance(before, dict):
                return before
        raise RunError(
            f"{self.request_path}, which says under which settings the answers beside it were given, is missing or damaged; "
            "give another --out, or --restart to discard them"
        )

    def read(self) -> dict[tuple[str, int], Answer]:
        """All answers so far; a torn last line is dropped."""
        answers = {}
        for record in read_jsonl(self.path):
            with contextlib.suppress(TypeError):  # a line of another format: asked again
                answer = Answer(**record)
                answers[answer.item_id, answer.sample] = answer
        return answers

    def append(self, answers: Iterable[Answer]) -> None:
        """A process that is killed loses none of them, a machine that loses power those since ``sync``."""
        append_jsonl(self.path, map(vars, answers), durable=False)

    def sync(self) -> None:
        if self.path.exists():
            fsync(self.path)
