"""Every step by the name it has in a manifest."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from edgeml.preprocess.elementwise import clip, scale, standardize
from edgeml.preprocess.filters import bandpass, highpass, lowpass
from edgeml.preprocess.image import color_order, crop, resize
from edgeml.preprocess.mel import log_mel, mfcc
from edgeml.preprocess.normalize import normalize
from edgeml.preprocess.resample import resample
from edgeml.preprocess.series import detrend, difference, magnitude, taper
from edgeml.preprocess.shape import layout, pad, reshape, select
from edgeml.preprocess.spectral import rfft, spectrogram
from edgeml.preprocess.stage import StepType
from edgeml.preprocess.statistics import statistics

STEPS: Final[Mapping[str, StepType]] = MappingProxyType(
    {
        "select": select,
        "scale": scale,
        "standardize": standardize,
        "clip": clip,
        "normalize": normalize,
        "detrend": detrend,
        "difference": difference,
        "magnitude": magnitude,
        "lowpass": lowpass,
        "highpass": highpass,
        "bandpass": bandpass,
        "resample": resample,
        "taper": taper,
        "rfft": rfft,
        "spectrogram": spectrogram,
        "log_mel": log_mel,
        "mfcc": mfcc,
        "statistics": statistics,
        "resize": resize,
        "crop": crop,
        "color_order": color_order,
        "pad": pad,
        "reshape": reshape,
        "layout": layout,
    }
)

EXACT_STEPS: Final = frozenset(
    {
        "select",
        "scale",
        "standardize",
        "clip",
        "difference",
        "magnitude",
        "resize",
        "crop",
        "color_order",
        "pad",
        "reshape",
        "layout",
    }
)
"""Steps of one rounding an operation in a fixed order: the same bits on every machine and numpy."""
