"""The machines of a cluster that the user started: counted, waited for, missed."""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ray")

import ray
from ray.exceptions import RayError

from azr.config.load import load_config
from azr.config.paths import PROJECT
from azr.errors import ClusterError, ConfigError, MachineLeftError
from azr.train import cluster, environment, machines
from azr.train.machines import RayMachine, cpus_needed, gone, what_is_missing

FIRST = RayMachine("a", "10.0.0.1", cpus=16, cards=1)
SECOND = RayMachine("b", "10.0.0.2", cpus=16, cards=1)


def test_a_file_that_a_share_shows_late_is_waited_for(tmp_path: Path) -> None:
    """The machine was said not to share the run's folder."""
    file = tmp_path / "request.json"
    later = threading.Timer(0.2, file.write_bytes, [b"x"])
    later.start()
    assert machines._shown(str(file), b"x", limit_s=10) == b"x"
    assert machines._shown(str(file), b"y", limit_s=0.1) == b"x"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([FIRST, SECOND], ""),
        ([FIRST], r"n_nodes=2 needs .* 1 cards each .* 1 can be used \(10\.0\.0\.1 has 1\)"),
        ([], "0 can be used .it has none"),
        ([FIRST, RayMachine("b", "10.0.0.2", 16, 0)], r"10\.0\.0\.2 has 0"),
        (
            [FIRST, RayMachine("b", "10.0.0.2", 2, 1)],
            r"10\.0\.0\.2 offers Ray 2 CPUs, and 1 workers .* reserve 3",
        ),
        ([FIRST, RayMachine("b", "10.0.0.2", 4, 1), SECOND], ""),
        ([RayMachine("a", "x", 3, 1), RayMachine("b", "y", 3, 1)], "6 CPUs together, .* reserve 11"),
    ],
)
def test_what_a_run_over_two_machines_misses(found: list[RayMachine], said: str) -> None:
    reason = what_is_missing(found, n_machines=2, cards_each=1, agent_workers=1)
    if said:
        with pytest.raises(ClusterError, match=said):
            raise ClusterError(reason)
    else:
        assert reason == ""


def test_eight_cards_on_one_machine_find_their_cpus() -> None:
    """verl reserves three for each card, and its placement group is waited for without a limit."""
    from verl.single_controller.ray.base import ResourcePoolManager

    reserved = ResourcePoolManager.__dataclass_fields__["max_colocate_count"].default
    assert reserved == machines.CPUS_PER_WORKER
    assert cpus_needed(8, agent_workers=4) >= 8 * reserved + 4 + 2, "queue and storage hold one each"


def test_machines_that_come_late_are_waited_for(monkeypatch, capsys) -> None:
    monkeypatch.setattr(machines, "LOOK_INTERVAL_S", 0.0)
    seen = iter([[FIRST], [FIRST], [FIRST, SECOND]])
    found = machines.wait_for_machines(
        lambda all: "" if len(all) == 2 else "one is missing", 60, lambda: next(seen)
    )
    assert found == [FIRST, SECOND]
    assert capsys.readouterr().out.count("one is missing") == 1
    with pytest.raises(ClusterError, match="not complete after 0 s: one is missing"):
        machines.wait_for_machines(lambda _: "one is missing", 0, lambda: [FIRST])


def test_a_machine_that_left_is_named() -> None:
    assert gone([FIRST, SECOND], [SECOND]) == [FIRST]
    again = RayMachine("c", SECOND.address, 16, 1)
    assert gone([FIRST, SECOND], [FIRST, again]) == [SECOND], "back already, without what ran there"


def test_a_step_that_waits_for_a_machine_that_left_ends(monkeypatch) -> None:
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([], []))
    monkeypatch.setattr(machines, "machines_now", lambda: [FIRST])
    with pytest.raises(MachineLeftError, match=r"10\.0\.0\.2 left the Ray cluster in mid-run"):
        machines.result_of(None, [FIRST, SECOND])


@pytest.mark.parametrize("failure", [None, RayError("a process died")])
def test_a_failure_is_explained_by_a_machine_that_left(failure: RayError | None, monkeypatch) -> None:
    def get(_: object) -> bool:
        if failure:
            raise failure
        return False

    monkeypatch.setattr(machines, "LOOK_INTERVAL_S", 0.0)
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([0], []))
    monkeypatch.setattr(ray, "get", get)
    noticed = iter([[FIRST, SECOND], [FIRST, SECOND], [FIRST]])
    monkeypatch.setattr(machines, "machines_now", lambda: next(noticed))
    with pytest.raises(MachineLeftError, match=r"10\.0\.0\.2 left"):
        machines.result_of(None, [FIRST, SECOND])

    monkeypatch.setattr(machines, "NOTICED_S", 0.0)
    if failure:
        with pytest.raises(RayError, match="a process died"):
            machines.result_of(None, [FIRST, SECOND])
    else:
        assert machines.result_of(None, [FIRST, SECOND]) is False


