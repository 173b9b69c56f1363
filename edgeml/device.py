"""The device: sources, models and delivery composed; no logic of its own.

`Device.run` is the inference loop. It does no I/O but the source's: results go
to the delivery's own thread, so that neither the disk nor the network ever
holds up a window.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from edgeml.clock import Clock, SystemClock
from edgeml.errors import ConfigError, nearest
from edgeml.health import DeviceHealth, loop_health
from edgeml.lane import Lane
from edgeml.manifest import NAME_PATTERN
from edgeml.monitor.latency import Latency
from edgeml.reactions import Action, Reaction, react, watched
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.sampling import Sampler, Samples
from edgeml.sensors.duty import DutyLimits
from edgeml.sensors.dutycontrol import Counts, DutyControl
from edgeml.sensors.live import POLICIES
from edgeml.sensors.window import WindowStats
from edgeml.streams import Items, Models, Streams, answer, check_limits
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt

if TYPE_CHECKING:
    from edgeml.ota.host import Change
    from edgeml.ota.settings import Updates
    from edgeml.updating import Updating

log: Final = logging.getLogger("edgeml.device")

CLOSE_TIMEOUT_S: Final = 5.0
HEALTH_EVERY_S: Final = 5.0


class Device:
    """One device: its models, and where their results go.

    Args:
        device_id: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; the device's name in the fleet.
        model: a bundle's path, its bytes, a `Model` already loaded (then closing it
            stays with the caller), a `Cascade`, or a sequence of these, all of
            which see the same samples; or a mapping from the names of several
            sources to what sees each of them.
        sync: the broker to deliver to; None keeps every result here.
        overrun: what happens when a live source outruns the models: `drop_oldest`,
            `drop_newest` or `block`. Recordings always wait.
        on_nan: what a reading that is not finite does: `restart`, `hold` or `raise`.
        limits: channel by name to (low, high), beyond which a reading is not believed.
        on_out_of_range: what such a reading does: as `on_nan`, or `clip`.
        duty: when the strides are widened, because the CPU is hot or windows are late,
            and when they come back; None leaves them as they are.
        thermometer: gives the CPU's temperature in degrees Celsius, or raises SensorError;
            None asks this machine. `duty` alone reads it.
        samples: which windows are delivered themselves, for somebody to label; None for none.
        updates: where new models come from and when they are taken; None for never. Models
            given as a file or as bytes are the factory's; what was installed since serves.
        clock: where time comes from.

    Raises:
        ConfigError: the device id cannot be used, there is no model, or limits are for a
            channel that no model has.
        BundleError, BackendError: a model cannot be loaded.
        OutboxError: the outbox cannot be opened.
        UpdateError: the folder of the updates cannot be used.
    """

    def __init__(
        self,
        device_id: str,
        *,
        model: Models | Mapping[str, Models],
        sync: Mqtt | None = None,
        overrun: str = "drop_oldest",
        on_nan: str = "restart",
        limits: Mapping[str, tuple[float, float]] | None = None,
        on_out_of_range: str = "restart",
        duty: DutyLimits | None = None,
        thermometer: Callable[[], float] | None = None,
        samples: Samples | None = None,
        updates: "Updates | None" = None,
        clock: Clock | None = None,
    ) -> None:
        if not NAME_PATTERN.fullmatch(device_id):
            raise ConfigError(
                f"device id {device_id!r}: use 1 to 64 of A-Z, a-z, 0-9, '_' and '-'; "
                "it becomes part of a topic"
            )
        if sync is not None and not isinstance(sync, Mqtt):
            raise ConfigError(f"sync is {sync!r}; it should be edgeml.Mqtt(url, fleet=…)")
        if samples is not None and (sync is None or not isinstance(samples, Samples)):
            raise ConfigError("samples=edgeml.Samples(…) go home by sync=edgeml.Mqtt(…): give both")
        if overrun not in POLICIES:
            raise ConfigError(
                f"overrun={overrun!r} is none of {', '.join(POLICIES)}{nearest(overrun, POLICIES)}"
            )
        self.device_id = device_id
        self._clock: Clock = SystemClock() if clock is None else clock
        self._overrun = overrun
        self._outbox = None if sync is None else sync.outbox_path(device_id)
        self._latency = Latency()
        self._health_due_s = 0.0
        self._closed = False
        self._reactions: list[Reaction] = []
        self._delivery: Delivery | None = None
        self._duty: DutyControl | None = None
        self._sampler = None if samples is None else Sampler(samples, self._clock)
        self._updating = (
            None if updates is None else _updating(device_id, updates, sync, self._clock)
        )
        try:
            self._streams = Streams(
                model,
                lambda one: Lane(
                    one if self._updating is None else self._updating.resolve(one),
                    on_nan=on_nan,
                    limits=limits,
                    on_out_of_range=on_out_of_range,
                ),
            )
        except BaseException:
            self._end_updates()
            raise
        try:
            check_limits(limits or {}, self.models)
            if duty is not None:
                self._duty = DutyControl(duty, self._clock, thermometer)
            if sync is not None:
                self._start_delivery(sync)
            if self._updating is not None:
                self._updating.hear(self._on_change)
                self._updating.moved = self._tell_updates
                self._updating.alarmed = self._on_alarm
                self._updating.start(self._streams.lanes)
        except BaseException:
            self.close()
            raise

    @property
    def model(self) -> Model:
        """The first model."""
        return self._streams.lanes[0].model

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model, a cascade's gate before what it guards."""
        return tuple(model for lane in self._streams.lanes for model in lane.models)

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

        Several labels of a multi-label model, or of a detector, may hold at once. Each model
        that has the label is watched by itself; what a gate keeps from one counts as without it.
        No update takes the label away from one.
        The calls are made in the loop, before `run` yields; what they raise ends the loop.

        Args:
            label: the label to watch for.
            began: called with the result that begins it.
            ended: called with the result that ends it; behind a gate it may be the gate's.
            windows: so many results in a row begin or end it, so that it does not flicker.
            model: watch this model's results only, by name.

        Raises:
            ConfigError: no model has such a label or such a name.
        """
        for name in watched(self.models, label, model):
            if self._updating is not None:
                self._updating.need(name, label)
        self._reactions.append(Reaction(label, windows, model, began, ended))

    def on_update(self, callback: "Callable[[Change], object]") -> None:
        """Call something at each step of an update; from the updates' own thread.

        Raises:
            ConfigError: the device was made without `updates`.
        """
        self._needs_updates().observers.append(callback)

    def update_status(self) -> Mapping[str, Any]:
        """Where the first model's updates are; `others` has those of the others, by name.

        Raises:
            ConfigError: the device was made without `updates`.
        """
        return self._needs_updates().standing() or {}

    def check_for_update(self) -> None:
        """Let the updates' thread look at once at what is offered.

        Raises:
            ConfigError: the device was made without `updates`.
        """
        self._needs_updates().check_now()

    def agree(self, release: str) -> None:
        """Let a release that waits be installed, under the policy `ask`.

        Raises:
            ConfigError: the device was made without `updates`.
            UpdateError: that release does not wait.
        """
        self._needs_updates().agree(release)

    def run(
        self, source: Items | Mapping[str, Items], *, tick: Callable[[], bool] = lambda: True
    ) -> Iterator[Result]:
        """Classify everything that the source gives, until it ends.

        Args:
            source: samples, which are cut into each model's windows, or windows. A
                live one is read by a thread of its own, through a bounded queue. Where
                the device has models by source, a mapping from each name to its source.
            tick: called before whatever arrives next, and each second in which a live
                source gives nothing; False ends the run.

        Yields:
            A result for each window and model, already on its way to the outbox.

        Raises:
            SensorError: the source fails, or its channels or its rate are not the model's.
            InputError: a window does not fit a model.
            ConfigError: the device is closed, or there is not one source for each name.
        """
        if self._closed:
            raise ConfigError(f"device {self.device_id} is closed; make another")
        sources = self._streams.restart(source)
        if self._duty is not None:
            self._duty.restart()
        with contextlib.closing(self._streams.arrivals(sources, self._overrun)) as arrivals:
            for name, items in arrivals:
                if not tick():
                    return
                for lane, result in answer(self._streams.of(name), items):
                    self._deliver(result, lane)
                    yield result
                if self._duty is not None and self._duty.due:
                    self._turn_duty(self._duty)
        self._streams.complain_of_nothing()

    def check(self, source: Items | Mapping[str, Items]) -> None:
        """See that a source is what the models take; raises what `run` would."""
        self._streams.check(source)

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
            sources=self._streams.health(),
            duty=None if self._duty is None else self._duty.health(),
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
        self._end_updates(timeout_s)
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            self._tell_health(delivery)
            delivery.close(timeout_s)
            waiting = delivery.health().waiting_rows
            if waiting and self._outbox is not None:
                log.warning("%d results wait in %s and go out next time", waiting, self._outbox)
        self._streams.close()

    def _start_delivery(self, sync: Mqtt) -> None:
        delivery = Delivery(self.device_id, sync, clock=self._clock)
        if self._updating is not None:
            delivery.set_update(self._updating.standing())
        delivery.start()
        self._delivery = delivery
        self._streams.listen(self._on_alarm)

    def _deliver(self, result: Result, lane: Lane) -> None:
        took_us = result.pre_us + result.invoke_us + result.post_us
        self._latency.add(took_us)
        if self._duty is not None:
            self._duty.took(took_us / 1e6, lane.stride_s)
        if self._updating is not None:
            self._updating.observe(result)
        if self._delivery is not None:
            self._delivery.put(result)
            why = None if self._sampler is None else self._sampler.reason(result)
            if why is not None and lane.window is not None:
                self._delivery.put_sample(result, lane.window.data, why)
            self._note_health(self._delivery)
        if self._reactions:
            react(self._reactions, lane, result)

    def _note_health(self, delivery: Delivery) -> None:
        """Refresh what the health topic says of the loop, now and then."""
        now_s = self._clock.monotonic_s()
        if now_s < self._health_due_s:
            return
        self._health_due_s = now_s + HEALTH_EVERY_S
        self._tell_health(delivery)

    def _tell_health(self, delivery: Delivery) -> None:
        duty = None if self._duty is None else self._duty.health()
        delivery.set_health(
            loop_health(self._latency, self._window_stats(), self._streams.health(), duty)
        )

    def _needs_updates(self) -> "Updating":
        if self._updating is None:
            raise ConfigError("this device has no updates; make it with updates=edgeml.Updates(…)")
        return self._updating

    def _on_change(self, change: "Change") -> None:
        """A step of an update goes home as an event, and onto the state topic."""
        if self._delivery is None or self._updating is None:
            return
        for kind, fields in change.events():
            self._delivery.event(kind, fields, key=change.key)
        self._tell_updates()

    def _on_alarm(self, kind: str, release: str | None, reason: str, **facts: object) -> None:
        """A model does worse than it did: what leads its release through the fleet hears of it."""
        if self._delivery is not None:
            self._delivery.event(kind, {"release": release, "reason": reason, **facts})

    def _tell_updates(self) -> None:
        if self._delivery is not None and self._updating is not None:
            self._delivery.set_update(self._updating.standing())

    def _end_updates(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        if self._updating is not None:
            self._updating.close(timeout_s)

    def _turn_duty(self, duty: DutyControl) -> None:
        """Widen the strides, or bring them back, as the last seconds ask for."""
        stats = self._window_stats()
        counts = Counts(
            sum(each.samples for each in stats),
            sum(each.windows for each in stats),
            self._streams.dropped,
        )
        if duty.decide(counts):
            for lane in self._streams.lanes:
                lane.widen(duty.factor)

    def _window_stats(self) -> tuple[WindowStats, ...]:
        return tuple(lane.stats for lane in self._streams.lanes)


def _updating(device_id: str, updates: "Updates", sync: Mqtt | None, clock: Clock) -> "Updating":
    """The updates' own code is loaded only where it is used."""
    from edgeml.ota.settings import Updates
    from edgeml.updating import Updating, open_shelf, state_folder

    if not isinstance(updates, Updates):
        raise ConfigError(f"updates is {updates!r}; it should be edgeml.Updates(root=…)")
    folder = state_folder(device_id, updates)
    return Updating(device_id, updates, folder, clock, open_shelf(device_id, sync, clock))
