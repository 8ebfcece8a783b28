"""The command line's names for suites (a table of them is in docs/evaluate.md), and the suite that each means."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from azr.config.paths import at_home
from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.data.sources import SHIPPED_FILES, SHIPPED_PROBES, SHIPPED_SEEDS
from azr.errors import ConfigError
from azr.evaluate.cruxeval import cruxeval_suite, execution_suite
from azr.evaluate.evalplus import plus_suite
from azr.evaluate.gsm8k import gsm8k_suite
from azr.evaluate.humaneval import humaneval_suite
from azr.evaluate.items import CHAT, Asking, Speaker, Suite, everything_fits
from azr.evaluate.livecodebench import livecodebench_suite
from azr.evaluate.mbpp import mbpp_suite
from azr.evaluate.proposals import proposal_suite, run_proposals
from azr.evaluate.tasks_suite import probe_suite
from azr.run.rundir import RunDir
from azr.selfplay.rows import Fits
from azr.wording import counted

STYLES = {
    "native": "the model's own chat template, or plain continuation, with the prompt that the suite's authors use",
    "native-cot": "the same with the authors' chain-of-thought prompt",
    "frame": "inside the frame that the run trains with, read strictly (in its format) and leniently (wherever the answer is)",
}
_FROM_FILE: dict[str, Callable[[Any, Asking], Suite]] = {
    "humaneval": humaneval_suite,
    "humaneval+": partial(plus_suite, name="humaneval+"),
    "mbpp": mbpp_suite,
    "mbpp+": partial(plus_suite, name="mbpp+"),
    "livecodebench": livecodebench_suite,
    "cruxeval-i": partial(cruxeval_suite, name="cruxeval-i"),
    "cruxeval-o": partial(cruxeval_suite, name="cruxeval-o"),
    "livecodebench-execution": execution_suite,
    "gsm8k": gsm8k_suite,
}
"""Suites that are made from their authors' file; HumanEval's comes with its package too."""
_PUBLISHED: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "humaneval": ("HumanEval", "HumanEval/", (164,)),
    "humaneval+": ("HumanEval+", "HumanEval/", (164,)),
    "mbpp": ("MBPP's test split", "mbpp/", (257, 500)),
    "mbpp+": ("MBPP+", "Mbpp/", (378, 399)),
    "cruxeval-i": ("CRUXEval", "sample_", (800,)),
    "cruxeval-o": ("CRUXEval", "sample_", (800,)),
    "livecodebench-execution": ("the execution-v2 file", "", (479,)),
    "gsm8k": ("GSM8K's test split", "gsm8k/", (1319,)),
}
"""Name -> what it is called, how its ids begin (an own file in its form may have others), items: MBPP's are those of the sanitized and
of the plain file, MBPP+ has lost some. LiveCodeBench's file grows with each release, and is asked in parts."""
_REASONED = ("cruxeval-i", "cruxeval-o", "livecodebench-execution")
SUITE_STYLES = {
    "probes": ("frame",),
    "proposals": ("frame",),
    **{name: tuple(STYLES) if name in _REASONED else ("native", "frame") for name in _FROM_FILE},
}
"""The suites of the command line, and the styles in which each can be asked."""
NATIVE_CONTEXT = 2048
"""Tokens that native prompts and answers need; models with less are not asked in their native style."""


def styles_of(spec: str) -> tuple[str, ...]:
    """The styles in which a suite of the command line can be asked.

    Raises:
        ConfigError: unknown name.
    """
    name = spec.partition("=")[0]
    if spec.endswith("="):
        raise ConfigError(f"--suite {spec} names no file; is a variable of the shell not set?")
    if name not in SUITE_STYLES:
        if at_home(spec).exists():
            raise ConfigError(
                f"--suite {spec} is a file or folder, not a suite's name; --suite probes={spec} asks the tasks that it holds, and an "
                "authors' file stands behind its suite's name in the same way (docs/evaluate.md)"
            )
        words = [word.strip().lower().replace("plus", "+") for word in name.split(",") if word.strip()]
        near = [get_close_matches(word, SUITE_STYLES, n=1, cutoff=0.75) for word in words]
        listed = f"the suites are {', '.join(SUITE_STYLES)} (docs/evaluate.md)"
        if near and all(near):
            listed = f"did you mean {' '.join(f'--suite {found[0]}' for found in near)}?"
        raise ConfigError(f"suite {name!r} is unknown; {listed}")
    return SUITE_STYLES[name]


