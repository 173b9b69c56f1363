"""Where one model of a device is updated: its factory bundle, its store, its trial, its lane.

It is the device's side of `ota.updater.Host`. A bundle whose probation the
process does not survive is undone here, before it is loaded once more.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edgeml.bundle import Bundle
from edgeml.errors import ConfigError, EdgeMLError
from edgeml.lane import Lane
from edgeml.manifest import InputSpec
from edgeml.ota.probation import Incumbent, Means, Probation
from edgeml.ota.settings import Updates
from edgeml.ota.states import State
from edgeml.ota.store import Store
from edgeml.ota.updater import Change, Verdict
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.runtime.probe import probe

log: Final = logging.getLogger("edgeml.updates")

_RECENT: Final = 1000
"""Results after which the incumbent's means begin anew, so that they speak of lately."""

Observer = Callable[[Change], object]


class Site:
    """One model of a device: its factory bundle, its store, and the lane that it serves in.

    Args:
        factory: what the device was made with.
        folder: for the store.
        limits: of a probation.
    """

    def __init__(self, factory: str | os.PathLike[str] | bytes, folder: Path, updates: Updates):
        self._factory = factory
        self._factory_manifest = _read(factory).manifest
        self.name = self._factory_manifest.name
        self._updates = updates
        self._lane: Lane | None = None
        self._observers: list[Observer] = []
        self.store = Store(folder / self.name, report=lambda said: log.warning("%s", said))
        self._means = Means()
        self._before = Incumbent()
        self.undone: Change | None = None
        self.verdict: str | None = None
        self.passed = False
        self._probation = self._resume()

    def starts_with(self) -> str | os.PathLike[str] | bytes:
        """What to load now: the bundle that was installed last, else the factory's."""
        current = self.store.current
        return self._factory if current is None else current

    def attach(self, lane: Lane, observers: list[Observer]) -> None:
        """Say where it serves, and who hears of changes; of what the start undid, at once."""
        self._lane, self._observers = lane, observers
        if self.undone is not None:
            self.report(self.undone)

    def observe(self, result: Result) -> None:
        """Take a result into account; from the loop, so it must cost next to nothing."""
        probation = self._probation
        if probation is None:
            if self._means.count >= _RECENT:
                self._means = Means()
            self._means.add(result)
        elif self.verdict is None and result.model.version == self._version_on_probation():
            self.verdict = probation.push(result)
            self.passed = probation.passed

    def standing(self, group: str) -> dict[str, Any]:
        """What the state topic says of this model's updates."""
        journal = self.store.journal
        trying = journal.candidate or journal.current
        on_probation = journal.state in (State.PROBATION, State.ROLLING_BACK)
        reasons = list(journal.bad.values())
        installed = journal.previous if on_probation else journal.current
        return {
            "state": journal.state.value,
            "release": None if trying is None else trying.release,
            "group": group,
            "installed": None if installed is None else installed.release,
            "previous": None if journal.previous is None else journal.previous.release,
            "bad": list(journal.bad),
            "reason": reasons[-1] if reasons else None,
        }

    def factory_version(self) -> int:
        """The version of the model that the device was made with."""
        return self._factory_manifest.version

    def misfit(self, path: Path) -> str | None:
        """Why a bundle is not for this device's sensors; None where it is."""
        try:
            manifest = Bundle.read(path).manifest
        except EdgeMLError as exc:
            return f"invalid: {exc}"
        if manifest.name != self.name:
            return f"wrong device: it is {manifest.name}, this device runs {self.name}"
        return _difference(self._factory_manifest.inputs, manifest.inputs)

    def probe(self, path: Path | None) -> Verdict:
        """How a bundle does in a process of its own on this machine; None is the factory's."""
        what = self._factory if path is None else path
        if isinstance(what, bytes):
            return Verdict(None)
        try:
            report = probe(what)
        except EdgeMLError as exc:
            return Verdict(f"crashes: {exc}")
        if report.error is not None:
            return Verdict(f"crashes: {report.error}")
        if report.violations:
            return Verdict(f"broken promise: {'; '.join(report.violations)}")
        p95_ms = report.facts.get("p95_ms")
        return Verdict(None, p95_ms if isinstance(p95_ms, float) else None)

    def swap(self, path: Path | None) -> None:
        """Serve with another bundle from the next window on; None is the factory's."""
        model = Model.load(self._factory if path is None else path)
        try:
            model.warm_up()
        except EdgeMLError:
            model.close()
            raise
        if self._probation is None:
            self._before = self._means.incumbent
        self._means, self.verdict, self.passed = Means(), None, False
        on_probation = self.store.journal.state is State.PROBATION
        self._probation = self._new_probation(0) if on_probation else None
        if self._lane is None or not self._lane.offer(model):
            model.close()
            raise ConfigError(f"no lane runs {self.name}")

    def report(self, change: Change) -> None:
        """Take note of a change, and tell everybody."""
        log.info("%s: %s", self.name, change)
        for observer in self._observers:
            observer(change)

    def settle(self) -> None:
        """Forget the trial that is over."""
        if self.store.journal.state is not State.PROBATION:
            self._probation = None

    def _version_on_probation(self) -> int | None:
        current = self.store.journal.current
        return None if current is None else current.version

    def _new_probation(self, starts: int) -> Probation:
        return Probation(self._updates.probation, self._before, starts)

    def _broken(self) -> str | None:
        """Why the current bundle cannot even be loaded; None where it can."""
        try:
            Model.load(self.starts_with()).close()
        except EdgeMLError as exc:
            return f"crashes: {exc}"
        return None

    def _resume(self) -> Probation | None:
        """Count this start; undo a bundle with which the process does not stay up."""
        starts = self.store.started()
        if not starts:
            return None
        trial = self._new_probation(starts)
        reason = trial.crashes() or self._broken()
        if reason is None:
            return trial
        log.warning("%s: %s; going back", self.name, reason)
        held = self.store.roll_back(reason)
        release = "" if held is None else held.release
        self.undone = Change("probation", "unhealthy", "idle", release, reason)
        return None


def _read(factory: str | os.PathLike[str] | bytes) -> Bundle:
    return Bundle.from_bytes(factory) if isinstance(factory, bytes) else Bundle.read(factory)


def _difference(mine: InputSpec, theirs: InputSpec) -> str | None:
    """Why windows for one model are none for another; None where they are."""
    if mine.channels != theirs.channels:
        names = ", ".join(channel.name for channel in theirs.channels)
        return f"wrong sensor: it takes {names}, this device's sensors are others"
    if mine.sample_rate_hz != theirs.sample_rate_hz:
        return (
            f"wrong sensor: it takes {theirs.sample_rate_hz:g} samples a second, this device "
            f"gives {mine.sample_rate_hz:g}"
        )
    return None
