"""The device: source, model and delivery composed; no logic of its own.

`Device.run` is the inference loop. It does no I/O but the source's: results go
to the delivery's own thread, so that neither the disk nor the network ever
holds up a window.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Final

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, EdgeMLError, SensorError
from edgeml.manifest import NAME_PATTERN
from edgeml.monitor.latency import Latency
from edgeml.result import ModelRef, Result
from edgeml.runtime.model import Model
from edgeml.sensors.sample import Sample, Window
from edgeml.sensors.window import Windower, WindowStats
from edgeml.sync.delivery import Delivery, DeliveryHealth
from edgeml.sync.settings import Mqtt

CLOSE_TIMEOUT_S: Final = 5.0
HEALTH_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """The device at one moment.

    Attributes:
        device: its id.
        model: which model it runs.
        windows: what the source and the windower met since `run` began.
        results: results computed since the device was made.
        p50_us: median time from window to result, in microseconds.
        p95_us: its 95th percentile.
        p99_us: its 99th percentile.
        delivery: the outbox and the link; None without `sync`.
    """

    device: str
    model: ModelRef
    windows: WindowStats
    results: int
    p50_us: float
    p95_us: float
    p99_us: float
    delivery: DeliveryHealth | None


class Device:
    """One device: a model, and where its results go.

    Args:
        device_id: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; the device's name in the fleet.
        model: a bundle's path, its bytes, or a `Model` already loaded (then
            closing it stays with the caller).
        sync: the broker to deliver to; None keeps every result here.
        on_nan: what a reading that is not finite does: `restart`, `hold` or `raise`.
        clock: where time comes from.

    Raises:
        ConfigError: the device id cannot be used.
        BundleError, BackendError: the model cannot be loaded.
        OutboxError: the outbox cannot be opened.
    """

    def __init__(
        self,
        device_id: str,
        *,
        model: str | os.PathLike[str] | bytes | Model,
        sync: Mqtt | None = None,
        on_nan: str = "restart",
        clock: Clock | None = None,
    ) -> None:
        if not NAME_PATTERN.fullmatch(device_id):
            raise ConfigError(
                f"device id {device_id!r}: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; "
                "it becomes part of a topic"
            )
        self.device_id = device_id
        self._clock: Clock = SystemClock() if clock is None else clock
        self._owns_model = not isinstance(model, Model)
        self.model = model if isinstance(model, Model) else Model.load(model)
        self._on_nan = on_nan
        self._windows = WindowStats()
        self._latency = Latency()
        self._health_due_s = 0.0
        self._delivery: Delivery | None = None
        try:
            # A policy that does not exist is found here, not at the first window.
            Windower(self.model.manifest.inputs, on_nan=on_nan)
            if sync is not None:
                self._delivery = Delivery(device_id, sync, clock=self._clock)
                self._delivery.start()
        except EdgeMLError:
            self._close_model()
            raise

    def __enter__(self) -> "Device":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, source: Iterable[Sample | Window]) -> Iterator[Result]:
        """Classify everything that the source gives, until it ends.

        Args:
            source: samples, which are cut into the model's windows, or windows.

        Yields:
            A result for each window, already on its way to the outbox.

        Raises:
            SensorError: the source fails, or its channels are not the model's.
            InputError: a window does not fit the model.
        """
        _check_channels(source, self.model)
        windower = Windower(self.model.manifest.inputs, on_nan=self._on_nan)
        self._windows = windower.stats
        for item in source:
            window = item if isinstance(item, Window) else windower.push(item)
            if window is not None:
                yield self._classify(window)

    def wait_delivered(self, timeout_s: float) -> bool:
        """Wait until everything produced so far is delivered.

        Returns:
            False where the deadline passed first; True at once without `sync`.
        """
        return True if self._delivery is None else self._delivery.wait_delivered(timeout_s)

    def health(self) -> DeviceHealth:
        """The device at this moment."""
        return DeviceHealth(
            device=self.device_id,
            model=self.model.ref,
            windows=self._windows,
            results=self._latency.count,
            p50_us=self._latency.percentile_us(50),
            p95_us=self._latency.percentile_us(95),
            p99_us=self._latency.percentile_us(99),
            delivery=None if self._delivery is None else self._delivery.health(),
        )

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Make what is produced durable, then end every thread, within the deadline.

        What is not delivered by then stays in the outbox and goes out the next time.
        """
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.close(timeout_s)
        self._close_model()

    def _classify(self, window: Window) -> Result:
        result = self.model.predict(window.data, window.start_s, window.end_s, window.new)
        self._latency.add(result.pre_us + result.invoke_us + result.post_us)
        if self._delivery is not None:
            self._delivery.put(result)
            self._note_health(self._delivery)
        return result

    def _note_health(self, delivery: Delivery) -> None:
        """Refresh what the health topic says of the loop, now and then."""
        now_s = self._clock.monotonic_s()
        if now_s < self._health_due_s:
            return
        self._health_due_s = now_s + HEALTH_EVERY_S
        delivery.set_health(
            {
                "results": self._latency.count,
                "p50_us": round(self._latency.percentile_us(50), 1),
                "p95_us": round(self._latency.percentile_us(95), 1),
                "p99_us": round(self._latency.percentile_us(99), 1),
                "windows": asdict(self._windows),
            }
        )

    def _close_model(self) -> None:
        if self._owns_model:
            self.model.close()


def _check_channels(source: object, model: Model) -> None:
    """Columns that have names must be the model's, in the model's order."""
    found = getattr(source, "channel_names", None)
    wanted = tuple(channel.name for channel in model.manifest.inputs.channels)
    if found and tuple(found) != wanted:
        raise SensorError(
            f"the source's channels are {', '.join(found)}; the model takes {', '.join(wanted)}; "
            "name them in that order with channels=[…]"
        )
