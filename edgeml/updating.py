"""Updates composed with a device: what starts, what serves, and the thread that looks for more.

The device's models are the factory's. What was installed since is in a folder
beside the outbox, and is what starts. The updates' thread does all the slow
work; the loop is asked for two assignments a window.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgeml.clock import Clock
from edgeml.errors import (
    ConfigError,
    EdgeMLError,
    OutboxError,
    SensorError,
    UpdateError,
    nearest,
    told,
)
from edgeml.judge import Alarmed
from edgeml.lane import Cascade, Lane, ModelLike
from edgeml.ota.carryout import carry_out
from edgeml.ota.lock import FolderLock, holder_of
from edgeml.ota.mailbox import Mailbox, Request
from edgeml.ota.mqtt import Broker, Shelf
from edgeml.ota.settings import Updates
from edgeml.ota.transport import Folder, Http, Transport
from edgeml.ota.trustprocess import TrustProcess
from edgeml.ota.updater import Updater
from edgeml.result import Result
from edgeml.sync.settings import Mqtt, state_directory
from edgeml.sync.shelf import Shelf as BrokerShelf
from edgeml.updatesite import Observer, Site

log: Final = logging.getLogger("edgeml.updates")

_TURN_S: Final = 1.0
_JOIN_S: Final = 5.0
_MOVE_S: Final = 2.0
"""Between two reports of a download's progress."""
_LOCK_PATIENCE_S: Final = 20.0
_LOCK_LOOK_S: Final = 0.1
_WISHED: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, OutboxError, SensorError)
"""Ends of a process that say nothing of a model: wished ones, a full disk, a cable that is out."""


