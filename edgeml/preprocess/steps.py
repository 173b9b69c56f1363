"""Every step by the name it has in a manifest; a step's module is imported when it is asked for.

All of them together take 8 ms of a start, and a model uses two or three.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, cast

from edgeml.lazy import load
from edgeml.preprocess.stage import StepType

_HOMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "select": "shape",
        "scale": "elementwise",
        "standardize": "elementwise",
        "clip": "elementwise",
        "normalize": "normalize",
        "detrend": "series",
        "difference": "series",
        "magnitude": "series",
        "lowpass": "filters",
        "highpass": "filters",
        "bandpass": "filters",
        "resample": "resample",
        "taper": "series",
        "rfft": "spectral",
        "spectrogram": "spectral",
        "log_mel": "mel",
        "mfcc": "mel",
        "statistics": "statistics",
        "resize": "image",
        "crop": "image",
        "color_order": "image",
        "pad": "shape",
        "reshape": "shape",
        "layout": "shape",
    }
)
"""The module of this package that has the step, as a function of the same name."""


class _Steps(Mapping[str, StepType]):
    """The table with each function in its place."""

    __slots__ = ()

    def __getitem__(self, name: str) -> StepType:
        module = load(f"edgeml.preprocess.{_HOMES[name]}")
        return cast("StepType", getattr(module, name))

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


STEPS: Final[Mapping[str, StepType]] = _Steps()

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
