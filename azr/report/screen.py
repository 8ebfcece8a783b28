"""What the terminal shows of a run: a screen of at most 80 to 100 columns, and its one-line form. Pure:
summary in, text out.

Every part keeps its height, so that the screen stands still while numbers change.
"""

from __future__ import annotations

import textwrap
import time

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from azr.report.summary import PHASE_WORDS, RunStatus, RunSummary
from azr.report.text import duration, number, percent, points, signed, sparkline, when
from azr.report.verdict import deciding_change
from azr.run import metric_names as names
from azr.tasks import TaskType
from azr.wording import one_line

MAX_WIDTH = 100
INCIDENT_LINES = 3
CLOCK_OFF_S = 120.0
"""Clocks that differ by less are not told apart from a share that shows files late."""
TAIL = 10
"""Steps over which rewards and shares on the screen are averaged; a single step of a few tasks says little."""

PHASE_STYLES = {
    "plan": "magenta", "generate": "blue", "old_log_prob": "bright_green", "update": "green", "sync": "cyan",
    "save": "yellow", "validate": "bright_blue", "other": "bright_black",
}  # fmt: skip
STATUS_STYLES = {
    RunStatus.EMPTY: "bright_black",
    RunStatus.RUNNING: "green",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.FINISHED: "bold green",
    RunStatus.FAILED: "bold red",
}


def render(summary: RunSummary, width: int = 80) -> RenderableType:
    """The whole screen. Model text never appears in it; file texts are shown as plain text, without markup."""
    inner = min(width, MAX_WIDTH) - 4
    parts: list[RenderableType] = [
        _progress(summary, inner),
        _time_line(summary, inner),
        Text(),
        _streams(summary, inner),
        Text(),
        _tasks(summary, inner),
        _probe(summary, inner),
        _line(_label("memory"), " · ".join(memory_words(summary)) or "–", width=inner),
        Text(),
        *_incidents(summary, inner),
    ]
    return Panel(
        Group(*parts),
        title=_title(summary, inner),
        title_align="left",
        width=min(width, MAX_WIDTH),
        border_style="bright_black",
    )


def _line(*pieces: tuple[str, str] | str, width: int) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for piece in pieces:
        words, style = (piece, "") if isinstance(piece, str) else piece
        text.append(one_line(words), style)
    text.truncate(width, overflow="ellipsis")
    return text


def _title(summary: RunSummary, width: int) -> Text:
    cycles = f"/{summary.cycles_planned}" if summary.cycles_planned else ""
    where = f" cycle {summary.cycle}{cycles}" if summary.cycle else ""
    ended = summary.status in (RunStatus.FINISHED, RunStatus.FAILED)
    state = f" {summary.state_name}" if summary.state_name and not ended else ""
    pieces = (
        ("azr ", "bold"),
        summary.name,
        " ·",
        (f" {'paused' if summary.paused else summary.status.value}", STATUS_STYLES[summary.status]),
        f"{state}{where} ",
    )
    return _line(*pieces, width=width - 4)


def _progress(summary: RunSummary, width: int) -> RenderableType:
    first, last = summary.first_step, summary.last_step
    elapsed = duration(summary.worked_s)
    if first is not None and last is not None and last >= first:
        done = min(max(summary.step - first + 1, 0), last - first + 1)
        share = done / (last - first + 1)
        bar_width = 24
        full = round(share * bar_width)
        bar: tuple[tuple[str, str], ...] = (("━" * full, "green"), ("━" * (bar_width - full), "bright_black"))
        head = f" step {summary.step}/{last} "
    else:
        bar, head = (), f"step {summary.step} "
    if not summary.table.trained:
        return _line(*bar, (head if bar else "no step yet", "bold"), width=width)
    eta = f" · ETA {duration(summary.eta_s)}" if summary.eta_s is not None else ""
    pace = f"· {duration(summary.step_seconds)} per step{eta} · {'up' if summary.status is RunStatus.RUNNING else 'took'} {elapsed}"
    return _line(*bar, (head, "bold"), pace, width=width)


