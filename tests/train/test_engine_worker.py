"""The engine's memory limit: what share of the card it is, and that vLLM can take our extension of its worker."""

from __future__ import annotations

import pytest

from azr.budget.estimate import ENGINE_CACHE_GIB
from azr.train.engine_worker import EngineWorkerExtension, memory_limit_share


@pytest.mark.parametrize(("share", "total_gib"), [(0.38, 16.0), (0.0768, 79.2), (0.7, 79.2)])
def test_the_limit_is_the_share_and_the_counted_cache(share, total_gib):
    assert memory_limit_share(share, 0.2, total_gib) * total_gib == pytest.approx(share * total_gib + 0.2 + ENGINE_CACHE_GIB)


def test_the_limit_is_never_more_than_the_card():
    assert memory_limit_share(0.99, 0.1, 8.0) == 1.0


def test_the_extension_brings_no_name_that_verls_has_not():
    """vLLM refuses an extension that names anything its worker class has; what verl's names is known to be free."""
    theirs = EngineWorkerExtension.__mro__[1]
    assert theirs.__name__ == "vLLMColocateWorkerExtension"
    assert {name for name in dir(EngineWorkerExtension) if not name.startswith("__")} <= set(dir(theirs))
    assert "update_weights_from_ipc" in vars(EngineWorkerExtension)
