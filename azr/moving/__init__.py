"""A run as one file: packed here, unpacked on another machine, which resumes it
(docs/howto/moving_a_run.md)."""
