"""The Ray actor that trains what the driver asks: queue, trainer, agent loops, one cycle after another, and an
orderly end.

verl's own task runner is a Ray actor class and cannot be subclassed, so this is its counterpart.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from omegaconf import DictConfig, OmegaConf

from azr.config import Config
from azr.config.data import DataConfig
from azr.config.load import read_config
from azr.data.contamination import LeakIndex, evaluation_items
from azr.data.guard import protected_files
from azr.errors import AzrError, ConfigError, EngineError, ModelError, TrainingError
from azr.run.protocol import Ending, TrainRequest, current_request
from azr.run.rundir import RunDir
from azr.run.start_record import StartPart
from azr.run.trainer_link import TrainerLink
from azr.selfplay.options import require_room
from azr.selfplay.validation import Resembles
from azr.system.places import without_wildcards
from azr.system.tracebacks import FULL_CARD, engine_error
from azr.train.engine_start import why_no_engine

FINAL_ERRORS = (ConfigError, ModelError, TrainingError)
"""Trying again gives the same error."""
LOG_DELAY_S = 2.0
"""Until Ray has brought what a process said into the trainer's log."""


@ray.remote
class SelfPlayRunner:
    def run(self, run_root: str, device: str) -> bool:
        """Trains until the request is fulfilled and no further one comes, a stop is requested, or something fails.

        Args:
            run_root: the run's directory, with the configuration and the request.
            device: ``cpu`` or ``cuda``.

        Returns:
            True when each attempt ended as asked (``finished`` or ``stopped``); False when one failed. Either
            way the result file says why.
        """
        from azr.train.loop import Attempt  # with pandas and scipy, for which Ray's start need not wait

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
        run = RunDir(Path(run_root))
        request: TrainRequest | None = current_request(run)
        log = run.trainer_log(request.cycle, request.attempt) if request else None  # of all that follow, too
        with ExitStack() as stack:
            trainer = None
            while request is not None:
                with TrainerLink(run, request) as link:
                    try:
                        if trainer is None:
                            link.mark(StartPart.RUNNER)
                            trainer = _start(link, device, stack)
                        else:
                            trainer.go_on(request)
                        finished = Attempt(trainer, trainer.azr_config, link, trainer.resembles).train()
                    except AzrError as error:
                        traceback.print_exc()
                        # from another process Ray brings it inside an error of its own
                        reason = str(getattr(error, "cause", error))
                        if log is not None and isinstance(error, EngineError):
                            time.sleep(LOG_DELAY_S)
                            reason = with_the_engines_words(reason, log)
                        link.finish(Ending.FAILED, reason, retry=not isinstance(error, FINAL_ERRORS))
                        return False
                    request = link.next_request() if finished else None
        return True


def with_the_engines_words(reason: str, log: Path) -> str:
    """``reason`` after the error that the engine itself wrote into the trainer's log, if it did: those who wait for an
    answer learn only that it is dead."""
    if not log.is_file():
        return reason
    with open(log, encoding="utf-8", errors="replace") as lines:
        words = engine_error(lines)
    if words.startswith(FULL_CARD):
        return (
            "the card ran out of memory in the generation engine; set rollout.max_sequences or rollout.max_batched_tokens "
            "lower, and rollout.gpu_memory_share where the card itself is full. "
            f"{words} ({reason})"
        )
    known = why_no_engine(words) or "the generation engine failed"
    return f"{known}: {words} ({reason})" if words else reason