def test_nobody_at_the_address(monkeypatch) -> None:
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray would try for minutes"))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"ray_address={address}: no Ray cluster .*refused"):
        cluster.join_ray(address)


@pytest.mark.parametrize("address", ["first", "ray://first:10001", "first:", "http://first:6379", ":6379"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="expected HOST:PORT"):
        load_config(["recipe=cpu_tiny", f"train.ray_address={address}"])


def test_processes_of_a_cluster_that_was_there_are_told_what_others_inherit(monkeypatch) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": "/home/me", "RAY_worker_niceness": "0"})
    environment.set_environment("cpu", 1)
    told = environment.worker_environment(inherits=False)
    assert told["VERL_PLATFORM"] == "cpu" and told["VERL_USE_EXTERNAL_MODULES"] and told["PYTHONPATH"]
    assert told["VLLM_USE_FLASHINFER_SAMPLER"] == "0" and told["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "HOME" not in told and not any(name.startswith("RAY_") for name in told)
    assert "VERL_PLATFORM" not in environment.worker_environment()


@pytest.mark.parametrize(
    ("release", "device", "users", "told"),
    [
        ("6.6.87.2-microsoft-standard-WSL2", "cuda", None, "0"),
        ("6.6.87.2-microsoft-standard-WSL2", "cuda", "1", "1"),
        ("6.6.87.2-microsoft-standard-WSL2", "cpu", None, None),
        ("6.8.0-generic", "cuda", None, None),
    ],
)
def test_the_engines_newer_runner_is_not_taken_under_wsl(release, device, users, told, monkeypatch) -> None:
    """There memory is not pinned unless vLLM is told to, and a run from Llama, Mistral or Qwen3 ended twice in "UVA is not
    available"."""
    name = "VLLM_USE_V2_MODEL_RUNNER"
    monkeypatch.setattr(os, "environ", {} if users is None else {name: users})
    monkeypatch.setattr(platform, "release", lambda: release)
    environment.set_environment(device, 1)
    assert os.environ.get(name) == told


def test_the_installed_engine_reads_that_variable() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    assert "VLLM_USE_V2_MODEL_RUNNER" in (folder / "envs.py").read_text()
    assert "UVA is not available" in (folder / "v1/worker/gpu/buffer_utils.py").read_text()


@pytest.mark.parametrize(
    ("asked", "users", "told"), [(False, None, "1"), (True, None, "0"), (True, "1", "1")]
)
def test_whether_the_engine_keeps_what_it_compiles(asked, users, told, monkeypatch) -> None:
    """The user's own variable wins."""
    name = "VLLM_DISABLE_COMPILE_CACHE"
    monkeypatch.setattr(os, "environ", {} if users is None else {name: users})
    environment.set_environment("cuda", 1, compile_cache=asked)
    assert environment.worker_environment()[name] == told


def test_compiled_kernels_outlive_a_boot_where_they_can_be_locked_and_loaded(
    monkeypatch, tmp_path: Path
) -> None:
    kept = tmp_path / "azr" / "kernels"
    for name, users in (("XDG_CACHE_HOME", None), ("TORCHINDUCTOR_CACHE_DIR", "/mine")):
        monkeypatch.setattr(os, "environ", {name: users} if users else {name: str(tmp_path)})
        environment.set_environment("cuda", 1, kernels=kept)
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == (users or str(kept))

    monkeypatch.setattr(os, "environ", {"XDG_CACHE_HOME": str(tmp_path)})
    assert environment.kernel_folder() == kept and kept.is_dir()
    with monkeypatch.context() as patch:
        patch.setattr(environment, "has_locks", lambda _: False)
        assert environment.kernel_folder() is None
    with monkeypatch.context() as patch:
        patch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
        assert environment.kernel_folder() is None
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "a blank")
    assert environment.kernel_folder() is None
    os.environ["XDG_CACHE_HOME"] = "/proc/none"
    assert environment.kernel_folder() is None


def test_a_cluster_of_one_machine_does_not_depend_on_its_address_in_the_network() -> None:
    """With another Wi-Fi or a VPN, its processes waited for minutes, then crashed."""
    code = "from azr.train.environment import stay_on_loopback; stay_on_loopback(); import ray; "
    code += "from vllm.utils.network_utils import get_ip; print(ray.util.get_node_ip_address(), get_ip())"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split()[-2:] == ["127.0.0.1", "127.0.0.1"]


def test_the_token_of_ray_start_is_shown(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(environment, "Path", SimpleNamespace(home=lambda: tmp_path))
    environment.use_ray_token()
    assert "RAY_AUTH_MODE" not in os.environ
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0")
    environment.use_ray_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    os.environ["RAY_AUTH_MODE"] = "disabled"
    environment.use_ray_token()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
