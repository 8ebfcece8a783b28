"""Does ``AutoTokenizer`` give the same tokens as the ``tokenizer.json`` it loads?

Trainer, engine and evaluation all take ``AutoTokenizer``. It builds the class of the model's family, with that
family's splitting rules, from the vocabulary alone wherever ``tokenizer_config.json`` names a class; what
tokenizer.json says about splitting is then passed over. A model that was trained with tokenizer.json sees other
tokens than its own, and silently scores a fraction of what it can.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azr.config.paths import python_path
from azr.errors import ModelError
from azr.models.hub import in_a_copy
from azr.models.weight_files import read_json_file
from azr.system.children import run_captured
from azr.system.files import read_json, write_json_atomic
from azr.system.scratch import scratch_folder
from azr.train.tokens import load_tokenizer

SETTINGS, CONFIG, GENERIC = "tokenizer_config.json", "config.json", "PreTrainedTokenizerFast"
TEXTS = (
    "def f(a, acc):\n    a = a + 12345\n\n    return {'x': [a, -1.5], \"y\": None}\n",
    "\tif not 2025 >= x[10]:  # it's, we'll, I'M, they've\r\n\t\tprint('  a  b', end='')\r\n\n\n",
    "<think> reasoning </think>\n<answer>\n```output\n'a b'\n```\n</answer>",
    "User: it's 2025 \u2014 na\u00efve \u4f60\u597d\uff0c\u4e16\u754c \U0001f600\tEND  \r\n",
    "caf\u00e9 is  cafe\u0301, \u212b is \u00c5, \uff11\uff12 is 12, \u041f\u0440\u0438\u0432\u0435\u0442 1_000_000 0x7fFF 3.14e-10",
)
"""Words, numbers, indentation, line ends, tags, other scripts and characters that can be written in two ways:
where splitting rules and normalisation differ.
None begins with a blank, before which older and newer Llama tokenizers differ; prompts do not begin so."""
_REMEDIES: tuple[dict[str, str | None], ...] = (
    {SETTINGS: GENERIC},
    {SETTINGS: None, CONFIG: GENERIC},  # where the family's class is taken whatever SETTINGS names
)
"""What ``tokenizer_class`` has to be in which file (None: not there) for tokenizer.json to be used as it is."""
_MAY_HAVE_DROPOUT = re.compile(rb'"dropout"\s*:\s*[0-9]')
"""Of BPE; or a word of the vocabulary."""
_DIFFERS, _CHILD_LIMIT_S = 3, 120.0


def require_same_tokens(folder: Path, *, trust_remote_code: bool = False) -> None:
    """
    Raises:
        ModelError: the model would see other tokens than tokenizer.json gives, or other programs than were written; or the
            tokenizer cannot be read.
    """
    raw, loaded = _tokenizers(folder, trust_remote_code)
    _refuse_chance(folder, loaded)
    text = _difference(raw, loaded)
    if text is None:
        _require_text_back(folder, loaded)
        return
    remedy = next((one for one in _REMEDIES if _mends(one, folder, trust_remote_code)), None)
    todo = "use the tokenizer's files from the model that this one was made from"
    if remedy:
        todo = f"{in_a_copy(folder)}{_as_instruction(remedy)}"
    raise ModelError(
        f"{folder}: transformers does not read tokenizer.json as it is written (for example {text!r}), so the model would be given "
        f"other tokens than those it was trained with; {todo}"
    )


def name_the_class(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Changes a folder of ours so that tokenizer.json is read as it is written, where it is not already.

    Raises:
        ModelError: nothing helps.
    """
    if _difference(*_tokenizers(folder, trust_remote_code)) is None:
        return
    for remedy in _REMEDIES:
        if _mends(remedy, folder, trust_remote_code):
            _apply(remedy, folder, folder)
            return
    raise ModelError(
        f"{folder}: transformers does not read tokenizer.json as it is written, whatever class is named"
    )


