"""The self-play trainer: verl's synchronous PPO trainer with our prompts, our advantages and our checkpoints.

One step (spec 6.1): plan the rows of all streams from the task buffer -> agent loops generate, execute and reward them ->
TRR++ advantages -> exactly one optimizer step on the whole batch -> weights to the engine -> accepted tasks into buffer and
shard. verl's own loop (``fit``) is not used: it iterates a data loader and validates on files, which self-play has not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict

from azr.checkpoints import latest_verified_checkpoint, publish_checkpoint, staging_dir
from azr.errors import CheckpointError, EngineError, TrainingError
from azr.files import append_jsonl, read_json, read_jsonl, write_json_atomic
from azr.protocol import Outcome, Phase
from azr.selfplay.advantage import rows_to_learn_from
from azr.selfplay.credit import Response, credit
from azr.selfplay.episode import ProposeOutcome, SolveOutcome, outcome_from_json
from azr.selfplay.game import SelfPlay
from azr.selfplay.rows import PromptRow
from azr.selfplay.seeding import Seeding
from azr.selfplay.transcripts import transcript, transcripts
from azr.tasks import Prompt, Task
from azr.train.entropy import entropy_coefficient
from azr.train.probes import change_since_first, probe_metrics, probe_rows, verdict_metrics, verdict_rows, verdict_scores
from azr.train.tokens import prompt_token_ids
from azr.train.verl import worker as policy_worker
from azr.train.verl.agent_loops import SELF_PLAY_LOOP
from azr.train.verl.configuration import config_from_verl
from azr.train.verl.replay import DeadlineReplayBuffer
from azr.trainer_link import TrainerLink

logger = logging.getLogger(__name__)

ENGINE_CHECK_PROMPT = "def f(x):\n    return x"
ENGINE_CHECK_TOKENS = 16
STATE_FILE = "trainer_state.json"


class SelfPlayTrainer(PPOTrainerSync):
    replay_buffer: DeadlineReplayBuffer  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, verl_config: DictConfig, link: TrainerLink) -> None:
        self.azr = config_from_verl(verl_config)
        self.run = link.run
        self.link = link
        self.selfplay = SelfPlay(self.azr.selfplay, self.azr.seed, link.request.seed_offset, timeout_s=self.azr.sandbox.limits.cpu_s)
        self._times_s: dict[str, float] = defaultdict(float)
        self._entropy: float | None = None
        """Token entropy of the last update; saved, because the next entropy bonus follows from it."""
        super().__init__(verl_config)

    # ---------------------------------------------------------------- set-up: what verl builds, and with what

    def _build_replay_buffer(self) -> DeadlineReplayBuffer:
        sampler = self.config.trainer.v1.sampler
        return DeadlineReplayBuffer(
            deadline_s=self.azr.rollout.generation_timeout_s,
            max_failed=self.azr.train.max_failed_rollouts,
            trainer_mode=self.trainer_mode,
            trainer_config=self.config.trainer.v1.get(self.trainer_mode, {}),
            max_off_policy_threshold=sampler.max_off_policy_threshold,
            max_off_policy_strategy=sampler.max_off_policy_strategy,
            sampler_kwargs=sampler.sampler_kwargs,
        )

    def _init_dataloader(self) -> None:
        """No data loader: the rows of a step come from the task buffer. The scheduler only wants a horizon."""
        self.total_training_steps = self.link.request.last_step
        with open_dict(self.config):
            self.config.actor_rollout_ref.actor.optim.total_training_steps = self.azr.train.decay_steps or self.total_training_steps

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        self.role_worker_mapping[Role.ActorRollout] = ray.remote(policy_worker.PolicyWorker)

    def _load_checkpoint(self) -> None:
        """Restores model, optimizer, scheduler, RNG, buffer and counters of the requested step, or starts the buffer fresh.

        Raises:
            CheckpointError: the requested checkpoint is not there, or what was restored differs from what was saved.
        """
        request = self.link.request
        self.global_steps = request.resume_step
        if request.resume_step:
            checkpoint = latest_verified_checkpoint(self.run, at_most_step=request.resume_step)
            if checkpoint is None or checkpoint.step != request.resume_step:
                raise CheckpointError(f"{self.run.checkpoint(request.resume_step)} was to be resumed, but it is missing or damaged")
            self.actor_rollout_wg.load_checkpoint(local_path=str(checkpoint.path / "actor"), del_local_after_load=False)
            buffer_hash = self.selfplay.load(checkpoint.path / "selfplay")
            state = read_json(checkpoint.path / STATE_FILE)
            if buffer_hash != state["buffer_hash"]:
                raise CheckpointError(f"{checkpoint.path}: the restored buffer differs from the saved one; resume from an earlier step")
            if state["optimizer_steps"] != self.actor_rollout_wg.optimizer_steps()[0]:
                raise CheckpointError(f"{checkpoint.path}: the optimizer's state is not the saved one; resume from an earlier step")
            self._entropy = state.get("entropy")
        # What consolidation brought joins the buffer; tasks that are already there are passed over.
        tasks = [Task.from_json(record) for record in read_jsonl(self.run.cycle_tasks(request.cycle))]
        logger.info("%d new tasks from %s", self.selfplay.start(tasks, request.first_step), self.run.cycle_tasks(request.cycle))
        if request.learning_rate_scale != 1.0:
            self.actor_rollout_wg.scale_learning_rate(request.learning_rate_scale)

    # ---------------------------------------------------------------- the loop

    def train(self, agent_loop_manager: Any) -> None:
        """Trains ``resume_step + 1 .. last_step`` and leaves a checkpoint and a result.

        Raises:
            TrainingError: the run does not train (weights do not move, engine does not follow).
        """
        self.agent_loop_manager = agent_loop_manager
        request = self.link.request
        first = request.resume_step + 1
        if self.azr.data.seeds == "identity" and request.resume_step == 0:
            self._seed()
        if request.resume_step == 0 and (self.azr.train.probe_every_steps or self.azr.train.verdict_samples):
            self.link.phase(Phase.VALIDATE)
            initial = self._evaluate_probes() if self.azr.train.probe_every_steps else {}
            self.link.step_done(0, initial | self._measure_for_verdict(before=True))
        for step in range(first, request.last_step + 1):
            self.global_steps = step
            saving_s = self._times_s.get("save", 0.0)
            values = self._train_step(check_learning=step == first)
            asked = self.link.asked()
            last = step == request.last_step
            if self.azr.train.probe_every_steps and (last or step % self.azr.train.probe_every_steps == 0):
                with self._timed("validate", Phase.VALIDATE):
                    values |= self._evaluate_probes()
            if last and self.azr.train.verdict_samples:
                with self._timed("validate", Phase.VALIDATE):
                    values |= self._measure_for_verdict(before=False)
            values |= {f"time_s/{name}": seconds for name, seconds in self._times_s.items()}
            if saving_s:
                values["time_s/save"] = saving_s  # of the step before: a step's metrics are written before it is saved
            self.link.step_done(step, values)
            due = step % self.azr.train.save_every_steps == 0 or step in self.azr.train.early_saves
            if last or asked.stop or asked.checkpoint or due:
                self._save(step, goes_on=not (last or asked.stop))
            if asked.stop:
                self.link.finish(Outcome.STOPPED, asked.reason or "stop was asked for")
                return
        self.link.finish(Outcome.FINISHED, f"trained steps {first} to {request.last_step}")

    def _save(self, step: int, *, goes_on: bool) -> None:
        """Writes a checkpoint while the engine sleeps: weights are copied on the card on their way to the disk, and a small card has
        no room for that beside an engine that is awake (seen: 16.0 of 16 GiB)."""
        with self._timed("save", Phase.SAVE):
            self.checkpoint_manager.sleep_replicas()  # pyright: ignore[reportUnusedCoroutine]
            self._publish(step)
        self.link.saved(step)
        if goes_on and self.azr.rollout.sleep:
            with self._timed("save", Phase.SYNC):
                self.checkpoint_manager.update_weights(step)  # pyright: ignore[reportUnusedCoroutine]

    def _train_step(self, *, check_learning: bool) -> dict[str, float]:
        self._times_s = defaultdict(float)
        started_s = time.monotonic()
        metrics: dict[str, Any] = {}
        memory: dict[str, float] = {}

        with self._timed("plan", Phase.GENERATE):
            rows = self.selfplay.plan_step(self.global_steps, self._fits)
        with self._timed("generate", Phase.GENERATE):
            answers_before = self._engine_check_answers() if check_learning else None
            batch = self._roll_out(rows, partition="train")
            memory |= self._memory("rollout")
            self.checkpoint_manager.sleep_replicas()  # pyright: ignore[reportUnusedCoroutine]  (verl awaits it itself)
        memory |= self._memory("asleep")

        batch.extra_info["temperature"] = 1.0
        batch = self._balance_batch(batch, metrics=metrics)
        with self._timed("old_log_prob", Phase.UPDATE):
            batch = self._compute_old_log_prob(batch, metrics=metrics)
        batch, outcomes, data = self._compute_stream_advantages(batch)
        with self._timed("update", Phase.UPDATE):
            moved = False
            if check_learning:
                self.actor_rollout_wg.remember_weights()
            metrics |= self._update_policy(data["taught_by"])
            if check_learning:
                moved = self._require_moved_weights(data["advantage_magnitude"])
        memory |= self._memory("update")
        self.actor_rollout_wg.release_cached_memory()
        with self._timed("sync", Phase.SYNC):
            self.checkpoint_manager.update_weights(self.global_steps)  # pyright: ignore[reportUnusedCoroutine]
        if answers_before is not None and moved:
            self._require_changed_engine(answers_before)

        self._accept(outcomes)
        self._keep_transcripts(outcomes, rows)
        tq.kv_clear(keys=batch.keys, partition_id=str(batch.partition_id))
        self._times_s["step"] = time.monotonic() - started_s
        values = self.selfplay.metrics() | data["metrics"] | _flat(metrics) | memory
        self._entropy = values.get("train/entropy", self._entropy)
        values["train/failed_rows"] = float(self.replay_buffer.failed_rows)
        values["train/optimizer_steps"] = float(self.actor_rollout_wg.optimizer_steps()[0])
        self._require_matching_engine(values)
        return values

    # ---------------------------------------------------------------- rollout

    def _roll_out(self, rows: list[PromptRow], *, partition: str) -> Any:
        """Submits rows to the agent loops and waits for their trajectories.

        Raises:
            EngineError: the deadline passed, or more than ``train.max_failed_rollouts`` of the rows failed.
        """
        n = len(rows)
        validate = partition == "val"
        columns: dict[str, Any] = {
            "uid": _objects([f"s{self.global_steps}{partition}r{index}" for index in range(n)]),
            "index": np.arange(n),
            "raw_prompt": _objects([[{"role": role, "content": text} for role, text in row.prompt.messages] for row in rows]),
            "row": _objects([json.dumps(row.to_json()) for row in rows]),
            "agent_name": _objects([SELF_PLAY_LOOP] * n),
            "__rollout_n__": np.ones(n, dtype=np.int64),
        }
        batch = tu.get_tensordict(columns)
        tu.assign_non_tensor_data(batch, "global_steps", self.global_steps)
        if validate:
            tu.assign_non_tensor_data(batch, "validate", True)
        tags = [{"is_prompt": True, "status": "pending", "global_steps": self.global_steps} for _ in rows]
        tq.kv_batch_put(keys=list(columns["uid"]), partition_id=partition, tags=tags)
        self.agent_loop_manager.generate_sequences(batch)
        result, _ = self.replay_buffer.sample(global_steps=self.global_steps, partition_id=partition, batch_size=n)
        return result

    def _seed(self) -> None:
        """The zero-data start: the model writes its own seeds from the identity program, without a gradient (spec 5.2)."""
        seeding = Seeding(self.selfplay)
        lineage = {"run": self.run.root.name, "cycle": self.link.request.cycle, "attempt": self.link.request.attempt}
        while not seeding.done:
            self.link.phase(Phase.GENERATE)
            batch = self._roll_out(seeding.plan_round(self._fits), partition="train")
            accepted = seeding.accept_round(self._outcomes(batch))
            tq.kv_clear(keys=batch.keys, partition_id=str(batch.partition_id))
            append_jsonl(self.run.shard(self.link.request.cycle), [task.with_lineage(**lineage).to_json() for task in accepted])
            logger.info(seeding.report)

    def _outcomes(self, batch: Any) -> list[ProposeOutcome | SolveOutcome]:
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
        return [outcome_from_json(json.loads(fields["outcome"])) for fields in _dicts(data["extra_fields"]) if fields["outcome"]]

    def _evaluate_probes(self) -> dict[str, float]:
        """Greedy accuracy on the frozen probe tasks; the same tasks every time."""
        rows = probe_rows(self.run.probes, self.azr.train.probe_tasks, self.azr.selfplay, self._fits)
        if not rows:
            return {}
        solved = self._solve(rows, partition="val")
        self._keep_probe_answers(solved, rows)
        return probe_metrics(solved) | change_since_first(self.run.first_probe_scores, solved)

    def _measure_for_verdict(self, *, before: bool) -> dict[str, float]:
        """Every frozen probe task, ``train.verdict_samples`` answers each at temperature 1: what the report's verdict compares."""
        rows = verdict_rows(self.run.probes, self.azr.train.verdict_samples, self.azr.selfplay, self._fits)
        if not rows:
            return {}
        kept = self.run.first_verdict_scores
        first = read_json(kept)["scores"] if kept.exists() and not before else None
        scores = verdict_scores(self._solve(rows, partition="train"))  # sampled as in training, but nothing is learnt from it
        if before:
            write_json_atomic(kept, {"samples": self.azr.train.verdict_samples, "scores": scores})
        return verdict_metrics(scores, first)

    def _solve(self, rows: list[PromptRow], *, partition: str) -> list[SolveOutcome]:
        batch = self._roll_out(rows, partition=partition)
        outcomes = self._outcomes(batch)
        tq.kv_clear(keys=batch.keys, partition_id=str(batch.partition_id))
        return [outcome for outcome in outcomes if isinstance(outcome, SolveOutcome)]

    def _fits(self, prompt: Prompt) -> bool:
        return len(prompt_token_ids(self.tokenizer, prompt)) <= self.azr.rollout.max_prompt_tokens

    # ---------------------------------------------------------------- advantages and update

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        """Only the data-parallel size: the mini-batch is the actual batch, whatever its number of rows."""
        return dp_size

    def _compute_stream_advantages(self, batch: Any) -> tuple[Any, list[ProposeOutcome | SolveOutcome], dict[str, Any]]:
        """TRR++ inside each stream (spec 6.3), written back for the update. Padding rows get zeros and enter no statistic."""
        fields = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields", "response_mask", "rm_scores"]
        )
        extra = _dicts(fields["extra_fields"])
        responses = [
            Response(
                stream=item["stream"],
                group=item["group"] or None,
                n_tokens=0 if tag.get("is_padding", False) else int(mask.sum()),
                reward=float(scores.sum()),
                format_ok=bool(item["format_ok"]),
                outcome=outcome_from_json(json.loads(item["outcome"])) if item["outcome"] else None,
            )
            for item, tag, mask, scores in zip(
                extra, batch.tags, fields["response_mask"].unbind(), fields["rm_scores"].unbind(), strict=True
            )
        ]
        found = credit(responses, self.selfplay, self.global_steps, self.azr.rollout.max_response_tokens, self.azr.train.control)
        advantages, metrics = found.advantages, dict(found.metrics)
        per_token = [
            torch.full((mask.numel(),), float(value), dtype=torch.float32) * mask.float()  # [response]
            for value, mask in zip(advantages, fields["response_mask"].unbind(), strict=True)
        ]
        nested = torch.nested.as_nested_tensor(per_token, layout=torch.jagged)  # [rows, (response)]
        columns = TensorDict({"advantages": nested, "returns": nested.clone()}, batch_size=len(extra))
        batch = tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=columns)

        taught_by = batch
        if self.azr.train.drop_zero_advantages:
            rows = rows_to_learn_from(advantages, self.azr.train.gpus)
            taught_by = batch.select_keys([batch.keys[row] for row in rows])
            metrics["train/dropped_rows"] = float(len(batch) - len(rows))
        magnitude = float(np.abs(advantages).max(initial=0.0))
        return batch, found.outcomes, {"metrics": metrics, "advantage_magnitude": magnitude, "taught_by": taught_by}

    def _update_policy(self, batch: Any) -> dict[str, Any]:
        """One optimizer step over all rows, or one for each ``train.mini_batch_sequences`` of them."""
        actor = self.config.actor_rollout_ref.actor
        coefficient = entropy_coefficient(self.azr.train, self._entropy)
        if self.azr.train.entropy_floor:
            self.actor_rollout_wg.set_entropy_coefficient(coefficient)
        rows = self.azr.train.mini_batch_sequences or len(batch)
        batch.extra_info.update(
            {
                "calculate_entropy": True,
                "distillation_use_topk": False,
                "distillation_only": False,
                "global_batch_size": rows,
                "mini_batch_size": rows,
                "epochs": 1,
                "seed": actor.data_loader_seed,
                "dataloader_kwargs": {"shuffle": False},
                "temperature": 1.0,
            }
        )
        output: Any = self.actor_rollout_wg.update_actor(batch)
        output = output.get() if hasattr(output, "get") and not isinstance(output, TensorDict) else output
        metrics = reduce_metrics(rename_dict(output["metrics"], "actor/"))
        if self.azr.train.entropy_floor:
            metrics["actor/entropy_coefficient"] = coefficient
        return metrics

    # ---------------------------------------------------------------- does it learn, does the engine follow

    def _require_moved_weights(self, advantage_magnitude: float) -> bool:
        """Whether the first update moved weights; it may not where the batch taught nothing.

        Raises:
            TrainingError: it had something to teach, and no weight moved.
        """
        moved = self.actor_rollout_wg.weights_moved()[0]
        logger.info("first update: %.2f %% of the sampled weights moved, at most by %.3g", 100 * moved["share"], moved["largest"])
        if moved["share"] == 0 and (advantage_magnitude > 0 or self.azr.train.entropy_coefficient > 0):
            raise TrainingError(
                "the first update moved no weight: the learning rate vanishes in the weights' precision. Use "
                "train.master_dtype=float32, or train.optimizer=adamw_8bit with its stochastic rounding, or a higher rate"
            )
        return moved["share"] > 0

    def _engine_check_answers(self) -> list[float]:
        """Log-probs of a short greedy answer by the engine: changes as soon as its weights do."""
        client = self.get_llm_client()
        prompt_ids = self.tokenizer.encode(ENGINE_CHECK_PROMPT, add_special_tokens=False)
        params = {"temperature": 0.0, "top_p": 1.0, "top_k": -1, "logprobs": True, "max_tokens": ENGINE_CHECK_TOKENS, "ignore_eos": True}

        async def ask() -> Any:
            request = client.generate(request_id="engine-check", prompt_ids=list(prompt_ids), sampling_params=params)
            return await asyncio.wait_for(request, timeout=self.azr.rollout.generation_timeout_s)

        answer = asyncio.run(ask())
        return [float(token) for token in answer.token_ids] + [float(value) for value in answer.log_probs or []]

    def _require_changed_engine(self, before: list[float]) -> None:
        if self._engine_check_answers() == before:
            raise TrainingError(
                "the engine answers exactly as before the first update: weights do not reach it. On WSL2 CUDA IPC may not work; "
                "run scripts/doctor.py"
            )

    def _require_matching_engine(self, values: dict[str, float]) -> None:
        mismatch = values.get("train/logprob_mismatch")
        if mismatch is not None and mismatch > self.azr.train.max_logprob_mismatch:
            raise EngineError(
                f"engine and trainer disagree: token probabilities differ by {mismatch:.4f} on average, above "
                f"train.max_logprob_mismatch={self.azr.train.max_logprob_mismatch}; the engine does not run the trained weights"
            )

    # ---------------------------------------------------------------- what is kept

    def _accept(self, outcomes: list[ProposeOutcome | SolveOutcome]) -> None:
        """Accepted proposals into the buffer and, append-only, into the cycle's shard."""
        request = self.link.request
        lineage = {
            "run": self.run.root.name,
            "cycle": request.cycle,
            "attempt": request.attempt,
            "model": f"{self.azr.model.path}@{self.global_steps - 1}",
        }
        accepted = self.selfplay.accept(self.global_steps, outcomes, lineage)
        append_jsonl(self.run.shard(request.cycle), [task.to_json() for task in accepted])

    def _keep_transcripts(self, outcomes: list[ProposeOutcome | SolveOutcome], rows: list[PromptRow]) -> None:
        """A few responses of each stream, for people to read."""
        kept = transcripts(self.global_steps, rows, outcomes, self.azr.selfplay, self.azr.seed)
        append_jsonl(self.run.transcripts(self.link.request.cycle), kept)

    def _keep_probe_answers(self, outcomes: list[SolveOutcome], rows: list[PromptRow]) -> None:
        """The answers to the same few probe tasks at every evaluation, so that before and after can be compared."""
        prompts = {row.row_id: row.prompt.text for row in rows}
        kept: list[dict[str, Any]] = []
        for kind in sorted({outcome.stream.task_type for outcome in outcomes}):
            own = sorted((outcome for outcome in outcomes if outcome.stream.task_type is kind), key=lambda outcome: outcome.row_id)
            chosen = own[: self.azr.selfplay.transcripts_per_stream]
            kept += [transcript(self.global_steps, outcome, prompts[outcome.row_id]) for outcome in chosen]
        append_jsonl(self.run.transcripts(self.link.request.cycle), kept)

    def _publish(self, step: int) -> None:
        staging = staging_dir(self.run, step)
        self.actor_rollout_wg.save_checkpoint(str(staging / "actor"), None, step, max_ckpt_to_keep=None)
        state = {
            "step": step,
            "cycle": self.link.request.cycle,
            "attempt": self.link.request.attempt,
            "optimizer_steps": self.actor_rollout_wg.optimizer_steps()[0],
            "buffer_hash": self.selfplay.save(staging / "selfplay"),
            "entropy": self._entropy,
            "model": self.azr.model.path,
        }
        write_json_atomic(staging / STATE_FILE, state)
        publish_checkpoint(self.run, step, staging, info=state)

    def _memory(self, phase: str) -> dict[str, float]:
        report = self.actor_rollout_wg.device_memory()[0]
        values = {f"memory/{phase}_trainer_peak_gib": report["peak"]}
        if self.config.trainer.device != "cpu":
            values[f"memory/{phase}_device_used_gib"] = report["total"] - report["free"]
            values["memory/allocation_retries"] = report["retries"]
        return values

    @contextmanager
    def _timed(self, name: str, phase: Phase) -> Iterator[None]:
        self.link.phase(phase)
        started_s = time.monotonic()
        try:
            yield
        finally:
            self._times_s[name] += time.monotonic() - started_s


