"""Keeps evaluation files right and unchanged: the user's probes are executed, probes are copied read-only into the run,
and every hash is checked around each cycle."""

from __future__ import annotations

import codecs
import contextlib
import itertools
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from azr.config.data import DataConfig
from azr.config.paths import PROJECT
from azr.config.sandbox import SandboxConfig
from azr.data.frozen import (
    HASHES_FILE,
    PUT_BACK,
    frozen_hashes,
    hashes_path,
    lost_probes,
    probe_files_in,
    recorded_hashes,
    require_unchanged,
)
from azr.data.manifest import tasks_text
from azr.data.readers import read_rows
from azr.data.reasons import Reason
from azr.data.reexecute import RerunStore, reexecute
from azr.data.schema import Refused, tasks_of
from azr.data.sources import DATA_SUFFIXES, SHIPPED_PROBES, configured_files, refuse_missing
from azr.data.unpack import PACKED_SUFFIXES
from azr.errors import DataError
from azr.run.metric_names import SCORED_TOGETHER
from azr.run.rundir import RunDir
from azr.system.files import (
    file_hash,
    fsync_directory,
    read_jsonl,
    remove_leftovers,
    set_mode,
    write_bytes_atomic,
    write_json_atomic,
)
from azr.tasks import Task
from azr.wording import counted


def require_true_probes(run: RunDir, config: DataConfig, reruns: RerunStore, sandbox: SandboxConfig) -> None:
    """Runs the configured probe tasks, unless the run has its copies already: a wrong one would count every
    right answer as wrong. The shipped ones were run by their maker.

    Raises:
        DataError: one of them raises, differs between two runs, or gives another output than it says; or a file has one twice.
        SandboxError: programs cannot be confined on this machine.
    """
    if probes_are_frozen(run):
        return
    for file in configured_probes(config)[0]:
        if file.resolve().parent == SHIPPED_PROBES.parent:
            continue
        tasks = probe_tasks(file)
        if twice := len(tasks) - len({task.task_id for task in tasks}):
            raise DataError(
                f"data.probe_files: {counted(twice, 'task')} of {file} {'stands' if twice == 1 else 'stand'} there twice, and would count "
                "twice, with an interval that is too narrow; remove the second ones"
            )
        _, dropped = reexecute(tasks, config.reexecute, reruns, sandbox)
        if dropped:
            first = dropped[0]
            shown = f"input {first.task.inputs[0][:60]!r}, output {first.task.outputs[0][:60]!r}"
            raise DataError(
                f"data.probe_files: {len(dropped)} of {len(tasks)} tasks of {file} do not hold when they are run; the first ({shown}): "
                f"{first.reason.value}, {first.detail}. A wrong probe counts every right answer as wrong, so correct or remove them"
            )


def prepare_probes(run: RunDir, config: DataConfig) -> None:
    """Copies the configured probe files into the run, read-only; once they are frozen, checks that they are still the same.

    Idempotent; after a crash in the middle it starts over. The run's copies are what is evaluated, so a
    changed or vanished original does not matter to a resumed run.

    Raises:
        DataError: a configured file is missing or two have the same name, or a copy was changed.
    """
    remove_leftovers(run.probes)
    if probes_are_frozen(run):
        check_evaluation_files(run, config)
        return
    names = {}
    for file in _there(configured_probes(config)):
        name = f"{bare_name(file)}.jsonl"
        if name in names:
            raise DataError(
                f"data.probe_files holds two files called {name} ({names[name]} and {file}); rename one of them"
            )
        names[name] = file
    hashes = {}
    for name, file in sorted(names.items()):
        copy = run.probes / name
        write_bytes_atomic(copy, read_probes(file))
        set_mode(copy, 0o444)
        hashes[name] = file_hash(copy)
    evaluation = {str(file.absolute()): file_hash(file) for file in _evaluation_files(config)}
    before = frozen_hashes(run.probes)["probes"]  # of a start that ended before the first cycle had its tasks
    for copy in run.probes.glob("*.jsonl"):
        if copy.name in before and copy.name not in names:
            copy.unlink()
    write_json_atomic(hashes_path(run), {"probes": hashes, "evaluation": evaluation})
    fsync_directory(run.probes)


