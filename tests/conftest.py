"""The processes that tests start find this tree's ``azr``, whatever is installed, and hear signals, whatever
started the tests: below ``nohup`` or ``&`` some are ignored, and the product leaves ignored ones ignored."""

import os
import signal
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])

# container images often forbid bytecode; then each of the hundreds of processes that tests start compiles all
# of torch, verl and vLLM that it imports. Kept apart from the sources, it is in nobody's way
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(PROJECT / ".pytest_cache" / "bytecode")

# before torch is imported: tests compute on all cores, several at a time (azr/train/environment.py says why)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
