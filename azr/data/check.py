"""The configured data files are there and can be opened: asked before anything is started."""

from __future__ import annotations

from azr.config.data import DataConfig
from azr.data.guard import probe_names
from azr.data.seeds import seed_sources
from azr.data.sources import configured_files, other_run_sources, read_rows, refuse_missing
from azr.rundir import RunDir


def require_readable(config: DataConfig, run: RunDir) -> None:
    """Opens every file that ``config`` names and reads its first row; well under a second.

    A run that has begun needs its evaluation files only: what its own sources held is in its pool.

    Raises:
        DataError: a path does not exist or holds no data file, or a file is damaged. All missing paths are named at once.
    """
    begun = run.cycle_tasks(1).is_file()
    evaluation, missing = configured_files(config.evaluation_files, "data.evaluation_files")
    files = list(evaluation)
    if not begun:
        for names, key in ((probe_names(config), "data.probe_files"), (config.extra_files, "data.extra_files")):
            found, lacking = configured_files(names, key)
            files += found
            missing += lacking
        others, lacking = other_run_sources(config.other_runs, run.root)
        missing += lacking
        files += [source.file for source in (*seed_sources(config), *others)]
    refuse_missing(missing)
    for file in files:
        next(read_rows(file), None)