def _time_line(summary: RunSummary, width: int) -> RenderableType:
    """What it does now, and a bar of where the time of the last steps went."""
    shares = summary.phase_shares(TAIL)
    text = Text(no_wrap=True, overflow="ellipsis")
    beat = summary.heartbeat
    if summary.status is RunStatus.RUNNING and beat is not None and of_this_attempt(summary):
        text.append(
            f"{PHASE_WORDS[beat.phase]} for {duration(summary.now_unix_s - beat.phase_since_unix_s)}", "bold"
        )
    elif summary.status is RunStatus.EMPTY:
        text.append("nothing has run here yet", "bright_black")
    elif summary.status is RunStatus.RUNNING:
        text.append(one_line(summary.sentence) or "no sign of the trainer yet", "bright_black")
    elif summary.status is RunStatus.FINISHED:
        text.append(f"ended {when(summary.ended_unix_s)}", "bright_black")
    elif summary.status is RunStatus.FAILED:
        text.append(one_line(summary.sentence) or f"failed {when(summary.ended_unix_s)}", "red")
    else:
        seen = f" since {when(beat.unix_s)}" if beat is not None else ""
        told = f"no driver is running{seen}; run the same command to resume"
        if summary.perhaps_elsewhere:
            told = "no driver here; unless one is elsewhere, run the same command to resume"
        text.append(told, "yellow")
    if told := place_words(summary):
        text.append(f" · {told}", "yellow")
    text.truncate(width, overflow="ellipsis")
    text.append("\n")
    bar_width = 24
    used = 0
    for index, item in enumerate(shares):
        cells = bar_width - used if index == len(shares) - 1 else round(item.share * bar_width)
        cells = min(max(cells, 0), bar_width - used)
        used += cells
        text.append("█" * cells, PHASE_STYLES.get(item.phase, "white"))
    text.append("░" * (bar_width - used), "bright_black")
    for item in sorted(shares, key=lambda item: -item.share):
        label = f" {names.phase_label(item.phase)} {100 * item.share:.0f}%"
        if len(text.plain.rsplit("\n", 1)[-1]) + len(label) > width:
            break
        text.append(label, PHASE_STYLES.get(item.phase, "white"))
    return text


def place_words(summary: RunSummary) -> str:
    """Of a run that is running: that it works on another machine, and how far its clock is off; or that its trainer is all
    that is left of it here. Else empty."""
    if summary.status is RunStatus.RUNNING and summary.driver_gone:
        return "its driver is gone, and its trainer ends once this step is saved; the same command resumes"
    if not summary.elsewhere:
        return ""
    side = "ahead of" if summary.ahead_s > 0 else "behind"
    clock = f", its clock {duration(abs(summary.ahead_s))} {side} this one"
    return f"on another machine{clock if abs(summary.ahead_s) > CLOCK_OFF_S else ''}"


def of_this_attempt(summary: RunSummary) -> bool:
    """Is the heartbeat the present trainer's? Between two trainers, and while none runs, the last one's is
    still there."""
    beat, state = summary.heartbeat, summary.state
    if beat is None or summary.paused:
        return False
    return state is None or (
        state.attempt_open and (beat.cycle, beat.attempt) == (state.cycle, state.attempt)
    )


