"""Training steps of the driver's own trainer under one or two recipes: seconds by phase, tokens/s, MFU,
memory by phase, and where the seconds of the start went.

    python scripts/dev/bench_step.py 0_5b_16gb --model build/random-0.5b
    python scripts/dev/bench_step.py published_single_gpu 0_5b_16gb --model build/random-0.5b --fraction 0.25 --leave-gib 16
    python scripts/dev/bench_step.py 0_5b_16gb --real            the model's own lengths and rewards instead of fixed ones
    python scripts/dev/bench_step.py 1_5b_16gb --model build/random-1.5b --explain-update     the update in a step and alone
    python scripts/dev/bench_step.py 3b_lora_16gb 3b_lora_16gb+rollout.merge_adapters=true --model build/random-3b
    python scripts/dev/bench_step.py cpu_tiny --real --fraction 0.06 --steps 1 --starts 3      where the seconds of a start go; medians

A recipe may bring settings of its own, each after a ``+``.

Each recipe runs as ``python -m azr.train`` in a run directory of its own, and the figures are read from its
``metrics.jsonl`` and from the card, twenty times a second. With fixed lengths (the default) all recipes do
the same work: the same sequences and tokens; optimizer steps are printed. ``--leave-gib`` holds the rest of a
large card and scales the engine's share, so that the recipe sees a card of that size; ``--no-hold RECIPE``
gives the whole card to one that does not fit. A table is printed; ``--json FILE`` keeps the figures.

The logs of trainer, workers and engine are copied once a minute and at every ending (also by SIGTERM) to
``RUN/logs``, with ``--json FILE`` to ``FILE-RUN-logs`` beside it. They hold the stacks of all processes from
when a phase became late, and from when time was up.

``--baseline FILE`` compares with an earlier JSON of the same machine and fails when a ratio got worse by more
than ``--tolerance``; ``--require-speedup 6`` fails when the last recipe's step is not that much faster than
the first's.
"""

from __future__ import annotations

import _project

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import update_figures
from azr.budget.advice import judge_fit
from azr.budget.fitting import fit_card
from azr.budget.shape import shape_for
from azr.config import Config
from azr.config.load import load_config, write_config
from azr.errors import AzrError
from azr.run import metric_names as names
from azr.run.protocol import (
    STACKS_FILE,
    TrainRequest,
    read_heartbeat,
    read_metrics,
    read_result,
    write_request,
)
from azr.run.rundir import RunDir
from azr.run.start_record import SHOWN_S, StartPart, mark_start, read_start
from azr.system.cards import visible_cards
from azr.system.files import read_jsonl, write_jsonl_atomic, write_text_atomic
from azr.system.hardware import Machine, detect, device_for
from azr.system.places import prepare_places
from azr.system.processes import MARKER_VARIABLE, memory_gib, processes_with_marker
from azr.system.stacks import collect_stacks
from azr.system.terminal import outlive_the_terminal
from azr.tasks import Task, TaskType

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_S = 0.05
KEPT_LOG_CHARACTERS = 1_000_000
KEEP_EVERY_S = 60.0
LATE_S = {"start": 300.0}
"""A phase that has lasted so long is late: the stacks of all processes are kept, and again after as long."""
LATE_OTHERWISE_S = 90.0
PHASES = ("generate", "old_log_prob", "update", "sync")


@dataclass
class Options:
    """What is measured and how: one field per command line option, with its default. Other benchmarks set what they need."""

    recipes: list[str] = field(default_factory=list)
    model: str | None = None
    steps: int = 3
    starts: int = 1
    resume: int = 0
    fraction: float = 1.0
    prompt: int = 600
    response: int = 300
    real: bool = False
    tasks: Path | None = None
    leave_gib: float = 0.0
    no_hold: list[str] = field(default_factory=list)
    explain_update: bool = False
    plant_sleep_ms: float = 0.0
    peak_tflops: float = 0.0
    timeout_s: float = 1800.0
    override: list[str] = field(default_factory=list)
    json: Path | None = None
    baseline: Path | None = None
    tolerance: float = 0.15
    require_speedup: float = 0.0
    keep: Path | None = None


# ---------------------------------------------------------------- one recipe


