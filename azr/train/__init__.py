"""The verl side: adapters that put self-play onto verl's trainer, FSDP and the vLLM engine, on Ray.

Nothing outside ``azr.train`` and ``azr.evaluate`` imports torch, ray, verl or vllm. verl is not forked: its registries
and constructor hooks suffice for almost everything, and the rest is in ``patches/``, each patch with its reason.
"""
