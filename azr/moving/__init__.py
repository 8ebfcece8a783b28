"""A run as one file: packed here, unpacked on another machine, which goes on with it
(docs/howto/moving_a_run.md)."""
