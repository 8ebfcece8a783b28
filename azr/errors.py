"""The project's exceptions. Each message says what was wrong, where, and what to do about it.

To add one: derive it from the branch it belongs to (and from the standard class it refines, if any),
and write the remedy into the message. Anything a user's slip can cause is an ``AzrError``, which the
command line prints as a sentence, without a traceback.
"""

from __future__ import annotations


class AzrError(Exception):
    """Base of everything this project raises on purpose."""


class ConfigError(AzrError, ValueError):
    """Configuration that is unknown, contradictory or out of range."""


class DataError(AzrError, ValueError):
    """A data file that is missing, malformed or not what its manifest says."""


class SandboxError(AzrError, RuntimeError):
    """The sandbox cannot confine programs here, or its own machinery failed."""


class BudgetError(AzrError, RuntimeError):
    """The run does not fit the machine (memory or disk)."""


class RunError(AzrError, RuntimeError):
    """A run directory is locked, damaged, or belongs to something else."""


class RunMovedError(RunError):
    """A run's folder is no longer where its driver works, so nothing may be written there any more."""


class CheckpointError(RunError):
    """A checkpoint is missing, incomplete, or differs from its manifest."""


class TrainingError(AzrError, RuntimeError):
    """The trainer found that it does not train: weights did not move, engine not in step."""


class EngineError(AzrError, RuntimeError):
    """The rollout engine does not answer, or not with the trained weights; a restart may help."""


class ClusterError(AzrError, RuntimeError):
    """Machines of a Ray cluster are missing, cannot run the project, or left in mid-run."""


class MachineLeftError(ClusterError):
    """A machine left the cluster in mid-run; the run can go on when it is back."""


class ModelError(AzrError, RuntimeError):
    """A model folder or hub name cannot be used."""
