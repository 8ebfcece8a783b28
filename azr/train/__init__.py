"""The verl side: adapters that put self-play onto verl's trainer, FSDP and the vLLM engine, on Ray.

Nothing outside ``azr.train`` and ``azr.evaluate`` imports torch, ray, verl or vllm. verl is not forked: its
registries and constructor hooks carry everything, and what they cannot carry is in ``patches.py``, one reason
a patch.
"""
