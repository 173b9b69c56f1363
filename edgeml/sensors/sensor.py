"""The one fault behaviour of every live sensor: patience, then an error that says what is wrong.

A sensor that is unplugged, does not open or falls silent is closed and opened
again, with pauses that double. A sensor that has given nothing for
`give_up_s` ends the iteration with a SensorError; one whose driver hangs, twice
as late, ends that of the loop which waits for it. Until then its state is in
`health()`, and each fault is logged once.
"""

import logging
import math
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors.driver import Batch, Driver
from edgeml.sensors.sample import Sample

log: Final = logging.getLogger("edgeml.sensors")

POLL_S: Final = 0.1
"""The longest that `stop` goes unheard."""

_SILENT_PERIODS: Final = 3.0


class SourceState(str, Enum):
    """Where a source is in its life."""

    IDLE = "idle"
    OPENING = "opening"
    RUNNING = "running"
    RETRYING = "retrying"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """A source at one moment.

    Attributes:
        name: which sensor it is.
        state: where it is in its life.
        samples: what it gave since it was made.
        faults: times that it did not open, went away or fell silent.
        malformed: lines or messages that could not be read, and were left out.
        lost: times that the sensor's own buffer overflowed.
        quiet_s: how long it has given nothing.
        last_fault: the last thing that was wrong, empty where nothing was.
    """

    name: str
    state: SourceState
    samples: int
    faults: int
    malformed: int
    lost: int
    quiet_s: float
    last_fault: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a sensor may be in trouble.

    Attributes:
        first_pause_s: before the first attempt to open it again; it doubles.
        longest_pause_s: what it doubles up to.
        silent_after_s: no sample for so long is a fault, and never less than three of
            the sensor's own periods.
        give_up_s: no sample for so long is the end, and never less than twice that.

    Raises:
        ConfigError: a time that is not positive, or pauses that shrink.
    """

    first_pause_s: float = 0.5
    longest_pause_s: float = 10.0
    silent_after_s: float = 5.0
    give_up_s: float = 60.0

    def __post_init__(self) -> None:
        for name in ("first_pause_s", "longest_pause_s", "silent_after_s", "give_up_s"):
            value = getattr(self, name)
            if not value > 0 or math.isnan(value):
                raise ConfigError(f"{name}={value}: a time is a positive number of seconds")
        if self.longest_pause_s < self.first_pause_s:
            raise ConfigError(
                f"longest_pause_s={self.longest_pause_s} is less than "
                f"first_pause_s={self.first_pause_s}"
            )

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row, the first being 1."""
        return float(min(self.first_pause_s * 2.0 ** min(failures - 1, 60), self.longest_pause_s))

    def silence_s(self, period_s: float) -> float:
        """How long a sensor of this period may be silent."""
        return max(self.silent_after_s, _SILENT_PERIODS * period_s)

    def limit_s(self, period_s: float | None) -> float:
        """How long a sensor of this period may give nothing before it is given up."""
        return (
            self.give_up_s
            if period_s is None
            else max(self.give_up_s, 2 * self.silence_s(period_s))
        )


