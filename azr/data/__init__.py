"""Task data: sources, checks, duplicates, leaks, and the pool that a cycle starts from and adds to (docs/data.md)."""
