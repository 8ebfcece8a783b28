"""The ``azr`` command. One module per subcommand, imported when it is used; the files in ``scripts/``
start the same ones.

To add one: a module here with ``main(words) -> int``, a line in ``COMMANDS``, and a file in ``scripts/`` if a
clone without an installation should have it too.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from azr.cli.pasted import pasted_sentence
from azr.config.paths import at_home, windows_sentence
from azr.config.typed import split_overrides
from azr.errors import AzrError, ConfigError, RunError
from azr.run.rundir import is_run
from azr.start import missing_module
from azr.system.disks import missing_disk
from azr.system.imports import all_shadows, broken_library
from azr.system.signals import EndedBySignalError, ended_by_signals, undo_inherited
from azr.system.terminal import forget_empty_sizes, tolerate_any_encoding

COMMANDS = {
    "run": "start a run, or resume it",
    "watch": "show a run in the terminal",
    "report": "write the HTML report of a run, or compare several",
    "evaluate": "score models on fixed suites",
    "export": "export the model or the tasks",
    "control": "stop, pause or resume a run, or change its time budget",
    "doctor": "check whether this machine is ready for a run",
    "preflight": "check whether a run fits this machine's memory",
    "move-run": "move a run to another machine",
    "convert-problems": "convert MBPP- or HumanEval-like problems to tasks",
    "plot-metrics": "plot metrics of a run",
    "sandbox-suite": "run hostile programs against the sandbox",
}
MEANT = {
    **dict.fromkeys(("train", "start", "resume"), "run"),
    **{word: f"control RUN {word}" for word in ("stop", "pause", "checkpoint", "budget", "status")},
    "logs": "watch RUN",
    "compare": "report RUN RUN",
    "plot": "plot-metrics RUN METRIC",
    "help": "--help",
}
"""What other tools call it."""
KEPT = {
    "evaluate": "the answers so far are kept; run the same command to continue",
    "export": "nothing was exported",
    "move-run": "nothing was written",
}
"""What Ctrl+C leaves of a command's work."""
VERSION_WORDS = ("--version", "-V")
INTERRUPTED = 130
"""Exit status after Ctrl+C, as shells count it."""


def main(words: Sequence[str] | None = None) -> int:
    tolerate_any_encoding()
    name, *rest = (sys.argv[1:] if words is None else words) or ["--help"]
    if name in ("-h", "--help"):
        listed = "\n".join(f"    azr {command:18}{purpose}" for command, purpose in COMMANDS.items())
        print(
            f"Self-play training of a reasoning model on one GPU.\n\n{listed}\n\nMore: azr COMMAND --help, azr --version"
        )
        return 0
    if name in VERSION_WORDS:
        name, rest = "run", [name]
    if name not in COMMANDS:
        near = [MEANT[name]] if name in MEANT else get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean azr {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"azr: no command {name.strip()}; {pasted_sentence(name) or hint}", file=sys.stderr)
        return 2
    return run_command(name, rest)


def place_to_write(word: str) -> Path:
    """A file or folder that the user named for a command to write.

    Raises:
        RunError: it would lie in a checkpoint, which a run removes once newer ones are saved.
    """
    place = at_home(word)
    found = re.search(r"^(.*)/checkpoints/step_\d{8,}(/|$)", str(place.resolve()))
    if found and is_run(Path(found[1])):  # a copy of a checkpoint that somebody keeps is removed by nobody
        raise RunError(
            f"{word} is in a checkpoint's folder, and would be removed with it; name another place"
        )
    return place


def run_command(name: str, words: Sequence[str]) -> int:
    """Returns the exit status. What a user can put right ends in a sentence, never in a traceback."""
    tolerate_any_encoding()
    forget_empty_sizes()
    undo_inherited()
    kept = f"; {KEPT[name]}" if name in KEPT else ""
    try:
        require_a_folder()
        if words and words[0] in VERSION_WORDS:
            from azr.report.versions import version_text

            print(version_text())
            return 0
        if "-" in words:
            raise ConfigError(
                "- is not a file, and nothing is read from or written to standard streams; give the name of a file"
            )
        for word in words:
            path = word.partition("=")[2] if word.startswith("--") else word
            if told := windows_sentence(path) or pasted_sentence(word) or missing_disk(at_home(path)):
                raise ConfigError(told)
        with ended_by_signals():
            return importlib.import_module(f"azr.cli.{name.replace('-', '_')}").main(words)
    except (AzrError, OSError) as error:
        print(f"{name}: {_sentence(error)}", file=sys.stderr)
        return 2
    except EndedBySignalError as error:
        print(f"{name}: ended by {error}{kept}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted{kept}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if not (hidden := all_shadows()):
            if told := broken_library(error):
                print(f"{name}: a shared library cannot be loaded: {told}", file=sys.stderr)
                return 2
            if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("azr"):
                print(missing_module(name, error), file=sys.stderr)
                return 2
            raise
        print(f"{name}: {type(error).__name__}: {error}. {hidden[0]}; {hidden[0].fix}", file=sys.stderr)
        return 2


def require_a_folder() -> None:
    """Raises: ConfigError: the folder in which the command was started is gone, so relative paths mean nothing."""
    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError as error:
        gone = "the folder in which this was started does not exist any more; cd to another one"
        raise ConfigError(gone) from error


def command_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A command's parser; its ``description`` (the module's docstring) is printed as it is written."""
    return argparse.ArgumentParser(
        prog=f"azr {name}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def options_and_settings(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parses the words of a command that takes settings beside its options.

    Raises:
        ConfigError: a setting was written as an option.
    """
    options, unknown = parser.parse_known_intermixed_args(words)
    if unknown:  # they begin with a dash
        split_overrides(words[words.index(unknown[0]) :][:2])
    return options


def _sentence(error: AzrError | OSError) -> str:
    """An error of the system in words, with its file as far as that is known, and with what to do where no
    room is left."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno is None:
        return broken_library(error) or str(error)
    # a file that was to be written appears under a temporary name first (azr/system/files.py)
    name = re.sub(r"(^|/)\.([^/]+)\.\w{8}\.tmp$", r"\1\2", os.fsdecode(error.filename or ""))
    if error.errno in (errno.EEXIST, errno.ENOTDIR) and os.path.isfile(name):  # noqa: PTH113
        return f"{name} is a file, and a folder is needed there"
    where = f"{name}: " if name else ""
    told = f"{where}{os.strerror(error.errno)}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        told += "; nothing was finished: make room (df, df -i, quota, ulimit -f), or write to another disk"
        told += " (FAT32 takes files up to 4 GiB)" if error.errno == errno.EFBIG else ""
    return told