def configuration(recipe: str, options: Options, machine: Machine) -> Config:
    """The recipe with the model, the work and the card of this measurement put in."""
    # the published batch
    game = [] if any(item.startswith("selfplay=") for item in options.override) else ["selfplay=code"]
    # where rewards are drawn, it is chance which rows a recipe would leave out of its update
    whole = [] if options.real else ["train.drop_zero_advantages=false"]
    overrides = [
        *recipe_words(recipe),
        *game,
        *whole,
        "train.probe_every_steps=0",
        "train.save_every_steps=1000000",
        *options.override,
    ]
    if options.model:
        overrides.append(f"model.path={Path(options.model).resolve()}")
    if not options.real:
        overrides += [
            f"rollout.fixed_prompt_tokens={options.prompt}",
            f"rollout.fixed_response_tokens={options.response}",
        ]
        # short: a random model's tokenizer knows bytes only
        overrides += ["selfplay.frame=compact", "selfplay.references=1"]
    leave_gib = _leave_gib(recipe, options) if machine.cards else 0.0
    if leave_gib:
        overrides.append(f"budget.gpu_limit_gib={leave_gib}")
    loaded = load_config(overrides).config
    config = fit_card(loaded, machine, shape_for(loaded)).config
    batch = max(1, round(config.selfplay.batch_size * options.fraction))
    mini = min(config.train.mini_batch_sequences, 6 * batch)
    config = replace(
        config,
        selfplay=replace(config.selfplay, batch_size=batch),
        train=replace(config.train, mini_batch_sequences=mini),
    )
    if leave_gib and "rollout.gpu_memory_share" not in config.budget.automatic:
        share = config.rollout.gpu_memory_share * options.leave_gib / machine.cards[0].total_gib
        config = replace(config, rollout=replace(config.rollout, gpu_memory_share=round(share, 4)))
    return config


def recipe_words(recipe: str) -> list[str]:
    """``NAME+KEY=VALUE+...`` as settings."""
    name, *own = recipe.split("+")
    return [f"recipe={name}", *own]


def _leave_gib(recipe: str, options: Options) -> float:
    return 0.0 if recipe in options.no_hold else options.leave_gib


def synthetic_tasks(count: int) -> list[Task]:
    """Small verified-looking tasks of each type, enough to fill every stream; benchmarks execute none of
    them."""
    tasks = []
    for index in range(count):
        code = f"def f(x):\n    y = x * {index + 2}\n    return y + {index}"
        pairs = [(str(n), str(n * (index + 2) + index)) for n in range(10)]
        for kind in (TaskType.ABDUCTION, TaskType.DEDUCTION):
            tasks.append(Task(task_type=kind, code=code, inputs=(pairs[3][0],), outputs=(pairs[3][1],)))
        inputs, outputs = zip(*pairs, strict=True)
        tasks.append(
            Task(
                task_type=TaskType.INDUCTION,
                code=code,
                inputs=inputs,
                outputs=outputs,
                message="multiply, then add",
            )
        )
    return tasks


class Watch(threading.Thread):
    """Samples the card's used memory and the trainer's phase until it is stopped, and keeps the logs."""

    def __init__(self, run: RunDir, marker: str, logs: Logs) -> None:
        super().__init__(daemon=True)
        self.run_dir, self.marker, self.logs = run, marker, logs
        self.gpu_gib: dict[str, float] = defaultdict(float)
        """Highest used memory of the card by phase, beyond what was used before the start."""
        self.ram_gib: list[tuple[int, float]] = []
        """Finished steps, and the proportional memory of all processes of the run."""
        self._done = threading.Event()
        self._before = gpu_used_gib()

    def run(self) -> None:
        looked, kept = 0.0, time.monotonic()
        lasting = ("start", time.monotonic())
        while not self._done.wait(SAMPLE_S):
            beat = read_heartbeat(self.run_dir)
            phase = beat.phase.value if beat else "start"
            lasting = lasting if lasting[0] == phase else (phase, time.monotonic())
            if time.monotonic() - lasting[1] > LATE_S.get(phase, LATE_OTHERWISE_S):
                lasting = (phase, time.monotonic())
                self.logs.stacks(f"{phase} is late; {gpu_used_gib() - self._before:.1f} GiB of the card")
                self.logs.keep()
            if time.monotonic() - kept > KEEP_EVERY_S:
                kept = time.monotonic()
                self.logs.keep()
            self.gpu_gib[phase] = max(self.gpu_gib[phase], gpu_used_gib() - self._before)
            if time.monotonic() - looked > 2.0:
                looked = time.monotonic()
                self.ram_gib.append(
                    (beat.step if beat else 0, memory_gib(processes_with_marker(self.marker)))
                )

    def stop(self) -> None:
        self._done.set()
        self.join(timeout=10)


