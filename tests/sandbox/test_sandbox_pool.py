"""The public face of the sandbox: verdicts, asynchrony, misfortune, and what is left when its owner is
killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from azr.config.sandbox import Limits, SandboxConfig
from azr.errors import ConfigError, SandboxError
from azr.sandbox import Job, Profile, Sandbox, Status, probe_confinement
from azr.sandbox.suite import below
from azr.sandbox.worker import Worker
from azr.system.signals import SIGNALS

ROOT = Path(__file__).resolve().parents[2]
ADD = "def f(a, b):\n    return a + b"


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(limits=Limits(cpu_s=0.5, wall_s=2.0, memory_mib=512))) as made:
        yield made


def run(sandbox: Sandbox, code: str, *inputs: str, **fields):
    return sandbox.submit(Job(code, inputs or ("1",), **fields)).result(timeout=120)


def test_values_and_order_of_many_inputs(sandbox):
    result = run(sandbox, ADD, "1, 2", "'a', 'b'", "a=[1],\n b=[2]")
    assert result.ok and result.values == ("3", "'ab'", "[1, 2]")


def test_await_from_several_event_loops(sandbox):
    async def many():
        results = await asyncio.gather(*[sandbox.run(Job(ADD, (f"{i}, {i}",))) for i in range(40)])
        return [result.calls[0].value for result in results]

    for _ in range(2):
        assert asyncio.run(many()) == [str(2 * i) for i in range(40)]


def test_run_many_yields_every_job_once(sandbox):
    jobs = (Job(ADD, (f"{i}, 1",), verify=i % 2 == 0) for i in range(300))
    found = dict(sandbox.run_many(jobs))
    assert {index: result.values[0] for index, result in found.items()} == {i: str(i + 1) for i in range(300)}


def test_one_killed_by_the_machine_is_run_again(sandbox):
    """As the kernel kills when memory runs out: not the program's fault, unless it happens again and
    again."""
    future = sandbox.submit(
        Job(
            "def f(x):\n    for i in range(10 ** 9):\n        pass",
            ("1",),
            limits=Limits(cpu_s=60, wall_s=100),
        )
    )
    zygotes = [
        child
        for pid in sandbox.process_ids()
        for child in (psutil.Process(pid), *psutil.Process(pid).children())
    ]
    killed = 0
    deadline = time.monotonic() + 60
    while not future.done() and time.monotonic() < deadline:
        for program in {child for zygote in zygotes for child in zygote.children()} - set(zygotes):
            # older than any attempt could be that has not begun its program
            if sum(program.cpu_times()[:2]) > 0.1:
                program.kill()
                killed += 1
                time.sleep(0.2)
        time.sleep(0.02)
    result = future.result(timeout=60)
    assert killed == 3 and result.status is Status.KILLED and "memory ran out" in result.reason
    assert run(sandbox, ADD, "1, 2").values == ("3",)


def test_a_debugger_does_not_follow_into_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under VS Code's F5 every program was blocked: the debugger had put itself into the zygote's command."""
    follows = [True]

    @contextlib.contextmanager
    def skip_subprocess_arg_patch():
        follows[0] = False
        yield
        follows[0] = True

    def starts(*_: object, **__: object) -> None:
        raise OSError("followed" if follows[0] else "left alone")

    pydevd = SimpleNamespace(skip_subprocess_arg_patch=skip_subprocess_arg_patch)
    monkeypatch.setitem(sys.modules, "_pydev_bundle.pydev_monkey", pydevd)
    monkeypatch.setattr(subprocess, "Popen", starts)
    with pytest.raises(SandboxError, match="left alone"):
        Worker(SandboxConfig(), 0, 1)


def test_first_failure_is_the_status_of_the_job(sandbox):
    result = run(sandbox, "def f(x):\n    return 1 // x", "1", "0")
    assert (
        result.status is Status.ERROR
        and result.calls[0].ok
        and result.calls[1].exception == "ZeroDivisionError"
    )


def test_every_input_gets_its_own_verdict_when_asked(sandbox):
    code = "def f(x):\n    while x == 1:\n        pass\n    return x"
    inputs = ("0", "1", "2", "1", "3")
    given_up = run(sandbox, code, *inputs, verify=False)
    assert [call.status.value for call in given_up.calls] == [
        "ok",
        "timeout",
        "timeout",
        "timeout",
        "timeout",
    ]
    whole = run(sandbox, code, *inputs, verify=False, every_input=True)
    assert [call.status.value for call in whole.calls] == ["ok", "timeout", "ok", "timeout", "ok"]
    assert whole.values == ("0", None, "2", None, "3")


def test_exceptions_are_verified_only_when_asked(sandbox):
    code = "def f(x):\n    raise (KeyError if hash('a') % 64 < 32 else ValueError)"
    assert run(sandbox, code).status is Status.ERROR
    mixed = "def f(x):\n    raise [KeyError, ValueError, TypeError, OSError][list({'ab', 'cd', 'ef', 'gh'}).index('ab')]"
    assert run(sandbox, mixed, verify_errors=True).status is Status.NONDETERMINISTIC
    assert (
        run(sandbox, "def f(x):\n    return x.y", verify_errors=True).calls[0].exception == "AttributeError"
    )


