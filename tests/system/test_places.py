"""Temporary folders, homes, names and paths that Ray, Triton or torch cannot work with: found at once, and
put right."""

from __future__ import annotations

import contextlib
import glob
import importlib
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from unittest import mock

import pytest

from azr.doctor.checks import place_findings
from azr.errors import ConfigError
from azr.system import places, process_limits
from azr.system.variables import TLS_FILES

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = 12345
root_only = pytest.mark.skipif(
    os.getuid() != 0, reason="changes the user id or mounts something, which needs root"
)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a path short enough for sockets, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="p-", dir="/tmp") as folder:
        yield Path(folder)


def environment_of(**values: str) -> dict[str, str]:
    return {"HOME": os.environ.get("HOME", "/root"), "USER": "somebody", **values}


def private_below(*parents: Path) -> AbstractContextManager[object]:
    """Inside, the private folder may lie in these alone."""
    return mock.patch.object(places, "parents_of_private", lambda environment: parents)


def prepared(environment: dict[str, str], *parents: Path) -> list[str]:
    said: list[str] = []
    with private_below(*parents) if parents else nullcontext():
        places.prepare_places(environment, said.append)
    return said


def test_an_ordinary_machine_is_left_alone(short: Path) -> None:
    environment = environment_of(TMPDIR=str(short), HOME=str(short))
    before = dict(environment)
    assert prepared(environment) == [] and environment == before
    assert not list(places.troubles(environment)) or sys.executable != places.plain_python()


@pytest.mark.parametrize(
    "name",
    [
        *("PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT"),
        *("VLLM_USE_MODELSCOPE", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_LOGGING_CONFIG_PATH"),
        *("RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_OVERRIDE_RESOURCES", "RAY_OVERRIDE_LABELS"),
        *("VLLM_DP_SIZE", "TORCHELASTIC_USE_AGENT_STORE", "TORCH_FORCE_WEIGHTS_ONLY_LOAD"),
        *("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "OMP_THREAD_LIMIT", "OMP_DYNAMIC"),
        *("RAY_REDIS_ADDRESS", "RAY_gcs_storage", "RAY_object_spilling_config", "RAY_memory_usage_threshold"),
    ],
)  # fmt: skip
def test_what_changes_how_python_or_the_engine_runs_is_not_handed_on(short: Path, name: str) -> None:
    """VLLM_USE_MODELSCOPE and RAY_RUNTIME_ENV_HOOK ended a run with the advice to install all packages again."""
    environment = environment_of(TMPDIR=str(short), HOME=str(short), **{name: "2"})
    subject = {"PY": "Python", "RA": "Ray", "VL": "vLLM", "TO": "torch", "OM": "OpenMP"}.get(name[:2], "ROCm")
    assert [trouble.seen for trouble in places.troubles(environment) if trouble.subject == subject] == [
        f"{name}=2"
    ]
    [sentence] = prepared(environment)
    assert sentence.startswith(f"{name}=2 is set; the run's processes start without it")
    assert name not in environment and prepared(environment) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_HUB_DOWNLOAD_TIMEOUT", "10s"),  # the import of huggingface_hub ended in a traceback
        ("HF_HUB_ETAG_TIMEOUT", "10.5"),
        ("VLLM_PORT", "tcp://10.0.0.7:8000"),  # Kubernetes sets it for a service called vllm
        ("TORCHINDUCTOR_COMPILE_THREADS", "all"),
    ],
)
def test_what_is_no_number_where_one_is_read_is_not_handed_on(short: Path, name: str, value: str) -> None:
    environment = environment_of(TMPDIR=str(short), HOME=str(short), **{name: value})
    [sentence] = prepared(environment)
    assert sentence.startswith(f"{name}={value} is set;") and sentence.endswith(
        "it has to be a whole number."
    )
    assert name not in environment
    assert (
        prepared(environment | {name: "8000", "VLLM_SERVICE_HOST": "10.0.0.7", "VLLM_PORT_8000_TCP": value})
        == []
    )


