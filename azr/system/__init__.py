"""The machine and its operating system: cards, memory, processes, files, places. Nothing here knows of a run."""
