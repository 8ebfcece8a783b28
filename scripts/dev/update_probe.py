"""Where an update's time goes, inside a step and alone: the trainer that ``bench_step.py --explain-update`` starts in
the place of ``python -m azr.train``.

    python scripts/dev/update_probe.py RUN_DIR      with SETTINGS in the environment, as bench_step.py writes them

The policy's worker is verl's and ours with clocks around its parts. Of ``steps`` steps the last but one is the one that
is told: its update runs as always, and directly after it, in the same process and on the micro-batches that it had, the
same forward and backward passes, clipping and optimizer step run alone (at a rate of 0). In the last step the card is
waited for at every boundary between two parts, which says where the time goes and takes a little longer. In the first
one it is counted where the host waits for the card.

``parts.jsonl`` and ``calls.jsonl`` in ``folder`` hold the figures: a line an update, of the worker and of the process
that asks it.
"""

from __future__ import annotations

import _project  # noqa: F401

import argparse
import json
import os
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azr.system.files import append_jsonl

VARIABLE = "AZR_EXPLAIN_UPDATE"
PARTS_FILE, CALLS_FILE = "parts.jsonl", "calls.jsonl"
FETCH, CUT, PREPARE = (
    "columns from the queue",
    "rows cut into micro-batches, packed",
    "verl's columns to the device, packed (0 in our own loop)",
)
FORWARD, LOSS, BACKWARD = "forward", "loss and its figures", "backward"
CLIP, OPTIMIZER, ZERO, MOVE = "gradient norm, clipping", "optimizer", "gradients zeroed", "states moved"
FIGURES, BETWEEN, REST = "figures of the update", "between the passes", "the rest of the worker"
PARTS = (FETCH, CUT, PREPARE, FORWARD, LOSS, BACKWARD, BETWEEN, CLIP, OPTIMIZER, ZERO, MOVE, FIGURES, REST)
QUESTIONS = "async_kv_batch_meta2batch_meta", "_async_meta_to_realdata"
"""What verl asks the queue before an update: where its rows are, and the rows."""


@dataclass(frozen=True)
class Settings:
    folder: str
    steps: int
    sleep_s: float = 0.0
    """Planted before each micro-batch, to see that it is found."""

    def text(self) -> str:
        return json.dumps(asdict(self))


class Parts:
    """Seconds by part; a second belongs to the innermost part that it was spent in."""

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        self.settle = settle
        """Waits for the device before the clock is read."""
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since_s = 0.0
        self._replaced: list[tuple[Any, str, Any]] = []

    def begin(self, name: str) -> None:
        self._look()
        self._open.append(name)

    def end(self) -> None:
        self._look()
        self._open.pop()

    def _look(self) -> None:
        self.settle()
        now_s = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now_s - self._since_s
        self._since_s = now_s

    def take(self) -> dict[str, float]:
        taken, self.seconds = dict(self.seconds), defaultdict(float)
        return taken

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self.begin(name)
        try:
            yield
        finally:
            self.end()

    def around(self, owner: Any, attribute: str, name: str) -> None:
        """Counts calls of a function or method to ``name``, wherever it is looked up in ``owner``."""
        function = getattr(owner, attribute)

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return function(*arguments, **named)

        self.replace(owner, attribute, timed)

    def replace(self, owner: Any, attribute: str, by: Any) -> None:
        self._replaced.append((owner, attribute, getattr(owner, attribute)))
        setattr(owner, attribute, by)

    def put_back(self) -> None:
        """Everything that was replaced."""
        for owner, attribute, original in reversed(self._replaced):
            setattr(owner, attribute, original)
        self._replaced.clear()


