import importlib.util
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "dev"


def test_what_is_live_at_the_peak(monkeypatch):
    """Two pieces of one line and one of another are live together; the largest single piece is not part of
    the peak."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("bench_update", SCRIPTS / "bench_update.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bench_update", module)
    spec.loader.exec_module(module)

    def event(action, addr, gib, line):
        return {
            "action": action,
            "addr": addr,
            "size": int(gib * 2**30),
            "frames": [{"filename": "a/model.py", "line": line, "name": "f"}],
        }

    trace = [
        event("alloc", 1, 2.0, 10), event("free_requested", 1, 2.0, 10), event("free_completed", 1, 2.0, 10),
        event("alloc", 2, 1.0, 20), event("alloc", 3, 1.0, 20), event("alloc", 4, 0.5, 30),
        event("free_completed", 2, 1.0, 20), event("alloc", 5, 0.25, 40), event("free_completed", 99, 1.0, 1),
    ]  # fmt: skip
    lines = module.live_at_peak(trace)
    assert lines[0] == "2.50 GiB at the peak:"
    assert "2.000 GiB in    2 pieces" in lines[1] and "model.py:20" in lines[1]
    assert "0.500 GiB" in lines[2] and len(lines) == 3
