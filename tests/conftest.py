"""The processes that tests start find this tree's ``azr``, whatever is installed, and hear signals, whatever
started the tests: below ``nohup`` or ``&`` some are ignored, and the product leaves ignored ones ignored."""

import os
import signal
from pathlib import Path

os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# before torch is imported: tests compute on all cores, several at a time (azr/train/environment.py says why)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
