"""The Ray worker that holds the policy: verl's actor and rollout worker, which trains and sends its weights to
the engine, plus checks that training has an effect."""

from __future__ import annotations

import copy
import functools
import tempfile
from pathlib import Path
from typing import Any

import torch
from verl.single_controller.base.decorator import Dispatch, register
from verl.utils.device import get_device_name, get_torch_device
from verl.utils.distributed import initialize_global_process_group_ray
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from azr.train.kernels.optimizers import set_rates
from azr.train.patches import rows
from azr.train.verl import weight_sender  # noqa: F401

if get_device_name() == "cpu":
    from azr.train.cpu import training_engine as _engine
else:
    from azr.train.verl import training_engine as _engine  # noqa: F401

rows.install_row_selection()

ONE_TO_ALL: Any = Dispatch.ONE_TO_ALL  # type: ignore[attr-defined]  (verl adds the members at run time)


class PolicyTrainingWorker(TrainingWorker):
    """verl's training worker; on a CPU the process group is made here, because verl's backend text names the
    CPU twice."""

    def __init__(self, config: Any) -> None:
        if get_device_name() == "cpu":
            initialize_global_process_group_ray(backend="cpu:gloo")
        super().__init__(config)

    def save_checkpoint(self, local_path: str, *options: Any, **named: Any) -> None:
        """Without the files in the temporary folder that verl locks while it makes folders, one more with each save."""
        super().save_checkpoint(local_path, *options, **named)
        for folder in (local_path, f"{local_path}/huggingface"):
            name = f"ckpt_{hash(folder) & 0xFFFFFFFF:08x}.lock"  # as verl.utils.fs.local_mkdir_safe
            Path(tempfile.gettempdir(), name).unlink(missing_ok=True)


class PolicyWorker(ActorRolloutRefWorker):
    actor_worker_cls = PolicyTrainingWorker

    @register(dispatch_mode=ONE_TO_ALL)
    def remember_weights(self) -> None:
        """Keeps a sample of the weights, to compare with after the next update."""
        self._remembered = self._policy.sampled_weights()

    @register(dispatch_mode=ONE_TO_ALL)
    def weights_moved(self) -> dict[str, float]:
        """How the sampled weights differ from the remembered ones.

        Returns:
            ``share``: share of sampled values that changed, 0 to 1; ``largest``: largest absolute change.
        """
        change = (self._policy.sampled_weights() - self._remembered).abs()
        return {"share": (change > 0).double().mean().item(), "largest": change.max().item()}

    @register(dispatch_mode=ONE_TO_ALL)
    def optimizer_steps(self) -> int:
        """Steps that the optimizer itself has counted; restored with its state."""
        steps = [int(state["step"]) for state in self._policy.optimizer.state.values() if "step" in state]
        return max(steps, default=0)

    @register(dispatch_mode=ONE_TO_ALL)
    def set_rates(self, scale: float) -> None:
        """Learning rate and weight decay as configured, the former times ``scale`` (a rollback lowers it), whatever
        the restored checkpoint was trained at."""
        trainer: Any = self._policy
        options = trainer.optimizer_config
        set_rates(trainer.optimizer, trainer.lr_scheduler, options.lr * scale, options.weight_decay)

    @register(dispatch_mode=ONE_TO_ALL)
    def set_entropy_coefficient(self, value: float) -> None:
        """The weight of the entropy bonus from the next update on; verl's loss reads it from the
        configuration that it is given."""
        assert self.actor is not None, "init_model has not run"
        loss: Any = self.loss_fn
        config = copy.copy(loss.keywords["config"])
        object.__setattr__(config, "entropy_coeff", value)  # verl's dataclass is frozen
        self.loss_fn = functools.partial(loss.func, **{**loss.keywords, "config": config})
        self.actor.set_loss_fn(self.loss_fn)

    @register(dispatch_mode=ONE_TO_ALL)
    def device_memory(self) -> dict[str, float]:
        """Memory of this process on its device, GiB: ``peak`` since the last ``release_cached_memory``, and the
        device's ``free`` and ``total``.

        On a GPU also ``retries``: how often, since the start, the allocator found the card full and gave its
        cache back first.
        """
        device: Any = get_torch_device()
        free, total = device.mem_get_info()
        report = {
            "peak": device.max_memory_reserved() / 2**30,
            "free": free / 2**30,
            "total": total / 2**30,
        }
        if get_device_name() != "cpu":
            report["retries"] = float(device.memory_stats().get("num_alloc_retries", 0))
        return report

    @register(dispatch_mode=ONE_TO_ALL)
    def release_cached_memory(self) -> None:
        """Gives the card what the allocator keeps for the next update (gibibytes), so that the engine finds
        room beside the weights."""
        device: Any = get_torch_device()
        device.empty_cache()
        device.reset_peak_memory_stats()

    @register(dispatch_mode=ONE_TO_ALL, blocking=False)
    async def update_weights(self, global_steps: Any = None, mode: str = "auto") -> None:
        """verl's: wakes the engine if it sleeps, and streams the weights to it. On one device adapters are sent
        together with their base, which the sleeping engine has dropped, or merged into it, with a rounding
        that is drawn anew in each step."""
        self._policy.sync_step = int(global_steps or 0)
        if torch.distributed.get_world_size() == 1 and self.config.rollout.free_cache_engine:
            self.base_sync_done = False
        await super().update_weights(global_steps, mode)

    @property
    def _policy(self) -> Any:
        assert self.actor is not None, "init_model has not run"
        return self.actor.engine
