"""Settings that are each within their limits and out of proportion to the run: said before anything is trained."""

from __future__ import annotations

from azr.config import Config
from azr.run.rundir import RunDir
from azr.system.files import read_jsonl
from azr.wording import counted


def beyond_the_end(config: Config) -> list[str]:
    """A sentence for each setting that waits for a step which the run does not have."""
    steps = config.campaign.cycles * config.campaign.steps_per_cycle
    run = f"the run has {counted(steps, 'step')} (campaign.cycles times campaign.steps_per_cycle)"
    warmup, alone, told = config.train.warmup_steps, config.selfplay.solve_only_steps, []
    if warmup >= steps:
        told.append(
            f"train.warmup_steps={warmup}, and {run}: the learning rate never reaches train.learning_rate="
            f"{config.train.learning_rate:g}, the last step has about {steps / (warmup + 1):.0%} of it. Fewer warm-up steps (0 = none), or "
            "a longer run"
        )
    if config.selfplay.train_propose and alone >= steps:
        told.append(
            f"selfplay.solve_only_steps={alone}, and {run}: no task is ever proposed. Fewer, or a longer run"
        )
    return told


def evaluation_cost(run: RunDir, config: Config) -> str:
    """A sentence where the evaluations of a cycle ask for more answers than its training; the run's probes are frozen."""
    train, game, steps = config.train, config.selfplay, config.campaign.steps_per_cycle
    tasks = sum(1 for file in run.probes.glob("*.jsonl") for _ in read_jsonl(file))
    verdict = tasks * train.verdict_samples
    greedy = min(tasks, train.probe_tasks)
    times = -(-steps // train.probe_every_steps) if train.probe_every_steps else 0
    rows = game.batch_size * len(game.task_types)
    step = rows * (2 + game.difficulty_samples if game.train_propose else 1)
    if verdict + greedy * times <= steps * step:
        return ""
    parts = [
        f"{verdict:,} for the verdict, also before the first step (train.verdict_samples={train.verdict_samples}, {tasks:,} tasks)"
    ] * bool(verdict)
    parts += [
        f"{greedy * times:,} in between (train.probe_tasks={train.probe_tasks}, train.probe_every_steps={train.probe_every_steps})"
    ] * bool(greedy * times)
    return (
        f"Evaluations ask for more answers than the training of a cycle, which is at most {steps * step:,}: {' and '.join(parts)}. "
        "Lower these to spend the time on training"
    )
