"""What can be told before a run begins: no directory is made and no process started for a run that cannot work."""

from __future__ import annotations

from azr.budget import require_fit
from azr.config import Config
from azr.data.check import require_readable
from azr.hardware import Machine
from azr.rundir import RunDir
from azr.train.model_source import require_model


def require_startable(config: Config, machine: Machine, run: RunDir) -> None:
    """Are the data files there, does the run fit, is the model there? A hub model is fetched, after it is known to fit.

    Raises:
        DataError: a configured data file is missing or damaged.
        BudgetError: the run does not fit the machine, or needs a card and there is none.
        ModelError: no such model, or it cannot be fetched.
    """
    require_readable(config.data, run)
    judged = require_fit(config, machine, run.root.parent)
    require_model(config.model.path)
    if judged is None:  # its size is known only now
        require_fit(config, machine, run.root.parent)
