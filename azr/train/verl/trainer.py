"""verl's synchronous PPO trainer as the ``StepBackend`` of a step: prompts in, trajectories out, one update,
weights to the engine.

verl's own loop (``fit``) is not used: it iterates a data loader and validates on files, which self-play has
not. The loop is ``azr.train.loop``, a step is ``azr.train.step``.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from numpy.typing import NDArray
from omegaconf import DictConfig, open_dict
from ray.exceptions import GetTimeoutError
from tensordict import TensorDict
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict
from verl.workers.rollout.llm_server import LLMServerClient

from azr.errors import CheckpointError
from azr.run import metric_names as names
from azr.run.checkpoints import Checkpoint, latest_verified_checkpoint, read_checkpoint
from azr.run.protocol import TrainRequest
from azr.run.rundir import RunDir
from azr.selfplay.credit import Trajectory
from azr.selfplay.outcomes import RowOutcome, outcome_from_json
from azr.selfplay.rows import PromptRow
from azr.selfplay.validation import Resembles
from azr.tasks import Prompt
from azr.train.tokens import PromptTokens, keep_generation_settings
from azr.train.verl.configuration import config_from_verl
from azr.train.verl.engine_client import OnlyEngineClient
from azr.train.verl.policy_worker import PolicyWorker
from azr.train.verl.replay import DeadlineReplayBuffer, require_few_failures, too_late
from azr.train.verl.update import COLUMNS

ENGINE_CHECK_PROMPT = "def f(x):\n    return x"
ENGINE_CHECK_TOKENS = 16
PARTITION = "train"
"""Of the queue."""


class SelfPlayTrainer(PPOTrainerSync):
    resembles: Resembles | None = None
    """What the run's proposals may not resemble."""
    replay_buffer: DeadlineReplayBuffer  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, verl_config: DictConfig, run: RunDir, request: TrainRequest) -> None:
        self.azr_config = config_from_verl(verl_config)
        self.run, self.request = run, request
        self.restored: Checkpoint | None = None
        super().__init__(verl_config)

    # ---------------------------------------------------------------- set-up: what verl builds, and with what

    def _build_replay_buffer(self) -> DeadlineReplayBuffer:
        sampler = self.config.trainer.v1.sampler
        return DeadlineReplayBuffer(
            deadline_s=self.azr_config.rollout.generation_timeout_s,
            max_failed=self.azr_config.train.max_failed_rollouts,
            trainer_mode=self.trainer_mode,
            trainer_config=self.config.trainer.v1.get(self.trainer_mode, {}),
            max_off_policy_threshold=sampler.max_off_policy_threshold,
            max_off_policy_strategy=sampler.max_off_policy_strategy,
            sampler_kwargs=sampler.sampler_kwargs,
        )

    def _init_dataloader(self) -> None:
        """No data loader: the rows of a step come from the task buffer. The scheduler only wants a horizon."""
        self.total_training_steps = self.request.last_step
        with open_dict(self.config):
            self.config.actor_rollout_ref.actor.optim.total_training_steps = (
                self.azr_config.train.decay_steps or self.total_training_steps
            )

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        self.role_worker_mapping[Role.ActorRollout] = ray.remote(PolicyWorker)

    def get_llm_client(self) -> LLMServerClient:
        manager = self.llm_server_manager
        return manager.get_client(OnlyEngineClient if len(manager.get_replicas()) == 1 else LLMServerClient)

    def _load_checkpoint(self) -> None:
        """Restores model, optimizer, scheduler and generators of the requested step.

        Raises:
            CheckpointError: the requested checkpoint is not there.
        """
        step = self.global_steps = self.request.resume_step
        if step:
            self.restored = latest_verified_checkpoint(self.run, at_most_step=step)
            if self.restored is None or self.restored.step != step:
                raise CheckpointError(
                    f"{self.run.checkpoint(step)} was to be resumed, but it is missing or damaged"
                )
            self.actor_rollout_wg.load_checkpoint(
                local_path=str(self.restored.path / "actor"), del_local_after_load=False
            )
        self.actor_rollout_wg.set_rates(self.request.learning_rate_scale)

    def go_on(self, request: TrainRequest) -> None:
        """The next cycle's request, with the weights that the last one ended with and saved.

        Raises:
            CheckpointError: these are not the weights that the request asks for.
        """
        held, wanted = self.request.learning_rate_scale, request.learning_rate_scale
        if (self.global_steps, held) != (request.resume_step, wanted):
            raise CheckpointError(
                f"asked to continue from step {request.resume_step} at {wanted:g} of the learning rate, but the weights here are of step "
                f"{self.global_steps} at {held:g}"
            )
        self.request = request
        self.restored = read_checkpoint(self.run.checkpoint(request.resume_step))
        if self.azr_config.rollout.sleep:
            self.sync_engine()

    def save_weights(self, folder: Path) -> None:
        self.actor_rollout_wg.save_checkpoint(str(folder), None, self.global_steps, max_ckpt_to_keep=None)
        keep_generation_settings(Path(self.config.actor_rollout_ref.model.path), folder / "huggingface")

    # ---------------------------------------------------------------- rollout

    @functools.cached_property
    def _prompt_tokens(self) -> PromptTokens:
        return PromptTokens(self.tokenizer, self.azr_config.rollout.max_prompt_tokens)

    def fits(self, prompt: Prompt) -> bool:
        return self._prompt_tokens.fits(prompt)

    def roll_out(self, rows: Sequence[PromptRow]) -> Any:
        n = len(rows)
        columns: dict[str, Any] = {
            "uid": _objects([f"s{self.global_steps}r{index}" for index in range(n)]),
            "index": np.arange(n),
            "row": _objects(self._row_texts(rows)),
            "__rollout_n__": np.ones(n, dtype=np.int64),
        }
        batch = tu.get_tensordict(columns)
        tu.assign_non_tensor_data(batch, "global_steps", self.global_steps)

        tags = [{"is_prompt": True, "status": "pending", "global_steps": self.global_steps} for _ in rows]
        tq.kv_batch_put(keys=list(columns["uid"]), partition_id=PARTITION, tags=tags)
        self.agent_loop_manager.generate_sequences(batch)  # pyright: ignore[reportUnusedCoroutine]
        result, _ = self.replay_buffer.sample(
            global_steps=self.global_steps, partition_id=PARTITION, batch_size=n
        )
        return result

    def play(self, rows: Sequence[PromptRow], *, greedy: bool = False) -> list[RowOutcome]:
        workers = self.agent_loop_manager.agent_loop_workers
        texts, limit_s = self._row_texts(rows), self.azr_config.rollout.generation_timeout_s
        asked = [
            worker.play.remote(texts[number :: len(workers)], 0.0 if greedy else 1.0)
            for number, worker in enumerate(workers)
        ]
        try:
            parts = ray.get(asked, timeout=limit_s)
        except GetTimeoutError as error:
            raise too_late(f"some of {len(rows)}", limit_s) from error
        played = [""] * len(rows)
        for number, part in enumerate(parts):
            played[number :: len(workers)] = part
        failed = played.count("")
        require_few_failures(failed, len(rows), self.azr_config.train.max_failed_rollouts, self.global_steps)
        return [outcome_from_json(json.loads(outcome)) for outcome in played if outcome]

    def _row_texts(self, rows: Sequence[PromptRow]) -> list[str]:
        records = (row.to_json() | {"prompt_ids": self._prompt_tokens.ids(row.prompt)} for row in rows)
        texts = list(map(json.dumps, records))
        self._prompt_tokens.forget()
        return texts

    def trajectories(self, batch: Any) -> list[Trajectory]:
        wanted = ["extra_fields", "response_mask"]
        fields: Any = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=wanted)
        masks = fields["response_mask"].unbind()
        extras = [getattr(item, "data", item) for item in fields["extra_fields"]]  # plain dictionaries
        return [
            Trajectory(
                stream=item["stream"],
                group=item["group"] or None,
                n_tokens=0 if tag.get("is_padding", False) else int(mask.sum()),
                format_ok=bool(item["format_ok"]),
                score=float(item["score"]),
                outcome=outcome_from_json(json.loads(item["outcome"])) if item["outcome"] else None,
            )
            for item, tag, mask in zip(extras, batch.tags, masks, strict=True)
        ]

    def forget(self, batch: Any) -> None:
        tq.kv_clear(keys=batch.keys, partition_id=str(batch.partition_id))

    # ---------------------------------------------------------------- update

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        """Only the data-parallel size: the mini-batch is the actual batch, whatever its number of rows."""
        return dp_size

    def compute_old_log_probs(self, batch: Any) -> tuple[Any, dict[str, float]]:
        metrics: dict[str, Any] = {}
        batch.extra_info["temperature"] = 1.0
        batch = self._balance_batch(batch, metrics=metrics)
        batch = self._compute_old_log_prob(batch, metrics=metrics)
        return batch, _flat(metrics) | {"train/failed_rows": float(self.replay_buffer.failed_rows)}

    def update(
        self, batch: Any, advantages: NDArray[np.float64], indices: Sequence[int], entropy_coefficient: float
    ) -> dict[str, float]:
        batch = self._put_advantages(batch, advantages)
        batch = batch.select_keys([batch.keys[index] for index in indices])
        engines = ("rollout_log_probs",) if self.azr_config.train.recompute_logprobs else ()
        batch.fields = [*COLUMNS, *engines]  # the rest of what the agent loops put there stays in the queue
        if self.azr_config.train.entropy_floor:
            self.actor_rollout_wg.set_entropy_coefficient(entropy_coefficient)

        size = self.azr_config.train.mini_batch_sequences or len(batch)
        batch.extra_info.update(
            {
                "calculate_entropy": True,
                "distillation_use_topk": False,
                "distillation_only": False,
                "global_batch_size": size,
                "mini_batch_size": size,
                "epochs": 1,
                "seed": self.config.actor_rollout_ref.actor.data_loader_seed,
                "dataloader_kwargs": {"shuffle": False},
                "temperature": 1.0,
            }
        )

        output: Any = self.actor_rollout_wg.update_actor(batch)
        output = output.get() if hasattr(output, "get") and not isinstance(output, TensorDict) else output
        metrics = _flat(reduce_metrics(rename_dict(output["metrics"], "actor/")))
        if self.azr_config.train.entropy_floor:
            metrics["train/entropy_coefficient"] = entropy_coefficient
        return metrics

    def _put_advantages(self, batch: Any, advantages: NDArray[np.float64]) -> Any:
        """Each row's advantage ``[rows]`` at each of its response tokens: ``advantages``, nested float32 ``[rows,
        (response)]``, beside the batch's other columns in TransferQueue."""
        masks = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["response_mask"]
        )["response_mask"].unbind()
        per_token = [
            torch.full((mask.numel(),), float(value), dtype=torch.float32) * mask.float()  # [response]
            for value, mask in zip(advantages, masks, strict=True)
        ]
        nested = torch.nested.as_nested_tensor(per_token, layout=torch.jagged)  # [rows, (response)]
        columns = TensorDict({"advantages": nested}, batch_size=len(per_token))
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=columns)

    # ---------------------------------------------------------------- engine

    def sleep_engine(self) -> None:
        self.checkpoint_manager.sleep_replicas()  # pyright: ignore[reportUnusedCoroutine]  (verl awaits it itself)

    def sync_engine(self) -> None:
        """verl sends the weights: ``update_weights`` of the trainer's worker (``policy_worker.py``) wakes the engine
        if it sleeps and streams them in buckets (``weight_sender.py``), through CUDA IPC or shared memory;
        ``update_weights_from_ipc`` of the engine's worker loads them (verl's own, to which ``engine_worker.py`` adds on a GPU)."""
        self.checkpoint_manager.update_weights(self.global_steps)  # pyright: ignore[reportUnusedCoroutine]

    def engine_answers(self) -> list[float]:
        client = self.get_llm_client()
        prompt_ids = self.tokenizer.encode(ENGINE_CHECK_PROMPT, add_special_tokens=False)
        params = {"temperature": 0.0, "top_p": 1.0, "top_k": -1}
        params |= {"logprobs": True, "max_tokens": ENGINE_CHECK_TOKENS, "ignore_eos": True}

        async def ask() -> Any:
            request = client.generate(
                request_id="engine-check", prompt_ids=list(prompt_ids), sampling_params=params
            )
            return await asyncio.wait_for(request, timeout=self.azr_config.rollout.generation_timeout_s)

        answer = asyncio.run(ask())
        return [float(each) for each in (*answer.token_ids, *(answer.log_probs or ()))]

    # ---------------------------------------------------------------- the worker, asked

    def remember_weights(self) -> None:
        self.actor_rollout_wg.remember_weights()

    def weights_moved(self) -> dict[str, float]:
        return self.actor_rollout_wg.weights_moved()[0]

    def optimizer_steps(self) -> int:
        return self.actor_rollout_wg.optimizer_steps()[0]

    def release_memory(self) -> None:
        self.actor_rollout_wg.release_cached_memory()

    def memory(self, phase: str) -> dict[str, float]:
        report = self.actor_rollout_wg.device_memory()[0]
        values = {f"{names.MEMORY_PREFIX}{phase}{names.TRAINER_PEAK_SUFFIX}": report["peak"]}
        if self.config.trainer.device != "cpu":
            values[f"{names.MEMORY_PREFIX}{phase}{names.VRAM_SUFFIX}"] = report["total"] - report["free"]
            values["memory/allocation_retries"] = report["retries"]
        return values


