"""Python source as a tree: scopes, renaming, canonical form, imports, stripping. Nothing here executes
anything.

Model-written text is only ever *parsed* here. ``parse`` refuses what is too long or too deep for the visitors
of this package, so none of them can exhaust the stack.
"""

from azr.programs.canonical import canonical_source, fingerprint
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import (
    MAX_DEPTH,
    MAX_SOURCE_CHARS,
    SourceError,
    collect_imports,
    drop_globals,
    drop_prints,
    parse,
    strip_comments,
    top_level_functions,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_SOURCE_CHARS",
    "NameConflict",
    "SourceError",
    "canonical_source",
    "collect_imports",
    "drop_globals",
    "drop_prints",
    "fingerprint",
    "parse",
    "rename_function",
    "strip_comments",
    "top_level_functions",
]
