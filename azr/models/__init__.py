"""Model folders as people bring them: what their files say, and whether a run can use them. No torch, no
weights read.

``azr.train.model_source`` finds the folder; ``check.require_trainable`` judges it before a run begins.
"""