def _objects(values: list[Any]) -> np.ndarray:
    """A one-dimensional object array, also where the values are lists of equal length."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


_RENAMED = {
    "actor/grad_norm": names.GRADIENT_NORM,
    "actor/pg_loss": names.LOSS,
    # the update's mean over response tokens is the same as that of the old-log-prob pass
    "actor/entropy_loss": names.ENTROPY,
    "actor/entropy": names.ENTROPY,
    "actor/lr": names.LEARNING_RATE,
    "actor/ppo_kl": "train/ppo_kl",
    "actor/pg_clipfrac": "train/clip_fraction",
    "actor/mfu": "train/mfu",
    # from the update's own forward pass (azr.train.verl.packed_engine)
    "actor/rollout_probs_diff_mean": names.MISMATCH,
    "actor/rollout_probs_diff_max": names.MISMATCH_MAX,
    "actor/rollout_log_probs_diff_mean": names.MISMATCH_NATS,
    # from the old-log-prob pass, where there is one
    "training/rollout_probs_diff_mean": names.MISMATCH,
    "training/rollout_probs_diff_max": names.MISMATCH_MAX,
}


def _flat(metrics: dict[str, Any]) -> dict[str, float]:
    """verl's metrics under the names of docs/metrics.md; what is not in the table is left out."""
    known = ((ours, metrics[theirs]) for theirs, ours in _RENAMED.items() if theirs in metrics)
    return {name: float(np.mean(values)) for name, values in known}