class Logs:
    """What tells why an attempt failed: copied while it runs, because whoever ends this process may not ask."""

    def __init__(self, run: RunDir, request: TrainRequest, marker: str, folder: Path) -> None:
        self._run, self._attempt, self._marker = run, run.attempt(request.cycle, request.attempt), marker
        self._folder, self._since_s = folder / f"attempt_{request.attempt}", time.time()

    def stacks(self, why: str) -> None:
        """Of all processes of the attempt, into its folder."""
        with contextlib.suppress(OSError), open(self._attempt / STACKS_FILE, "a", encoding="utf-8") as file:
            file.write(f"\n##### {why}\n")
        processes = processes_with_marker(self._marker)
        asked = collect_stacks(processes, self._attempt / STACKS_FILE)
        print(f"{why}; {asked} of {len(processes)} processes wrote their stacks", flush=True)

    def keep(self) -> None:
        """Copies the ends of all logs."""
        ray = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
        files = [self._run.metrics, self._run.heartbeat, *self._attempt.parent.parent.glob("*.json")]
        files += self._attempt.glob("*")
        for kind in ("worker-*", "python-core-*", "raylet.*"):
            files += ray.glob(f"session_2*/logs/{kind}")
        for file in files:
            with contextlib.suppress(OSError):
                if file.is_file() and file.stat().st_mtime >= self._since_s and file.stat().st_size:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    with open(file, "rb") as log:
                        log.seek(max(0, file.stat().st_size - KEPT_LOG_CHARACTERS))
                        (self._folder / file.name).write_bytes(log.read())


def run_recipe(recipe: str, options: Options, machine: Machine, folder: Path) -> dict[str, Any]:
    """Trains ``options.steps`` steps and returns the figures, or ``{"failed": reason}``."""
    config = configuration(recipe, options, machine)
    run = RunDir(folder / recipe)
    write_config(run.config, config)
    tasks = (
        list(read_jsonl(options.tasks))
        if options.tasks
        else [task.to_json() for task in synthetic_tasks(4 * config.selfplay.batch_size)]
    )
    write_jsonl_atomic(run.cycle_tasks(1), tasks)
    figures: dict[str, Any] = {"recipe": recipe}
    request = TrainRequest(cycle=1, attempt=1, first_step=1, last_step=options.steps)
    status, watch, figures["wall_s"] = _attempt(run, request, options)
    figures["log"] = str(run.trainer_log(1, 1))
    steps = finished_steps(run)
    if not steps:
        return figures | {"failed": _why(run, request, status, options)}
    figures |= summarise(config, steps, watch, options, machine)
    if start := read_start(run.attempt(1, 1)):
        print(f"{recipe}: {start.sentence}", flush=True)
        figures["start"] = {share.name: round(share.seconds, 1) for share in start.shares}
    if options.explain_update:
        figures["update"] = update_figures.figures(run.root)
    if options.resume:
        request = TrainRequest(
            cycle=1,
            attempt=2,
            first_step=1,
            last_step=options.steps + options.resume,
            resume_step=options.steps,
        )
        status, watch, wall_s = _attempt(run, request, options)
        steps = finished_steps(run, attempt=2)
        if status != 0 or len(steps) != options.resume:
            return figures | {"failed": "resuming: " + _why(run, request, status, options)}
        resumed = summarise(config, steps, watch, options, machine)
        figures["resumed"] = {
            name: resumed[name] for name in ("steps", "step_s", "gpu_peak_gib", "host_peak_gib")
        } | {"wall_s": wall_s}
    return figures


