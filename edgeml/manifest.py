"""The manifest: everything about a model that its weights do not say.

This module alone knows the manifest's JSON form, schema 1. Values are frozen
and checked when made, so a `Manifest` in hand is a valid one. A key that this
schema does not know is an error that names the nearest right one, unless the
file's minor version is later than ours: then it is something we may ignore.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgeml.errors import ManifestError, nearest
from edgeml.jsonread import Fields
from edgeml.version import __version__

SCHEMA_MAJOR: Final = 1
SCHEMA_MINOR: Final = 0
SCHEMA: Final = f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}"
TASKS: Final = ("classification", "multilabel", "regression", "anomaly", "detection", "embedding")
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_ELEMENTS: Final = 1 << 26
"""The most numbers a window may hold (256 MiB of float32): larger is a hostile manifest."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Channel:
    """One column of a window: what is measured, and in which unit."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class InputSpec:
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


@dataclass(frozen=True, slots=True)
class PreprocessStep:
    """One step by name, with its parameters as JSON values."""

    step: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OutputSpec:
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


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How the weights were quantised, and what it cost on the evaluation data."""

    scheme: str
    calibration_digest: str
    metric: str
    score_float: float
    score_quantised: float


@dataclass(frozen=True, slots=True)
class Requires:
    """What a device must have: the oldest runtime, and every operator of the graph."""

    runtime: str
    ops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits that the self-test on the device holds the model to."""

    p95_ms: float | None = None
    peak_rss_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a model that its weights do not say.

    Raises:
        ManifestError: on construction, where a value is outside its bounds.
    """

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

    def __post_init__(self) -> None:
        _check(self)

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
        if len(text) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"{where}: the manifest is larger than {MAX_MANIFEST_BYTES} bytes")
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ManifestError(f"{where}: not JSON ({exc})") from exc
        try:
            return _parse(raw, where)
        except ManifestError as exc:
            raise exc if where in str(exc) else ManifestError(f"{where}: {exc}") from exc

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
        for name in value.__dataclass_fields__
        for item in (getattr(value, name),)
    }


def _parse(raw: object, where: str) -> Manifest:
    if not isinstance(raw, dict):
        raise ManifestError(f"{where}: a manifest is a JSON object, not {type(raw).__name__}")
    schema = raw.get("schema")
    major, minor = _schema_version(schema, where)
    if major != SCHEMA_MAJOR:
        raise ManifestError(
            f"{where}: manifest schema {schema} needs another edgeml (this is {__version__}, "
            f"which reads schema {SCHEMA_MAJOR}.x); upgrade with: pip install -U edgeml"
        )
    top = Fields(raw, "manifest", ManifestError, ignore_unknown=minor > SCHEMA_MINOR)
    manifest = Manifest(
        schema=top.text("schema"),
        name=top.text("name"),
        version=top.integer("version"),
        task=top.text("task"),
        description=top.text("description", default=""),
        created=top.text("created"),
        tflite_sha256=top.text("tflite_sha256"),
        inputs=_parse_inputs(top.child("inputs")),
        preprocess=tuple(_parse_step(step) for step in top.children("preprocess")),
        outputs=_parse_outputs(top.child("outputs")),
        quantisation=_parse_quantisation(top.optional_child("quantisation")),
        target=top.optional_text("target"),
        requires=_parse_requires(top.optional_child("requires")),
        budgets=_parse_budgets(top.optional_child("budgets")),
    )
    top.finish()
    return manifest


def _schema_version(schema: object, where: str) -> tuple[int, int]:
    if isinstance(schema, str) and (match := re.fullmatch(r"(\d{1,4})\.(\d{1,4})", schema)):
        return int(match[1]), int(match[2])
    raise ManifestError(f"{where}: schema is {schema!r}; it should read like {SCHEMA!r}")


def _parse_inputs(fields: Fields) -> InputSpec:
    channels = []
    for item in fields.children("channels"):
        channels.append(Channel(name=item.text("name"), unit=item.text("unit", default="")))
        item.finish()
    spec = InputSpec(
        channels=tuple(channels),
        sample_rate_hz=fields.optional_number("sample_rate_hz"),
        window=fields.integer("window"),
        stride=fields.integer("stride"),
        dtype=fields.text("dtype", default="float32"),
        shape=fields.integers("shape"),
    )
    fields.finish()
    return spec


def _parse_step(fields: Fields) -> PreprocessStep:
    params = {key: value for key, value in fields.raw.items() if key != "step"}
    return PreprocessStep(step=fields.text("step"), params=params)


def _parse_outputs(fields: Fields) -> OutputSpec:
    smoothing = fields.optional_child("smoothing")
    postprocess = fields.optional_child("postprocess")
    spec = OutputSpec(
        task=fields.text("task"),
        labels=fields.texts("labels"),
        threshold=fields.optional_number("threshold"),
        unit=fields.optional_text("unit"),
        smoothing=None if smoothing is None else smoothing.raw,
        postprocess=None if postprocess is None else postprocess.raw,
    )
    fields.finish()
    return spec


def _parse_quantisation(fields: Fields | None) -> Quantisation | None:
    if fields is None:
        return None
    value = Quantisation(
        scheme=fields.text("scheme"),
        calibration_digest=fields.text("calibration_digest"),
        metric=fields.text("metric"),
        score_float=fields.number("score_float"),
        score_quantised=fields.number("score_quantised"),
    )
    fields.finish()
    return value


def _parse_requires(fields: Fields | None) -> Requires | None:
    if fields is None:
        return None
    value = Requires(runtime=fields.text("runtime"), ops=fields.texts("ops"))
    fields.finish()
    return value


def _parse_budgets(fields: Fields | None) -> Budgets | None:
    if fields is None:
        return None
    value = Budgets(
        p95_ms=fields.optional_number("p95_ms"), peak_rss_mb=fields.optional_number("peak_rss_mb")
    )
    fields.finish()
    return value


def _check(manifest: Manifest) -> None:
    if not NAME_PATTERN.fullmatch(manifest.name):
        raise ManifestError(
            f"name {manifest.name!r}: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; "
            "it becomes part of a topic"
        )
    if manifest.version < 1:
        raise ManifestError(f"version {manifest.version}: a model's version is a positive integer")
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
