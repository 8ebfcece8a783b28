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


def platforms(*names):
    """In processes that import at the same time."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PLATFORM], env={**os.environ, "VERL_PLATFORM": name}, stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in started]
    return [json.loads(each.strip().splitlines()[-1]) for each in said]


def test_verl_takes_shared_memory_when_asked():
    """verl asks its platform whether CUDA IPC works; the stock one says yes without looking, ours no."""
    ours, stock = platforms(SHARED_MEMORY_PLATFORM, "nvidia")
    assert ours == ["SharedMemoryCUDA", "cuda", "nvidia", False]
    assert stock == ["PlatformCUDA", "cuda", "nvidia", True]


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
