"""Task data: sources, checks, duplicates, leaks, and the pool that a cycle starts from and adds to (docs/data.md)."""

from azr.data.consolidate import ConsolidationReport, MergeReport, consolidate, merge
from azr.data.guard import check_evaluation_files, prepare_probes, probe_files
from azr.data.manifest import load_pool, read_manifest

__all__ = [
    "ConsolidationReport",
    "MergeReport",
    "check_evaluation_files",
    "consolidate",
    "load_pool",
    "merge",
    "prepare_probes",
    "probe_files",
    "read_manifest",
]
