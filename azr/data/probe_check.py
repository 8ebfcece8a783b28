"""The user's probe tasks are executed before a run is measured by them: a wrong one would count every right
answer as wrong."""

from __future__ import annotations

import json

from azr.config.data import DataConfig
from azr.config.sandbox import SandboxConfig
from azr.data.guard import probe_names, probes_are_frozen, read_probes
from azr.data.reexecute import RerunStore, reexecute
from azr.data.sources import SHIPPED_PROBES, configured_files
from azr.errors import DataError
from azr.run.rundir import RunDir
from azr.tasks import Task


def require_true_probes(run: RunDir, config: DataConfig, reruns: RerunStore, sandbox: SandboxConfig) -> None:
    """Runs the configured probe tasks, unless the run has its copies already; the shipped ones were run by their maker.

    Raises:
        DataError: one of them raises, differs between two runs, or gives another output than it says.
        SandboxError: programs cannot be confined on this machine.
    """
    if probes_are_frozen(run):
        return
    for file in configured_files(probe_names(config), "data.probe_files")[0]:
        if file.resolve().parent == SHIPPED_PROBES.parent:
            continue
        lines = read_probes(file).decode("utf-8", "surrogatepass").split("\n")
        tasks = [Task.from_json(json.loads(line)) for line in lines if line.strip()]
        _, dropped = reexecute(tasks, config.reexecute, reruns, sandbox)
        if dropped:
            first = dropped[0]
            shown = f"input {first.task.inputs[0][:60]!r}, output {first.task.outputs[0][:60]!r}"
            raise DataError(
                f"data.probe_files: {len(dropped)} of {len(tasks)} tasks of {file} do not hold when they are run; the first ({shown}): "
                f"{first.reason.value}, {first.detail}. A wrong probe counts every right answer as wrong, so correct or remove them"
            )
