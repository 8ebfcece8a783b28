"""What can be told before a run begins: no directory is made and no process started for a run that cannot work."""

from __future__ import annotations

from azr.budget import require_fit
from azr.config import Config
from azr.data.check import require_readable
from azr.hardware import Machine
from azr.rundir import RunDir
from azr.train.model_source import local_folder, require_usable_model


def require_startable(config: Config, machine: Machine, run: RunDir) -> None:
    """Are the data files there, does the run fit, is the model there and can it be trained?

    A hub model is fetched, after it is known to fit.

    Raises:
        DataError: a configured data file is missing or damaged.
        BudgetError: the run does not fit the machine, or needs a card and there is none.
        ModelError: no such model, it cannot be fetched, or it cannot be trained as configured.
    """
    require_readable(config.data, run)
    is_here = local_folder(config.model.path) is not None
    if is_here:
        require_usable_model(config)  # before its size, which a model of another kind does not tell
    judged = require_fit(config, machine, run.root.parent)
    if not is_here:
        require_usable_model(config)
    if judged is None:  # its size is known only now
        require_fit(config, machine, run.root.parent)
