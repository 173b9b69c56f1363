"""What a reading may be: the range of each channel, beyond which the sensor is not believed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError, nearest
from edgeml.manifest import Channel


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """The range of each channel.

    Attributes:
        low: float32 (channels,), -inf where there is none.
        high: float32 (channels,), inf where there is none.
    """

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]

    @classmethod
    def of(cls, channels: Sequence[Channel], ranges: Mapping[str, tuple[float, float]]) -> "Limits":
        """The limits of a model's channels, given by name; a channel may be left out.

        Raises:
            ConfigError: a channel that the model has not, or a range that holds nothing.
        """
        names = [channel.name for channel in channels]
        low = np.full(len(names), -np.inf, np.float32)
        high = np.full(len(names), np.inf, np.float32)
        for name, (least, most) in ranges.items():
            if name not in names:
                raise ConfigError(f"limits: no channel {name!r}{nearest(name, names)}")
            if math.isnan(least) or math.isnan(most) or not least < most:
                raise ConfigError(
                    f"limits of {name}: from {least} to {most} holds nothing; give (low, high)"
                )
            low[names.index(name)], high[names.index(name)] = least, most
        return cls(low, high)

    def outside(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Which of the values (…, channels) are out of range; NaN never is."""
        outside: npt.NDArray[np.bool_] = (values < self.low) | (values > self.high)
        return outside