def settle_probes(run: RunDir, config: DataConfig) -> str:
    """Puts back what is gone of a begun run's probes, as far as the configured files still hold what it began with.

    Returns:
        a sentence for the user where something was put back; else empty.

    Raises:
        DataError: they hold other tasks, a copy was changed, or nothing says what the run began with; nothing is written.
    """
    recorded, hashes_stand = recorded_hashes(run), hashes_path(run).exists()
    if not recorded and run.has_asked_probes and not hashes_stand:
        raise DataError(lost_probes(hashes_path(run)))
    expected = recorded.get("probes", {})
    gone = [name for name in expected if not (run.probes / name).is_file()]
    if not recorded or (hashes_stand and not gone):
        return ""
    files = configured_probes(config)[0] if gone else []
    given = {f"{bare_name(file)}.jsonl": file for file in files}
    found = {name: given[name] for name in gone if name in given and file_hash(given[name]) == expected[name]}
    for name in expected.keys() - found.keys():
        require_unchanged(run.probes / name, expected[name], PUT_BACK)
    for name, file in found.items():
        write_bytes_atomic(run.probes / name, file.read_bytes())
        set_mode(run.probes / name, 0o444)
    if not hashes_stand:
        gone.append(HASHES_FILE)
        write_json_atomic(hashes_path(run), recorded)
    return f"{', '.join(gone)} in {run.probes} {'was' if len(gone) == 1 else 'were'} gone, and restored as they were at its start."


def probes_are_frozen(run: RunDir) -> bool:
    """The run has its copies of the probe files, and tasks that were compared with them: until the first cycle has its tasks,
    all of these files may be corrected."""
    begun = run.in_cycles("tasks.jsonl") or run.pool_manifest.exists() or run.metrics.exists()
    return bool(begun) and hashes_path(run).exists()


def bare_name(file: Path) -> str:
    """Without the endings of a data file and its packing."""
    name = file.name
    while Path(name).suffix.lower() in (*DATA_SUFFIXES, *PACKED_SUFFIXES):
        name = Path(name).stem
    return name


def read_probes(file: Path) -> bytes:
    """``probe_tasks`` as JSON Lines: as they stand where they are that, else converted."""
    tasks, stand_there = _probes(file)
    return file.read_bytes().removeprefix(codecs.BOM_UTF8) if stand_there else tasks_text(tasks).encode()


def probe_tasks(file: Path) -> list[Task]:
    """
    Raises:
        DataError: a row is not a task. A probe is never left out silently: scores would be of fewer tasks than
            the user thinks.
    """
    return _probes(file)[0]


def _probes(file: Path) -> tuple[list[Task], bool]:
    """Its tasks, and whether they stand there as they are written here."""
    with contextlib.suppress(DataError):
        plain = [(record, Task.from_json(record)) for record in read_jsonl(file, strict=True)]
        frozen = (file.parent / HASHES_FILE).exists()
        told = [_as_written_here(record, task, frozen) for record, task in plain]
        if told:
            stand_there = all(tasks == [task] for (_, task), tasks in zip(plain, told, strict=True))
            return list(itertools.chain(*told)), stand_there
    tasks: list[Task] = []
    for row in read_rows(file):
        found = Refused(Reason.UNREADABLE, row.problem) if row.record is None else tasks_of(row.record)
        if isinstance(found, Refused):
            raise DataError(
                f"{file}, {row.place}: {found.detail}; every row of a probe file has to be a task"
            )
        tasks += found
    if not tasks:
        raise DataError(f"{file} is empty; it has to hold probe tasks")
    return tasks, False


