"""Run by test_engine_follows.py in a process of its own: does the engine follow the trainer's weights, also
through its sleep?

    python tests/train/engine_follows.py RUN_DIRECTORY cpu|cuda SETTING...

Builds the real trainer and the real engine, changes the trained weights, and prints as one line of JSON: what
the engine answers before, after the change without a sync, and after sleep and sync; and how far the
log-probs of each answer are from the trainer's own then.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ray

from azr.config.load import load_config, write_config
from azr.run.protocol import TrainRequest, write_request
from azr.run.rundir import RunDir
from azr.train.environment import set_environment

NUDGE, ADAPTER_NUDGE = 0.01, 0.05
"""Size of the noise: half of a random model's weights; adapters count as products of two, of which one is
zero."""


@ray.remote
class EngineProbe:
    def run(self, run_root: str, device: str, nudge: float) -> dict[str, Any]:
        import torch
        import transfer_queue as tq
        from verl.single_controller.base.decorator import Dispatch, register
        from verl.trainer.ppo.utils import Role

        from azr.run.trainer_link import TrainerLink
        from azr.train.verl import policy_worker
        from azr.train.verl.runner import checked_verl_config
        from azr.train.verl.trainer import ENGINE_CHECK_PROMPT, ENGINE_CHECK_TOKENS, SelfPlayTrainer

        class ProbeWorker(policy_worker.PolicyWorker):
            @register(dispatch_mode=Dispatch.ONE_TO_ALL)
            def nudge_weights(self, scale: float, seed: int) -> None:
                """Adds noise to every trained parameter."""
                generator = torch.Generator().manual_seed(seed)
                with torch.no_grad():
                    for parameter in self._policy.module.parameters():
                        if parameter.requires_grad:
                            noise = torch.randn(parameter.shape, generator=generator) * scale
                            parameter.add_(noise.to(parameter.device, parameter.dtype))

            @register(dispatch_mode=Dispatch.ONE_TO_ALL)
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
                trainer: Any = ProbeTrainer(verl_config, run, link.request)
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


def main(run_root: Path, device: str, settings: list[str]) -> None:
    config = load_config([*settings, "selfplay.batch_size=2"]).config
    run = RunDir(run_root)
    run.root.mkdir(parents=True, exist_ok=True)
    write_config(run.config, config)
    write_request(run, TrainRequest(cycle=1, attempt=1, first_step=1, last_step=1))
    nudge = ADAPTER_NUDGE if config.model.lora_rank else NUDGE
    rollout = config.rollout
    set_environment(device, rollout.cpu_kv_cache_gib, compile_cache=rollout.compile_cache)
    from azr.train.__main__ import warm_python
    from azr.train.cluster import start_ray

    with warm_python(device, config.train.one_interpreter) as warm:
        start_ray(config, warm.executable if warm else None)
        if warm:
            warm.start()
        try:
            print(
                "RESULT " + json.dumps(ray.get(EngineProbe.remote().run.remote(str(run_root), device, nudge)))
            )
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
