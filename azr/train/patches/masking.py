"""What keeps transformers from asking the card where packed sequences begin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import masking_utils


@contextmanager
def no_search_for_boundaries() -> Iterator[None]:
    """Within it transformers does not look for the boundaries of packed sequences when it makes a mask.

    Packed attention knows them and takes no mask. The search ends with a value that the host waits for, at the begin of
    every forward pass.
    """
    utils: Any = masking_utils
    original = utils.find_packed_sequence_indices
    utils.find_packed_sequence_indices = lambda position_ids: None
    try:
        yield
    finally:
        utils.find_packed_sequence_indices = original