def _streams(summary: RunSummary, width: int) -> RenderableType:
    spark_width = max(8, min(24, (width - 46) // 2))
    table = Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bright_black"
    )
    widths = (
        ("stream", 18),
        ("reward", 6),
        ("", spark_width),
        ("right", 7),
        ("", spark_width),
        ("format", 6),
    )
    for name, columns in widths:
        side = "right" if name in ("reward", "right", "format") else "left"
        table.add_column(name, justify=side, width=columns, no_wrap=True)
    for stream in summary.table.streams:
        style = "cyan" if stream.role.value == "propose" else "green"
        reward, accuracy = names.reward(stream.name), names.accuracy(stream.name)
        mean = summary.table.tail_mean(reward, TAIL)
        table.add_row(
            Text(stream.name, style),
            signed(mean),
            Text(sparkline(summary.table.column(reward), spark_width), style),
            percent(summary.table.tail_mean(accuracy, TAIL), 0),
            Text(sparkline(summary.table.column(accuracy), spark_width, 0.0, 1.0), style),
            percent(summary.table.tail_mean(names.format_ok(stream.name), TAIL), 0),
        )
    return table


def _label(text: str) -> tuple[str, str]:
    return f"{text:<10}", "bright_black"


def _tasks(summary: RunSummary, width: int) -> RenderableType:
    table = summary.table
    gained = table.total(names.ACCEPTED)
    sizes = [table.last(names.buffer_size(task_type)) for task_type in TaskType]
    known = [size for size in sizes if size is not None]
    rejections = summary.rejections()
    rejected = sum(count for _, count in rejections)
    head: list[tuple[str, str] | str] = [_label("tasks"), (f"+{gained:,.0f}", "bold")]
    last = table.last(names.ACCEPTED)
    if last is not None:
        head.append(f" ({number(table.tail_mean(names.ACCEPTED, TAIL))} per step lately)")
    if known:
        head.append(f" · buffer {sum(known):,.0f}")
    if table.has(names.NOVELTY):
        head.append(f" · novel {percent(table.tail_mean(names.NOVELTY, TAIL), 0)}")
    words = f"{rejected:,}"
    for index, (reason, count) in enumerate(rejections):
        more = f"{', ' if index else ': '}{reason} {count:,}"
        if 10 + len(words) + len(more) > width:
            break  # the report has them all
        words += more
    tail = _line(_label("rejected"), words, width=width)
    return Group(_line(*head, width=width), tail)


def _probe(summary: RunSummary, width: int) -> RenderableType:
    values = summary.table.known(names.PROBE_ALL)
    if not len(values):
        return _line(_label("probe"), ("not measured yet", "bright_black"), width=width)
    change = f" ({points(values[-1] - values[0])}, measured {len(values)} times) " if len(values) > 1 else " "
    word, measured = "", deciding_change(summary)
    if measured is not None and measured.otherwise:
        change = f" (at first asked otherwise, measured {len(values)} times) "
    if (judged := summary.learning_verdict) is not None:
        word = f" {judged.verdict} (step {judged.step})"
    elif measured is not None:
        word = f" {measured.word}"
    score = percent(float(values[-1]))
    room = min(16, width - 10 - len(score) - len(change) - len(word))
    spark = sparkline(values, room).rstrip() if room >= 4 else ""
    return _line(_label("probe"), (score, "bold"), change, (spark, "yellow"), (word, "bold"), width=width)


def memory_words(summary: RunSummary) -> list[str]:
    """What is known of memory and disk, most wanted first."""
    machine, words = summary.machine, []
    vram = summary.vram_gib()
    if vram is None and machine is not None:
        vram = machine.vram_gib
    if vram is not None:
        words.append(f"VRAM {number(vram)} GiB")
    if machine is not None:
        words.append(f"RAM {number(machine.trainer_gib)} GiB ({number(machine.host_available_gib)} free)")
        words.append(f"disk {number(machine.disk_free_gib)} GiB free")
    return words


def _incidents(summary: RunSummary, width: int) -> list[RenderableType]:
    damaged = summary.problems[:INCIDENT_LINES]
    room = INCIDENT_LINES - len(damaged)
    latest = summary.incidents[-room:] if room else ()
    lines: list[RenderableType] = [
        _line(_label("damaged"), (problem, "red"), width=width) for problem in damaged
    ]
    for incident in latest:
        at = time.strftime("%a %H:%M", time.localtime(incident.unix_s))
        words = " → ".join(part for part in (incident.cause, incident.action) if part)
        head, indent = (
            [(f"{at} ", "bright_black"), (f"{incident.kind} ", "yellow")],
            len(at) + len(incident.kind) + 2,
        )
        parts = textwrap.wrap(words, max(width - indent, 20), break_on_hyphens=False)
        spare = room - len(latest) if incident is summary.incidents[-1] else 0
        parts[spare:] = [" ".join(parts[spare:])]  # the latest gets the lines that are free
        lines.append(_line(*head, parts[0], width=width))
        lines += [_line(" " * indent, part, width=width) for part in parts[1:]]
    if not lines:
        lines.append(_line(_label("incidents"), ("none", "bright_black"), width=width))
    lines += [Text()] * (INCIDENT_LINES - len(lines))
    return lines


def plain_line(summary: RunSummary) -> str:
    """The state in one line, for logs."""
    last = f"/{summary.last_step}" if summary.last_step is not None else ""
    cycle = int(summary.table.cycles[-1]) if len(summary.table) else summary.cycle  # the step's own
    parts = [f"cycle {cycle} step {summary.step}{last}"]
    if summary.step_seconds is not None:
        parts.append(f"{duration(summary.step_seconds)} per step, ETA {duration(summary.eta_s)}")
    table = summary.table
    for role in ("propose", "solve"):
        rewards = [
            table.last(names.reward(stream.name)) for stream in table.streams if stream.role.value == role
        ]
        known = [value for value in rewards if value is not None]
        if known:
            parts.append(f"{role} reward {' '.join(f'{value:+.2f}' for value in known)}")
    right = [
        table.last(names.accuracy(stream.name)) for stream in table.streams if stream.role.value == "solve"
    ]
    if any(value is not None for value in right):
        parts.append("right " + " ".join(percent(value, 0).replace("\u00a0", "") for value in right))
    if table.has(names.ACCEPTED):
        parts.append(f"+{number(table.last(names.ACCEPTED))} tasks ({table.total(names.ACCEPTED):,.0f})")
    if table.has(names.PROBE_ALL):
        parts.append(f"probe {percent(table.last(names.PROBE_ALL))}")
    parts += memory_words(summary)[:2]
    return " | ".join([*parts, *map(one_line, summary.problems)])


def plain_incident(summary: RunSummary, index: int) -> str:
    incident = summary.incidents[index]
    words = " -> ".join(part for part in (incident.cause, incident.action) if part)
    what = "request" if incident.asked else "incident"
    return one_line(f"{what} {incident.kind}, {when(incident.unix_s)}: {words}")
