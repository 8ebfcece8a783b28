"""Python source as a tree: scopes, renaming, canonical form, imports, stripping. Nothing here executes
anything.

Model-written text is only ever *parsed* here. ``parse_program`` refuses what is too long or too deep for the visitors
of this package, so none of them can exhaust the stack.
"""
