from __future__ import annotations

import pytest
from selfplay_helpers import Script

from azr.config.sandbox import Limits, SandboxConfig
from azr.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox():
    with Sandbox(SandboxConfig(workers=2, limits=Limits(cpu_s=0.5, wall_s=3))) as pool:
        yield pool


@pytest.fixture
def anything_fits():
    return lambda prompt: True


@pytest.fixture
def script():
    return Script