def _start(link: TrainerLink, device: str, stack: ExitStack) -> Any:
    """Trainer, engine and agent loops, with the weights of the request's ``resume_step``; ``stack`` closes the queue
    between them."""
    import transfer_queue as tq
    from verl.utils.logging_utils import configure_verl_logging

    from azr.train.verl.agent_worker import SelfPlayAgentLoopManager
    from azr.train.verl.configuration import config_from_verl
    from azr.train.verl.trainer import SelfPlayTrainer

    run = link.run
    link.mark(StartPart.VERL)
    configure_verl_logging()
    verl_config = checked_verl_config(run, device)
    require_room_for_prompts(config_from_verl(verl_config), Path(verl_config.actor_rollout_ref.model.path))
    stack.callback(tq.close)
    tq.init(verl_config.transfer_queue)
    link.mark(StartPart.CHECKS)
    trainer: Any = SelfPlayTrainer(verl_config, run, link.request)  # pyright: ignore[reportAbstractUsage]  (a decorator hides the base)
    with marks_of_verl(link):
        trainer.init()
    link.mark(StartPart.FIRST_SYNC)
    manager: Any = SelfPlayAgentLoopManager.create(  # a decorator of verl's awaits it
        config=verl_config,
        llm_client=trainer.get_llm_client(),
        teacher_client=trainer.get_teacher_client(),
        reward_loop_worker_handles=trainer.get_reward_handles(),
    )
    trainer.agent_loop_manager = manager
    trainer.resembles = kept_out(run, config_from_verl(verl_config).data)
    # waits for their imports, else the first answers would; the driver limits a start
    ray.get([worker.keep_out.remote(trainer.resembles) for worker in manager.agent_loop_workers])
    link.mark(StartPart.AGENTS)
    return trainer


def kept_out(run: RunDir, config: DataConfig) -> Resembles | None:
    """The comparison of a program with the run's probes and evaluation files that the merge makes; None where there are
    none. It takes less than a millisecond a program.

    Raises:
        DataError: an evaluation file is missing or cannot be read.
    """
    files = protected_files(run, config)
    return (
        LeakIndex(evaluation_items(files), config.contamination_similarity, workers=1).leak if files else None
    )


VERL_SAYS = {
    "create worker group": StartPart.WORKERS,
    "actor and ref model engine initialized": StartPart.POLICY,
    "checkpoint engine manager initialized": StartPart.ENGINE,
    "all initialize finished": StartPart.RESTORE,
}
"""Beginnings of what verl's trainer logs while it builds everything in one function, and what is done then."""


class _StartHandler(logging.Handler):
    def __init__(self, link: TrainerLink) -> None:
        super().__init__(logging.INFO)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        for words, part in VERL_SAYS.items():
            if record.getMessage().startswith(words):
                self._link.mark(part)


@contextmanager
def marks_of_verl(link: TrainerLink) -> Iterator[None]:
    """Marks the parts of a start by what verl says meanwhile."""
    from verl.trainer.ppo.v1 import trainer_base

    handler = _StartHandler(link)
    trainer_base.logger.addHandler(handler)
    try:
        yield
    finally:
        trainer_base.logger.removeHandler(handler)


def require_room_for_prompts(config: Config, folder: Path) -> None:
    """
    Raises:
        ConfigError: ``rollout.max_prompt_tokens`` is too small for the frame, as this tokenizer counts.
    """
    from azr.train.tokens import load_tokenizer, prompt_token_ids

    tokenizer = load_tokenizer(folder, config.model.trust_remote_code)
    require_room(
        config.selfplay,
        config.sandbox.limits.cpu_s,
        lambda prompt: len(prompt_token_ids(tokenizer, prompt)),
        config.rollout.max_prompt_tokens,
    )


def checked_verl_config(run: RunDir, device: str) -> DictConfig:
    """verl's configuration of the run, checked by verl.

    Raises:
        ConfigError: verl refuses it.
        ModelError: the model is not there, is another than the run began with, cannot be quantised as configured, or its tokenizer
            is read otherwise than written.
        BudgetError: the disk is too small for its int4 copy.
        TrainingError: int4 weights cannot be served here.
    """
    from verl.utils.config import validate_config

    from azr.train.base_model import trained_folder
    from azr.train.tokenizer_check import require_same_tokens
    from azr.train.verl.configuration import build_verl_config

    config = read_config(run.config)
    folder = trained_folder(run, config, device)
    require_same_tokens(folder, trust_remote_code=config.model.trust_remote_code)
    if not config.train.ray_address:  # else other machines have no such link
        folder = without_wildcards(folder)
    try:
        verl_config = build_verl_config(config, folder, run.root, device)
        validate_config(verl_config, use_reference_policy=False, use_critic=False)
    except (AssertionError, ValueError) as error:  # verl's own checks
        raise ConfigError(f"verl refuses this configuration: {error}") from error
    OmegaConf.resolve(verl_config)
    return verl_config
