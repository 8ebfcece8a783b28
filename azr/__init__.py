"""Absolute Zero self-play on one consumer GPU.

Read :mod:`azr.tasks` first: it defines the nouns that flow through everything else.
``docs/architecture.md`` draws the way they flow.
"""

__version__ = "0.1.0"
