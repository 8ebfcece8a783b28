"""Python source as a tree: scopes, renaming, canonical form, imports, stripping. Nothing here executes
anything.

Model-written text is only ever *parsed* here. ``parse_program`` refuses what is too long or too deep for the visitors
of this package, so none of them can exhaust the stack.
"""

from azr.programs.canonical import canonical_source, program_fingerprint
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import (
    MAX_DEPTH,
    MAX_SOURCE_CHARS,
    SourceError,
    collect_imports,
    drop_globals,
    drop_prints,
    parse_program,
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
    "parse_program",
    "program_fingerprint",
    "rename_function",
    "strip_comments",
    "top_level_functions",
]
