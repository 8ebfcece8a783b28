"""Campaigns of these tests lie in memory where there is room: a driver flushes each of its files to the disk, and waits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY, ROOM_BYTES = Path("/dev/shm"), 1 << 30


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    item.user_properties += [("failed", True)] if report.failed else []
    return report


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Not for tests that ask what fits a disk. What a failed test leaves is where pytest puts it."""
    drives = hasattr(request.module, "fast_config") and not hasattr(request.module, "require_startable")
    if not drives or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="azr-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        if request.node.user_properties:
            shutil.copytree(folder, tmp_path, symlinks=True, dirs_exist_ok=True)