def last_of_starts(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the last of several starts of a recipe, with the median of each part of a start; of one that failed,
    if one did."""
    if failed := [result for result in results if "failed" in result]:
        return failed[0]
    starts = [result["start"] for result in results]
    medians = {part: round(statistics.median(start[part] for start in starts), 1) for part in starts[0]}
    totals = [sum(start.values()) for start in starts]
    print(
        f"{results[0]['recipe']}: medians of {len(starts)} starts: {statistics.median(totals):.1f} s "
        f"({min(totals):.1f} to {max(totals):.1f}): "
        + ", ".join(f"{part} {seconds:.1f}" for part, seconds in medians.items() if seconds >= SHOWN_S),
        flush=True,
    )
    return results[-1] | {"start": medians}


def finished_steps(run: RunDir, attempt: int = 1) -> list[dict[str, float]]:
    """The metrics of an attempt's steps. The record of step 0, which it writes at its start, is none."""
    return [record.values for record in read_metrics(run) if record.attempt == attempt and record.step > 0]


def _attempt(run: RunDir, request: TrainRequest, options: Options) -> tuple[int | None, Watch, float]:
    """One trainer process, watched: its exit status (None: it ran out of time), the readings, and the seconds
    it took."""
    write_request(run, request)
    run.heartbeat.unlink(missing_ok=True)  # an earlier attempt's last phase would be taken for this one's
    log = run.trainer_log(request.cycle, request.attempt)
    log.parent.mkdir(parents=True, exist_ok=True)
    marker = f"{run.root.name}/{request.cycle}/{request.attempt}"
    environment = {**os.environ, MARKER_VARIABLE: marker}
    mark_start(log.parent, StartPart.BEGIN)
    command = [sys.executable, "-m", "azr.train", str(run.root)]
    if options.explain_update:
        command, extra = update_figures.command(run.root, options.steps, options.plant_sleep_ms / 1000)
        environment |= extra
    started = time.perf_counter()
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        kept = options.json and options.json.with_name(f"{options.json.stem}-{run.root.name}-logs")
        logs = Logs(run, request, marker, kept or run.root / "logs")
        watch = Watch(run, marker, logs)
        watch.start()
        try:
            status: int | None = child.wait(timeout=options.timeout_s)
        except subprocess.TimeoutExpired:
            status = None
            logs.stacks("time is up")
        except BaseException:  # SIGTERM, Ctrl+C
            logs.stacks("ended from outside")
            raise
        finally:
            logs.keep()
            watch.stop()
            end_all(child, marker)
    return status, watch, round(time.perf_counter() - started, 1)


def _why(run: RunDir, request: TrainRequest, status: int | None, options: Options) -> str:
    log = run.trainer_log(request.cycle, request.attempt)
    if options.json:  # the run's folder is removed
        kept = options.json.with_name(f"{options.json.stem}-{run.root.name}.log")
        write_text_atomic(kept, log.read_text(encoding="utf-8", errors="replace")[-KEPT_LOG_CHARACTERS:])
    if status is None:
        beat = read_heartbeat(run)
        where = f", the last phase was {beat.phase.value}" if beat else ""
        found = "\n".join(_errors(log)) or _tail(log)
        return f"no step within {options.timeout_s:g} s{where}\n{found}"
    result = read_result(run, request.cycle, request.attempt)
    return (result.reason if result else "the trainer died") + "\n" + _tail(log)


def _errors(log: Path) -> list[str]:
    """The last lines that tell of an error, whole: that of a full card says how full, and by whom."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return list(dict.fromkeys(line[:2000] for line in lines if re.search(r"\w(Error|Exception)\b: ", line)))[
        -3:
    ]


def summarise(
    config: Config, steps: list[dict[str, float]], watch: Watch, options: Options, machine: Machine
) -> dict[str, Any]:
    """Medians over the steps after the first (which warms up), or the first where there is only one."""
    timed = steps[1:] or steps
    shape = shape_for(config)

    def median(name: str) -> float:
        return _median(timed, name) or 0.0

    seconds = {phase: round(median(names.seconds(phase)), 3) for phase in PHASES}
    rows, response_tokens = median(names.ROWS), median(names.RESPONSE_TOKENS)
    samples = discarded_samples(config)
    prompt = config.rollout.fixed_prompt_tokens if config.rollout.fixed_response_tokens else 0
    trained_tokens = response_tokens + rows * prompt
    generated = response_tokens + samples * config.rollout.fixed_response_tokens
    update_s = seconds["update"] + seconds["old_log_prob"]
    figures: dict[str, Any] = {
        "steps": len(steps),
        "optimizer_steps": steps[-1].get(names.OPTIMIZER_STEPS, 0.0),
        "sequences_trained": rows,
        "difficulty_samples": samples,
        "step_s": round(median(names.STEP_SECONDS), 3),
        "seconds": seconds,
        "generated_tokens_per_s": round(generated / seconds["generate"]) if seconds["generate"] else 0,
        "update_tokens_per_s": round(trained_tokens / update_s) if update_s else 0,
        "mismatch_nats": _median(timed, names.MISMATCH_NATS),
        "mismatch_probability": _median(timed, names.MISMATCH),
        "gpu_peak_gib": {phase: round(value, 2) for phase, value in watch.gpu_gib.items()},
        "trainer_memory_gib": {
            name.removeprefix("memory/"): round(median(name), 2)
            for name in timed[-1]
            if name.startswith("memory/")
        },
        "host_peak_gib": round(max((gib for _, gib in watch.ram_gib), default=0.0), 2),
        "quarters_gib": quarters(steps, watch.ram_gib),
        "engine_share": config.rollout.gpu_memory_share,
    }
    if shape is not None:
        figures["parameters"] = shape.parameters
        if options.peak_tflops and update_s:
            figures["mfu"] = round(
                6
                * shape.parameters
                * trained_tokens
                / update_s
                / (config.train.gpus * options.peak_tflops * 1e12),
                4,
            )
        predicted = judge_fit(config, machine, shape, advise=False).estimate
        figures["predicted_gib"] = {phase.name: round(phase.gib, 2) for phase in predicted.gpu} | {
            "host memory": round(predicted.ram.gib, 2)
        }
    return figures


def _median(steps: list[dict[str, float]], name: str) -> float | None:
    """None where no step has it: log-probs are compared in the packed update alone."""
    values = [values[name] for values in steps if name in values]
    return statistics.median(values) if values else None


def discarded_samples(config: Config) -> int:
    """Difficulty samples of a step of fixed lengths that are generated and not trained on."""
    game = config.selfplay
    if not config.rollout.fixed_response_tokens or config.rollout.fixed_group or game.train_on_samples:
        return 0
    return len(game.task_types) * game.batch_size * game.difficulty_samples if game.train_propose else 0


def quarters(steps: list[dict[str, float]], host: list[tuple[int, float]]) -> dict[str, list[float]]:
    """Medians over each quarter of the steps but the first: what grows, if anything. GiB of the card (by
    anybody) and the host."""
    series: dict[str, list[tuple[int, float]]] = {"host": host}
    for name in (
        "rollout_device_used_gib",
        "asleep_device_used_gib",
        "update_device_used_gib",
        "update_trainer_peak_gib",
    ):
        key = f"memory/{name}"
        series[name.removesuffix("_gib")] = [
            (number, values[key]) for number, values in enumerate(steps, start=1) if key in values
        ]
    found = {}
    for name, readings in series.items():
        parts: list[list[float]] = [[], [], [], []]
        for step, gib in readings:
            if 1 < step <= len(steps):
                parts[4 * (step - 2) // max(1, len(steps) - 1)].append(gib)
        if all(parts):
            found[name] = [round(statistics.median(part), 2) for part in parts]
    return found


# ---------------------------------------------------------------- readings


def gpu_used_gib() -> float:
    """Memory in use on the visible cards, by anybody; the fullest one counts. 0 without a card."""
    return max((gpu.used_gib for gpu in visible_cards().gpus), default=0.0)


def end_all(child: subprocess.Popen[bytes], marker: str) -> None:
    """Ends what the attempt left behind: the trainer and every process that carries its marker."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(timeout=60)
    deadline_s = time.monotonic() + 30
    while (left := processes_with_marker(marker)) and time.monotonic() < deadline_s:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.5)


