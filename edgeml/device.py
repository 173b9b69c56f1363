"""The device: sources, models and delivery composed; no logic of its own.

`Device.run` is the inference loop. It does no I/O but the source's: results go
to the delivery's own thread, so that neither the disk nor the network ever
holds up a window.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Final, cast

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, nearest
from edgeml.health import DeviceHealth, loop_health
from edgeml.lane import Cascade, Lane, ModelLike
from edgeml.manifest import NAME_PATTERN
from edgeml.monitor.latency import Latency
from edgeml.monitor.trigger import Trigger
from edgeml.reactions import Action, Reaction, check_reaction
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.sensors.live import POLICIES, Live, LiveHealth, queue_capacity
from edgeml.sensors.sample import Sample, Window
from edgeml.sensors.window import WindowStats
from edgeml.sourcecheck import check_source, complain_of_nothing
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt

log: Final = logging.getLogger("edgeml.device")

CLOSE_TIMEOUT_S: Final = 5.0
HEALTH_EVERY_S: Final = 5.0
IDLE_S: Final = 1.0


class Device:
    """One device: its models, and where their results go.

    Args:
        device_id: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; the device's name in the fleet.
        model: a bundle's path, its bytes, a `Model` already loaded (then closing it
            stays with the caller), a `Cascade`, or a sequence of these, all of
            which see the same samples.
        sync: the broker to deliver to; None keeps every result here.
        overrun: what happens when a live source outruns the models: `drop_oldest`,
            `drop_newest` or `block`. Recordings always wait.
        on_nan: what a reading that is not finite does: `restart`, `hold` or `raise`.
        clock: where time comes from.

    Raises:
        ConfigError: the device id cannot be used, or there is no model.
        BundleError, BackendError: a model cannot be loaded.
        OutboxError: the outbox cannot be opened.
    """

    def __init__(
        self,
        device_id: str,
        *,
        model: ModelLike | Cascade | Sequence[ModelLike | Cascade],
        sync: Mqtt | None = None,
        overrun: str = "drop_oldest",
        on_nan: str = "restart",
        clock: Clock | None = None,
    ) -> None:
        if not NAME_PATTERN.fullmatch(device_id):
            raise ConfigError(
                f"device id {device_id!r}: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; "
                "it becomes part of a topic"
            )
        if sync is not None and not isinstance(sync, Mqtt):
            raise ConfigError(f"sync is {sync!r}; it should be edgeml.Mqtt(url, fleet=…)")
        if overrun not in POLICIES:
            raise ConfigError(
                f"overrun={overrun!r} is none of {', '.join(POLICIES)}{nearest(overrun, POLICIES)}"
            )
        self.device_id = device_id
        self._clock: Clock = SystemClock() if clock is None else clock
        self._overrun = overrun
        self._outbox = None if sync is None else sync.outbox_path(device_id)
        self._live: Live[Sample] | None = None
        self._latency = Latency()
        self._health_due_s = 0.0
        self._closed = False
        self._reactions: list[Reaction] = []
        self._delivery: Delivery | None = None
        self._lanes: list[Lane] = []
        try:
            for one in _each(model):
                self._lanes.append(Lane(one, on_nan=on_nan))
            if not self._lanes:
                raise ConfigError("model is an empty sequence; a device runs one model at least")
            if sync is not None:
                self._delivery = Delivery(device_id, sync, clock=self._clock)
                self._delivery.start()
        except BaseException:
            self._close_lanes()
            raise

    @property
    def model(self) -> Model:
        """The first model."""
        return self._lanes[0].model

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model, a cascade's gate before what it guards."""
        return tuple(model for lane in self._lanes for model in lane.models)

    def __enter__(self) -> "Device":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def on(
        self,
        label: str,
        began: Action,
        *,
        ended: Action | None = None,
        windows: int = 1,
        model: str | None = None,
    ) -> None:
        """Call something when a label begins, and when it ends: a lamp, a relay, a message.

        The calls are made in the loop, before `run` yields the result; what they
        raise ends the loop.

        Args:
            label: the label to watch for.
            began: called with the result that begins it.
            ended: called with the result that ends it.
            windows: so many results in a row begin or end it, so that it does not flicker.
            model: watch this model's results only, by name.

        Raises:
            ConfigError: no model has such a label or such a name.
        """
        check_reaction(self.models, label, model)
        self._reactions.append(Reaction(Trigger(label, windows), model, began, ended))

    def run(
        self, source: Iterable[Sample | Window], *, tick: Callable[[], bool] = lambda: True
    ) -> Iterator[Result]:
        """Classify everything that the source gives, until it ends.

        Args:
            source: samples, which are cut into each model's windows, or windows. A
                live one is read by a thread of its own, through a bounded queue.
            tick: called before whatever arrives next, and each second in which a live
                source gives nothing; False ends the run.

        Yields:
            A result for each window and model, already on its way to the outbox.

        Raises:
            SensorError: the source fails, or its channels are not the model's.
            InputError: a window does not fit a model.
            ConfigError: the device is closed.
        """
        if self._closed:
            raise ConfigError(f"device {self.device_id} is closed; make another")
        for lane in self._lanes:
            check_source(source, lane.model)
            lane.restart()
        with contextlib.closing(self._arrivals(source)) as arrivals:
            for items in arrivals:
                if not tick():
                    return
                for lane in self._lanes:
                    for result in lane.push(items):
                        self._deliver(result)
                        yield result
        for lane in self._lanes:
            complain_of_nothing(lane.stats, lane.model)

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
            models=tuple(model.ref for model in self.models),
            windows=self._window_stats(),
            source=self._live_health(),
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
        self._closed = True
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.close(timeout_s)
            waiting = delivery.health().waiting_rows
            if waiting and self._outbox is not None:
                log.warning("%d results wait in %s and go out next time", waiting, self._outbox)
        self._close_lanes()

    def _arrivals(
        self, source: Iterable[Sample | Window]
    ) -> Generator[Sequence[Sample | Window], None, None]:
        """What arrives together, from whatever kind of source."""
        if not getattr(source, "live", False):
            for item in source:
                yield (item,)
            return
        samples = cast("Iterable[Sample]", source)
        capacity = max(queue_capacity(lane.model.manifest.inputs) for lane in self._lanes)
        self._live = Live(samples, capacity=capacity, policy=self._overrun)
        with contextlib.closing(self._live.blocks(IDLE_S)) as blocks:
            yield from blocks

    def _deliver(self, result: Result) -> None:
        self._latency.add(result.pre_us + result.invoke_us + result.post_us)
        if self._delivery is not None:
            self._delivery.put(result)
            self._note_health(self._delivery)
        for reaction in self._reactions:
            reaction.push(result)

    def _note_health(self, delivery: Delivery) -> None:
        """Refresh what the health topic says of the loop, now and then."""
        now_s = self._clock.monotonic_s()
        if now_s < self._health_due_s:
            return
        self._health_due_s = now_s + HEALTH_EVERY_S
        delivery.set_health(loop_health(self._latency, self._window_stats(), self._live_health()))

    def _window_stats(self) -> tuple[WindowStats, ...]:
        return tuple(lane.stats for lane in self._lanes)

    def _live_health(self) -> LiveHealth | None:
        return None if self._live is None else self._live.health()

    def _close_lanes(self) -> None:
        for lane in self._lanes:
            lane.close()


def _each(
    model: ModelLike | Cascade | Sequence[ModelLike | Cascade],
) -> Sequence[ModelLike | Cascade]:
    """A sequence of models, where one model may be given by itself; a path is one model."""
    if isinstance(model, (str, bytes, os.PathLike, Model, Cascade)):
        return (model,)
    return model
