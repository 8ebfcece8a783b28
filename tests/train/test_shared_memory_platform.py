import json
import os
import subprocess
import sys

from azr.train import ipc_check
from azr.train.ipc_check import SHARED_MEMORY_PLATFORM, choose_weight_path

PLATFORM = """
import json, os
from verl.plugin.platform.platform_manager import PlatformRegistry, get_platform
from verl.utils.device import is_support_ipc
import azr.train.verl.plugin
platform = get_platform()
print(json.dumps([type(platform).__name__, platform.device_name, platform.vendor_name, is_support_ipc()]))
"""


def platform(name):
    environment = {**os.environ, "VERL_PLATFORM": name}
    answer = subprocess.run(
        [sys.executable, "-c", PLATFORM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return json.loads(answer.stdout.strip().splitlines()[-1])


def test_verl_takes_shared_memory_when_asked():
    """verl asks its platform whether CUDA IPC works; the stock one says yes without looking, ours no."""
    assert platform(SHARED_MEMORY_PLATFORM) == ["SharedMemoryCUDA", "cuda", "nvidia", False]
    assert platform("nvidia") == ["PlatformCUDA", "cuda", "nvidia", True]


def test_only_a_failed_check_on_wsl_changes_the_path(monkeypatch):
    def answer(status):
        return lambda *_, **__: subprocess.CompletedProcess([], status, stdout="CUDA IPC: said so", stderr="")

    monkeypatch.setattr(ipc_check.subprocess, "run", answer(1))
    monkeypatch.setenv("VERL_PLATFORM", "")
    choose_weight_path(is_wsl=False)
    assert not os.environ["VERL_PLATFORM"]
    choose_weight_path(is_wsl=True)
    assert os.environ["VERL_PLATFORM"] == SHARED_MEMORY_PLATFORM
    monkeypatch.setenv("VERL_PLATFORM", "")
    monkeypatch.setattr(ipc_check.subprocess, "run", answer(0))
    choose_weight_path(is_wsl=True)
    assert not os.environ["VERL_PLATFORM"]