class Sensor:
    """A driver as a source of samples that survives what happens to sensors.

    Iterate it in one thread; `stop` and `health` are for any other.

    Args:
        driver: the sensor.
        names: the model's names of the driver's channels, in the driver's order, where
            a kernel or a chip calls them otherwise; None for the driver's own names.
        patience: how long it may be in trouble.
        clock: the time.

    Raises:
        ConfigError: not as many names as the driver has channels.
    """

    live: Final = True

    def __init__(
        self,
        driver: Driver,
        *,
        names: Sequence[str] | None = None,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        own = driver.channel_names
        if names is not None and len(names) != len(own):
            raise ConfigError(
                f"names has {len(names)} names; {driver.name} has {len(own)} channels: "
                f"{', '.join(own)}"
            )
        self._driver = driver
        self._names = None if names is None else tuple(names)
        self._patience = Patience() if patience is None else patience
        self._clock: Clock = SystemClock() if clock is None else clock
        self._stop = threading.Event()
        self._state = SourceState.IDLE
        self._open = False
        self._good_s = self._heard_s = self._retry_s = self._clock.monotonic_s()
        self._failures = 0
        self._samples = self._faults = self._malformed = self._lost = 0
        self._last_fault = ""

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The channels, in the order of `Sample.values`."""
        return self._driver.channel_names if self._names is None else self._names

    @property
    def sample_rate_hz(self) -> float | None:
        """Samples a second, where the driver sets or knows its rate."""
        found: float | None = getattr(self._driver, "rate_hz", None)
        return found

    def __iter__(self) -> Iterator[Sample]:
        """Samples, until `stop`.

        Raises:
            SensorError: it gave nothing for as long as the patience allows.
            ConfigError, MissingDependencyError: it cannot be opened as it is set up here.
        """
        blocks = self.blocks()
        try:
            for block in blocks:
                yield from block
        finally:
            blocks.close()

    def blocks(self) -> Generator[Sequence[Sample], None, None]:
        """The same samples, as many at once as each read brought.

        Raises:
            SensorError: it gave nothing for as long as the patience allows.
            ConfigError, MissingDependencyError: it cannot be opened as it is set up here.
        """
        self._good_s = self._heard_s = self._retry_s = self._clock.monotonic_s()
        self._failures = 0
        self._state = SourceState.OPENING
        try:
            while not self._stop.is_set():
                if (self._open or self._try_open()) and (samples := self._read().samples):
                    yield samples
                    # While the reader was busy nobody listened: that was no silence.
                    self._good_s = self._clock.monotonic_s()
        finally:
            self._close()
            if self._state is not SourceState.FAILED:
                self._state = SourceState.CLOSED

    def stop(self) -> None:
        """End the iteration within `POLL_S` and a read, for good; from any thread."""
        self._stop.set()

    def health(self) -> SourceHealth:
        """The sensor at this moment."""
        return SourceHealth(
            name=self._driver.name,
            state=self._state,
            samples=self._samples,
            faults=self._faults,
            malformed=self._malformed,
            lost=self._lost,
            quiet_s=self._clock.monotonic_s() - self._heard_s,
            last_fault=self._last_fault,
        )

    def check(self) -> None:
        """See that its thread is not held up in a driver that never comes back; from any other.

        A driver that answers is given up by its own thread, at half of this time.

        Raises:
            SensorError: it is.
        """
        quiet_s = self._clock.monotonic_s() - self._good_s
        limit_s = 2 * self._patience.limit_s(self._driver.period_s)
        busy = self._state in (SourceState.OPENING, SourceState.RUNNING, SourceState.RETRYING)
        if busy and quiet_s >= limit_s:
            self._state = SourceState.FAILED
            raise SensorError(
                f"{self._driver.name}: its driver has not come back for {quiet_s:.0f} s, and "
                f"{limit_s:g} s is the limit: what it waits for never comes; start this again"
            )

    def _try_open(self) -> bool:
        wait_s = self._retry_s - self._clock.monotonic_s()
        if wait_s > 0:
            self._clock.sleep(min(wait_s, POLL_S))
            return False
        try:
            self._open = True  # before it is: a driver that opened halfway must be closed too
            self._driver.open()
        except OSError as exc:
            self._fault(exc)
            return False
        # Silence counts from here, but patience goes on counting from the last good moment.
        self._retry_s = self._clock.monotonic_s()
        return True

    def _read(self) -> Batch:
        try:
            batch = self._driver.read(POLL_S)
        except OSError as exc:
            self._fault(exc)
            return Batch()
        self._malformed += batch.malformed
        self._lost += batch.lost
        if batch.complaint:
            self._last_fault = batch.complaint
        now_s = self._clock.monotonic_s()
        period_s = self._driver.period_s
        if batch.samples or batch.lost or period_s is None:
            self._good_s = now_s
            self._failures = 0
            self._state = SourceState.RUNNING
            if batch.samples:
                self._heard_s = now_s
                self._samples += len(batch.samples)
        elif now_s - max(self._good_s, self._retry_s) >= self._patience.silence_s(period_s):
            self._fault(SensorError(self._silence(now_s)))
        return batch

    def _silence(self, now_s: float) -> str:
        quiet_s = now_s - max(self._good_s, self._retry_s)
        found = f"; {self._last_fault}" if self._last_fault and self._malformed else ""
        return f"{self._driver.name}: open, but silent for {quiet_s:.1f} s{found}"

    def _fault(self, exc: OSError) -> None:
        """Close, and decide between another attempt and the end.

        Raises:
            SensorError: patience is at its end.
        """
        self._close()
        self._faults += 1
        self._failures += 1
        text = str(exc) if isinstance(exc, SensorError) else f"{self._driver.name}: {exc}"
        if self._failures == 1:
            log.warning("%s; trying again", text)
        self._last_fault = text
        now_s = self._clock.monotonic_s()
        limit_s = self._patience.limit_s(self._driver.period_s)
        if now_s - self._good_s >= limit_s:
            self._state = SourceState.FAILED
            raise SensorError(
                f"{text}; it has given nothing for {now_s - self._good_s:.0f} s in "
                f"{self._failures} attempts, and {limit_s:g} s is the limit: check the cable, the "
                "power and who may open it"
            ) from exc
        self._state = SourceState.RETRYING
        # The last attempt is at the limit itself.
        self._retry_s = min(now_s + self._patience.pause_s(self._failures), self._good_s + limit_s)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._driver.close()
