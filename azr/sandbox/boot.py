"""Start of a zygote: imports everything that programs may import, then, on separate memory pages, what every
program uses."""

from __future__ import annotations

# the standard library that the hot modules import and programs do not
import _socket  # noqa: F401
import gc
import json  # noqa: F401
import select  # noqa: F401
import signal  # noqa: F401
import traceback  # noqa: F401
from typing import NoReturn

from azr.sandbox import policy


def main() -> NoReturn:
    policy.load_modules()
    gc.collect()
    from azr.sandbox import zygote

    zygote.main()
