"""Every step by the name it has in a manifest."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgeml.preprocess.elementwise import clip, scale, standardize
from edgeml.preprocess.normalize import normalize
from edgeml.preprocess.shape import layout, pad, reshape, select
from edgeml.preprocess.stage import StepType

STEPS: Final[Mapping[str, StepType]] = MappingProxyType(
    {
        "select": select,
        "scale": scale,
        "standardize": standardize,
        "clip": clip,
        "normalize": normalize,
        "pad": pad,
        "reshape": reshape,
        "layout": layout,
    }
)
