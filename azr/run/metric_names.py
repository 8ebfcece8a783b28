"""The metric names that more than one part reads or writes: the trainer, the judges of a campaign, the report.
docs/metrics.md explains each.

A name that a run did not log is simply absent from its report; a name that is not listed here is still drawn,
under "All other metrics".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from azr.tasks import Role, TaskType

PHASES = ("plan", "generate", "old_log_prob", "update", "sync")
"""Phases inside a step in the order they are drawn; programs run while the engine generates. What is left of
``time_s/step`` is shown as "other"."""
PHASES_BETWEEN = ("save", "validate")
"""Phases between two steps; not part of ``time_s/step``."""

PHASE_LABELS = {
    "old_log_prob": "score again",
    "sync": "sync weights",
    "save": "save",
    "validate": "measure probes",
}
"""Words for phases whose metric name is not a plain word."""

STEP_SECONDS = "time_s/step"
GENERATED_TOKENS = "data/generated_tokens"
"""All response tokens of a step, difficulty samples included, whether they are trained or not."""
TIME_PREFIX = "time_s/"
MEMORY_PREFIX = "memory/"

PROPOSED = "data/proposed"
VALID = "data/valid"
ACCEPTED = "data/accepted"
NOVELTY = "data/novelty"
REPETITION = "data/repetition"
"""Of the latest programs, those that a new one resembles; see ``azr.selfplay.repetition``."""
GUESSABLE = "data/guessable"
"""Of the verified abduction proposals, those that a typical input solves; see ``azr.selfplay.guessing``."""
REJECTED_PREFIX = "data/rejected/"
"""Rejected proposals of all propose streams by reason, duplicates included."""
ALL_SOLVED = "data/all_solved"
NONE_SOLVED = "data/none_solved"

ENTROPY = "train/entropy"
GRADIENT_NORM = "train/grad_norm"
LOSS = "train/pg_loss"
LEARNING_RATE = "train/learning_rate"
OPTIMIZER_STEPS = "train/optimizer_steps"
ROWS = "train/rows"
RESPONSE_TOKENS = "train/response_tokens"
MISMATCH = "train/logprob_mismatch"
"""Mean difference of token probabilities between engine and trainer. It has two limits: above
``monitor.max_logprob_mismatch`` for several steps the judges roll back, and the report draws its red line there;
above ``train.max_logprob_mismatch`` in a single step the trainer stops immediately."""
MISMATCH_MAX = "train/logprob_mismatch_max"
MISMATCH_NATS = "train/logprob_mismatch_nats"
"""The same in log-probs, where sequences are packed: the difference of tokens that are unlikely shows here alone."""

VRAM_SUFFIX = "_device_used_gib"
"""``memory/<phase>_device_used_gib``: memory of the card in use at the end of the phase, by everybody."""
TRAINER_PEAK_SUFFIX = "_trainer_peak_gib"
"""``memory/<phase>_trainer_peak_gib``: the trainer's own largest allocation in the phase."""
SANDBOX_WAIT = "sandbox/wait_s_mean"


def reward(stream: str) -> str:
    return f"{stream}/reward_mean"


def accuracy(stream: str) -> str:
    """Solve streams: share of right answers. Propose streams: mean solver accuracy on the valid proposals."""
    return f"{stream}/accuracy"


def response_tokens(stream: str) -> str:
    """Mean tokens of a response, the thought included."""
    return f"{stream}/response_tokens_mean"


def valid(task_type: TaskType) -> str:
    """Share of proposals that the sandbox verified."""
    return f"{Role.PROPOSE.value}-{task_type.value}/valid"


def format_ok(stream: str) -> str:
    return f"{stream}/format_ok"


def buffer_size(task_type: TaskType) -> str:
    return f"buffer/{task_type.value}/size"


def rejected(reason: str) -> str:
    return f"{REJECTED_PREFIX}{reason}"


def probe_metric(what: TaskType | str) -> str:
    """Accuracy on the frozen probes, greedy; logged only at evaluation steps. ``what``: a task type, a probe file or
    ``all``."""
    return f"{PROBE_PREFIX}{what.value if isinstance(what, TaskType) else what}/accuracy"


PROBE_PREFIX = "probe/"
PROBE_ALL = "probe/all/accuracy"
PROBE_CHANGE = "probe/all/change"
PROBE_CHANGE_ERROR = "probe/all/change_error"
"""Standard error of the change since the first evaluation, paired by task."""
PROBE_COUNT = "probe/tasks"
"""Frozen tasks answered at each evaluation, all types together."""
PROBES_TOO_LONG = "probe/too_long"
"""Frozen tasks that do not fit the prompt limit; with step 0, where there are any."""


VERDICT_PREFIX = "verdict/"


def verdict(probes: str, what: str) -> str:
    """``what``: accuracy, tasks, change or change_error, sampled before and after training; ``probes``: a
    probe file or ``all``."""
    return f"{VERDICT_PREFIX}{probes}/{what}"


def seconds(phase: str) -> str:
    return f"{TIME_PREFIX}{phase}"


def phase_label(phase: str) -> str:
    return PHASE_LABELS.get(phase, phase)


SCORED_TOGETHER = frozenset({"all", *(task_type.value for task_type in TaskType)})
"""Of the frozen tasks, what scores are kept of beside those of single files."""


def probe_file_metrics(logged: Iterable[str]) -> list[tuple[str, str]]:
    """(label, metric) of the scores on single probe files; the label is the file's name."""
    return measured_files(logged, PROBE_PREFIX)


def measured_files(logged: Iterable[str], prefix: str) -> list[tuple[str, str]]:
    found = (re.fullmatch(re.escape(prefix) + "(.+)/accuracy", name) for name in logged)
    return sorted((match[1], match[0]) for match in found if match and match[1] not in SCORED_TOGETHER)


def probe_format(what: str) -> str:
    """Share of probe answers in the required format; ``what`` as in ``probe_metric``."""
    return f"{PROBE_PREFIX}{what}/format_ok"
