"""Ray's start on a busy machine."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("ray")

import ray
import ray._private.node

from azr.config import Config
from azr.train import cluster

BUSY = "The current node timed out during startup. This could happen because ..."


class FakeRay:
    """``ray.init`` that fails a number of times and leaves a process behind each time."""

    def __init__(self, failures: int, message: str = BUSY) -> None:
        self.failures, self.message = failures, message
        self.left: list[subprocess.Popen[bytes]] = []
        self.settings: list[dict[str, Any]] = []

    def __call__(self, **settings: Any) -> None:
        self.settings.append(settings)
        if len(self.settings) <= self.failures:
            self.left.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
            raise Exception(self.message)


@pytest.fixture
def end_all(monkeypatch: pytest.MonkeyPatch):
    fakes: list[FakeRay] = []

    def use(fake: FakeRay) -> FakeRay:
        fakes.append(fake)
        monkeypatch.setattr(ray, "init", fake)
        return fake

    yield use
    for process in (process for fake in fakes for process in fake.left):
        process.kill()
        process.wait()


def test_a_start_that_took_too_long_is_tried_again(end_all, capsys: pytest.CaptureFixture[str]) -> None:
    fake = end_all(FakeRay(failures=2))
    cluster.start_ray(Config())
    assert len(fake.settings) == 3 and fake.settings[0] == fake.settings[2]
    assert all(process.wait(timeout=10) for process in fake.left), (
        "what the failed start left behind is ended"
    )
    assert "attempt 2 of 3" in capsys.readouterr().out


def test_it_is_not_tried_for_ever(end_all) -> None:
    fake = end_all(FakeRay(failures=9))
    with pytest.raises(Exception, match="timed out during startup"):
        cluster.start_ray(Config())
    assert len(fake.settings) == cluster.START_ATTEMPTS


def test_another_error_is_not_tried_again(end_all) -> None:
    fake = end_all(FakeRay(failures=1, message="no such address"))
    with pytest.raises(Exception, match="no such address"):
        cluster.start_ray(Config())
    assert len(fake.settings) == 1


def test_the_pinned_ray_says_it_in_these_words() -> None:
    assert cluster.NOT_STARTED in inspect.getsource(ray._private.node.Node.__init__)
