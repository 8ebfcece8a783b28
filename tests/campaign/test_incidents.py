from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from azr.campaign.incidents import Incident, explain_exit, read_incidents, record_incident, where_it_hangs
from azr.run.checkpoints import best_checkpoint
from azr.run.protocol import MetricsRecord
from azr.run.rundir import RunDir


@pytest.mark.parametrize(
    ("status", "log", "expected"),
    [
        (
            -9,
            "step 3\n",
            "killed by SIGKILL: somebody killed it, or the kernel did because host memory ran out",
        ),
        (
            1,
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate",
            "status 1: the card ran out of memory",
        ),
        (
            1,
            "AssertionError: Error in memory profiling. Initial free memory",
            "another program gave memory of the card back while the engine measured it; harmless, the next",
        ),
        (
            1,
            "RuntimeError: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62",
            "status 1: the card has no room for the engine's share; close what else uses it (`nvidia-smi`), or lower rollout.gpu",
        ),
        (1, "RuntimeError: CUDA driver error: out of memory", "the card ran out of memory (Runtime"),
        (
            1,
            'RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/c10/cuda/CUDACachingAllocator.cpp":1154, please report',
            "status 1: the card ran out of memory, and its driver did not say",
        ),
        (
            1,
            "ray.exceptions.ActorDiedError: The actor died",
            "a Ray worker died (ray.exceptions.ActorDiedError: The actor died)",
        ),
        (
            1,
            "torch._inductor.exc.InductorError: RuntimeError: Failed to find C compiler",
            "kernels could not be compiled",
        ),
        (1, "torch._dynamo.exc.InternalTorchDynamoError: odd", "train.compile_layers=false"),
        (1, "OSError: [Errno 28] No space left on device", "the disk is full"),
        (
            1,
            "RuntimeError: [enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534",
            "a checkpoint could not be written in full",
        ),
        (-11, "", "killed by SIGSEGV"),
        (-15, "", "killed by SIGTERM: somebody ended it, or the machine shut down"),
        (-7, "", "killed by SIGBUS: shared memory is full"),
        (-4, "", "killed by SIGILL: an instruction that this processor"),
        (-25, "", "killed by SIGXFSZ: a file grew over this process's file size limit"),
        (
            -6,
            "what():  CUDA error: an illegal memory access was encountered\n" + "frame #1: x\n" * 40,
            "SIGABRT: a CUDA error",
        ),
        (-63, "", "killed by signal 63"),
        (0, "", "ended with status 0 but left no result"),
        (3, "ValueError: odd\n", "status 3 (ValueError: odd)"),
    ],
)
def test_an_exit_is_explained_by_status_and_log(tmp_path: Path, status: int, log: str, expected: str) -> None:
    (tmp_path / "trainer.log").write_text(log)
    assert expected in explain_exit(status, tmp_path / "trainer.log")


SURVIVED = """\
WARNING 07-25 12:00:00 [fa_utils.py:9] ImportError: cannot import name 'flash_attn'; going on without it
ModuleNotFoundError: No module named 'triton_kernels' (optional)
Traceback (most recent call last):
  File "a.py", line 1, in optional
    import fast
{error}
step 1 done
step 2 done
"""


@pytest.mark.parametrize(
    "error",
    [
        "ImportError: cannot import name 'fast'",
        "torch.OutOfMemoryError: CUDA out of memory; the batch is halved",
        "OSError: [Errno 28] No space left on device",
        "ray.exceptions.ActorDiedError: The actor died; it is started again",
    ],
)
def test_what_was_survived_is_no_cause_of_a_kill(tmp_path: Path, error: str) -> None:
    log = tmp_path / "trainer.log"
    log.write_text(SURVIVED.format(error=error))
    killed = "The trainer was killed by SIGKILL: somebody killed it, or the kernel did because host memory ran out."
    assert explain_exit(-9, log) == killed
    assert explain_exit(-1, log) == "The trainer was killed by SIGHUP."


@pytest.mark.parametrize("status", [-11, -6, 0, 1])
def test_only_an_import_that_ended_the_trainer_is_its_cause(tmp_path: Path, status: int) -> None:
    log = tmp_path / "trainer.log"
    log.write_text("".join(SURVIVED.splitlines(keepends=True)[:2]) + "step 2 done\n")
    assert "imported" not in explain_exit(status, log) and "Error" not in explain_exit(status, log)
    log.write_text(SURVIVED.format(error="ImportError: cannot import name 'fast'"))
    assert ("a Python module cannot be imported" in explain_exit(status, log)) == (status >= 0)


def test_numbers_and_names_that_only_look_like_an_error(tmp_path: Path) -> None:
    log = tmp_path / "trainer.log"
    log.write_text(
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: TaXid, MyMemoryErrors\n'
    )
    assert explain_exit(1, log) == "The trainer crashed with status 1 (ValueError: TaXid, MyMemoryErrors)."


def test_a_log_that_breaks_off_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "trainer.log"
    log.write_text("ray.exceptions.RayTaskError(RuntimeError): ray::SelfPlayRunner.run() (p")
    assert "disk" not in explain_exit(1, log)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, free=0))
    assert "status 1: the disk is full, and its log breaks off" in explain_exit(1, log)


def test_a_missing_log_is_no_obstacle(tmp_path: Path) -> None:
    assert explain_exit(1, tmp_path / "none.log") == "The trainer crashed with status 1."


def test_where_it_hangs_takes_the_training_thread() -> None:
    stacks = [
        "Thread 0x00007f01 (most recent call first):",
        '  File "/usr/lib/threading.py", line 331 in wait',
        "",
        "Current thread 0x00007f02 (most recent call first):",
        '  File "/app/azr/train/verl/engine.py", line 12 in generate',
        '  File "/app/azr/train/verl/trainer.py", line 99 in step',
    ]
    assert where_it_hangs(stacks) == ["engine.py:12 in generate", "trainer.py:99 in step"]
    assert where_it_hangs([]) == []


def test_incidents_read_like_a_story(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    record_incident(run, Incident("crash", "The trainer was killed by SIGKILL.", "Starting again.", 2, 3, 41))
    record = next(iter(read_incidents(run)))
    assert (
        record.sentence == "cycle 2, attempt 3, step 41: The trainer was killed by SIGKILL. Starting again."
    )
    assert record.unix_s > 0 and "T" in record.time


def test_best_checkpoint_is_the_highest_latest_score_between_checkpoints() -> None:
    scores = {2: 0.3, 4: 0.5, 6: 0.5, 7: float("nan"), 8: 0.4}
    records = [
        MetricsRecord(step, 1, 1, 0.0, {"probe": scores[step]} if step in scores else {})
        for step in range(1, 11)
    ]
    assert best_checkpoint([2, 4, 6, 8, 10], records, "probe") == (6, 0.5), (
        "the later of equals; a checkpoint without a score has none"
    )
    assert best_checkpoint([7], records, "probe") == (None, None)
    assert best_checkpoint([2, 4], records, "") == (None, None)
