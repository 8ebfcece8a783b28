"""Tensor code that knows nothing of verl or FSDP: attention, log-probs, optimizers, compiled layers."""
