"""The manifest: everything about a model that its weights do not say.

Values are frozen and checked when made, so a `Manifest` in hand is a valid one.
All are named tuples: to import `dataclasses` and to make eight of them takes a tenth of
the time to a first result.
`manifestread` reads their JSON form.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgeml.errors import ManifestError, nearest

SCHEMA_MAJOR: Final = 1
SCHEMA_MINOR: Final = 0
SCHEMA: Final = f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}"
TASKS: Final = ("classification", "multilabel", "regression", "anomaly", "detection", "embedding")
CONFIDENT: Final = frozenset({"classification", "multilabel", "detection"})
"""Tasks whose score says how sure a model is; another's is a temperature, or a distance."""
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_ELEMENTS: Final = 1 << 26
"""The most numbers a window may hold (256 MiB of float32): larger is a hostile manifest."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_VERSION: Final = (1 << 53) - 1
"""The largest integer that every reader of JSON keeps exactly."""

_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Channel(NamedTuple):
    """One column of a window: what is measured, and in which unit."""

    name: str
    unit: str


class InputSpec(NamedTuple):
    """What `predict` takes: a raw window in sensor units.

    Attributes:
        channels: the last axis, in order.
        sample_rate_hz: samples a second; None where time does not matter (an image).
        window: samples in a window.
        stride: samples from one window's start to the next one's.
        dtype: of the raw window; always float32 in this schema.
        shape: of the raw window, without a batch axis: (window, channels) for a series.
    """

    channels: tuple[Channel, ...]
    sample_rate_hz: float | None
    window: int
    stride: int
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def is_picture(self) -> bool:
        """Whether one sample is the whole window, and its rows are no moments."""
        timeless = self.sample_rate_hz is None or self.stride == self.window
        return len(self.shape) == 3 and timeless


class PreprocessStep(NamedTuple):
    """One step by name, with its parameters as JSON values."""

    step: str
    params: Mapping[str, Any]


class OutputSpec(NamedTuple):
    """How the model's output becomes a label and a score.

    Attributes:
        task: one of `TASKS`.
        labels: a name for each output; empty where the task has none.
        threshold: the score from which a label or an anomaly counts; None for none.
        unit: of a regression's value.
        smoothing: over time, as a step of its own; None for none.
        postprocess: the task's own options, such as an activation or anchors; None for none.
    """

    task: str
    labels: tuple[str, ...] = ()
    threshold: float | None = None
    unit: str | None = None
    smoothing: Mapping[str, Any] | None = None
    postprocess: Mapping[str, Any] | None = None


class Quantisation(NamedTuple):
    """How the weights were quantised, and what it cost on the evaluation data."""

    scheme: str
    calibration_digest: str
    metric: str
    score_float: float
    score_quantised: float


class Requires(NamedTuple):
    """What a device must have: the oldest runtime, and every operator of the graph."""

    runtime: str
    ops: tuple[str, ...]


class Budgets(NamedTuple):
    """Limits that the self-test on the device holds the model to."""

    p95_ms: float | None = None
    peak_rss_mb: float | None = None


class _Fields(NamedTuple):
    name: str
    version: int
    task: str
    created: str
    inputs: InputSpec
    outputs: OutputSpec
    preprocess: tuple[PreprocessStep, ...] = ()
    description: str = ""
    tflite_sha256: str = ""
    quantisation: Quantisation | None = None
    target: str | None = None
    requires: Requires | None = None
    budgets: Budgets | None = None
    schema: str = SCHEMA


class Manifest(_Fields):
    """Everything about a model that its weights do not say.

    Raises:
        ManifestError: on construction, where a value is outside its bounds.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # a checker knows the fields from the named tuple

        def __new__(cls, *args: object, **fields: object) -> "Manifest":
            """Made of its fields, and checked."""
            self = super().__new__(cls, *args, **fields)
            _check(self)
            return self

    def replace(self, **changes: Any) -> "Manifest":
        """Another manifest, checked, in which some fields differ.

        Raises:
            ManifestError: a value is outside its bounds.
        """
        return Manifest(**{**self._asdict(), **changes})

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "manifest.json") -> "Manifest":
        """Read a manifest from its JSON text.

        Args:
            text: at most 1 MiB.
            where: the file's name, for error messages.

        Raises:
            ManifestError: not JSON, a future schema major, an unknown or missing
                key, a wrong type, or a value outside its bounds.
        """
        from edgeml.manifestread import read_manifest

        return read_manifest(text, where)

    def to_json(self) -> str:
        """The manifest as JSON, keys in the schema's order, ending in a newline."""
        inputs, outputs = self.inputs, self.outputs
        document: dict[str, Any] = {
            "schema": self.schema,
            "name": self.name,
            "version": self.version,
            "task": self.task,
            "description": self.description,
            "created": self.created,
            "tflite_sha256": self.tflite_sha256,
            "inputs": {
                "channels": [{"name": c.name, "unit": c.unit} for c in inputs.channels],
                "sample_rate_hz": inputs.sample_rate_hz,
                "window": inputs.window,
                "stride": inputs.stride,
                "dtype": inputs.dtype,
                "shape": list(inputs.shape),
            },
            "preprocess": [{"step": s.step, **s.params} for s in self.preprocess],
            "outputs": {
                "task": outputs.task,
                "labels": list(outputs.labels),
                "threshold": outputs.threshold,
                "unit": outputs.unit,
                "smoothing": None if outputs.smoothing is None else dict(outputs.smoothing),
                "postprocess": None if outputs.postprocess is None else dict(outputs.postprocess),
            },
            "quantisation": _as_json(self.quantisation),
            "target": self.target,
            "requires": _as_json(self.requires),
            "budgets": _as_json(self.budgets),
        }
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _as_json(value: Quantisation | Requires | Budgets | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {
        name: list(item) if isinstance(item, tuple) else item
        for name in value._fields
        for item in (getattr(value, name),)
    }


def _check(manifest: Manifest) -> None:
    if not NAME_PATTERN.fullmatch(manifest.name):
        raise ManifestError(
            f"name {manifest.name!r}: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; "
            "it becomes part of a topic"
        )
    if not 1 <= manifest.version <= MAX_VERSION:
        raise ManifestError(
            f"version {manifest.version}: a model's version is an integer from 1 to {MAX_VERSION}"
        )
    if not _CREATED.fullmatch(manifest.created):
        raise ManifestError(
            f"created {manifest.created!r}: write UTC as in 2026-01-31T12:00:00Z (ISO 8601)"
        )
    for task in (manifest.task, manifest.outputs.task):
        if task not in TASKS:
            raise ManifestError(
                f"task {task!r} is none of {', '.join(TASKS)}{nearest(task, TASKS)}"
            )
    if manifest.task != manifest.outputs.task:
        raise ManifestError(
            f"task is {manifest.task!r} but outputs.task is {manifest.outputs.task!r}"
        )
    if manifest.tflite_sha256 and not _SHA256.fullmatch(manifest.tflite_sha256):
        raise ManifestError("tflite_sha256 is not 64 hexadecimal digits")
    _check_inputs(manifest.inputs)
    _check_outputs(manifest.outputs)


def _check_inputs(inputs: InputSpec) -> None:
    if inputs.dtype != "float32":
        raise ManifestError(f"inputs.dtype {inputs.dtype!r}: raw windows are float32")
    if not inputs.shape or any(n < 1 for n in inputs.shape):
        raise ManifestError(
            f"inputs.shape {list(inputs.shape)}: every axis needs at least one element"
        )
    if math.prod(inputs.shape) > MAX_ELEMENTS:
        raise ManifestError(
            f"inputs.shape {list(inputs.shape)} has more than {MAX_ELEMENTS} elements"
        )
    if inputs.window != inputs.shape[0]:
        raise ManifestError(
            f"inputs.window is {inputs.window} but inputs.shape[0] is {inputs.shape[0]}"
        )
    if inputs.stride < 1:
        raise ManifestError(
            f"inputs.stride {inputs.stride}: windows move on by at least one sample"
        )
    if len(inputs.channels) != inputs.shape[-1]:
        raise ManifestError(
            f"inputs.channels names {len(inputs.channels)} channels but the last axis of "
            f"inputs.shape {list(inputs.shape)} has {inputs.shape[-1]}"
        )
    rate = inputs.sample_rate_hz
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ManifestError(f"inputs.sample_rate_hz {rate}: a rate is a positive number")


def _check_outputs(outputs: OutputSpec) -> None:
    if outputs.task in ("classification", "multilabel") and not outputs.labels:
        raise ManifestError(
            f"outputs.labels is empty; {outputs.task} needs a label for each output"
        )
    if len(set(outputs.labels)) != len(outputs.labels):
        raise ManifestError("outputs.labels names a label twice")
    if outputs.threshold is not None and not math.isfinite(outputs.threshold):
        raise ManifestError(
            f"outputs.threshold {outputs.threshold}: a threshold is a finite number"
        )
    if outputs.task == "anomaly" and outputs.threshold is None:
        raise ManifestError("outputs.threshold is missing; an anomaly model needs one")


def channels(names: Sequence[str], unit: str = "") -> tuple[Channel, ...]:
    """Channels that share a unit, in order."""
    return tuple(Channel(name, unit) for name in names)