@pytest.mark.parametrize("name", ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_expandable_segments_are_not_handed_on(short: Path, name: str) -> None:
    """Only the doctor spoke of them; torch: MemPool doesn't currently support expandable_segments."""
    environment = environment_of(TMPDIR=str(short), HOME=str(short), **{name: "expandable_segments: True"})
    [trouble] = places.troubles(environment)
    assert trouble.harmless and trouble.subject == "torch" and f"unset {name}" in trouble.fix
    [sentence] = prepared(environment)
    assert "the engine's memory pool takes no expandable segments" in sentence and name not in environment
    environment |= {name: "max_split_size_mb:128,expandable_segments:False"}
    assert prepared(environment) == [] and name in environment


def test_tls_without_certificates_is_not_handed_on(short: Path) -> None:
    """Ray did not start; its log alone said why."""
    environment = environment_of(TMPDIR=str(short), HOME=str(short), RAY_USE_TLS="1")
    assert [trouble.seen for trouble in places.troubles(environment)] == ["RAY_USE_TLS=1"]
    [sentence] = prepared(environment)
    assert "RAY_TLS_CA_CERT do not name its certificates" in sentence and "RAY_USE_TLS" not in environment
    (short / "pem").touch()
    environment |= dict.fromkeys(TLS_FILES, str(short / "pem")) | {"RAY_USE_TLS": "1"}
    assert prepared(environment) == [] and environment["RAY_USE_TLS"] == "1"
    assert prepared(environment | {"RAY_USE_TLS": "0", "RAY_TLS_CA_CERT": ""}) == []


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("GLOO_SOCKET_IFNAME", "eth77", False),
        ("GLOO_SOCKET_IFNAME", "l", False),
        ("GLOO_SOCKET_IFNAME", "lo", True),
        ("NCCL_SOCKET_IFNAME", "eth77,ib9", False),
        ("NCCL_SOCKET_IFNAME", "=l", False),
        ("NCCL_SOCKET_IFNAME", "l", True),
        ("NCCL_SOCKET_IFNAME", "eth77,lo", True),
        ("NCCL_SOCKET_IFNAME", "^docker0", True),
        ("VLLM_HOST_IP", "192.0.2.7", False),
        ("VLLM_HOST_IP", "::ffff:192.0.2.7", False),
        ("VLLM_HOST_IP", "no.such.host.invalid", False),
        ("VLLM_HOST_IP", "127.0.0.1", True),
    ],
)
def test_network_settings_of_another_machine(short: Path, name: str, value: str, kept: bool) -> None:
    """Left over from a cluster's job; torch's process group would not come up."""
    environment = environment_of(TMPDIR=str(short), HOME=str(short), **{name: value})
    troubles = [trouble.seen for trouble in places.troubles(environment) if trouble.subject == "network"]
    said = prepared(environment)
    if kept:
        assert (said, troubles, environment[name]) == ([], [], value)
    else:
        assert [one.startswith(f"{name}={value} names no ") for one in [*said, *troubles]] == [
            True,
            True,
        ]
        assert name not in environment and prepared(environment) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("with a blank", "space or another special character"),
        ("quote'", "special character"),
        ("dollar$HOME", "special character"),
        ("umläut", "special character"),
        ("(brackets)", "special character"),
        ("x" * 90, "bytes long; Ray's sockets need a path of at most 39"),
        ("ä" * 16, "special character"),
    ],
)
def test_a_temporary_folder_that_ray_cannot_use_is_replaced(short: Path, name: str, words: str) -> None:
    unfit = short / name
    unfit.mkdir()
    environment = environment_of(TMPDIR=str(unfit))
    [trouble] = [item for item in places.troubles(environment) if item.subject == "temporary folder"]
    assert words in trouble.seen and str(unfit) in trouble.seen and trouble.fix
    [sentence] = prepared(environment, unfit, short)
    assert words in sentence and sentence.endswith(f"the run uses {short}/azr-{os.getuid()}.")
    assert environment["TMPDIR"] == f"{short}/azr-{os.getuid()}"
    assert prepared(environment, unfit, short) == [], "once"
    assert [finding.seen for finding in place_findings([trouble])] == [trouble.seen]


