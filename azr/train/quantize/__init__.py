"""Int4 weights for a frozen base under LoRA adapters.

This lives in ``azr/train`` because it needs torch: numpy has no bfloat16, and the same code searches scales on
a GPU. Whether a checkpoint's configuration is supported is judged without torch, in ``azr/models/quantised.py``.
"""