def matmul_peak_tflops() -> float:
    """Measured in a child process, so that this one holds no CUDA context; 0 without a card."""
    code = (
        "import torch\n"
        "from bench_update import matmul_peak_tflops\n"
        "print(matmul_peak_tflops(torch.device('cuda')) if torch.cuda.is_available() else 0.0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    try:
        return float(answer.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return 0.0


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


# ---------------------------------------------------------------- what people read


def table(results: list[dict[str, Any]]) -> str:
    """The recipes side by side, a figure a line."""
    lines: list[tuple[str, list[str]]] = [("", [result["recipe"] for result in results])]

    def line(name: str, pick: Any) -> None:
        lines.append((name, [str(pick(result)) if "failed" not in result else "-" for result in results]))

    line("s per step", lambda r: r["step_s"])
    for phase in PHASES:
        line(f"  {phase}", lambda r, phase=phase: r["seconds"][phase])
    line("sequences trained", lambda r: f"{r['sequences_trained']:.0f}")
    line("samples not trained", lambda r: f"{r['difficulty_samples']:.0f}")
    line("optimizer steps in all", lambda r: f"{r['optimizer_steps']:.0f}")
    line("generated tokens/s", lambda r: f"{r['generated_tokens_per_s']:,}")
    line("update tokens/s", lambda r: f"{r['update_tokens_per_s']:,}")
    line("MFU of the update", lambda r: f"{100 * r['mfu']:.1f} %" if "mfu" in r else "?")
    line("engine and trainer, nats", lambda r: _known(r["mismatch_nats"], ".4f"))
    line("  in token probability", lambda r: _known(r["mismatch_probability"], ".2g"))
    phases = list(dict.fromkeys(phase for result in results for phase in result.get("gpu_peak_gib", {})))
    for phase in phases:
        line(f"GPU peak in {phase}, GiB", lambda r, phase=phase: r["gpu_peak_gib"].get(phase, "-"))
    line("host peak, GiB", lambda r: r["host_peak_gib"])
    resumed = [result.get("resumed", {}).get("gpu_peak_gib", {}) for result in results]
    for phase in dict.fromkeys(phase for peaks in resumed for phase in peaks):
        line(
            f"  resumed: {phase}",
            lambda r, phase=phase: r.get("resumed", {}).get("gpu_peak_gib", {}).get(phase, "-"),
        )
    if any(resumed):
        line("resumed: host peak, GiB", lambda r: r.get("resumed", {}).get("host_peak_gib", "-"))
    line("card left free, GiB", lambda r: r.get("leave_gib") or "all")
    line("engine share of the card", lambda r: r["engine_share"])
    line("predicted update, GiB", lambda r: r.get("predicted_gib", {}).get("update", "?"))
    line("predicted rollout, GiB", lambda r: r.get("predicted_gib", {}).get("rollout", "?"))
    widths = [max(len(cells[index]) for _, cells in lines) + 2 for index in range(len(results))]
    text = "\n".join(
        f"{name:28}" + "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        for name, cells in lines
    )
    failures = [f"{result['recipe']} failed: {result['failed']}" for result in results if "failed" in result]
    return "\n".join([text, *failures])


def _known(value: float | None, form: str) -> str:
    return "?" if value is None else f"{value:{form}}"


def regressions(report: dict[str, Any], baseline: dict[str, Any], tolerance: float) -> list[str]:
    """What got worse than the baseline by more than ``tolerance`` (a share), as sentences; only the same
    machine compares."""
    if report["machine"] != baseline["machine"]:
        return []
    earlier = {result["recipe"]: result for result in baseline["results"]}
    found = []
    for result in report["results"]:
        before = earlier.get(result["recipe"])
        if before is None or "failed" in before:
            continue
        if "failed" in result:
            found.append(f"{result['recipe']} failed; it ran in the baseline")
            continue
        for name, direction in (("step_s", 1), ("update_tokens_per_s", -1), ("generated_tokens_per_s", -1)):
            if before[name] and result[name] and (result[name] / before[name]) ** direction > 1 + tolerance:
                found.append(f"{result['recipe']}: {name} was {before[name]}, is {result[name]}")
    return found


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument(
        "recipes", nargs="+", help="one recipe (NAME or NAME+KEY=VALUE+...), or two to compare"
    )
    parser.add_argument("--model", help="folder of a model to use instead of the recipes' own")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--starts", type=int, help="of each recipe; the medians of their parts are printed")
    parser.add_argument(
        "--resume",
        type=int,
        metavar="STEPS",
        help="then resume from the checkpoint for so many steps",
    )
    parser.add_argument(
        "--fraction",
        type=float,
        help="of the recipes' batch: 0.25 is 96 sequences and 384 samples",
    )
    parser.add_argument("--prompt", type=int, help="mean prompt tokens")
    parser.add_argument("--response", type=int, help="mean response tokens")
    parser.add_argument("--real", action="store_true", help="real self-play instead of fixed lengths")
    parser.add_argument("--tasks", type=Path, help="JSONL of tasks to start from")
    parser.add_argument("--leave-gib", type=float, help="hold the card's memory except this much")
    parser.add_argument(
        "--no-hold",
        nargs="*",
        metavar="RECIPE",
        help="recipes that get the whole card all the same",
    )
    parser.add_argument(
        "--explain-update",
        action="store_true",
        help="the update in a step against the same alone, and where the rest goes "
        f"({update_figures.LEAST_STEPS} steps or more; the last two take longer)",
    )
    parser.add_argument(
        "--plant-sleep-ms",
        type=float,
        help="before each micro-batch; --explain-update must find it",
    )
    parser.add_argument("--peak-tflops", type=float, help="0: measure it")
    parser.add_argument("--timeout-s", type=float, help="for each recipe")
    parser.add_argument("--override", nargs="*", metavar="KEY=VALUE", help="for all recipes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--require-speedup", type=float)
    parser.add_argument(
        "--keep", type=Path, help="folder for the run directories (default: a temporary one, removed)"
    )
    options = parser.parse_args(namespace=Options())  # whose defaults hold
    if options.explain_update:
        options.steps = max(options.steps, update_figures.LEAST_STEPS)
    try:
        return measure(options)
    except AzrError as error:
        print(f"bench_step: {error}", file=sys.stderr)
        return 2


def measure(options: Options) -> int:
    from hold_gpu_memory import held

    prepare_places()
    machine = detect()
    device_for(
        machine,
        "auto",
        max(
            load_config([*recipe_words(recipe), *options.override]).config.train.n_gpus_per_node
            for recipe in options.recipes
        ),
    ).take()
    options.peak_tflops = options.peak_tflops or (matmul_peak_tflops() if machine.cards else 0.0)
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="azr-bench-")))
        results = []
        for recipe in options.recipes:
            leave_gib = _leave_gib(recipe, options)
            with (
                held(leave_gib)
                if leave_gib and machine.cards
                else contextlib.nullcontext("the whole card") as card
            ):
                print(f"{recipe}: {card}", flush=True)
                for number in range(options.starts):
                    result = run_recipe(recipe, options, machine, folder / f"{number}" if number else folder)
                    results.append(result | {"leave_gib": leave_gib})
            if options.starts > 1:
                results[-options.starts :] = [last_of_starts(results[-options.starts :])]
            print(json.dumps(results[-1]), flush=True)
    work = {
        "fraction": options.fraction,
        "prompt": options.prompt,
        "response": options.response,
        "real": options.real,
    }
    report = {
        "machine": machine.name,
        "peak_tflops": round(options.peak_tflops, 1),
        "work": work,
        # without the path of the log
        "results": [{key: value for key, value in each.items() if key != "log"} for each in results],
    }
    print("\n" + table(results))
    for result in results:
        if result.get("update"):
            print(f"\n{result['recipe']}: {update_figures.table(result['update'])}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(options.json, json.dumps(report, indent=1) + "\n")
    problems = [f"{result['recipe']} failed" for result in results if "failed" in result]
    if len(results) == 2 and not problems:
        ratio = results[0]["step_s"] / results[1]["step_s"]
        print(
            f"\na step of {results[1]['recipe']} is {ratio:.2f} times as fast as one of {results[0]['recipe']}"
        )
        if ratio < options.require_speedup:
            problems.append(f"speed-up {ratio:.2f} is below {options.require_speedup:g}")
    if options.baseline:
        problems += regressions(
            report, json.loads(options.baseline.read_text(encoding="utf-8")), options.tolerance
        )
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    outlive_the_terminal()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench_step: ended by SIGTERM"))  # finally is obeyed
    sys.exit(main())
