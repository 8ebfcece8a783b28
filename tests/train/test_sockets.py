"""Two runs on one machine have sockets of their own: an engine is never sent the other run's weights."""

from __future__ import annotations

import inspect
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("vllm")

from verl.workers.rollout.vllm_rollout import utils, vllm_rollout

from azr.config.load import load_config
from azr.config.paths import PROJECT
from azr.train.sockets import FOLDER_VARIABLE, SHARED, own_socket, sockets_folder
from azr.train.verl.configuration import build_verl_config
from azr.train.verl.engine_worker import OwnSocketExtension

VERLS = "ipc:///tmp/rl-colocate-zmq-01000000-replica-0-rank-0.sock"


def engine_side() -> str:
    """The socket that the engine's worker would read from."""
    worker: Any = object.__new__(OwnSocketExtension)
    worker.local_rank, worker.model_runner = 0, SimpleNamespace(vllm_config=None)
    return worker._get_zmq_handle()


def test_both_sides_of_a_run_mean_one_socket_and_two_runs_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERL_RAY_JOB_ID", "01000000")  # the first job of every cluster
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    assert engine_side() == VERLS, "verl's own name, for runs of any user the same"
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", "/set/by/the/user")
    names = []
    for _ in range(2):
        with sockets_folder():
            names.append(engine_side())
            assert names[-1] == own_socket(VERLS)
            assert Path(names[-1].removeprefix("ipc://")).parent.is_dir()
            assert os.environ["VLLM_RPC_BASE_PATH"] == "/set/by/the/user"
    assert names[0] != names[1] and not any(name.startswith(SHARED + "rl-") for name in names)


def test_another_machines_cluster_keeps_verls_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    assert own_socket(VERLS) == VERLS
    monkeypatch.setenv(FOLDER_VARIABLE, "/x")
    assert own_socket("tcp://host:1") == "tcp://host:1"


def test_the_pinned_verl_names_them_on_both_sides_in_this_way() -> None:
    for code in (
        inspect.getsource(vllm_rollout),
        inspect.getsource(utils.vLLMColocateWorkerExtension._get_zmq_handle),
    ):
        assert f'"{SHARED}rl-colocate-zmq-{{job_id}}' in code
    assert "self.zmq_handle = " in inspect.getsource(vllm_rollout)


def test_an_engine_without_a_card_is_given_the_extension_too(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "data" / "models" / "azr-tiny" / "config.json", tmp_path)
    made = build_verl_config(
        load_config(["recipe=cpu_tiny"]).config, tmp_path, tmp_path, "cpu"
    ).actor_rollout_ref.rollout
    assert made.engine_kwargs.vllm.worker_extension_cls == "azr.train.verl.engine_worker.OwnSocketExtension"