def require_probes(files: Sequence[Path]) -> None:
    """
    Raises:
        DataError: a row is not a task; or one of several files is called like what scores are kept for beside them (``all``,
            ``deduction`` ...), and one would be shown as the other.
    """
    kinds = {file: {task.task_type.value for task in probe_tasks(file)} for file in files}
    for file, own in kinds.items():
        name = bare_name(file)
        alone = own == {name} and not any(name in other for each, other in kinds.items() if each != file)
        if len(files) > 1 and name in SCORED_TOGETHER and not alone:
            raise DataError(
                f"data.probe_files: {file} is called like the score of {'all files' if name == 'all' else f'all {name} tasks'}, which "
                "is kept beside its own; rename it"
            )


def twofold_rows(file: Path) -> str:
    """A sentence where rows of a probe file are two tasks each; empty elsewhere."""
    more = len(probe_tasks(file)) - sum(1 for _ in read_rows(file))
    are = "is" if more == 1 else "are"
    return (
        f"{file.name}: {counted(more, 'row')} without a task_type {are} two tasks each, of abduction and of deduction"
        if more
        else ""
    )


def twofold_probes(run: RunDir, config: DataConfig) -> list[str]:
    """A sentence for each configured probe file that has such rows, until the run has its copies."""
    files = [] if probes_are_frozen(run) else configured_probes(config)[0]
    return [told for file in files if (told := twofold_rows(file))]


def _as_written_here(record: dict[str, Any], task: Task, frozen: bool) -> list[Task]:
    """``task``, or with its texts as we write them where the record's differ: answers are compared with ``[1, 2]``, not with
    ``[1,2]``. Both of a row without a task type.

    Args:
        frozen: in a run's folder, for which earlier versions took one task of such a row, as its trainer does.

    Raises:
        DataError: the record is no task after all.
    """
    found = tasks_of(record, max_code_chars=sys.maxsize, max_value_chars=sys.maxsize)
    if isinstance(found, Refused):
        raise DataError(found.detail)
    found = [each for each in found if each.task_type is task.task_type] if frozen else found
    texts = {(each.task_type, each.code, each.inputs, each.outputs) for each in found}
    if texts == {(task.task_type, task.code, task.inputs, task.outputs)}:
        return [task]
    return [replace(each, lineage=task.lineage) for each in found]


def protected_files(run: RunDir, config: DataConfig) -> list[Path]:
    """Every file that no training task may resemble: the run's probes and data.evaluation_files."""
    return [*probe_files_in(run.probes), *_evaluation_files(config)]


def check_evaluation_files(run: RunDir, config: DataConfig) -> None:
    """Compares every probe and evaluation file with the hash recorded when the run first saw it.

    An evaluation file that was added to the configuration later is recorded now.

    Raises:
        DataError: a file was changed or is gone; the message names it and says what to do.
    """
    settle_probes(run, config)
    recorded = frozen_hashes(run.probes)
    probe_files_in(run.probes)
    known = {str(PROJECT / name): expected for name, expected in recorded["evaluation"].items()}
    added = {}
    for file in _evaluation_files(config):
        expected = known.get(str(file.absolute()))
        if expected is None:
            added[str(file.absolute())] = file_hash(file)
        else:
            require_unchanged(
                file, expected, "put the original back; nothing may write into evaluation files"
            )
    if added:
        write_json_atomic(hashes_path(run), {"probes": recorded["probes"], "evaluation": known | added})


def configured_probes(config: DataConfig) -> tuple[list[Path], list[str]]:
    """As ``configured_files``, of ``data.probe_files``."""
    names = [str(SHIPPED_PROBES) if name == "shipped" else name for name in config.probe_files]
    return configured_files(names, "data.probe_files")


def _evaluation_files(config: DataConfig) -> list[Path]:
    return _there(configured_files(config.evaluation_files, "data.evaluation_files"))


def _there(found: tuple[list[Path], list[str]]) -> list[Path]:
    files, missing = found
    refuse_missing(missing)
    return files
