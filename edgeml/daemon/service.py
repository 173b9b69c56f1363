"""The daemon's life: self-test, ready, loop, reload, drain.

The watchdog is fed by the inference loop itself, before each arrival and each
second without one, so that a loop that hangs is a service that systemd starts
again, and a sensor that is being waited for is not. SIGTERM ends the
source and gives the queue a few seconds to drain; what remains waits in the
outbox. SIGHUP reads the configuration again and makes ready all that it names
while the device goes on; whatever is wrong with it is reported, and the device
goes on as before.
"""

import contextlib
import logging
import math
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeVar

from edgeml.bundle import Bundle
from edgeml.clock import Clock, SystemClock
from edgeml.daemon.config import DaemonConfig, naming, read_config
from edgeml.daemon.models import CascadeConfig, ModelConfig
from edgeml.daemon.notify import Notifier
from edgeml.daemon.sources import open_sources
from edgeml.device import Device
from edgeml.errors import BundleError, EdgeMLError
from edgeml.lane import Cascade, ModelLike
from edgeml.result import Result
from edgeml.runtime.golden import check_golden
from edgeml.runtime.model import Model
from edgeml.sensors.sample import Sample

T = TypeVar("T")
log: Final = logging.getLogger("edgeml.daemon")

DRAIN_S: Final = 3.0
CLOSE_S: Final = 1.5
"""Together under the 5 s in which a service should end."""