def test_without_verification_one_run_is_enough(sandbox):
    counter = "n = [0]\ndef f(x):\n    n[0] += 1\n    return n[0]"
    assert run(sandbox, counter, verify=False).values == ("1",)
    assert run(sandbox, counter).status is Status.NONDETERMINISTIC


def test_a_recursion_limit_of_the_top_level_holds_for_every_call_and_one_of_a_call_for_it_alone(sandbox):
    """It held for the first call only: the second ended in RecursionError, and the program was nondeterministic."""
    deep = "    return g(n)\ndef g(k):\n    return 0 if k == 0 else 1 + g(k - 1)"
    top = f"import sys\nsys.setrecursionlimit(9000)\ndef f(n):\n{deep}"
    assert run(sandbox, top, "2000", "3000").values == ("2000", "3000")
    assert run(sandbox, top, "1", "3000", verify=False).values == ("1", "3000")
    # too low for the reader of arguments and the writer of values, which are no part of the program
    low = "import sys\nsys.setrecursionlimit(30)\ndef f(x):\n    return x"
    nested = "[" * 60 + "]" * 60
    assert run(sandbox, low, nested).values == (nested,)
    inside = f"import sys\ndef f(n):\n    if n == 2000: sys.setrecursionlimit(9000)\n{deep}"
    first, second = run(sandbox, inside, "2000", "2001", verify=False, every_input=True).calls
    assert first.value == "2000" and second.exception == "RecursionError"
    assert run(sandbox, "import sys\ndef f(n):\n    return sys.getrecursionlimit()").values == ("1000",)


def test_evaluate_profile_runs_test_scripts(sandbox):
    script = (
        "import hashlib, random\n"
        "def f(x):\n    return hashlib.md5(x).hexdigest()\n"
        "def check(g):\n    assert g(b'a')[:2] == '{}'\n"
        "check(f)\n"
    )
    good = sandbox.submit(Job(script.format("0c"), entry="", profile=Profile.EVALUATE)).result(timeout=60)
    bad = sandbox.submit(Job(script.format("00"), entry="", profile=Profile.EVALUATE)).result(timeout=60)
    assert good.ok and good.values == (None,)
    assert bad.status is Status.ERROR and bad.calls[0].exception == "AssertionError"
    clock = "import datetime, random\ndef f(x):\n    return datetime.datetime.now().year > 2000 and random.random() < 1"
    assert run(sandbox, clock, profile=Profile.EVALUATE).values == ("True",)
    assert (
        run(sandbox, "def f(x):\n    open('/etc/passwd')", profile=Profile.EVALUATE).status is Status.BLOCKED
    )


def test_limits_of_a_job(sandbox):
    assert (
        run(sandbox, "def f(x):\n    return [0] * 20_000_000 and 1", limits=Limits(memory_mib=128))
        .calls[0]
        .exception
        == "MemoryError"
    )
    assert (
        run(sandbox, "def f(x):\n    return 'a' * 100", limits=Limits(value_chars=50)).status
        is Status.REFUSED
    )
    start = time.monotonic()
    assert (
        run(sandbox, "def f(x):\n    while True: pass", limits=Limits(cpu_s=0.1, wall_s=5)).status
        is Status.TIMEOUT
    )
    assert time.monotonic() - start < 60


def test_jobs_that_make_no_sense_are_refused(sandbox):
    assert sandbox.submit(Job("x" * 300_000, ("1",))).result(timeout=60).status is Status.REFUSED
    assert sandbox.submit(Job(ADD, ())).result(timeout=60).status is Status.REFUSED


def test_an_abandoned_wait_does_no_harm(sandbox):
    own = below(sandbox)

    async def impatient():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sandbox.run(Job("def f(x):\n    while True: pass", ("1",))), 0.05)

    asyncio.run(impatient())
    assert run(sandbox, ADD, "1, 2").ok
    deadline_s = time.monotonic() + 60
    # the program that nobody waits for ends by its own limit
    while below(sandbox) - own and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not below(sandbox) - own


def test_a_signal_to_all_processes_at_once_is_its_owners_alone(sandbox):
    """As a shutdown sends it: the owner ends what it does, and the sandbox with it."""
    before = sandbox.process_ids()
    for pid in before:
        for number in SIGNALS:
            os.kill(pid, number)
    assert run(sandbox, ADD, "1, 2").ok and sandbox.process_ids() == before


def test_a_dead_zygote_is_replaced_and_no_job_is_lost():
    with Sandbox(SandboxConfig()) as sandbox:
        futures = [sandbox.submit(Job(ADD, (f"{i}, 1",))) for i in range(120)]
        os.kill(sandbox.process_ids()[0], signal.SIGKILL)
        assert [future.result(timeout=120).values[0] for future in futures] == [
            str(i + 1) for i in range(120)
        ]
        assert sandbox.submit(Job(ADD, ("1, 1",))).result(timeout=60).ok
        assert sandbox.restarts == 1


