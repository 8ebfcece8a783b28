"""Run by test_engine_follows.py in a process of its own: does the engine follow the trainer's weights, also
through its sleep?

    python tests/train/engine_follows.py FOLDER cpu|cuda '[["SETTING", ...], ...]'

For each list of settings, one after another in one Ray, builds the real trainer and the real engine, changes
the trained weights, and prints as one line of JSON: what the engine answers before, after the change without
a sync, and after sleep and sync; and how far the log-probs of each answer are from the trainer's own then.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from azr.config import Config
from azr.config.load import load_config, write_config
from azr.run.protocol import TrainRequest, write_request
from azr.run.rundir import RunDir
from azr.train.environment import set_environment

ENDING_LIMIT_S = 60
NUDGE, ADAPTER_NUDGE = 0.01, 0.05
"""Size of the noise: half of a random model's weights; adapters count as products of two, of which one is
zero."""


@ray.remote
class EngineProbe:
    def run(self, run_root: str, device: str, nudge: float) -> dict[str, Any]:
        import torch
        import transfer_queue as tq
        from verl.single_controller.base.decorator import register
        from verl.trainer.ppo.utils import Role

        from azr.run.trainer_link import TrainerLink
        from azr.train.verl import policy_worker
        from azr.train.verl.runner import checked_verl_config
        from azr.train.verl.trainer import ENGINE_CHECK_PROMPT, ENGINE_CHECK_TOKENS, SelfPlayTrainer

        class ProbeWorker(policy_worker.PolicyWorker):
            @register(dispatch_mode=policy_worker.ONE_TO_ALL)
            def nudge_weights(self, scale: float, seed: int) -> None:
                """Adds noise to every trained parameter."""
                generator = torch.Generator().manual_seed(seed)
                with torch.no_grad():
                    for parameter in self._policy.module.parameters():
                        if parameter.requires_grad:
                            noise = torch.randn(parameter.shape, generator=generator) * scale
                            parameter.add_(noise.to(parameter.device, parameter.dtype))

            @register(dispatch_mode=policy_worker.ONE_TO_ALL)
            def own_log_probs(self, tokens: list[int], last: int) -> list[float]:
                """The trainer's log-probs of the last so many tokens."""
                engine = self._policy
                ids = torch.tensor([tokens], device=device)
                reduced = engine._autocast_dtype != torch.float32
                with (
                    engine.eval_mode(),
                    torch.no_grad(),
                    torch.autocast(device, engine._autocast_dtype, enabled=reduced),
                ):
                    positions = torch.arange(len(tokens), device=device)[None]
                    output = engine.module(
                        input_ids=ids, position_ids=positions, attention_mask=None, use_cache=False
                    )
                return output.log_probs[0, -last - 1 : -1].float().tolist()

        class ProbeTrainer(SelfPlayTrainer):
            def _init_resource_pool_mgr(self) -> None:
                super()._init_resource_pool_mgr()
                self.role_worker_mapping[Role.ActorRollout] = ray.remote(ProbeWorker)

        run = RunDir(Path(run_root))
        verl_config = checked_verl_config(run, device)
        with TrainerLink(run) as link:
            tq.init(verl_config.transfer_queue)
            try:
                made: Any = ProbeTrainer
                trainer = made(verl_config, run, link.request)
                trainer.init()
                group, told, apart = trainer.actor_rollout_wg, {}, {}

                def ask(when: str) -> None:
                    answer = trainer.engine_answers()
                    tokens, log_probs = (
                        [int(token) for token in answer[:ENGINE_CHECK_TOKENS]],
                        answer[ENGINE_CHECK_TOKENS:],
                    )
                    assert len(log_probs) == ENGINE_CHECK_TOKENS
                    prompt = trainer.tokenizer.encode(ENGINE_CHECK_PROMPT, add_special_tokens=False)
                    own = group.own_log_probs([*prompt, *tokens], ENGINE_CHECK_TOKENS)[0]
                    told[when] = answer
                    apart[when] = (
                        sum(abs(one - other) for one, other in zip(own, log_probs, strict=True))
                        / ENGINE_CHECK_TOKENS
                    )

                ask("before")
                group.remember_weights()
                group.nudge_weights(nudge, 7)
                moved = group.weights_moved()[0]
                ask("not_synced")
                trainer.checkpoint_manager.sleep_replicas()
                trainer.checkpoint_manager.update_weights(1)
                ask("synced")
                return {**told, "moved": moved, "apart": apart}
            finally:
                tq.close()


def prepare(run: RunDir, settings: list[str]) -> Config:
    config = load_config([*settings, "selfplay.batch_size=2"]).config
    run.root.mkdir(parents=True, exist_ok=True)
    write_config(run.config, config)
    write_request(run, TrainRequest(cycle=1, attempt=1, first_step=1, last_step=1))
    return config


def main(folder: Path, device: str, cases: list[list[str]]) -> None:
    runs = [RunDir(folder / f"run{number}") for number in range(len(cases))]
    configs = [prepare(run, settings) for run, settings in zip(runs, cases, strict=True)]
    config, rollout = configs[0], configs[0].rollout
    set_environment(device, rollout.cpu_kv_cache_gib, compile_cache=rollout.compile_cache)
    from azr.train.__main__ import warm_python
    from azr.train.cluster import start_ray

    with warm_python(device, config.train.one_interpreter) as warm:
        start_ray(config, warm.executable if warm else None)
        if warm:
            warm.start()
        try:
            for run, config in zip(runs, configs, strict=True):
                nudge = ADAPTER_NUDGE if config.model.lora_rank else NUDGE
                probe = EngineProbe.remote()
                print(
                    "RESULT " + json.dumps(ray.get(probe.run.remote(str(run.root), device, nudge))),
                    flush=True,
                )
                end_everything(probe)
        finally:
            ray.shutdown()


def end_everything(probe: Any) -> None:
    """With their owner the trainer's and the engine's processes end; the next are to find room and free names."""
    ray.kill(probe)
    for name, group in ray.util.placement_group_table().items():
        if group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(ray.PlacementGroupID.from_hex(name)))
    end = time.monotonic() + ENDING_LIMIT_S
    while True:
        there, free = ray.cluster_resources(), ray.available_resources()
        taken = [name for name in ("CPU", "GPU") if free.get(name) != there.get(name)]
        named = ray.util.list_named_actors(all_namespaces=True)
        if not taken and not named:
            return
        assert time.monotonic() < end, (taken, named)
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
