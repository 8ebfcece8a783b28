"""Ray's start on a busy machine."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("ray")

import ray._private.node
import ray._private.services

from azr.train.cluster import patient


def test_an_answer_that_comes_late_is_waited_for() -> None:
    asked = []

    def slow(address: str) -> str:
        asked.append(address)
        if len(asked) < 3:
            raise RuntimeError("no node info yet")
        return "node"

    assert patient(slow, 30.0)("gcs") == "node" and asked == ["gcs"] * 3


def test_patience_ends() -> None:
    def never() -> None:
        raise RuntimeError("no node info")

    with pytest.raises(RuntimeError, match="no node info"):
        patient(never, 0.3)()


def test_ray_asks_for_its_node_where_we_wait() -> None:
    """The pinned Ray looks the function up in its module, and takes RuntimeError for "not yet"."""
    source = inspect.getsource(ray._private.node.Node.__init__)
    assert "ray._private.services.get_node(" in source and "except RuntimeError" in source
    assert "RAY_gcs_server_port_wait_time_s" in inspect.getsource(ray._private.node)
