"""The Ray actor that runs one attempt: queue, trainer, agent loops, training, and an orderly end.

verl's own task runner is a Ray actor class and cannot be subclassed, so this is its counterpart.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import ray
from omegaconf import DictConfig, OmegaConf

from azr.errors import AzrError, ConfigError, TrainingError
from azr.protocol import Outcome
from azr.rundir import RunDir
from azr.trainer_link import TrainerLink


@ray.remote
class SelfPlayRunner:
    def run(self, verl_config: DictConfig, run_root: str) -> bool:
        """Trains until the request is fulfilled, a stop is asked for, or something fails.

        Returns:
            True when the attempt ended as asked (``finished`` or ``stopped``); False when it failed. Either way the result file says why.
        """
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
        import transfer_queue as tq
        from verl.utils.logging_utils import configure_verl_logging

        from azr.train.agent_worker import SelfPlayAgentLoopManager
        from azr.train.trainer import SelfPlayTrainer

        configure_verl_logging()
        OmegaConf.resolve(verl_config)
        with TrainerLink(RunDir(Path(run_root))) as link:
            tq.init(verl_config.transfer_queue)
            try:
                trainer = SelfPlayTrainer(verl_config, link)  # pyright: ignore[reportAbstractUsage]  (the decorator hides the base)
                trainer.init()
                manager: Any = SelfPlayAgentLoopManager.create(
                    config=verl_config,
                    llm_client=trainer.get_llm_client(),
                    teacher_client=trainer.get_teacher_client(),
                    reward_loop_worker_handles=trainer.get_reward_handles(),
                )
                trainer.train(manager)
            except AzrError as error:
                traceback.print_exc()
                link.finish(Outcome.FAILED, str(error), retry=not isinstance(error, (ConfigError, TrainingError)))
                return False
            finally:
                tq.close()
        return True