class EngineProbe:
    """Clocks around the parts of an update in verl's FSDP engine, and the update alone."""

    def __init__(self, engine: Any, parts: Parts, sleep_s: float = 0.0) -> None:
        import torch
        from verl.utils import tensordict_utils
        from verl.workers.engine.fsdp import transformer_impl

        from azr.train.verl import update

        self.engine, self.parts, self.sleep_s = engine, parts, sleep_s
        self.kept: list[dict[str, Any]] = []
        """What the model was called with in the update, a micro-batch each."""
        self.in_step = True
        parts.around(transformer_impl, "prepare_micro_batches", CUT)
        parts.around(tensordict_utils, "index_select_tensor_dict", CUT)
        parts.around(torch.Tensor, "backward", BACKWARD)
        parts.around(engine, "prepare_model_inputs", PREPARE)
        parts.around(engine, "prepare_model_outputs", LOSS)
        parts.around(engine.module, "clip_grad_norm_", CLIP)
        parts.around(engine.optimizer, "step", OPTIMIZER)
        parts.around(engine, "optimizer_zero_grad", ZERO)
        parts.around(engine, "to", MOVE)
        parts.around(engine, "forward_backward_batch", BETWEEN)
        # the packed passes of ours, and what verl's own loop has in their place (above and below)
        parts.around(update, "packed_micro_batches", CUT)
        parts.around(update, "policy_loss", LOSS)
        engine.module.register_forward_pre_hook(self._forward_begins, with_kwargs=True)
        engine.module.register_forward_hook(lambda *_: parts.end(), always_call=True)
        step = engine.forward_step

        def forward_step(micro_batch: Any, loss_function: Any, forward_only: bool) -> Any:
            def timed_loss(*arguments: Any, **named: Any) -> Any:
                with parts.part(LOSS):
                    return loss_function(*arguments, **named)

            with parts.part(PREPARE):
                return step(micro_batch, timed_loss if loss_function else None, forward_only)

        parts.replace(engine, "forward_step", forward_step)

    def _forward_begins(self, module: Any, arguments: Any, named: dict[str, Any]) -> None:
        if self.in_step:
            self.kept.append(named)
            time.sleep(self.sleep_s)
        self.parts.begin(FORWARD)

    def tokens(self) -> list[int]:
        return [inputs["input_ids"].numel() for inputs in self.kept]

    def alone(self, kept: list[dict[str, Any]]) -> float:
        """Seconds of one update with these inputs and nothing around it; no weight moves."""
        import torch

        from azr.train.patches.masking import no_search_for_boundaries

        engine = self.engine
        reduced = getattr(engine, "_autocast_dtype", torch.bfloat16)
        rates = [group["lr"] for group in engine.optimizer.param_groups]
        for group in engine.optimizer.param_groups:
            group["lr"] = 0.0
        wait_for_device()
        started_s = time.perf_counter()
        for inputs in kept:
            device = inputs["input_ids"].device.type
            with (
                no_search_for_boundaries(),
                torch.autocast(device, reduced, enabled=reduced != torch.float32),
            ):
                output = engine.module(**inputs)
                rows = inputs.get("rows")
                found = [values.flatten() for values in (output.log_probs, output.entropy)]
                log_probs, entropy = (values if rows is None else values[rows] for values in found)
                loss = -(log_probs.mean() + 0.001 * entropy.mean()) / len(kept)
            loss.backward()
        engine.module.clip_grad_norm_(engine.optimizer_config.clip_grad)
        engine.optimizer.step()
        engine.optimizer.zero_grad()
        wait_for_device()
        took_s = time.perf_counter() - started_s
        for group, rate in zip(engine.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        return took_s


def wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def waits_counted() -> Iterator[Counter[str]]:
    """Where the host waits for a value of the device: on a card as CUDA tells, without one every scalar that is read.
    Calls by place in the source."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    found: Counter[str] = Counter()

    if torch.cuda.is_available():

        def note(message: Any, category: Any, filename: str, line: int, *_: Any) -> None:
            if "synchronizing" in str(message):
                found[_place(traceback.extract_stack())] += 1

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = note
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield found
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return

    class Scalars(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.name() in ("aten::_local_scalar_dense", "aten::nonzero"):
                found[_place(traceback.extract_stack())] += 1
            return func(*args, **(kwargs or {}))

    with Scalars():
        yield found


_STANDARD_LIBRARY = Path(warnings.__file__).parent


def _place(stack: traceback.StackSummary) -> str:
    """The innermost frame of those that are not torch's, the standard library's (a warning passes through some of its own)
    or this file's."""
    for frame in reversed(stack):
        path = Path(frame.filename)
        passed = path.parent == _STANDARD_LIBRARY or path.name == Path(__file__).name
        if not passed and _package(path) not in ("torch", "tensordict"):
            return f"{'/'.join(path.parts[-2:])}:{frame.lineno} {frame.name}"
    return "torch"


def _package(path: Path) -> str:
    """Of an installed file; an environment may itself lie in a folder called torch."""
    below = ""
    for part in reversed(path.parts):
        if part in ("site-packages", "dist-packages"):
            return below
        below = part
    return ""


class WorkerProbe:
    """What ``update_actor`` of the policy's worker is wrapped in."""

    def __init__(self, worker: Any, settings: Settings) -> None:
        import torch
        from verl.utils import transferqueue_utils

        self.settings, self.parts = settings, Parts()
        self.engine = EngineProbe(worker.actor.engine, self.parts, settings.sleep_s)
        self.writes = int(os.environ.get("RANK", "0")) == 0
        self.number = 0
        self.begins_s = 0.0
        """When the update was asked for; 0: it has not been."""
        self.parts.around(worker.actor, "_postprocess_output", FIGURES)
        ask = transferqueue_utils._run_async_in_temp_loop

        def timed(question: Any, *arguments: Any) -> Any:
            if question.__name__ not in QUESTIONS:  # the answer's way back
                return ask(question, *arguments)
            self.begins_s = self.begins_s or time.perf_counter()
            with self.parts.part(FETCH):
                return ask(question, *arguments)

        self.parts.replace(transferqueue_utils, "_run_async_in_temp_loop", timed)
        self._memory_stats = torch.cuda.memory_stats if torch.cuda.is_available() else dict

    def update(self, update: Callable[[Any], Any], data: Any) -> Any:
        from torch._dynamo.utils import counters

        self.number += 1
        told, last = (self.number == self.settings.steps - back for back in (1, 0))
        self.engine.kept.clear()
        if last:
            self.parts.settle = wait_for_device
        before = self._memory_stats()
        with self.parts.part(REST):
            if self.number == 1:
                with waits_counted() as waits:
                    output = update(data)
            else:
                waits = None
                output = update(data)
            wait_for_device()
        ended_s = time.perf_counter()
        record: dict[str, Any] = {
            "update": self.number,
            "tokens": self.engine.tokens(),
            "worker_s": ended_s - self.begins_s,
            "parts": self.parts.take(),
            "graphs": counters["stats"].get("unique_graphs", 0),
        }
        after = self._memory_stats()
        if after:
            names = ("num_device_alloc", "num_alloc_retries")
            record["allocator"] = {name: after[name] - before.get(name, 0) for name in names}
            record["peak_gib"] = after["reserved_bytes.all.peak"] / 2**30
        if waits is not None:
            record["waits"] = dict(waits.most_common())
        if told or last:
            record |= self._alone(told)
        record["extra_s"] = time.perf_counter() - ended_s
        self.begins_s = 0.0
        if self.writes:
            append_jsonl(Path(self.settings.folder) / PARTS_FILE, [record])
        return output

    def _alone(self, told: bool) -> dict[str, Any]:
        import torch

        kept = list(self.engine.kept)
        self.engine.in_step = False
        with self.engine.engine.train_mode():
            self.engine.alone(kept)  # once more: kernels of a step that only this way takes
            found: dict[str, Any] = {}
            self.parts.take()
            if told:
                found["alone_s"] = min(self.engine.alone(kept) for _ in range(2))
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                    found["alone_after_release_s"] = self.engine.alone(kept)
            else:
                found["alone_settled_s"] = self.engine.alone(kept)
                found["alone_parts"] = self.parts.take()
        self.parts.take()
        self.engine.in_step = True
        return found


# ---------------------------------------------------------------- in the trainer's processes


def explained_worker(base: type, settings: Settings) -> type:
    from verl.single_controller.base.decorator import (
        Dispatch,
        make_nd_compute_dataproto_dispatch_fn,
        register,
    )

    class ExplainedWorker(base):
        @register(dispatch_mode=Dispatch.ONE_TO_ALL)  # type: ignore[attr-defined]
        def init_model(self) -> None:
            super().init_model()
            self._probe = WorkerProbe(self, settings)

        @register(dispatch_mode=make_nd_compute_dataproto_dispatch_fn(mesh_name="actor"))
        def update_actor(self, data: Any) -> Any:
            return self._probe.update(super().update_actor, data)

    return ExplainedWorker


def explain(settings: Settings) -> None:
    """In the process that asks the worker: puts the explained one in the place of the plain one, and times the calls."""
    from azr.train.verl import policy_worker, trainer

    explained: Any = explained_worker(policy_worker.PolicyWorker, settings)
    trainer.PolicyWorker = explained  # the class itself stays where other processes look for it
    parts = Parts()
    kind: Any = trainer.SelfPlayTrainer
    parts.around(kind, "_put_advantages", "advantages to the queue")
    update = kind.update

    def timed(self: Any, *arguments: Any) -> Any:
        with parts.part("call"):
            values = update(self, *arguments)
        append_jsonl(Path(settings.folder) / CALLS_FILE, [parts.take()])
        return values

    kind.update = timed


def explaining_runner(settings: Settings) -> Any:
    import ray

    from azr.train.verl import runner

    plain: Any = runner.SelfPlayRunner

    class ExplainingRunner(plain.__ray_metadata__.modified_class):
        def run(self, run_root: str, device: str) -> bool:
            explain(settings)
            return super().run(run_root, device)

    return ray.remote(ExplainingRunner)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="run directory")
    parser.parse_args(arguments)
    if VARIABLE not in os.environ:
        parser.error("started by update_worker.py, or by bench_step.py --explain-update")

    from azr.train import __main__ as trainer

    settings = Settings(**json.loads(os.environ[VARIABLE]))
    start: Any = trainer.on_this_machine

    def on_this_machine(
        *given: Any,
    ) -> int:  # only now is the environment set that Ray reads when it is imported
        from azr.train.verl import runner

        runner.SelfPlayRunner = explaining_runner(settings)
        return start(*given)

    trainer.on_this_machine = on_this_machine
    return trainer.main(arguments)


if __name__ == "__main__":
    import update_probe  # this file under its own name, by which other processes find it

    sys.exit(update_probe.main(sys.argv[1:]))