def wanted_styles(spec: str, styles: Collection[str]) -> tuple[str, ...]:
    """Those of ``styles`` that the suite has; all of its styles where none is given, or where it has none of
    them (so that ``--style native`` beside ``--suite probes`` asks the probes in the only way there is).

    Raises:
        ConfigError: unknown suite.
    """
    there = styles_of(spec)
    return tuple(style for style in there if style in styles) or there


def not_asked(style: str, speaker: Speaker) -> str:
    """Why a model is not asked in a style; '' where it is."""
    if style == "frame" or not speaker.context or speaker.context >= NATIVE_CONTEXT:
        return ""
    return f"not asked: native prompts and answers need a context of {NATIVE_CONTEXT:,} tokens, the model has {speaker.context:,}"


def build_suite(
    spec: str,
    config: SelfPlayConfig,
    *,
    style: str = "frame",
    speaker: Speaker = CHAT,
    run: RunDir | None = None,
    fits: Fits = everything_fits,
) -> Suite:
    """A suite from its name on the command line, asked in one style.

    Args:
        config: frame and grading switches.
        style: one of ``styles_of(spec)``.
        speaker: how the model is spoken to in its native style.
        run: the run that the model belongs to, if any: its probes, and its tasks as references of proposals.
        fits: whether a prompt is within the model's limit; requests for proposals are made to fit.

    Raises:
        ConfigError: unknown name or style, or a file is needed and not given.
        DataError: the file is missing or malformed.
        ModelError: requests for proposals cannot be made to fit.
    """
    if style not in styles_of(spec):
        raise ConfigError(f"suite {spec!r} has no style {style!r}; it has {', '.join(styles_of(spec))}")
    name, _, path = spec.partition("=")
    file = at_home(path) if path else None  # a shell leaves ~ behind = alone
    if name == "probes":
        own = run.probes if run else SHIPPED_PROBES.parent  # a run's are gone sometimes: said, not replaced
        return probe_suite(file or own, config, brought=file is not None)
    if name == "proposals":
        if file:
            return proposal_suite([file], config, fits)
        if run:
            return run_proposals(run, config, fits)
        source = "shipped general seeds, since the model belongs to no run"
        return proposal_suite([SHIPPED_SEEDS / name for name in SHIPPED_FILES], config, fits, source=source)
    if file is None and name != "humaneval":
        raise ConfigError(
            f"suite {name} needs its authors' file: --suite {name}=FILE (docs/evaluate.md says where it is and what it looks like)"
        )
    return _told_if_partial(_FROM_FILE[name](file, Asking(config, style, speaker)))


def _told_if_partial(suite: Suite) -> Suite:
    """With a note where a file has another number of items than the published suite: a download may break off between two."""
    title, prefix, sizes = _PUBLISHED.get(suite.name, ("", "", ()))
    count = len(suite.items) + len(suite.left_out)
    if count in sizes or not any(title and item.item_id.startswith(prefix) for item in suite.items):
        return suite
    whole = " or ".join(f"{size:,}" for size in sizes)
    note = f"the file has {counted(count, 'item')}, and {title} has {whole}, so this is no score to set beside published ones"
    return replace(suite, notes=(*suite.notes, note))


def sandbox_config(base: SandboxConfig | None = None) -> SandboxConfig:
    """Every core: nothing trains beside an evaluation."""
    return replace(base or SandboxConfig(), reserved_cores=0)
