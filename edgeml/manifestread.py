"""Reads the manifest's JSON form, schema 1, strictly.

A key that this schema does not know is an error that names the nearest right
one, unless the file's minor version is later than ours: then it is something we
may ignore. What two readers could understand in two ways (a key twice, NaN,
half a surrogate pair) is an error.
"""

import json
import re
from typing import Any

from edgeml.errors import ManifestError
from edgeml.jsonread import Fields
from edgeml.manifest import (
    MAX_MANIFEST_BYTES,
    SCHEMA,
    SCHEMA_MAJOR,
    SCHEMA_MINOR,
    Budgets,
    Channel,
    InputSpec,
    Manifest,
    OutputSpec,
    PreprocessStep,
    Quantisation,
    Requires,
)
from edgeml.version import __version__


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ: of two values for one key, readers pick different ones."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object names a key twice")
    return result


def read_manifest(text: str | bytes, where: str) -> Manifest:
    """`Manifest.from_json`.

    Raises:
        ManifestError: not JSON, a future schema major, an unknown or missing key, a
            wrong type, or a value outside its bounds.
    """
    if len(text) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{where}: the manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        raw = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
        # Half a surrogate pair is JSON but no text: nobody could print or send it.
        json.dumps(raw, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as exc:
        raise ManifestError(f"{where}: not JSON ({exc})") from exc
    try:
        return _parse(raw, where)
    except ManifestError as exc:
        raise exc if where in str(exc) else ManifestError(f"{where}: {exc}") from exc


def _parse(raw: object, where: str) -> Manifest:
    if not isinstance(raw, dict):
        raise ManifestError(f"{where}: a manifest is a JSON object, not {type(raw).__name__}")
    schema = raw.get("schema")
    major, minor = _schema_version(schema, where)
    if major != SCHEMA_MAJOR:
        raise ManifestError(
            f"{where}: manifest schema {schema} needs another edgeml (this is {__version__}, "
            f"which reads schema {SCHEMA_MAJOR}.x); upgrade edgeml"
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
