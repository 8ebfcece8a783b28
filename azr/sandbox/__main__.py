"""``python -m azr.sandbox``: which confinement this kernel provides. Exit status 1 when it is not enough."""

from __future__ import annotations

import sys

from azr.sandbox.probe import probe_confinement

report = probe_confinement()
print("\n".join(report.lines()))
sys.exit(0 if report.confined else 1)