def require_same_tokens_early(folder: Path, *, trust_remote_code: bool = False) -> None:
    """As ``require_same_tokens``, for a process that is to stay small: a child looks, for two seconds.

    A child that cannot decide is no reason to refuse; the trainer looks again.

    Raises:
        ModelError: the model would see other tokens than tokenizer.json gives.
    """
    if _is_taken_as_it_is(folder):
        return
    trust = ["--trust-remote-code"] if trust_remote_code else []
    command = [sys.executable, "-m", "azr.train.tokenizer_check", str(folder), *trust]
    environment = {**os.environ, "PYTHONPATH": python_path(), "PYTHONIOENCODING": "utf-8"}
    try:
        answer = run_captured(command, _CHILD_LIMIT_S, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return
    if answer.returncode == _DIFFERS:
        raise ModelError(answer.stdout.strip())


def _is_taken_as_it_is(folder: Path) -> bool:
    settings = read_json_file(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    file = folder / "tokenizer.json"
    return (
        file.is_file()
        and not _MAY_HAVE_DROPOUT.search(file.read_bytes())
        and settings.get("tokenizer_class") is None
        and read_json_file(folder / CONFIG).get("tokenizer_class") == GENERIC
    )


def _refuse_chance(folder: Path, tokenizer: Any) -> None:
    """Raises: ModelError: the same text is split otherwise each time, as is meant for training from scratch alone."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    dropout = getattr(getattr(backend, "model", None), "dropout", None)
    if dropout:
        raise ModelError(
            f'{folder}: tokenizer.json has "dropout": {dropout:g}, so it splits the same text by chance, otherwise each time, and engine '
            f'and trainer would see different tokens; {in_a_copy(folder)}write "dropout": null there: a model is meant to be used without'
        )


def _require_text_back(folder: Path, tokenizer: Any) -> None:
    """Raises: ModelError: what is written is not what is read again: SentencePiece, unless told otherwise, and tokenizers
    for prose make one blank of several, or small letters of all, and then no program is left."""
    text = TEXTS[0]
    ids = tokenizer.encode(text, add_special_tokens=False)
    back = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    # many put a blank before the first word, as before all others; some take the last line end
    if back.strip() != text.strip():
        raise ModelError(
            f"{folder}: its tokenizer does not give back what it was given: of {text!r} it makes {back!r}, and a program needs its "
            "lines, indentation and letters; use the tokenizer's files from the model that this one was made from, or one whose tokenizer "
            "keeps them, as those for code do"
        )


def _tokenizers(folder: Path, trust_remote_code: bool) -> tuple[Any, Any]:
    """What tokenizer.json describes, None without one, and what transformers makes of the folder.

    Raises:
        ModelError: the tokenizer cannot be read.
    """
    from tokenizers import Tokenizer

    raw: Any = None
    if (folder / "tokenizer.json").is_file():
        try:
            raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise ModelError(f"{folder / 'tokenizer.json'} cannot be read: {error}") from error
        if hasattr(raw.model, "dropout"):
            raw.model.dropout = None  # where transformers keeps it, that is refused
        raw.no_padding()
        raw.no_truncation()
    try:
        loaded = load_tokenizer(folder, trust_remote_code)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder}: its tokenizer cannot be read ({' '.join(str(error).split())}); "
            "use the tokenizer's files from the model that this one was made from"
        ) from error
    return raw, loaded


def _difference(raw: Any, loaded: Any) -> str | None:
    """The first text whose ids differ; None where all are the same, or there is nothing to compare with."""
    # trusted code says itself how it reads
    if raw is None or not type(loaded).__module__.startswith("transformers."):
        return None

    def same(text: str) -> bool:
        ids = list(loaded.encode(text, add_special_tokens=False))
        return ids == raw.encode(text, add_special_tokens=False).ids

    added = [token.content for token in raw.get_added_tokens_decoder().values()]
    return next((_shortest(text, same) for text in (*TEXTS, *added) if not same(text)), None)


def _shortest(text: str, same: Callable[[str], bool]) -> str:
    """A word or a line of the text that shows the difference by itself; else its beginning."""
    return next((part for part in (*text.split(), *text.splitlines()) if not same(part)), text[:40])


def _mends(remedy: dict[str, str | None], folder: Path, trust_remote_code: bool) -> bool:
    with scratch_folder("tokenizer") as made:
        copy = made / "model"
        copy.mkdir()
        for source in folder.iterdir():
            if source.name not in remedy:
                (copy / source.name).symlink_to(source.resolve())
        _apply(remedy, folder, copy)
        try:
            return _difference(*_tokenizers(copy, trust_remote_code)) is None
        except ModelError:
            return False


def _apply(remedy: dict[str, str | None], source: Path, target: Path) -> None:
    for name, value in remedy.items():
        content = read_json(source / name) if (source / name).is_file() else {}
        content.pop("tokenizer_class", None)
        write_json_atomic(target / name, content if value is None else content | {"tokenizer_class": value})


def _as_instruction(remedy: dict[str, str | None]) -> str:
    steps = [
        f'write "tokenizer_class": "{value}" into {name}' if value else f"remove tokenizer_class from {name}"
        for name, value in remedy.items()
    ]
    return " and ".join(steps)


def main(words: list[str]) -> int:
    """The child: without torch, which tokenizers do not need and which takes most of the time."""
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]  (so an import finds it absent)
    try:
        require_same_tokens(Path(words[0]), trust_remote_code="--trust-remote-code" in words[1:])
    except ModelError as error:
        print(error)
        return _DIFFERS
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
