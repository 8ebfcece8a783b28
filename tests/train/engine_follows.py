"""Run by test_real_run.py in a process of its own: does the engine follow the trainer's weights?

Builds the real trainer and the real engine, changes the trainer's weights, and prints what the engine answers before,
after the change without a sync, and after the sync, as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray

from azr.config.load import load, write_config
from azr.protocol import TrainRequest, write_request
from azr.rundir import RunDir
from azr.train.environment import set_environment


@ray.remote
class EngineProbe:
    def run(self, run_root: str) -> dict[str, Any]:
        import transfer_queue as tq

        from azr.train.runner import checked_verl_config
        from azr.train.trainer import SelfPlayTrainer
        from azr.trainer_link import TrainerLink

        run = RunDir(Path(run_root))
        verl_config = checked_verl_config(run, "cpu")
        with TrainerLink(run) as link:
            tq.init(verl_config.transfer_queue)
            try:
                trainer: Any = SelfPlayTrainer(verl_config, link)
                trainer.init()
                before = trainer._engine_check_answers()
                trainer.actor_rollout_wg.remember_weights()
                trainer.actor_rollout_wg.nudge_weights(0.01, 7)
                moved = trainer.actor_rollout_wg.weights_moved()[0]
                not_synced = trainer._engine_check_answers()
                trainer.checkpoint_manager.update_weights(1)
                synced = trainer._engine_check_answers()
                return {"before": before, "not_synced": not_synced, "synced": synced, "moved": moved}
            finally:
                tq.close()


def main(run_root: Path) -> None:
    config = load(["recipe=cpu_tiny", "selfplay.batch_size=1"]).config
    run = RunDir(run_root)
    run.root.mkdir(parents=True, exist_ok=True)
    write_config(run.config, config)
    write_request(run, TrainRequest(cycle=1, attempt=1, first_step=1, last_step=1))
    set_environment("cpu", config.rollout.cpu_kv_cache_gib)
    from azr.train.cluster import start_ray
    from azr.train.warm_python import WarmPython

    with tempfile.TemporaryDirectory() as folder, WarmPython(Path(folder)) as warm:
        start_ray(config, "cpu", warm.executable)
        warm.start()
        try:
            print("RESULT " + json.dumps(ray.get(EngineProbe.remote().run.remote(str(run_root)))))
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
