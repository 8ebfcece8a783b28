"""Which errors of a trainer end a run at once, told by their real cause; the others are tried again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from fake_campaign import Driver, command_trainer, fast_config
from hypothesis import given
from hypothesis import strategies as st

from azr.campaign.faults import Fault, FaultKind, read_fault
from azr.campaign.incidents import read_incidents
from azr.campaign.state import CampaignState, State, read_state_file
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.tracebacks import Raised, root_cause
from azr.train.engine_start import FREED, NO_ROOM

RAY_LOG = """\
2026-11-27 01:47:26,263	INFO worker.py:2038 -- Started a local Ray instance.
\x1b[36m(W pid=24813)\x1b[0m Exception raised in creation task: The actor died because of an error raised in its creation task, \x1b[36mray::W.__init__()\x1b[39m (pid=24813)
\x1b[36m(W pid=24813)\x1b[0m            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
\x1b[36m(W pid=24813)\x1b[0m   File "/app/work.py", line 6, in __init__
\x1b[36m(W pid=24813)\x1b[0m     from trl import AutoModelForCausalLMWithValueHead
\x1b[36m(W pid=24813)\x1b[0m ImportError: cannot import name 'AutoModelForCausalLMWithValueHead' from 'trl' (/site-packages/trl/__init__.py)
Traceback (most recent call last):
  File "/app/azr/train/__main__.py", line 56, in main
    finished = ray.get(SelfPlayRunner.remote().run.remote(str(run.root), device))
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/site-packages/ray/_private/worker.py", line 1053, in get_objects
    raise value.as_instanceof_cause()
ray.exceptions.RayTaskError(ActorDiedError): \x1b[36mray::R.run()\x1b[39m (pid=24703, ip=10.0.0.2, repr=<work.R object at 0x7f658f53d890>)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/app/work.py", line 19, in run
    return ray.get(w.load.remote())
ray.exceptions.ActorDiedError: The actor died because of an error raised in its creation task, \x1b[36mray::W.__init__()\x1b[39m (pid=24813)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/app/work.py", line 6, in __init__
    from trl import AutoModelForCausalLMWithValueHead
ImportError: cannot import name 'AutoModelForCausalLMWithValueHead' from 'trl' (/site-packages/trl/__init__.py)
"""  # noqa: E501
"""As Ray 2.60 writes it (an actor that could not be made)."""

CHAINED_LOG = """\
ray.exceptions.RayTaskError(ValueError): \x1b[36mray::R.run()\x1b[39m (pid=24385, ip=10.0.0.2)
  File "/app/work.py", line 19, in run
    return ray.get(w.load.remote())
ray.exceptions.RayTaskError(ValueError): \x1b[36mray::W.load()\x1b[39m (pid=24610, ip=10.0.0.2)
KeyError: 'gemma9'

During handling of the above exception, another exception occurred:

\x1b[36mray::W.load()\x1b[39m (pid=24610, ip=10.0.0.2)
  File "/site-packages/transformers/auto.py", line 11, in from_pretrained
    raise ValueError("The checkpoint you are trying to load has model type `gemma9` but Transformers does not")
ValueError: The checkpoint you are trying to load has model type `gemma9` but Transformers does not recognize this architecture.

You can update Transformers with the command `pip install --upgrade transformers`
"""

ENGINE_LOG = """\
(EngineCore_DP0 pid=77) ERROR 07-25 12:00:00 [core.py:843] EngineCore failed to start.
(EngineCore_DP0 pid=77) ERROR 07-25 12:00:00 [core.py:843] Traceback (most recent call last):
(EngineCore_DP0 pid=77) ERROR 07-25 12:00:00 [core.py:843]   File "/site-packages/vllm/v1/engine/core.py", line 834, in run_engine_core
(EngineCore_DP0 pid=77) ERROR 07-25 12:00:00 [core.py:843]     engine_core = EngineCoreProc(*args, **kwargs)
(EngineCore_DP0 pid=77) ERROR 07-25 12:00:00 [core.py:843] ValueError: No available memory for the cache blocks. Try increasing it
Traceback (most recent call last):
  File "/site-packages/vllm/v1/engine/utils.py", line 900, in wait_for_engine_startup
    raise RuntimeError(
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


BUS_LOG = """\
\x1b[36m(WorkerDict pid=4958)\x1b[0m *** SIGBUS received at time=1795773955 on cpu 0 ***
\x1b[36m(WorkerDict pid=4958)\x1b[0m PC: @     0x7f84fbfe6605  (unknown)  c10::function_ref<>::callback_fn<>()
\x1b[36m(WorkerDict pid=4958)\x1b[0m Fatal Python error: Bus error
\x1b[36m(WorkerDict pid=4958)\x1b[0m Extension modules: numpy._core._multiarray_umath
Traceback (most recent call last):
  File "/app/azr/train/__main__.py", line 83, in main
    finished = ray.get(SelfPlayRunner.remote().run.remote(str(run.root), device))
ray.exceptions.RayTaskError(ActorDiedError): \x1b[36mray::SelfPlayRunner.run()\x1b[39m (pid=4734, ip=10.0.0.2)
  File "/app/azr/train/verl/trainer.py", line 237, in update_weights
    self.checkpoint_manager.update_weights(self.global_steps)
ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
azr.train: a process of the trainer died or raised: ActorDiedError: The actor died unexpectedly before finishing this task.
"""
"""/dev/shm was full when weights went to the engine."""


def direct_cause(first: str, second: str) -> str:
    head = 'Traceback (most recent call last):\n  File "a.py", line 1, in {}\n    call()\n'
    link = "\nThe above exception was the direct cause of the following exception:\n\n"
    return f"{head.format('inner')}{first}\n{link}{head.format('outer')}{second}\n"


@pytest.mark.parametrize(
    ("log", "cause", "kind"),
    [
        (
            RAY_LOG,
            "ImportError: cannot import name 'AutoModelForCausalLMWithValueHead' from 'trl'",
            FaultKind.IMPORT,
        ),
        (
            CHAINED_LOG,
            "ValueError: The checkpoint you are trying to load has model type `gemma9`",
            FaultKind.MODEL,
        ),
        (ENGINE_LOG, "ValueError: No available memory for the cache blocks", FaultKind.MEMORY),
        (
            direct_cause(
                "ModuleNotFoundError: No module named 'x'",
                "RuntimeError: Failed to import y; install accelerate",
            ),
            "ModuleNotFoundError: No module named 'x'",
            FaultKind.IMPORT,
        ),
    ],
)
def test_the_real_cause_is_found_under_prefixes_and_pointers(log: str, cause: str, kind: FaultKind) -> None:
    fault = read_fault(1, log)
    assert fault.cause.startswith(cause) and fault.kind is kind


def test_advice_after_the_cause_and_an_ignored_exception_are_no_causes() -> None:
    after = (
        "Exception ignored in: <function f>\n"
        'Traceback (most recent call last):\n  File "b.py", line 1, in __del__\n    x\nOSError: gone\n'
    )
    found = root_cause(CHAINED_LOG + after)
    assert found is not None and found.kind == "ValueError" and "from_pretrained" in found.functions


def test_a_message_that_only_announces_takes_its_next_line() -> None:
    log = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    log += "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n  Value error, odd setting\n"
    assert read_fault(1, log) == Fault(
        FaultKind.CONFIGURATION,
        "ValidationError: 1 validation error for ModelConfig Value error, odd setting",
    )


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("RuntimeError: No CUDA GPUs are available", FaultKind.DEVICE),
        (
            "RuntimeError: CUDA error: no kernel image is available for execution on the device",
            FaultKind.DEVICE,
        ),
        ("ValueError: Total available GPUs 0 is less than total desired GPUs 1", FaultKind.DEVICE),
        (
            "OSError: libcudart.so.13: cannot open shared object file: No such file or directory",
            FaultKind.IMPORT,
        ),
        ("ImportError: /x/flash_attn.so: undefined symbol: _ZN3c104cuda9SetDeviceEi", FaultKind.IMPORT),
        (
            "OSError: nothing does not appear to have a file named pytorch_model.bin or model.safetensors",
            FaultKind.MODEL,
        ),
        ("SafetensorError: Error while deserializing header: incomplete metadata", FaultKind.MODEL),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", FaultKind.MEMORY),
        (
            "RuntimeError: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62",
            FaultKind.MEMORY,
        ),
        (
            'RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at "/c10/cuda/CUDACachingAllocator.cpp":1154, please report',
            FaultKind.MEMORY,
        ),
        ("Exception: The current node timed out during startup", FaultKind.NO_RAY),
        ("IndexError: list index out of range", FaultKind.OTHER),
    ],
)
def test_kinds(message: str, kind: FaultKind) -> None:
    log = f'Traceback (most recent call last):\n  File "a.py", line 1, in work\n    call()\n{message}\n'
    assert read_fault(1, log).kind is kind


FULL = [
    ("Free memory on device cuda:0 (5.1/15.92 GiB) on startup is less than desired GPU memory utilization (0.35, 5.57 GiB). Decrease",
     "close what else uses it (`nvidia-smi`), or lower rollout.gpu_memory_share by 0.05 (ValueError: Free memory on"),
    ("No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine",
     "or raise rollout.gpu_memory_share by 0.05 (ValueError: No available"),
    ("To serve at least one request with the model's max seq len (4096), (0.5 GiB KV cache is needed, which is larger than the available",
     "raise rollout.gpu_memory_share by 0.05, or lower rollout.max_response_tokens (ValueError: To serve"),
    ("Available memory on node 0 (1.0/15.0 GiB) on kv cache allocation is less than requested memory for kv (2.0 GiB)",
     "close programs (`free -h`), or lower rollout.cpu_kv_cache_gib (ValueError: Available"),
]  # fmt: skip
"""Of vLLM 0.24's start; the third was any error, and the advice named only vLLM's own options."""


@pytest.mark.parametrize(("message", "told"), FULL)
def test_an_engine_without_room_names_our_settings(message: str, told: str) -> None:
    log = f'Traceback (most recent call last):\n  File "a.py", line 1, in work\n    call()\nValueError: {message}\n'
    fault = read_fault(1, log)
    assert fault.kind is FaultKind.MEMORY and told in fault.sentence("m")


def test_memory_that_another_program_gives_back_while_the_engine_measures_is_tried_again() -> None:
    """A browser was closed."""
    message = "AssertionError: Error in memory profiling. Initial free memory 9.1 GiB, current free memory 10.2 GiB. This"
    fault = read_fault(
        1, f'Traceback (most recent call last):\n  File "a.py", line 1, in work\n    call()\n{message}\n'
    )
    assert fault.kind is FaultKind.PASSING and not fault.final(fault.signature, has_trained=False)


def test_the_installed_engine_says_it_in_these_words() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "v1"
    files = ("worker/gpu_worker.py", "worker/cpu_worker.py", "worker/utils.py", "core/kv_cache_utils.py")
    text = re.sub(r'"\s*f?"', "", "".join((folder / name).read_text() for name in files))  # joins literals
    assert [words for words in (*NO_ROOM.split("|"), FREED) if words not in text] == []


def test_what_is_raised_while_a_model_is_read_is_the_model() -> None:
    log = 'Traceback (most recent call last):\n  File "a.py", line 1, in load_weights\n    call()\nKeyError: layers.0.odd\n'
    assert read_fault(1, log).kind is FaultKind.MODEL


def test_weights_of_another_shape_are_told_by_the_first_of_them() -> None:
    report = "\x1b[36m(W pid=7)\x1b[0m model.layers.{0, 1}.mlp.down_proj.weight | MISMATCH | Reinit due to size mismatch - "
    report += "ckpt: torch.Size([256, 896]) vs model:torch.Size([256, 768])\n"
    message = "RuntimeError: You set `ignore_mismatched_sizes` to `False`, thus raising an error. For details look at the above report!"
    log = f'{report}Traceback (most recent call last):\n  File "a.py", line 1, in from_pretrained\n    call()\n{message}\n'
    sentence = read_fault(1, log, f"a process of the trainer died or raised: {message}").sentence(
        "/models/mine"
    )
    assert (
        "model.layers.{0, 1}.mlp.down_proj.weight, ckpt: torch.Size([256, 896]) vs model:torch.Size([256, 768])"
        in sentence
    )
    assert "do not fit together: model.layers" in sentence, "no rest of a colour"
    assert "the model cannot be loaded" in sentence and "model.path=/models/mine" in sentence


def test_the_trainers_own_reason_counts_unless_it_points_elsewhere() -> None:
    assert (
        read_fault(1, RAY_LOG, "the sandbox cannot confine programs").cause
        == "the sandbox cannot confine programs"
    )
    assert (
        read_fault(
            1, ENGINE_LOG, "RuntimeError: Engine core initialization failed. See root cause above"
        ).kind
        is FaultKind.MEMORY
    )
    assert read_fault(-9, ENGINE_LOG).kind is FaultKind.PASSING, "who is killed does not say why"


def test_a_failed_import_that_was_survived_is_not_why_a_signal_ended_the_trainer() -> None:
    log = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    import x\nImportError: no x\n'
    assert read_fault(1, log).kind is FaultKind.IMPORT
    segfault = read_fault(-11, log)
    assert segfault == Fault(FaultKind.OTHER, "it was killed by SIGSEGV and left no message")
    assert not segfault.final("", has_trained=False), "tried again once"
    bus = "(WorkerDict pid=49) Fatal Python error: Bus error\n"
    assert read_fault(-7, log + bus).kind is FaultKind.MEMORY


SURVIVED = (
    "ModuleNotFoundError: No module named 'flash_attn'",
    "RuntimeError: No CUDA GPUs are available",
    "OSError: x does not appear to have a file named config.json",
)


@pytest.mark.parametrize("survived", SURVIVED)
@pytest.mark.parametrize(
    "death",
    [
        "ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.",
        "ray.exceptions.WorkerCrashedError: The worker died unexpectedly while executing this task.",
    ],
)
def test_what_a_worker_had_survived_is_not_why_it_died(survived: str, death: str) -> None:
    """The kernel ended it for its memory, say; an import that failed an hour before would end the run for good."""
    head = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    log = f"{head}{survived}\ncontinuing without it\n{head}{death}\n"
    reason = f"a process of the trainer died or raised: {death}"
    for fault in (read_fault(1, log), read_fault(1, log, reason)):
        assert (
            fault.kind is FaultKind.OTHER
            and "died unexpectedly" in fault.cause
            and not fault.final("", has_trained=False)
        )
    assert read_fault(1, f"{head}{survived}\n").kind in (FaultKind.IMPORT, FaultKind.DEVICE, FaultKind.MODEL)


def test_a_card_that_is_lost_after_a_suspend_is_told_with_the_module() -> None:
    """nvidia-smi, which alone was named, finds nothing wrong."""
    head = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    fault = read_fault(
        1, f"{head}RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment\n"
    )
    assert fault.final("", has_trained=True) and "modprobe nvidia_uvm" in fault.sentence("m")


@pytest.mark.parametrize(
    "raised",
    [
        "RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.",
        "torch._inductor.exc.InductorError: RuntimeError: Failed to find C compiler. Please specify via CC environment variable",
        "subprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/tmpa/cuda_utils.c', '-O3', '-shared', '-fPIC', '-o', "
        "'/tmp/tmpa/cuda_utils.so', '-l:libcuda.so.1', '-I/usr/include/python3.12']' returned non-zero exit status 1.",
    ],
)
def test_kernels_that_cannot_be_compiled_end_the_run_with_what_to_install(raised: str) -> None:
    """As in a slim container or without python3-dev. The second start told the same, and a missing Python.h was a card that
    cannot be used, because Triton's command names libcuda.so."""
    log = f'Traceback (most recent call last):\n  File "/x/triton/runtime/build.py", line 9, in _build\n    g()\n{raised}\n'
    fault = read_fault(1, log)
    assert fault.kind is FaultKind.COMPILER and fault.final("", has_trained=True)
    assert "apt-get install gcc python3." in fault.sentence("m") and "nvidia-smi" not in fault.sentence("m")


def test_ray_that_never_comes_up_is_told_after_two_starts() -> None:
    head = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
    words = "The current node timed out during startup. This could happen because some of the raylet failed to startup"
    busy = read_fault(1, f"{head}Exception: {words} or the GCS has become overloaded.\n")
    assert not busy.final("", has_trained=False), "tried again once"
    assert busy.final(busy.signature, has_trained=False)
    assert not busy.final(busy.signature, has_trained=True), "it has come up before: a busy hour passes"
    assert "End other heavy programs" in busy.sentence("m") and "127.0.0.1" in busy.sentence("m")


def test_what_passes_and_what_does_not() -> None:
    odd = Fault(FaultKind.OTHER, "KeyError: 12 at 0x7f00")
    assert not odd.final("", has_trained=False)
    assert odd.final(Fault(FaultKind.OTHER, "KeyError: 13 at 0x7f99").signature, has_trained=True)
    assert Fault(FaultKind.IMPORT, "x").final("", has_trained=True)
    memory, busy = (
        Fault(FaultKind.MEMORY, "CUDA out of memory"),
        Fault(FaultKind.PASSING, "killed by SIGKILL"),
    )
    assert memory.final(memory.signature, has_trained=False) and not memory.final(
        memory.signature, has_trained=True
    )
    assert not busy.final(busy.signature, has_trained=False)


@given(
    st.lists(
        st.sampled_from(
            [
                *BUS_LOG.splitlines(),
                *RAY_LOG.splitlines(),
                *CHAINED_LOG.splitlines(),
                *ENGINE_LOG.splitlines(),
                "",
                "(pid=",
                "ray::",
            ]
        )
        | st.text()
    )
)
def test_any_log_is_read(lines: list[str]) -> None:
    found = root_cause("\n".join(lines))
    assert found is None or isinstance(found, Raised)
    assert read_fault(1, "\n".join(lines)).cause


def test_a_worker_that_a_signal_ended_tells_more_than_the_actor_that_died() -> None:
    fault = read_fault(
        1, BUS_LOG, "a process of the trainer died or raised: ActorDiedError: The actor died unexpectedly"
    )
    assert fault.kind is FaultKind.MEMORY and fault.cause == "Fatal Python error: Bus error"
    assert not fault.final(fault.signature, has_trained=True), "others may make room"


# Under the real driver


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def finish(run: RunDir, status: int, faults: Any, **config: Any) -> CampaignState:
    command_trainer(run, faults=faults, step_s=0.01)
    assert Driver(run, fast_config(**config)).wait() == status, (run.root / "driver.log").read_text()
    return read_state_file(run.state)


def kinds(run: RunDir) -> list[str]:
    return [item.kind for item in read_incidents(run)]


def test_an_import_error_ends_the_run_at_its_first_attempt_with_the_cause_and_what_to_do(run: RunDir) -> None:
    state = finish(run, 1, [{"kind": "import", "step": 0}])
    assert state.state is State.FAILED and state.attempt == 1 and kinds(run) == ["failed"]
    assert "cannot import name 'no_such_name'" in state.sentence and "bash scripts/run.sh" in state.sentence
    finish(run, 0, [])  # repaired: the same command goes on


def test_the_same_error_twice_before_a_step_ends_the_run(run: RunDir) -> None:
    state = finish(run, 1, [{"kind": "odd", "step": 0}])
    assert state.state is State.FAILED and state.attempt == 2 and kinds(run) == ["crash", "failed"]
    assert "twice in the same way" in state.sentence and "KeyError: 'odd (pretended)'" in state.sentence


def test_two_different_errors_are_tried_again(run: RunDir) -> None:
    faults = [
        {"kind": "odd", "cycle": 1, "attempt": 1, "step": 0},
        {"kind": "crash", "cycle": 1, "attempt": 2, "step": 0},
    ]
    assert finish(run, 0, faults).state is State.DONE
    assert kinds(run) == ["crash", "crash"]


def test_after_finished_steps_the_same_error_is_tried_again(run: RunDir) -> None:
    faults = [
        {"kind": "crash", "cycle": 1, "attempt": attempt, "step": step}
        for attempt, step in ((1, 3), (2, 4), (3, 4))
    ]
    assert finish(run, 0, faults).state is State.DONE
    assert kinds(run) == ["crash"] * 3 and len(read_metrics(run)) == 8


def test_a_trainer_killed_at_every_start_is_tried_as_often_as_configured(run: RunDir) -> None:
    state = finish(run, 1, [{"kind": "kill", "step": 1}], max_restarts_without_progress=2)
    assert state.state is State.FAILED and "3 times in a row" in state.sentence and state.attempt == 3


def test_a_worker_that_a_full_shared_memory_ended(run: RunDir) -> None:
    state = finish(run, 1, [{"kind": "bus", "step": 0}])
    assert "shared memory is full (/dev/shm" in state.sentence and "Bus error). Starting" in state.sentence, (
        "what the log says, not that an actor died"
    )
    assert kinds(run) == ["crash", "failed"]
    assert all("shared memory is full" in incident.cause for incident in read_incidents(run))
