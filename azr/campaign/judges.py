"""The two judges. *Health* looks at process and optimiser, *learning* at probes and data; each answers with
one judgement.

Pure functions of the records that count (undone steps are gone from them), so a judge has no memory:
patience, hysteresis and cooldown are read off the records, and after a crash or rollback the same records
give the same verdict.

======================= ============================================================== ===============
verdict                 evidence                                                       advice
======================= ============================================================== ===============
diverged                non-finite updates                                             roll back
collapsing              entropy below its floor, or cut or malformed responses rising  roll back
mismatch                engine and trainer do not run the same model                   roll back
regressing              probes far below their best level                              roll back
shrinking               answers of a solve stream suddenly have half their length      note
leaking, slowing        host memory or time per token grows                            recycle
starved                 hardly any new tasks, or none that could be learnt from        end the cycle
plateau                 probes flat, by the test of ``azr.campaign.stagnation``        end the cycle
learning, undecided     none of these                                                  continue
======================= ============================================================== ===============
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from azr.campaign.parts import Advice, Judgement
from azr.campaign.stagnation import Course, fall, fit_trend, plateau, robust_smooth, shrinkage
from azr.config import Config
from azr.config.monitor import MonitorConfig
from azr.run import metric_names as names
from azr.run.protocol import MetricsRecord
from azr.run.records import SHRINKING, MachineSample
from azr.tasks import ALL_STREAMS, Role

LEAK_SAMPLES = 20
"""Memory samples that a leak is judged on."""
HEALTH_HALF_LIFE = 2.0
"""Steps; smoothing of health series, short because a collapse is fast."""
EARLY_STEPS = 20
"""Steps at the start of a trainer whose speed later ones are compared with (after the first two, which warm up)."""

_going_on = partial(Judgement, Advice.CONTINUE)


def judge_health(
    records: Sequence[MetricsRecord], samples: Sequence[MachineSample], config: Config
) -> Judgement:
    """Process and optimiser, as of the last record."""
    rules = config.monitor
    if not rules.enabled or not records:
        return _going_on("healthy", "No step yet." if rules.enabled else "Health is not watched.")
    well = _going_on("healthy", "Updates are finite; entropy, format and memory are unchanged.")
    return next(filter(None, _illnesses(records, samples, rules)), well)


def judge_learning(
    records: Sequence[MetricsRecord], samples: Sequence[MachineSample], config: Config
) -> Judgement:
    """Probes and data, as of the last record."""
    rules = config.monitor
    if not rules.enabled or not records:
        return _going_on("undecided", "No step yet." if rules.enabled else "Learning is not watched.")
    return _starved(records, rules) or _probes(records, rules)


# ---------------------------------------------------------------------------------------------------- learning


def _starved(records: Sequence[MetricsRecord], rules: MonitorConfig) -> Judgement | None:
    current = [record for record in records[-rules.starved_steps :] if record.cycle == records[-1].cycle]
    if len(current) < rules.starved_steps:
        return None

    new, flat = list(map(_novelty, current)), list(map(_zero_variance, current))
    if all(share < rules.min_novelty for share in new):
        values, what, limit = new, "of the valid proposals were new", f"below {rules.min_novelty:.0%}"
    elif all(share > rules.max_zero_variance for share in flat):
        values, limit = flat, f"above {rules.max_zero_variance:.0%}"
        what = "of the new tasks were always or never solved"
    else:
        return None
    sentence = f"{np.mean(values):.0%} {what} in each of the last {len(values)} steps ({limit}): the data are exhausted."
    return Judgement(Advice.END_CYCLE, "starved", sentence)


def _novelty(record: MetricsRecord) -> float:
    """Share of valid proposals that were new; 0 where none was valid, nan where it is not known."""
    if record.values.get(names.VALID) == 0:
        return 0.0
    return record.values.get(names.NOVELTY, math.nan)


def _zero_variance(record: MetricsRecord) -> float:
    """Share of new tasks that all or none of the samples solved; nan where it is not known."""
    shares = [record.values[name] for name in (names.ALL_SOLVED, names.NONE_SOLVED) if name in record.values]
    return sum(shares) if shares else math.nan


def _probes(records: Sequence[MetricsRecord], rules: MonitorConfig) -> Judgement:
    evaluated = [
        record for record in records if math.isfinite(record.values.get(rules.probe_metric, math.nan))
    ]
    steps = [float(record.step) for record in evaluated]
    values = [record.values[rules.probe_metric] for record in evaluated]
    if not evaluated or evaluated[-1] is not records[-1]:  # nothing new since the last time
        return _going_on("undecided", "No probe evaluation at this step.")

    limit = _regression_limit(records[-1], rules)
    lost = fall(values, limit) if rules.regression_delta else None
    if lost is not None:
        onset = evaluated[lost.onset].step
        sentence = f"{rules.probe_metric} fell from {lost.best:.3f} to {lost.now:.3f} (limit {limit:.3f}), from step {onset} on."
        return Judgement(Advice.ROLLBACK, "regressing", sentence, onset)

    found = plateau(steps, values, rules)
    if found is None:
        needed = rules.warmup_evaluations + rules.window_evaluations
        missing = f"{len(values)} of the {needed} probe evaluations that a first verdict needs."
        return _going_on("undecided", missing)

    numbers = f"{rules.probe_metric}: {found.window.sentence}, min_delta {rules.min_delta}"
    last = records[-1]
    rested = sum((record.cycle, record.attempt) == (last.cycle, last.attempt) for record in evaluated)
    if found.stopped and rested >= rules.cooldown_evaluations:
        sentence = f"No gain that matters: {numbers}, in {found.flat_windows} windows."
        return Judgement(Advice.END_CYCLE, "plateau", sentence)
    if found.stopped:
        rests = f"{rested} of {rules.cooldown_evaluations} evaluations after a start"
        return _going_on("flat", f"Flat, but {rests}: {numbers}.")
    verdict = "learning" if found.window.state is Course.RISING else "undecided"
    return _going_on(verdict, f"{found.window.state.value.capitalize()}: {numbers}.")


def _regression_limit(record: MetricsRecord, rules: MonitorConfig) -> float:
    """The configured fall, but at least four standard errors of one evaluation: with few probe tasks chance
    alone falls far."""
    tasks = record.values.get(names.PROBE_COUNT, 0.0)
    return max(rules.regression_delta, 4 * math.sqrt(0.25 / tasks)) if tasks > 0 else rules.regression_delta


# ------------------------------------------------------------------------------------------------------ health


def _illnesses(
    records: Sequence[MetricsRecord], samples: Sequence[MachineSample], rules: MonitorConfig
) -> Iterator[Judgement | None]:
    """In the order in which they count."""
    yield _diverged(records, rules)
    for series in _series(rules):
        yield _collapse(records, rules, series)
    yield _shrinking(records, rules)
    yield _leaking(records, samples, rules)
    yield _slowing(records, rules)


def _diverged(records: Sequence[MetricsRecord], rules: MonitorConfig) -> Judgement | None:
    recent = records[-rules.nonfinite_window :]

    def is_finite(record: MetricsRecord) -> bool:
        return all(math.isfinite(record.values.get(name, 0.0)) for name in (names.GRADIENT_NORM, names.LOSS))

    bad = [record.step for record in recent if not is_finite(record)]
    if len(bad) < rules.nonfinite_limit:
        return None
    sentence = f"{len(bad)} of the last {len(recent)} updates were not finite (limit {rules.nonfinite_limit}), the first at step {bad[0]}."
    return Judgement(Advice.ROLLBACK, "diverged", sentence, bad[0])


@dataclass(frozen=True)
class _Series:
    """Something that is smoothed, and when its level is bad; both functions take the level and the lowest one
    up to there."""

    verdict: str
    of: Callable[[MetricsRecord], float | None]
    bad: Callable[[float, float], bool]
    describe: Callable[[float, float], str]


def _series(rules: MonitorConfig) -> list[_Series]:
    entropy = _Series(
        "collapsing",
        _log_entropy,
        lambda level, best: level < math.log(rules.entropy_floor),
        lambda level, best: f"Token entropy {math.exp(level):.2g} is below the floor {rules.entropy_floor}",
    )
    return [
        *([entropy] if rules.entropy_floor else []),
        _Series(
            "collapsing",
            lambda record: _stream_mean(record, "response_cut"),
            lambda level, best: level > rules.max_cut_share and level > best + rules.collapse_rise,
            lambda level, best: (
                f"{level:.0%} of the responses are truncated at the token limit (limit {rules.max_cut_share:.0%}, once {best:.0%})"
            ),
        ),
        _Series(
            "collapsing",
            lambda record: None if (right := _stream_mean(record, "format_ok")) is None else 1 - right,
            lambda level, best: level > rules.max_format_errors and level > best + rules.collapse_rise,
            lambda level, best: (
                f"{level:.0%} of the responses lack the format (limit {rules.max_format_errors:.0%}, once {best:.0%})"
            ),
        ),
        _Series(
            "mismatch",
            lambda record: record.values.get(names.MISMATCH),
            lambda level, best: level > rules.max_logprob_mismatch,
            lambda level, best: (
                f"Engine and trainer differ by {level:.4f} in token probability (limit {rules.max_logprob_mismatch})"
            ),
        ),
    ]


def _log_entropy(record: MetricsRecord) -> float | None:
    """Entropy falls by orders of magnitude, and an average of 0.4 and 0.0001 says nothing."""
    entropy = record.values.get(names.ENTROPY)
    return None if entropy is None or not math.isfinite(entropy) else math.log(max(entropy, 1e-9))


def _collapse(records: Sequence[MetricsRecord], rules: MonitorConfig, series: _Series) -> Judgement | None:
    """A series that was bad for ``health_steps`` steps in a row, the last one included."""
    values = [(record.step, series.of(record)) for record in records]
    known = [(step, value) for step, value in values if value is not None and math.isfinite(value)]
    if len(known) < rules.health_steps or known[-1][0] != records[-1].step:
        return None
    levels = robust_smooth([value for _, value in known], HEALTH_HALF_LIFE)
    lowest = np.minimum.accumulate(levels)
    verdicts = [series.bad(float(level), float(best)) for level, best in zip(levels, lowest, strict=True)]
    if not all(verdicts[-rules.health_steps :]):
        return None
    onset = len(verdicts)
    while onset and verdicts[onset - 1]:
        onset -= 1
    sentence = f"{series.describe(float(levels[-1]), float(lowest[-1]))}, since step {known[onset][0]}."
    # smoothing sees it late: what was learnt in the steps just before is suspect as well
    return Judgement(Advice.ROLLBACK, series.verdict, sentence, known[max(onset - rules.health_steps, 0)][0])


def _stream_mean(record: MetricsRecord, what: str) -> float | None:
    values = [
        record.values[name] for stream in ALL_STREAMS if (name := f"{stream.name}/{what}") in record.values
    ]
    return float(np.mean(values)) if values else None


def _shrinking(records: Sequence[MetricsRecord], rules: MonitorConfig) -> Judgement | None:
    """Said once, at the step at which it shows: not again while it is in the window."""
    told: list[str] = []
    onsets: list[int] = []
    for stream in (stream.name for stream in ALL_STREAMS if stream.role is Role.SOLVE):
        both = (names.response_tokens(stream), names.accuracy(stream))
        known = [
            item for item in records if all(math.isfinite(item.values.get(name, math.nan)) for name in both)
        ]
        lengths, right = ([item.values[name] for item in known] for name in both)
        found = shrinkage(lengths, right, rules) if known and known[-1] is records[-1] else None
        earlier = range(1, min(rules.thoughts_window_steps, len(known)))
        if found is None or any(shrinkage(lengths[:-back], right[:-back], rules) for back in earlier):
            continue
        onsets.append(known[found.onset].step)
        told.append(
            f"Answers of {stream} shrank from {found.before:.0f} to {found.now:.0f} tokens, from step {onsets[-1]} on."
        )
    return Judgement(Advice.NOTE, SHRINKING, " ".join(told), min(onsets)) if told else None


def _of_this_process(records: Sequence[MetricsRecord]) -> list[MetricsRecord]:
    """What the trainer of the last record has reported since it was started, over all its cycles."""
    return [record for record in records if record.process_name == records[-1].process_name]


def _leaking(
    records: Sequence[MetricsRecord], samples: Sequence[MachineSample], rules: MonitorConfig
) -> Judgement | None:
    """Memory of the trainer's process tree, extrapolated by its slope's lower limit, against what the host has left."""
    own = [item for item in samples if item.step > 0]
    if len(own) < LEAK_SAMPLES or len(_of_this_process(records)) < rules.recycle_min_steps:
        return None

    recent = own[-2 * LEAK_SAMPLES :]
    gib = [item.trainer_gib for item in own]
    growth = float(np.median(gib[-5:]) - np.median(gib[:5]))
    trend = fit_trend([item.unix_s - recent[0].unix_s for item in recent], gib[-2 * LEAK_SAMPLES :])
    left_gib = recent[-1].host_available_gib - trend.low * rules.leak_horizon_s
    if growth < rules.leak_min_growth_gib or trend.low <= 0 or left_gib >= rules.leak_margin_gib:
        return None

    sentence = (
        f"The trainer's memory grows by {trend.slope * 3600:.2f} GiB an hour (at least {trend.low * 3600:.2f}), {growth:.1f} GiB so far; "
        f"{recent[-1].host_available_gib:.1f} GiB are left, in {rules.leak_horizon_s / 60:.0f} min fewer than {rules.leak_margin_gib:.1f}."
    )
    return Judgement(Advice.RECYCLE, "leaking", sentence)


def _slowing(records: Sequence[MetricsRecord], rules: MonitorConfig) -> Judgement | None:
    """A step takes longer, and longer per token as well: it may well take longer because it writes more, and
    a step that writes little takes longer per token because some of its time is fixed."""
    own = _of_this_process(records)
    if not rules.slow_factor or len(own) < max(rules.recycle_min_steps, 2 * EARLY_STEPS + 2):
        return None
    steps = [step for record in own[2:] if (step := _seconds_and_tokens(record)) is not None]
    if len(steps) < 2 * EARLY_STEPS:
        return None

    seconds = [step_s for step_s, _ in steps]
    seconds_per_token = [step_s / tokens for step_s, tokens in steps]
    slower = min(_late_over_early(seconds), _late_over_early(seconds_per_token))
    if slower <= rules.slow_factor or fit_trend(range(len(steps)), seconds_per_token).low <= 0:
        return None
    sentence = f"A step takes {slower:.1f} times as long as when this trainer was started, for as many tokens (limit {rules.slow_factor})."
    return Judgement(Advice.RECYCLE, "slowing", sentence)


def _late_over_early(values: Sequence[float]) -> float:
    return float(np.median(values[-EARLY_STEPS:]) / np.median(values[:EARLY_STEPS]))


def _seconds_and_tokens(record: MetricsRecord) -> tuple[float, float] | None:
    """Difficulty samples count: as more proposals become valid, a step writes several times as many of them."""
    seconds, tokens = (record.values.get(name) for name in (names.STEP_SECONDS, names.GENERATED_TOKENS))
    return (seconds, tokens) if seconds and tokens else None
