"""What a report draws: everything that was learned about a conversion, as plain values.

A conversion fills this in; nothing here computes. `Analysis.as_json` is the whole
of it as JSON values, with null for a number that JSON has no name for (the
decibels of an error of exactly nothing).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Confusion:
    """What a classifier said to windows of each class.

    Attributes:
        labels: of rows and columns.
        counts: windows; a row for each true class, a column for each that was said.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of the float model, and what became of its output.

    Attributes:
        name: of its output in the float file; "input" for the model's input.
        operator: TFLite's name for it; "INPUT" for the model's input.
        shape: of its output.
        dtype: of its output in the chosen file; "float32" where the layer stayed float.
        sqnr_db: signal to quantisation noise of its output, the mean over its channels,
            errors of the layers before it included; infinite where nothing differs.
        fall_db: how much of that is lost here: below the noisiest of its inputs, above
            50 dB counting as 50. What hurts is the layer that falls most.
        seen: smallest and largest value on the calibration windows.
        held: smallest and largest value that the chosen file's tensor can hold; None
            for a float one.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    dtype: str
    sqnr_db: float
    fall_db: float
    seen: tuple[float, float]
    held: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """What the calibration windows hold in one channel, in sensor units."""

    name: str
    unit: str
    low: float
    p01: float
    median: float
    p99: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a file's answers are from the model's in its own framework.

    Attributes:
        scheme: of the file.
        data: "evaluation" or "golden".
        windows: how many were compared.
        rmse: over all outputs, dequantised.
        largest: the largest difference of any output.
        agreement: 0 to 1, as `metrics.agreement` defines it for the task.
    """

    scheme: str
    data: str
    windows: int
    rmse: float
    largest: float
    agreement: float


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """One real window as it leaves a preprocessing step.

    Attributes:
        step: its name; "raw" for the window as the sensor gave it.
        params: of the step.
        values: float32, of the shape that the step gives.
    """

    step: str
    params: Mapping[str, Any]
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class WindowShown:
    """One real window, before, during and after preprocessing.

    Attributes:
        index: in the evaluation data.
        label: what it is, where that is known.
        stages: the raw window, then one for each step; the last is what the model is given.
    """

    index: int
    label: str | None
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What went in.

    Attributes:
        source: the file's or folder's name, or the object's type.
        source_digest: SHA-256 in hex; None for an object in memory.
        framework: that the model was opened with, and its version.
        calibration_digest: SHA-256 over shape and values, as in the manifest.
        calibration_windows: how many.
        evaluation_digest: likewise; equal to the calibration's where there was none.
        evaluation_windows: how many.
        labelled: whether those had labels.
        versions: of what took part, by distribution.
        options: as given, with defaults filled in.
        created: what the manifest says.
    """

    source: str
    source_digest: str | None
    framework: str
    calibration_digest: str
    calibration_windows: int
    evaluation_digest: str
    evaluation_windows: int
    labelled: bool
    versions: Mapping[str, str]
    options: Mapping[str, Any]
    created: str


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """All of it.

    Attributes:
        comparisons: the float TFLite and the chosen one, on evaluation and golden windows.
        confusion_float: of the model in its own framework; None without class labels.
        confusion_chosen: of the chosen file.
        layers: the model's input, then its operators in order of execution; empty where
            the two files could not be matched, which a warning then says.
        hurts: the name of the layer that loses most; None where none loses anything.
        operators: of the chosen file with how often each occurs, the most frequent first.
        channels: what calibration saw, by channel.
        window: one real window.
        provenance: what went in.
    """

    comparisons: tuple[Comparison, ...]
    confusion_float: Confusion | None
    confusion_chosen: Confusion | None
    layers: tuple[Layer, ...]
    hurts: str | None
    operators: Mapping[str, int]
    channels: tuple[ChannelRange, ...]
    window: WindowShown
    provenance: Provenance

    def as_json(self, *, window: bool = True) -> dict[str, Any]:
        """The analysis as JSON values.

        Args:
            window: whether to include the window's values, which may be many.
        """
        left_out = () if window else ("window",)
        return {
            field.name: _plain(getattr(self, field.name))
            for field in fields(self)
            if field.name not in left_out
        }


def _plain(value: Any) -> Any:
    """Values as JSON knows them."""
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
