"""A warm interpreter behaves as a cold one: arguments, files, exit status, signals, and everyone's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azr.train.warm_python import RAY_MODULES, WarmPython

LIMIT_S = 60


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[WarmPython]:
    with WarmPython(tmp_path, ["fractions"], ["decimal"]) as server:
        server.start()
        yield server


def run(warm: WarmPython, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(warm.executable), *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        **options,
    )  # type: ignore[call-overload]


def test_code_and_files_run_as_with_a_cold_interpreter(warm: WarmPython, tmp_path: Path) -> None:
    said = run(warm, "-X", "utf8", "-c", "import sys; print(sys.argv, __name__); sys.exit(7)", "a b", "c")
    assert (said.returncode, said.stdout, said.stderr) == (7, "['-c', 'a b', 'c'] __main__\n", "")
    script = tmp_path / "script.py"
    what = "sys.argv[1:], VALUE, os.getcwd(), os.environ['MARK'], sys.stdin.read()"
    script.write_text(f"import os, sys\nfrom neighbour import VALUE\nprint({what})\n")
    (tmp_path / "neighbour.py").write_text("VALUE = 5\n")
    said = run(warm, "-u", str(script), "x", cwd=tmp_path, env={"MARK": "m"}, input="in")
    assert (said.returncode, said.stdout) == (0, f"['x'] 5 {tmp_path} m in\n"), said.stderr


def test_modules_are_there_before_the_program_starts(warm: WarmPython) -> None:
    said = run(warm, "-c", "import sys; print('fractions' in sys.modules, 'decimal' in sys.modules)")
    assert said.stdout == "True True\n"


def test_a_program_can_name_its_process_and_keeps_the_mark_it_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZR_ATTEMPT", "mark")
    with WarmPython(tmp_path, [], []) as warm:
        warm.start()
        read = "print('|'.join(open(f'/proc/self/{name}').read().strip() for name in ('comm', 'cmdline', 'environ')))"
        said = run(warm, "-c", f"import setproctitle; setproctitle.setproctitle('VLLM::EngineCore'); {read}")
    comm, cmdline, environment = said.stdout.split("|", 2)
    assert (comm, cmdline.strip("\0 ")) == ("VLLM::EngineCor", "VLLM::EngineCore")
    assert "AZR_ATTEMPT=mark" in environment.split("\0")


def test_errors_end_as_errors(warm: WarmPython) -> None:
    said = run(warm, "-c", "raise ValueError('so')")
    assert said.returncode == 1
    assert said.stderr.endswith("ValueError: so\n")
    said = run(warm, "-c", "raise SystemExit('in words')")
    assert (said.returncode, said.stderr) == (1, "in words\n")
    assert run(warm, "-c", "import os; os.abort()").returncode == -signal.SIGABRT
    said = run(warm, "-c", "import atexit; atexit.register(print, 'last'); print('first')")
    assert said.stdout == "first\nlast\n"


def test_inherited_files_keep_their_numbers(warm: WarmPython) -> None:
    reading, writing = os.pipe()
    run(
        warm,
        "-c",
        f"import os; os.write({writing}, b'through'); print(sorted(map(int, os.listdir('/proc/self/fd'))))",
        pass_fds=[writing],
    )
    os.close(writing)
    assert os.read(reading, 100) == b"through"
    os.close(reading)


def test_a_spawned_process_comes_from_the_server_too(warm: WarmPython, tmp_path: Path) -> None:
    script = tmp_path / "spawning.py"
    script.write_text(
        "import multiprocessing as mp, sys\n"
        "def child(queue):\n"
        "    queue.put('fractions' in sys.modules)\n"
        "    sys.exit(3)\n"
        "if __name__ == '__main__':\n"
        "    context = mp.get_context('spawn')\n"
        "    queue = context.Queue()\n"
        "    process = context.Process(target=child, args=(queue,))\n"
        "    process.start()\n"
        "    print(queue.get(timeout=50))\n"
        "    process.join(50)\n"
        "    print(process.exitcode)\n"
    )
    said = run(warm, str(script))
    assert said.stdout == "True\n3\n", said.stderr


def sleep_after_note(note: Path) -> str:
    return f"import os, time; open({str(note)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(600)"


def start_sleeper(warm: WarmPython, note: Path) -> tuple[subprocess.Popen[bytes], int]:
    code = (
        f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); {sleep_after_note(note)}"
    )
    client = subprocess.Popen([str(warm.executable), "-c", code])
    wait_until(lambda: note.exists() and note.read_text().endswith(" "))
    return client, int(note.read_text())


def test_signals_reach_the_program(warm: WarmPython, tmp_path: Path) -> None:
    client, _ = start_sleeper(warm, tmp_path / "note")
    client.terminate()
    assert client.wait(timeout=LIMIT_S) == 9


def test_a_killed_client_takes_its_program_along(warm: WarmPython, tmp_path: Path) -> None:
    client, program = start_sleeper(warm, tmp_path / "note")
    client.kill()
    client.wait()
    wait_until(lambda: not alive(program))


def test_a_killed_program_ends_its_client(warm: WarmPython, tmp_path: Path) -> None:
    client, program = start_sleeper(warm, tmp_path / "note")
    os.kill(program, signal.SIGKILL)
    assert client.wait(timeout=LIMIT_S) == -signal.SIGKILL


def test_nothing_is_left_when_the_owner_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from azr.train.warm_python import WarmPython; "
        f"server = WarmPython(Path({str(tmp_path)!r}), [], []); server.start(); print(server._process.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert owner.stdout is not None
    server = int(owner.stdout.readline())
    note = tmp_path / "note"
    client = subprocess.Popen([str(tmp_path / "python"), "-c", sleep_after_note(note)])
    wait_until(lambda: note.exists() and note.read_text().endswith(" "))
    program = int(note.read_text())
    owner.kill()
    owner.wait()
    wait_until(lambda: not alive(server) and not alive(program))
    client.wait(timeout=LIMIT_S)


def test_without_a_server_a_cold_interpreter_starts(tmp_path: Path) -> None:
    with WarmPython(tmp_path, [], []) as warm:
        warm.start()
    said = run(warm, "-c", "print(1)")
    assert said.stdout == "1\n"
    assert "starting a cold one" in said.stderr


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


DECLARES = "import ray\n\n\n@ray.remote\nclass Actor:\n    pass\n"
DRAWS = "import ray._raylet as r; print(r.UniqueID.from_random().hex())"


@pytest.mark.parametrize("patch", [[], [RAY_MODULES[0]]])
def test_children_draw_different_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: list[str]
) -> None:
    """Without the patch they draw the same ones: when this half fails, the patch is no longer needed."""
    (tmp_path / "declares.py").write_text(DECLARES)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with WarmPython(tmp_path, [], [*patch, "declares"]) as warm:
        warm.start()
        drawn = [run(warm, "-c", DRAWS).stdout for _ in range(3)]
    assert all(len(text) > 32 for text in drawn)
    assert len(set(drawn)) == (3 if patch else 1)