@pytest.mark.parametrize(
    ("value", "words"),
    [("not/absolute", "not an absolute path"), ("/nowhere/at/all", "is not a readable folder")],
)
def test_a_temporary_folder_that_is_none(short: Path, value: str, words: str) -> None:
    environment = environment_of(TMPDIR=value)
    assert words in prepared(environment, short)[0]
    assert Path(environment["TMPDIR"]).is_dir()


def test_empty_variables_are_none(short: Path) -> None:
    environment = environment_of(TMPDIR="", RAY_TMPDIR="")
    said = prepared(environment, short)
    assert (
        "RAY_TMPDIR" not in environment
        and environment.get("TMPDIR") != ""
        and not any("TMPDIR" in text for text in said)
    )


def test_rays_own_variable_is_looked_at_too(short: Path) -> None:
    environment = environment_of(TMPDIR=str(short), RAY_TMPDIR=str(short / "x y"))
    (short / "x y").mkdir()
    assert prepared(environment, short)[0].startswith("RAY_TMPDIR=")
    assert environment["RAY_TMPDIR"] == f"{short}/azr-{os.getuid()}" and environment["TMPDIR"] == str(short)


def test_where_no_folder_serves_each_is_named(short: Path) -> None:
    (short / "a b").mkdir()
    with pytest.raises(ConfigError) as error:
        prepared(environment_of(TMPDIR=str(short / "a b")), short / "a b", short / "missing")
    assert "a b" in str(error.value) and "missing" in str(error.value) and "Set TMPDIR" in str(error.value)


@root_only
def test_mounted_noexec(short: Path) -> None:
    mounted = short / "noexec"
    mounted.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "noexec,size=1m", "none", str(mounted)], capture_output=True
    ).returncode:
        pytest.skip("this container may not mount")
    try:
        assert "mounted noexec" in places.temporary_problem(str(mounted))
        assert "mounted noexec" in prepared(environment_of(TMPDIR=str(mounted)), mounted, short)[0]
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


@root_only
def test_a_full_or_read_only_folder_is_tried_not_asked(short: Path) -> None:
    mounted = short / "ro"
    mounted.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "none", str(mounted)], capture_output=True
    ).returncode:
        pytest.skip("this container may not mount")
    try:
        assert "cannot be written (Read-only file system)" in places.temporary_problem(str(mounted))
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_folder_that_others_can_write_is_not_taken(short: Path) -> None:
    trap = short / f"azr-{os.getuid()}"
    trap.mkdir()
    trap.chmod(0o777)
    with private_below(short), pytest.raises(ConfigError, match="can be written by others"):
        places.private_folder()
    trap.rmdir()
    trap.symlink_to("/etc")
    with private_below(short), pytest.raises(ConfigError, match="not a folder of yours"):
        places.private_folder()


def test_the_private_folder_is_private_and_always_the_same(short: Path) -> None:
    with private_below(short):
        folder = places.private_folder()
        assert folder == places.private_folder()
    with private_below(folder):
        assert folder == places.private_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_limit_is_that_of_rays_longest_socket() -> None:
    node = importlib.import_module("ray._private.utils")
    folder = "/" + "t" * (places.TEMPORARY_BYTES - 1)
    node.validate_socket_filepath(folder + places.RAY_SOCKET)
    with pytest.raises(OSError, match="107 bytes"):
        node.validate_socket_filepath(f"{folder}t{places.RAY_SOCKET}")


