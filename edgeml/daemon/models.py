"""Which models the configuration names, and for which source.

A model is a file, or a cascade as a table; a list of these all see the source:

    model = "activity.tflite"
    model = ["activity.tflite", "anomaly.tflite"]
    model = {gate = "motion.tflite", then = "activity.tflite", when = ["moving"]}
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeml.errors import ConfigError
from edgeml.jsonread import Fields


@dataclass(frozen=True, slots=True)
class CascadeConfig:
    """A cheap model whose labels decide which windows a costly one sees."""

    gate: Path
    then: Path
    when: tuple[str, ...]


ModelConfig = Path | CascadeConfig


def read_models(section: Fields, folder: Path) -> tuple[ModelConfig, ...]:
    """The models of a section's `model`.

    Args:
        section: `[device]`, or the section of one of several sources.
        folder: what relative paths are relative to.

    Raises:
        ConfigError: no model, or something that is none.
    """
    raw = section.value("model")
    where = f"{section.path}.model"
    if isinstance(raw, list):
        if not raw:
            raise ConfigError(f"{where} is an empty list; a device runs one model at least")
        return tuple(_one(each, f"{where}[{i}]", folder) for i, each in enumerate(raw))
    if isinstance(raw, Mapping):
        return (_one(raw, where, folder),)
    return (folder / section.text("model"),)


def _one(raw: object, where: str, folder: Path) -> ModelConfig:
    if isinstance(raw, str):
        return folder / raw
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} is {raw!r}; it should be a file, or a table with gate and then")
    fields = Fields(raw, where, ConfigError)
    when = fields.raw.get("when")
    cascade = CascadeConfig(
        gate=folder / fields.text("gate"),
        then=folder / fields.text("then"),
        when=(fields.text("when"),) if isinstance(when, str) else fields.texts("when"),
    )
    fields.finish()
    if not cascade.when:
        raise ConfigError(f"{where}.when is missing: the gate's labels that let a window pass")
    return cascade


def files(models: Mapping[str, tuple[ModelConfig, ...]]) -> Iterator[Path]:
    """Every file named, a cascade's gate before what it guards."""
    for several in models.values():
        for one in several:
            if isinstance(one, CascadeConfig):
                yield one.gate
                yield one.then
            else:
                yield one