def test_a_zygote_that_dies_as_soon_as_it_is_there_is_replaced_too(monkeypatch):
    """As the kernel ends several when memory runs out: the sandbox's own thread failed (KeyError)."""
    doomed = [True, True]

    class Doomed(Worker):
        def wait_ready(self) -> None:
            super().wait_ready()
            if doomed and doomed.pop():
                self.process.kill()
                self.process.wait(timeout=30)

    monkeypatch.setattr("azr.sandbox.dispatch.Worker", Doomed)
    with Sandbox(SandboxConfig(workers=2, slots=2)) as sandbox:
        futures = [sandbox.submit(Job(ADD, (f"{i}, 1",))) for i in range(120)]
        for pid in sandbox.process_ids():
            os.kill(pid, signal.SIGKILL)
        assert all(future.result(timeout=120).ok for future in futures)
    assert not doomed


def test_close_ends_everything_and_waiting_jobs_fail():
    sandbox = Sandbox(SandboxConfig())
    processes = [psutil.Process(pid) for pid in sandbox.process_ids()]
    processes += [child for process in processes for child in process.children(recursive=True)]
    future = sandbox.submit(Job("def f(x):\n    while True: pass", ("1",)))
    sandbox.close()
    with pytest.raises(SandboxError):
        future.result(timeout=10)
    with pytest.raises(SandboxError):
        sandbox.submit(Job(ADD, ("1, 2",)))
    sandbox.close()
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive


def test_each_job_of_a_broken_sandbox_gets_an_error_of_its_own(monkeypatch):
    """One was raised for all: its traceback grew with each job, to 100,000 lines of log for a step's 80."""

    def break_down(dispatcher, worker):
        raise SandboxError("the machine may be overloaded")

    monkeypatch.setattr("azr.sandbox.dispatch.Dispatcher.listen", break_down)
    lengths = []
    with Sandbox(SandboxConfig()) as sandbox:
        sandbox._thread.join(timeout=60)
        for _ in range(20):
            with pytest.raises(SandboxError, match="the machine may be overloaded") as raised:
                run(sandbox, ADD, "1, 2")
            lengths.append(len(traceback.format_exception(raised.value)))
    assert len(set(lengths)) == 1, lengths


def test_killing_the_owner_leaves_no_process():
    owner = (
        "import sys, time\n"
        "from azr.sandbox import *\n"
        "if __name__ == '__main__':\n"
        "    sandbox = Sandbox(SandboxConfig())\n"
        "    hang = 'def f(x):\\n    while True: pass'\n"
        "    jobs = [sandbox.submit(Job(hang if i % 3 else 'def f(x):\\n    return x', ('1',))) for i in range(60)]\n"
        "    print(*sandbox.process_ids(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", owner], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    zygotes = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(
        len(zygote.children(recursive=True)) > 1 for zygote in zygotes
    ):
        time.sleep(0.05)
    below = [child for zygote in zygotes for child in zygote.children(recursive=True)]
    assert zygotes and any(len(zygote.children(recursive=True)) > 1 for zygote in zygotes)
    process.kill()
    process.wait(timeout=30)
    process.stdout.close()
    deadline = time.monotonic() + 30
    while (alive := [each for each in zygotes + below if not ended(each)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert alive == []


def ended(process: psutil.Process) -> bool:
    """Gone, or a zombie: orphans are reaped by the machine's first process, whenever it comes to it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_sandbox_belongs_to_one_process(sandbox):
    with pytest.raises(SandboxError, match="SandboxConfig"):
        pickle.dumps(sandbox)


def test_fails_closed_when_a_probe_is_not_stopped():
    worker = Worker(SandboxConfig(), 1, 1)
    try:
        worker.wait_ready()
        assert set(worker.hello["probes"]) == {"read", "write", "connect", "fork", "kill"}
        for said in ("done", "", "not tried: ImportError"):
            worker.hello["probes"]["connect"] = said
            with pytest.raises(SandboxError, match=r"connect not stopped.*accept_unstopped=\[connect\]"):
                worker._check_probes()
    finally:
        worker.kill()


def test_accepting_by_name_and_other_configuration_errors():
    assert probe_confinement().confined
    with pytest.raises(SandboxError, match="no-such-python"):
        Sandbox(SandboxConfig(python="/no-such-python"))
    with pytest.raises(SandboxError, match="bubblewrap"):
        Sandbox(SandboxConfig(bubblewrap="/no-such-bwrap"))
    for config, key in (
        (SandboxConfig(workers=3), "workers"),
        (SandboxConfig(accept_unstopped=["everything"]), "accept_unstopped"),  # type: ignore[list-item]
        (SandboxConfig(limits=Limits(cpu_s=5, wall_s=1)), "wall_s"),
        (SandboxConfig(root_uid=0), "root_uid"),
    ):
        with pytest.raises(ConfigError, match=key):
            config.validate()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_given_up():
    report = probe_confinement()
    assert "dropped_root" in report.layers and report.uid != 0