class Updating:
    """Every model's updates on one device, and the thread that they live in.

    Args:
        device: the device's id.
        settings: the policy.
        folder: where models and metadata are kept; one process at a time has it.
        clock: the time.
        shelf: the published files at the broker; None without one.

    Raises:
        ConfigError: no way to published files was named, or the root cannot be read.
        UpdateError: the folder cannot be used, or another process uses it.
    """

    def __init__(
        self,
        device: str,
        settings: Updates,
        folder: Path,
        clock: Clock,
        shelf: Shelf | None = None,
    ) -> None:
        self._device = device
        self._settings = settings
        self._folder = folder
        self._clock = clock
        self._root = settings.read_root()
        self._transports = transports_of(settings, clock, shelf)
        self._lock = _locked(folder)
        self._mailbox = Mailbox(folder)
        self._sites: dict[str, Site] = {}
        self._updaters: dict[str, tuple[Site, Updater]] = {}
        self.observers: list[Observer] = []
        self.moved: Callable[[], object] = lambda: None
        self.alarmed: Alarmed = lambda *_, **__: None
        self._move_due_s = 0.0
        self._busy: Site | None = None
        self._wished = True
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgeml-updates", daemon=True)

    def resolve(self, what: ModelLike | Cascade) -> ModelLike | Cascade:
        """What to load instead of the factory's.

        Raises:
            ConfigError: two models have one name.
        """
        if isinstance(what, Cascade):
            gate, then, when = self.add(what.gate), self.add(what.then), what.when
            if not callable(when):
                for label in (when,) if isinstance(when, str) else when:
                    self.need(gate.name, label)
            return Cascade(gate.starts_with(), then.starts_with(), when)
        return self.add(what).starts_with()

    def add(self, what: ModelLike) -> Site:
        """Take care of a model.

        Raises:
            ConfigError: two models have one name.
        """
        site = Site(what, self._folder, self._settings)
        if site.name in self._sites:
            raise ConfigError(
                f"two models are called {site.name}; updates could not tell them apart"
            )
        self._sites[site.name] = site
        return site

    def need(self, name: str, label: str) -> None:
        """Take no candidate of a model that has not this label: no device would start again."""
        site = self._sites.get(name)
        if site is not None:
            site.needs |= {label}

    def start(self, lanes: Sequence[Lane]) -> None:
        """Begin to look for updates of the models in these lanes."""
        for lane in lanes:
            for model in lane.models:
                site = self._sites.get(model.ref.name)
                if site is not None:
                    site.attach(lane, self.observers, self._moved_on, self._ending, self._on_alarm)
        self.prepare()
        self._thread.start()

    def prepare(self) -> None:
        """Make ready to do what somebody asks for, without a thread of its own."""
        trust = TrustProcess(self._folder / "trust", self._root)
        for name, site in self._sites.items():
            self._updaters[name] = (site, self._updater(site, trust))

    def observe(self, result: Result) -> None:
        """Take a result into account; from the loop."""
        site = self._sites.get(result.model.name)
        if site is not None:
            site.observe(result)

    def standing(self) -> Mapping[str, Any] | None:
        """What the state topic says: the first model's updates, and `others`; None without one."""
        others = dict(self.standings())
        if not others:
            return None
        name = next(iter(others))
        first = {"model": name, **others.pop(name)}
        return {**first, "others": others} if others else first

    def standings(self) -> Mapping[str, Mapping[str, Any]]:
        """Every model's updates, by its name."""
        return {name: site.standing(self._settings.group) for name, site in self._sites.items()}

    def hear(self, observer: Observer) -> None:
        """Let somebody hear of changes, the last steps first: nobody may have heard of them."""
        for site in self._sites.values():
            for change in site.store.journal.lately:
                observer(change)
        self.observers.append(observer)

    def agree(self, release: str) -> None:
        """Let a release that waits be installed.

        Raises:
            UpdateError: it does not wait.
        """
        updaters = [updater for _, updater in self._updaters.values()]
        waiting = [updater for updater in updaters if updater.waiting_for == release]
        (waiting or updaters)[0].agree(release)

    def check_now(self) -> None:
        """Look at what is offered at once."""
        for _, updater in self._updaters.values():
            updater.check_now()

    def do(self, request: Request) -> Mapping[str, Any]:
        """Do what somebody asks for; only in the thread that the updates live in.

        Returns:
            What came of it: `error` and its `kind` where nothing did.
        """
        try:
            site, updater = self._asked(request.model)
            self._busy = site
            said = carry_out(request, updater, site.store)
        except EdgeMLError as exc:
            return told(exc)
        return {"model": site.name, **said, "update": site.standing(self._settings.group)}

    def close(self, timeout_s: float = _JOIN_S) -> None:
        """End the thread, if it does by then; what was under way goes on with the next start.

        Where an exception ends the device, its start counts against a model on probation.
        """
        if not self._over.is_set():
            error = sys.exc_info()[1]
            self._wished = error is None or isinstance(error, _WISHED)
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("the updates' thread ends when what it is busy with does")
                for site in self._sites.values():
                    site.give_back(wished=self._wished)
        else:
            self._finish()

    def _finish(self) -> None:
        """What was learned is kept, and the folder let go of; by the thread, if there was one."""
        for site in self._sites.values():
            site.stop(wished=self._wished)
        for transport in self._transports:
            transport.close()
        self._lock.release()

    def _asked(self, name: str | None) -> tuple[Site, Updater]:
        if name is None and len(self._updaters) == 1:
            return next(iter(self._updaters.values()))
        found = self._updaters.get(name or "")
        if found is None:
            known = ", ".join(self._updaters)
            raise ConfigError(
                f"which model? This device runs {known}{nearest(name or '', self._updaters)}"
            )
        return found

    def _updater(self, site: Site, trust: Any) -> Updater:
        return Updater(
            site.name,
            self._device,
            self._settings,
            site.store,
            trust,
            self._transports,
            site,
            self._clock,
        )

    def _on_alarm(self, kind: str, release: str | None, reason: str, **facts: object) -> None:
        self.alarmed(kind, release, reason, **facts)

    def _moved_on(self) -> None:
        """A download has come on: say so, but not all the time."""
        now_s = self._clock.monotonic_s()
        if now_s >= self._move_due_s:
            self._move_due_s = now_s + _MOVE_S
            self.moved()

    def _ending(self) -> bool:
        """Whether a download is set aside; the other models are judged while it goes on."""
        for site, updater in self._updaters.values():
            if site is not self._busy:
                self._judge(site, updater)
        return self._over.is_set() or self._mailbox.waiting

    def _run(self) -> None:
        while not self._over.wait(_TURN_S):
            request = self._mailbox.take()
            if request is not None:
                self._serve(request)
            for site, updater in self._updaters.values():
                if not self._over.is_set():
                    self._turn(site, updater)
        self._finish()

    # This thread must outlive what nobody thought of: a device without it would serve the
    # same model for ever.
    def _serve(self, request: Request) -> None:
        try:
            self._mailbox.answer(request, self.do(request))
        except Exception:
            log.exception("%s: whoever asked for it hears nothing of it", request.verb)

    def _judge(self, site: Site, updater: Updater) -> bool:
        try:
            updater.judge(site.verdict, passed=site.passed)
            site.settle()
        except Exception:
            log.exception("%s: the updates go on after an error", site.name)
            return False
        return True

    def _turn(self, site: Site, updater: Updater) -> None:
        self._busy = site
        try:
            if self._judge(site, updater):
                updater.turn()
        except Exception:
            log.exception("%s: the updates go on after an error", site.name)


def state_folder(device_id: str, updates: Updates) -> Path:
    """Where a device keeps its models and metadata."""
    given = updates.state
    return state_directory() / f"updates-{device_id}" if given is None else Path(given)


def open_shelf(device_id: str, sync: Mqtt | None, clock: Clock) -> Shelf | None:
    """The published files at a device's broker, over a connection of their own."""
    if sync is None:
        return None
    client_id = f"edgeml-{sync.fleet}-{device_id}-updates"
    return BrokerShelf(sync, sync.fleet, client_id, clock)


def _locked(folder: Path) -> FolderLock:
    """The folder's lock; a device of this very process that is just ending is waited for."""
    give_up_s = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            return FolderLock(folder)
        except UpdateError:
            if holder_of(folder) != os.getpid() or time.monotonic() >= give_up_s:
                raise
        time.sleep(_LOCK_LOOK_S)


def transports_of(settings: Updates, clock: Clock, shelf: Shelf | None) -> list[Transport]:
    """The cheapest first: a stick costs nothing, a broker is there anyway."""
    found: list[Transport] = []
    if settings.folder is not None:
        found.append(Folder(Path(settings.folder)))
    rate = settings.max_bytes_per_s
    if shelf is not None:
        found.append(Broker(shelf, clock, max_bytes_per_s=rate))
    if settings.http is not None:
        found.append(Http(settings.http, max_bytes_per_s=rate))
    if not found:
        raise ConfigError("updates: name where they come from: sync=…, http=… or folder=…")
    return found
