"""The machine and its operating system: cards, memory, processes, files, places. Nothing here knows of a run."""

MIB, GIB = 2**20, 2**30