def _objects(values: list[Any]) -> np.ndarray:
    """A one-dimensional object array, also where the values are lists of equal length."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _dicts(column: Any) -> list[dict[str, Any]]:
    """A non-tensor column of TransferQueue as plain dictionaries."""
    return [getattr(item, "data", item) for item in list(column)]


_RENAMED = {
    "actor/grad_norm": "train/grad_norm",
    "actor/pg_loss": "train/pg_loss",
    "actor/entropy_loss": "train/entropy",  # the update's mean over response tokens, the same as that of the old-log-prob pass
    "actor/entropy": "train/entropy",
    "actor/entropy_coefficient": "train/entropy_coefficient",
    "actor/lr": "train/learning_rate",
    "actor/ppo_kl": "train/ppo_kl",
    "actor/pg_clipfrac": "train/clip_fraction",
    "actor/mfu": "train/mfu",
    "actor/rollout_probs_diff_mean": "train/logprob_mismatch",  # from the update's own forward pass (azr.train.verl.packed)
    "actor/rollout_probs_diff_max": "train/logprob_mismatch_max",
    "training/rollout_probs_diff_mean": "train/logprob_mismatch",  # from the old-log-prob pass, where there is one
    "training/rollout_probs_diff_max": "train/logprob_mismatch_max",
}


def _flat(metrics: dict[str, Any]) -> dict[str, float]:
    """verl's metrics under the names of docs/metrics.md; what is not in the table is left out."""
    values = {}
    for theirs, ours in _RENAMED.items():
        if theirs in metrics:
            values[ours] = float(np.mean(metrics[theirs]))
    return values
