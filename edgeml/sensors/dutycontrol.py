"""Turns the duty cycle by what a device sees: deadlines missed, samples dropped, the CPU's heat.

The decision is `next_duty`, which is pure; this counts for it, reads the
temperature now and then, and remembers the factor. A window is late when its
result takes longer than the stride lasts, or when the samples that would have
made it were dropped.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from edgeml.clock import Clock
from edgeml.errors import SensorError
from edgeml.sensors.duty import Duty, DutyLimits, DutyReading, next_duty

log: Final = logging.getLogger("edgeml.sensors")

CHECK_S: Final = 2.0
"""Between two decisions: the temperature is one read of a file that is no file on a disk."""


@dataclass(frozen=True, slots=True)
class DutyHealth:
    """The duty cycle at one moment.

    Attributes:
        factor: what every model's stride is multiplied by; 1 is normal.
        reason: why it is not 1: `hot`, `late`, or both.
        changes: how often it changed, in either direction.
        late: windows whose result took longer than the stride lasts.
        temperature_c: the CPU's temperature when it was last read; None where the machine
            does not say.
    """

    factor: int
    reason: str
    changes: int
    late: int
    temperature_c: float | None


class Counts(NamedTuple):
    """What the device counted so far: samples seen, windows made of them, samples dropped."""

    samples: int
    windows: int
    dropped: int


class DutyControl:
    """Decides by how much the strides are widened. Serves one thread.

    Args:
        limits: what makes the stride wider, and what lets it come back.
        clock: the time.
        temperature: reads the CPU's temperature; None asks this machine.
    """

    def __init__(
        self,
        limits: DutyLimits,
        clock: Clock,
        temperature: Callable[[], float] | None = None,
    ) -> None:
        self._limits = limits
        self._clock = clock
        if temperature is None:
            from edgeml.sensors.system import thermometer

            temperature = thermometer()
        self._temperature = temperature
        self._duty = Duty()
        self._due_s = clock.monotonic_s() + CHECK_S
        self._seen = Counts(0, 0, 0)
        self._late = self._late_seen = self._changes = 0
        self._temperature_c: float | None = None

    @property
    def factor(self) -> int:
        """What every stride is multiplied by."""
        return self._duty.factor

    @property
    def due(self) -> bool:
        """Whether it is time for another decision."""
        return self._clock.monotonic_s() >= self._due_s

    def took(self, seconds: float, stride_s: float) -> None:
        """A result took so long, and the stride, as it is without widening, lasts so long."""
        self._late += seconds > stride_s * self._duty.factor

    def restart(self) -> None:
        """A new stream begins, and its counts begin at zero."""
        self._seen = Counts(0, 0, 0)

    def decide(self, counts: Counts) -> bool:
        """Decide anew; says whether the factor changed."""
        samples, windows, dropped = (
            now - then for now, then in zip(counts, self._seen, strict=True)
        )
        late = self._late - self._late_seen
        self._seen, self._late_seen = counts, self._late
        # As many windows as the dropped samples would have made, at the rate of the others.
        lost = dropped * max(windows, 1) / max(samples, 1) if dropped else 0.0
        now_s = self._clock.monotonic_s()
        self._due_s = now_s + CHECK_S
        self._temperature_c = self._read()
        due, missed = windows + round(lost), late + round(lost)
        before = self._duty
        reading = DutyReading(now_s, due, min(missed, due), self._temperature_c)
        self._duty = next_duty(before, reading, self._limits)
        changed = self._duty.factor != before.factor
        if changed:
            self._changes += 1
            log.warning(
                "the stride is now %d times the model's%s",
                self._duty.factor,
                f" ({self._duty.reason})" if self._duty.reason else ": all is well again",
            )
        return changed

    def health(self) -> DutyHealth:
        """The duty cycle at this moment."""
        duty = self._duty
        return DutyHealth(duty.factor, duty.reason, self._changes, self._late, self._temperature_c)

    def _read(self) -> float | None:
        try:
            return self._temperature()
        except SensorError:
            return None