@pytest.mark.parametrize("home", ["", "/nonexistent", "relative"])
def test_a_home_that_is_none_is_replaced(short: Path, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_passwd_entry", lambda: None)
    environment = {"HOME": home, "TMPDIR": str(short), "USER": "x"}
    [sentence] = prepared(environment, short)
    assert (
        "caches" in sentence
        and environment["HOME"] == f"{short}/azr-{os.getuid()}/home"
        and Path(environment["HOME"]).is_dir()
    )
    assert "home" in {
        item.subject for item in places.troubles({"HOME": home, "TMPDIR": str(short), "USER": "x"})
    }


def run_as_nobody(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Under a user id that has no passwd entry, with an interpreter that it may read (the standard library is
    enough)."""
    for interpreter in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        with contextlib.suppress(OSError):
            ready = subprocess.run(
                [interpreter, "-c", "import sys; assert sys.version_info >= (3, 10)"],
                user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", env=environment, capture_output=True, timeout=60,
            )  # fmt: skip
            if ready.returncode == 0:
                break
    else:
        pytest.skip("no interpreter that everybody may read")
    return subprocess.run(
        [interpreter, "-c", code], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


WHO_AM_I = """
import json, os, sys
from azr.system.places import prepare_places
said = []
prepare_places(say=said.append)
import getpass, pathlib, tempfile
files = [pathlib.Path.home() / "cache", pathlib.Path(tempfile.gettempdir()) / f"x{os.getpid()}"]
for file in files:
    file.write_text("x"); file.unlink()
print(json.dumps([said, getpass.getuser(), str(pathlib.Path.home())]))
"""


@root_only
@pytest.mark.parametrize("home", [None, "/", "/root"])
@pytest.mark.parametrize("user", [None, "somebody"])
def test_a_user_id_without_a_passwd_entry(short: Path, home: str | None, user: str | None) -> None:
    short.chmod(0o777)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROJECT),
        "TMPDIR": str(short),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment |= {"HOME": home} if home else {}
    environment |= {"USER": user} if user else {}
    answer = run_as_nobody(WHO_AM_I, environment)
    assert answer.returncode == 0, answer.stderr
    said, name, found_home = json.loads(answer.stdout)
    assert name == (user or f"uid{NOBODY}")
    assert found_home == f"{short}/azr-{NOBODY}/home"
    assert len(said) == (1 if user else 2)


COMPILES = """
import subprocess, sys
from pathlib import Path
from azr.system.places import keep_bytecode
keep_bytecode(__import__("os").environ, print, Path(sys.argv[1]))
import here
subprocess.run([sys.executable, "-c", "import there"], check=True)
"""


def test_modules_compiled_once_are_found_by_the_next_process_where_none_may_lie_beside_its_source(
    short: Path,
) -> None:
    """An import of verl and vLLM took three times as long in every process of every start."""
    (short / "packages" / "torch").mkdir(parents=True)
    for name in ("here", "there"):
        (short / f"{name}.py").write_text("VALUE = 1\n")
    environment = {"HOME": str(short), "PYTHONPATH": f"{PROJECT}:{short}", "PYTHONDONTWRITEBYTECODE": "1"}
    written: list[dict[str, int]] = []
    folder = short / ".cache" / "azr" / "bytecode"
    for _ in range(2):
        answer = subprocess.run(
            [sys.executable, "-c", COMPILES, str(short / "packages")],
            env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert f"the run keeps compiled modules in {folder}," in answer.stdout
        written.append({file.name.split(".")[0]: file.stat().st_ino for file in folder.rglob("*here.*.pyc")})
    assert set(written[0]) == {"here", "there"} and written[1] == written[0]
    assert not list(short.glob("__pycache__")) and stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_compiled_modules_stay_where_python_keeps_them_itself(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(packages: Path, **values: str) -> str:
        environment = {"HOME": str(short), **values}
        said: list[str] = []
        places.keep_bytecode(environment, said.append, packages)
        assert bool(said) == (environment != {"HOME": str(short), **values})
        return said[0].split(";")[0] if said else ""

    bare, compiled = short / "bare", short / "compiled"
    (bare / "torch").mkdir(parents=True)
    (compiled / "torch" / "__pycache__").mkdir(parents=True)
    forbidden = {"PYTHONDONTWRITEBYTECODE": "1"}
    assert asked(bare, **forbidden) == "PYTHONDONTWRITEBYTECODE=1 is set"
    assert asked(bare) == "", "the first start leaves them there"
    assert asked(compiled, **forbidden) == "", "pip compiled them"
    assert asked(bare, **forbidden, PYTHONPYCACHEPREFIX="/elsewhere") == ""
    assert asked(bare, **forbidden, XDG_CACHE_HOME="/proc/none") == "", "no place for them"
    (short / "open" / "azr" / "bytecode").mkdir(parents=True)
    (short / "open" / "azr" / "bytecode").chmod(0o777)
    assert asked(bare, **forbidden, XDG_CACHE_HOME=str(short / "open")) == "", "others could put code there"
    monkeypatch.chdir(short)
    assert places.cache_folder("one", {"XDG_CACHE_HOME": "open"}) == short / "open" / "azr" / "one"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert asked(bare) == f"{bare / 'torch'} cannot be written"


def test_an_interpreter_below_a_blank_gets_a_plain_path(short: Path) -> None:
    """The path of the interpreter, of Ray's worker script and of every header is derived from it."""
    environment_folder = short / "My Projects (x) #1" / ".venv"
    environment_folder.parent.mkdir()
    environment_folder.symlink_to(sys.prefix)
    python = environment_folder / Path(sys.executable).relative_to(sys.prefix)
    code = (
        "import json, sys\nfrom azr.system.places import plain_python\nimport subprocess\npython = plain_python()\n"
        "said = subprocess.run([python, '-c', 'import sys, ray; print(sys.prefix); print(ray.__file__)'], capture_output=True, text=True)\n"
        "print(json.dumps([sys.prefix, python, *said.stdout.split()]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(short)}
    answer = subprocess.run(
        [str(python), "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    prefix, plain, prefix_there, ray_file = json.loads(answer.stdout)
    assert prefix == str(environment_folder)
    assert all(places.is_shell_safe(path) for path in (plain, prefix_there, ray_file))
    assert (
        Path(ray_file).is_relative_to(prefix_there)
        and Path(prefix_there).resolve() == Path(sys.prefix).resolve()
    )


def test_a_folder_that_reads_as_a_pattern_gets_a_link(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine found no weights in /models/[a], in a run without a card, an evaluation and an export."""
    monkeypatch.setenv("TMPDIR", str(short))
    for name in ("a b", "ü", "]"):
        assert places.without_wildcards(short / name) == short / name
    for name in ("m [1]", "what?", "*"):
        (short / name).mkdir()
        (short / name / "config.json").touch()
        link = places.without_wildcards(short / name)
        assert glob.glob(f"{link}/*.json")  # noqa: PTH207 - as the engine looks
        assert link.resolve() == (short / name).resolve()
        assert places.without_wildcards(short / name) == link


def test_the_trainer_becomes_itself_under_the_plain_path(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda path, words: started.append([path, *words]))
    places.restart_with_plain_path("azr.train", ["/a run"])
    assert started == [] or places.plain_python() != sys.executable
    monkeypatch.setattr(places, "plain_python", lambda: "/plain/python")
    places.restart_with_plain_path("azr.train", ["/a run"])
    assert started[-1] == ["/plain/python", "/plain/python", "-m", "azr.train", "/a run"]


@pytest.mark.parametrize(("hard", "words"), [(8192, "4096"), (2000, "2000"), (300, "ulimit -Hn")])
def test_a_low_limit_of_open_files_is_raised_or_told(hard: int, words: str) -> None:
    """With ``ulimit -n 256`` the trainer's interpreter ended with EINVAL when it put descriptors aside."""
    code = (
        "import resource\n"
        "from azr.system import places\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))\n"
        "try:\n"
        "    places.prepare_places()\n"
        "    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
        "except places.ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert words in done.stdout, done.stderr


@pytest.mark.parametrize("which", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ((4 << 30, 5 << 30), "may address 5.0 GiB here"),
        ((5 << 30, 40 << 30), ""),
        ((5 << 30, -1), ""),
        ((-1, -1), ""),
    ],
)
def test_a_low_limit_of_address_space_is_raised_or_told(
    limits: tuple[int, int], words: str, which: int, monkeypatch: pytest.MonkeyPatch, short: Path
) -> None:
    real = process_limits.resource.getrlimit
    seen = []
    monkeypatch.setattr(
        process_limits.resource,
        "getrlimit",
        lambda what: limits if what == which else real(what),
    )
    monkeypatch.setattr(
        process_limits.resource,
        "setrlimit",
        lambda what, new: seen.append(new) if what == which else None,
    )
    if words:
        with pytest.raises(ConfigError, match=words):
            places.prepare_places({"TMPDIR": str(short), "HOME": str(short), "USER": "x"}, say=lambda _: None)
    else:
        places.prepare_places({"TMPDIR": str(short), "HOME": str(short), "USER": "x"}, say=lambda _: None)
        assert seen == ([(limits[1], limits[1])] if limits[0] != -1 else [])


@pytest.mark.parametrize(
    ("soft", "hard", "may_raise", "expected"),
    [
        (256 << 10, -1, False, (8 << 20, -1)),
        (256 << 10, 64 << 20, False, (8 << 20, 64 << 20)),
        (256 << 10, 256 << 10, True, (8 << 20, 8 << 20)),
        (256 << 10, 256 << 10, False, "a stack of 256 KiB here (ulimit -s)"),
        (-1, -1, False, None),
        (64 << 20, -1, False, None),
    ],
)
def test_a_small_stack_is_raised_or_told(
    soft: int,
    hard: int,
    may_raise: bool,
    expected: tuple[int, int] | str | None,
    short: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A deep program crashed with ``ulimit -s 256`` and gave its value elsewhere."""
    real, stack, made, heard = (
        process_limits.resource.getrlimit,
        process_limits.resource.RLIMIT_STACK,
        [],
        list[str](),
    )

    def put(what: int, new: tuple[int, int]) -> None:
        if what == stack and hard not in (-1, new[1]) and not may_raise:
            raise ValueError("not allowed to raise maximum limit")
        made.extend([new] if what == stack else [])

    monkeypatch.setattr(
        process_limits.resource, "getrlimit", lambda what: (soft, hard) if what == stack else real(what)
    )
    monkeypatch.setattr(process_limits.resource, "setrlimit", put)
    places.prepare_places({"TMPDIR": str(short), "HOME": str(short), "USER": "x"}, say=heard.append)
    assert made == ([expected] if isinstance(expected, tuple) else [])
    assert bool(heard) == isinstance(expected, str) and (not heard or str(expected) in heard[0])


@pytest.mark.parametrize(
    ("soft", "hard", "told"), [(60, -1, ""), (60, 7200, "for 120 min here"), (-1, -1, "")]
)
def test_a_limit_of_processor_time_is_raised_or_told(
    soft: int, hard: int, told: str, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which a shared server's shell may set, and which would end the trainer in the middle of the night."""
    real, cpu, made = process_limits.resource.getrlimit, process_limits.resource.RLIMIT_CPU, []
    monkeypatch.setattr(
        process_limits.resource, "getrlimit", lambda what: (soft, hard) if what == cpu else real(what)
    )
    monkeypatch.setattr(
        process_limits.resource, "setrlimit", lambda what, new: made.append(new) if what == cpu else None
    )
    said = prepared(environment_of(TMPDIR=str(short), HOME=str(short)))
    assert made == ([(hard, hard)] if soft != hard else [])
    assert [told in sentence for sentence in said] == ([True] if told else [])
