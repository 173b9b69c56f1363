"""What a driver owes: open, read for a while, close; faults are exceptions.

A driver knows one kind of sensor and nothing of retries, silence or threads:
`Sensor` adds those, in one place and the same way for all.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from edgeml.sensors.sample import Sample


class Batch(NamedTuple):
    """What one read brought.

    Attributes:
        samples: in the order in which they were taken; empty when nothing came in time.
        malformed: lines or messages that could not be read.
        lost: times that the sensor's own buffer overflowed.
        complaint: what was wrong with the last that was malformed or lost.
    """

    samples: Sequence[Sample] = ()
    malformed: int = 0
    lost: int = 0
    complaint: str = ""


NOTHING: Final = Batch()


class Driver(Protocol):
    """One kind of sensor, for one thread at a time.

    One that sets or knows how many samples it gives a second has a `rate_hz` too, which is
    held against the model's.
    """

    @property
    def name(self) -> str:
        """Which sensor it is, for messages: `mpu6050 at i2c-1:0x68`."""
        ...

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Its channels, in the order of `Sample.values`."""
        ...

    @property
    def period_s(self) -> float | None:
        """How often it should speak; None where silence means nothing."""
        ...

    def open(self) -> None:
        """Get the sensor ready, afresh each time.

        Raises:
            OSError: it is not there or does not answer (SensorError is one).
            ConfigError, MissingDependencyError: no retry would help.
        """
        ...

    def read(self, timeout_s: float) -> Batch:
        """What has come by now, waiting for at most about `timeout_s` for the first of it.

        Raises:
            OSError: it went away.
        """
        ...

    def close(self) -> None:
        """Let go of it; harmless when it is not open, and raises nothing."""
        ...
