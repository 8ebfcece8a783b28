"""Typed configuration: one dataclass per section, one file per section, no heavy imports.

``configs/*.yaml`` fill these; ``azr.config.load`` reads, validates and returns a ``Config``.
The string after a field is its documentation (``docs/configuration.md`` is generated from it).
"""
