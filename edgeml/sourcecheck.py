"""Sees that a source is what a model was trained on, as far as the source tells, before it runs."""

import logging
from pathlib import Path
from typing import Final

from edgeml.errors import SensorError
from edgeml.runtime.model import Model
from edgeml.sensors.tempo import same_rate
from edgeml.sensors.window import WindowStats

log: Final = logging.getLogger("edgeml.device")


def check_source(source: object, model: Model) -> None:
    """See that what the source tells of itself fits the model.

    Raises:
        SensorError: other channels, another order, or another rate.
    """
    _check_channels(source, model)
    check_rate(getattr(source, "sample_rate_hz", None), model)


def check_rate(found_hz: float | None, model: Model) -> None:
    """See that a source's rate is the model's; at another its windows would be other windows.

    Raises:
        SensorError: it is another.
    """
    wanted = model.manifest.inputs.sample_rate_hz
    if found_hz and wanted and not same_rate(found_hz, wanted):
        raise SensorError(
            f"the source gives {found_hz:g} samples a second; {model.ref.name} was trained on "
            f"{wanted:g}: give the sensor that rate_hz, resample the recording, or pass "
            "sample_rate_hz=… if the file is wrong"
        )


def _check_channels(source: object, model: Model) -> None:
    """Columns that have names must be the model's, in the model's order."""
    found = getattr(source, "channel_names", None)
    wanted = tuple(channel.name for channel in model.manifest.inputs.channels)
    if found and tuple(found) != wanted:
        raise SensorError(
            f"the source's channels are {', '.join(found)}; the model takes {', '.join(wanted)}; "
            "name them in that order with channels=[…], or names=[…] of Sensor"
        )


def complain_of_holes(stats: WindowStats, path: Path) -> None:
    """What of a file came before no model is said."""
    if stats.gaps or stats.backward_steps or stats.not_finite:
        log.warning(
            "%s: no window spans its %d gaps, %d steps back in time and %d readings of no number",
            path,
            stats.gaps,
            stats.backward_steps,
            stats.not_finite,
        )


def complain_of_nothing(stats: WindowStats, model: Model) -> None:
    """Samples that never made a window are a surprise that should not be silent."""
    if stats.samples and not stats.windows:
        log.warning(
            "%s: %d samples made no window of %d: %d gaps, %d steps back in time, %d not finite",
            model.ref.name,
            stats.samples,
            model.manifest.inputs.window,
            stats.gaps,
            stats.backward_steps,
            stats.not_finite,
        )