class Service:
    """Runs a device as its configuration file says, until it is told to stop.

    Args:
        path: the configuration file.
        on_result: called with each result, in the loop.
        notifier: the line to the service manager.
        clock: the time.
    """

    def __init__(
        self,
        path: Path,
        on_result: Callable[[Result], None] = lambda _: None,
        *,
        notifier: Notifier | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._path = path
        self._on_result = on_result
        self._clock: Clock = SystemClock() if clock is None else clock
        self._notifier = Notifier(os.environ, self._clock) if notifier is None else notifier
        self._stop = threading.Event()
        self._stopped_s = math.inf
        self._preparing = threading.Lock()
        self._handing_over = threading.Lock()
        self._following: _Prepared | None = None
        self._sources: Mapping[str, Iterable[Sample]] = {}

    def handle_signals(self) -> None:
        """SIGTERM and SIGINT stop, SIGHUP reloads; in the main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def stop(self) -> None:
        """End the loop after the sample under way; from any thread."""
        self._stopped_s = min(self._stopped_s, self._clock.monotonic_s())
        self._stop.set()
        _end(self._sources)

    def reload(self) -> None:
        """Read the configuration again and go on with it; from any thread.

        Returns at once: a model may take seconds to load and to test.
        """
        threading.Thread(target=self._prepare_following, name="edgeml-reload", daemon=True).start()

    def run(self) -> None:
        """Run until stopped, or until the source ends.

        Raises:
            ConfigError: the configuration is wrong.
            BundleError: the model fails its own self-test here.
            EdgeMLError: what a device may raise.
        """
        prepared: _Prepared | None = _prepared(self._path)
        while prepared is not None:
            self._serve(prepared)
            prepared = self._follow(None)
            if prepared is not None and self._stop.is_set():
                prepared.close()
                prepared = None
        self._notifier.stopping("ended")

    def _serve(self, prepared: "_Prepared") -> None:
        config = prepared.config
        with (
            contextlib.closing(prepared),
            prepared.device(
                prepared.given(),
                sync=config.mqtt,
                updates=config.updates,
                duty=config.duty,
                samples=config.samples,
                clock=self._clock,
            ) as device,
        ):
            self._sources = prepared.sources
            status = ", ".join(f"{m.ref.name} version {m.ref.version}" for m in device.models)
            self._notifier.ready(status)
            log.info("%s runs %s", config.device_id, status)
            # A signal may have come before there was a source to end.
            if not self._ending():
                for result in device.run(_plain(prepared.sources), tick=self._tick):
                    self._on_result(result)
            self._sources = {}
            if self._following is None:
                self._notifier.stopping("delivering what is left")
                device.wait_delivered(self._drain_s())
            device.close(CLOSE_S)

    def _drain_s(self) -> float:
        """How long what is left may be waited for: a source that ends slowly takes from it."""
        return max(min(self._stopped_s + DRAIN_S - self._clock.monotonic_s(), DRAIN_S), 0.0)

    def _tick(self) -> bool:
        self._notifier.alive()
        return not self._ending()

    def _ending(self) -> bool:
        return self._stop.is_set() or self._following is not None

    def _prepare_following(self) -> None:
        with self._preparing:
            self._notifier.reloading()
            try:
                prepared = _prepared(self._path)
            except Exception as exc:
                if isinstance(exc, EdgeMLError):
                    log.error("%s; the device goes on as before", exc)  # noqa: TRY400
                else:
                    # systemd waits for an answer, whatever nobody thought of.
                    log.exception("the new configuration fails; the device goes on as before")
                self._notifier.ready("as before: the new configuration is wrong")
                return
            # Before it is told of its follower: afterwards they may be the follower's own.
            sources = self._sources
            replaced = self._follow(prepared)
            if replaced is not None:
                replaced.close()
        _end(sources)

    def _follow(self, following: "_Prepared | None") -> "_Prepared | None":
        """Say what follows; gives what would have, so that nothing is taken twice or lost."""
        with self._handing_over:
            before, self._following = self._following, following
        return before

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A configuration with everything that can be wrong about it already tried."""

    config: DaemonConfig
    sources: Mapping[str, Iterable[Sample]]
    models: dict[str, list[Model | Cascade]]
    opened: list[Model]

    @classmethod
    def of(cls, config: DaemonConfig) -> "_Prepared":
        prepared = cls(config, open_sources(config), {}, [])
        try:
            for name, several in config.models.items():
                prepared.models[name] = [prepared.tested(one) for one in several]
            if config.updates is not None:
                config.updates.read_root()
            # A device that nobody hears of: what it objects to, the one to come would, too.
            with prepared.device(prepared.models) as trial:
                trial.check(_plain(prepared.sources))
        except BaseException:
            prepared.close()
            raise
        return prepared

    def device(self, models: Mapping[str, Sequence[ModelLike | Cascade]], **more: Any) -> Device:
        """The device that the file describes; what concerns others than itself is in `more`."""
        config = self.config
        return Device(
            config.device_id,
            model=_plain(models),
            on_nan=config.on_nan,
            limits=config.limits,
            on_out_of_range=config.on_out_of_range,
            overrun=config.overrun,
            **more,
        )

    def given(self) -> Mapping[str, Sequence[ModelLike | Cascade]]:
        """What the device is made with: the models, or their files where updates replace them."""
        if self.config.updates is None:
            return self.models
        self.close()
        return {
            name: [
                Cascade(one.gate, one.then, one.when) if isinstance(one, CascadeConfig) else one
                for one in several
            ]
            for name, several in self.config.models.items()
        }

    def tested(self, one: ModelConfig) -> Model | Cascade:
        """The model, or both of a cascade, through their golden tests."""
        if isinstance(one, CascadeConfig):
            return Cascade(self._open(one.gate), self._open(one.then), one.when)
        return self._open(one)

    def close(self) -> None:
        for model in self.opened:
            model.close()

    def _open(self, path: Path) -> Model:
        model = _tested_model(path)
        self.opened.append(model)
        return model


def _end(sources: Mapping[str, Iterable[Sample]]) -> None:
    for source in sources.values():
        end = getattr(source, "stop", None)
        if end is not None:
            end()


def _prepared(path: Path) -> _Prepared:
    """What a file describes, ready to run."""
    config = read_config(path)
    with naming(path):
        return _Prepared.of(config)


def _plain(by_source: Mapping[str, T]) -> T | Mapping[str, T]:
    """What belongs to the one source of [source] by itself, to several by their names."""
    return by_source[""] if set(by_source) == {""} else by_source


def _tested_model(path: Path) -> Model:
    """The model, warm and through its own golden test."""
    bundle = Bundle.read(path)
    model = Model.load(bundle)
    try:
        if bundle.golden is not None:
            report = check_golden(model, bundle.golden)
            if not report.passed:
                raise BundleError(
                    f"{path}: the self-test fails on this machine: {report.failed} of "
                    f"{report.windows} golden windows differ by up to {report.worst:g} "
                    f"(tolerance {report.tolerance:g})"
                )
        model.warm_up()
    except EdgeMLError:
        model.close()
        raise
    return model
