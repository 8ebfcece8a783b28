"""Model folders as people bring them: what their files say, and whether a run can use them. No torch, no
weights read.

``azr.train.model_source`` finds the folder; ``check.require_trainable`` judges it before a run begins.
"""

from azr.models.check import (
    refuse_foreign_tensors,
    refuse_head_size,
    refuse_leftover_quantisation,
    refuse_second_head,
    require_config_trainable,
    require_trainable,
)
from azr.models.hub import HubName, cached_folder
from azr.models.other_formats import adapter_in, other_format
from azr.models.weight_files import require_whole_files

__all__ = [
    "HubName",
    "adapter_in",
    "cached_folder",
    "other_format",
    "refuse_foreign_tensors",
    "refuse_head_size",
    "refuse_leftover_quantisation",
    "refuse_second_head",
    "require_config_trainable",
    "require_trainable",
    "require_whole_files",
]
