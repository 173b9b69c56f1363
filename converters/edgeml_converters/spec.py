"""What a trained model's file does not say: the sensors, the preprocessing, the labels.

A `Spec` is the part of a manifest that a person writes. It is read here, and
only here, from spec.toml; everything it shares with a manifest is a value of
`edgeml.manifest`, so it is checked by the same rules.
"""

import os
from dataclasses import dataclass
from typing import Any

from edgeml.errors import ConfigError, EdgeMLError
from edgeml.jsonread import Fields
from edgeml.manifest import (
    Budgets,
    Channel,
    InputSpec,
    Manifest,
    OutputSpec,
    PreprocessStep,
)
from edgeml.tomlread import read_toml

_NEVER = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Spec:
    """What a person says of a model, for its manifest.

    Attributes:
        name: becomes part of an MQTT topic: 1 to 64 of A-Z, a-z, 0-9, '_', '-'.
        version: a positive integer.
        inputs: the raw window, in sensor units.
        outputs: the task, and what the outputs mean.
        preprocess: what turns a raw window into the model's input.
        description: one line.
        budgets: limits that the device's self-test holds the model to.

    Raises:
        ConfigError: on construction, where a value is outside its bounds.
    """

    name: str
    version: int
    inputs: InputSpec
    outputs: OutputSpec
    preprocess: tuple[PreprocessStep, ...] = ()
    description: str = ""
    budgets: Budgets | None = None

    def __post_init__(self) -> None:
        try:
            self.manifest(_NEVER)
        except EdgeMLError as exc:
            raise ConfigError(f"spec: {exc}") from exc

    def manifest(self, created: str) -> Manifest:
        """A manifest with what this spec knows.

        Args:
            created: ISO 8601, UTC.
        """
        return Manifest(
            name=self.name,
            version=self.version,
            task=self.outputs.task,
            created=created,
            inputs=self.inputs,
            outputs=self.outputs,
            preprocess=self.preprocess,
            description=self.description,
            budgets=self.budgets,
        )


def read_spec(path: str | os.PathLike[str]) -> Spec:
    """Read a spec.toml.

    Raises:
        ConfigError: it cannot be read, is not TOML, or a key or value is wrong; a
            typo names the nearest key.
    """
    where = os.fspath(path)
    raw = read_toml(path)
    try:
        return parse_spec(raw)
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def parse_spec(raw: object) -> Spec:
    """Make a spec of parsed TOML.

    Raises:
        ConfigError: a key or value is wrong.
    """
    top = Fields(raw, "spec", ConfigError)
    spec = Spec(
        name=top.text("name"),
        version=top.integer("version", default=1),
        description=top.text("description", default=""),
        inputs=_inputs(top.child("input")),
        outputs=_outputs(top.child("output")),
        preprocess=tuple(_step(step) for step in top.children("preprocess")),
        budgets=_budgets(top.optional_child("budgets")),
    )
    top.finish()
    return spec


def _inputs(fields: Fields) -> InputSpec:
    channels = []
    for item in fields.children("channels"):
        channels.append(Channel(item.text("name"), item.text("unit", default="")))
        item.finish()
    window = fields.integer("window", default=0)
    # A series needs no shape: its window and its channels say it.
    shape = fields.integers("shape") or (window, len(channels))
    inputs = InputSpec(
        channels=tuple(channels),
        sample_rate_hz=fields.optional_number("sample_rate_hz"),
        window=window or shape[0],
        stride=fields.integer("stride", default=max(shape[0], 1)),
        shape=shape,
    )
    fields.finish()
    return inputs


def _outputs(fields: Fields) -> OutputSpec:
    smoothing: Any = fields.optional_child("smoothing")
    outputs = OutputSpec(
        task=fields.text("task"),
        labels=fields.texts("labels"),
        threshold=fields.optional_number("threshold"),
        unit=fields.optional_text("unit"),
        smoothing=None if smoothing is None else dict(smoothing.raw),
    )
    fields.finish()
    return outputs


def _step(fields: Fields) -> PreprocessStep:
    params = {key: value for key, value in fields.raw.items() if key != "step"}
    return PreprocessStep(fields.text("step"), params)


def _budgets(fields: Fields | None) -> Budgets | None:
    if fields is None:
        return None
    budgets = Budgets(fields.optional_number("p95_ms"), fields.optional_number("peak_rss_mb"))
    fields.finish()
    return budgets
