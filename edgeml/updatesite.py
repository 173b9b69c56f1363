"""Where one model of a device is updated: its factory bundle, its store, its trial, its lane.

It is the device's side of `ota.host.Host`. A bundle whose probation the
process does not survive is undone here, before it is loaded once more, and one
that fails at a window gives way to the one before in the midst of the loop.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from edgeml.bundle import Bundle
from edgeml.errors import ConfigError, EdgeMLError, InputError, UpdateError
from edgeml.factory import Factory, probed
from edgeml.judge import Alarmed
from edgeml.labels import labels_in
from edgeml.lane import Lane, ModelLike
from edgeml.manifest import CONFIDENT, InputSpec
from edgeml.ota.host import Change, SetAsideError, Shadowed, Verdict
from edgeml.ota.probation import CRASHES, Incumbent, Lately, Probation
from edgeml.ota.report import standing_of
from edgeml.ota.settings import Updates
from edgeml.ota.states import State
from edgeml.ota.store import Store
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.shadow import Shadow

log: Final = logging.getLogger("edgeml.updates")

_TELL_FRACTION: Final = 0.01
"""Progress is told when so much more has come."""

Observer = Callable[[Change], object]


class Site:
    """One model of a device: its factory bundle, its store, and the lane that it serves in.

    Args:
        given: what the device was made with.
        folder: for the store.
        updates: the policy.

    Attributes:
        needs: labels that a cascade or an action waits for.
    """

    def __init__(self, given: ModelLike, folder: Path, updates: Updates) -> None:
        self._factory = Factory(given)
        self.name = self._factory.manifest.name
        self._updates = updates
        self.needs: frozenset[str] = frozenset()
        self._lane: Lane | None = None
        self._observers: list[Observer] = []
        self._moved: Callable[[], object] = lambda: None
        self._over: Callable[[], bool] = lambda: False
        self._alarmed: Alarmed = lambda *_, **__: None
        self._mended: list[str] = []
        self.store = Store(folder / self.name, report=self._mend)
        self._confident = self._factory.manifest.task in CONFIDENT
        self._lately = self._watching(self.store.journal.incumbent)
        self._shadow: Shadow | None = None
        self._here: tuple[int, int] | None = None
        self._told = 0.0
        self._rescued = False
        self.undone: Change | None = None
        self.verdict: str | None = None
        self.passed = False
        self._probation: Probation | None = None

    def starts_with(self) -> ModelLike:
        """What to load now: the bundle that was installed last, else the factory's."""
        self._probation = self._resume()
        current = self.store.current
        return self._factory.given if current is None else current

    def attach(
        self,
        lane: Lane,
        observers: list[Observer],
        moved: Callable[[], object],
        over: Callable[[], bool],
        alarmed: Alarmed = lambda *_, **__: None,
    ) -> None:
        """Say where it serves, and who hears of changes, those that the start made at once.

        Args:
            lane: where it serves.
            observers: told of each change.
            moved: called when a download has come on.
            over: whether what is under way should be set aside.
            alarmed: told of a model that does worse than it did; from the loop.
        """
        self._lane, self._observers, self._moved, self._over = lane, observers, moved, over
        self._alarmed = alarmed
        lane.rescue[self.name] = self._rescue
        state = self.store.journal.state.value
        for said in self._mended:
            self.report(Change(state, "mended", state, "", said))
        if self.undone is not None:
            self.report(self.undone)

    def observe(self, result: Result) -> None:
        """Take a result into account; from the loop, so it must cost next to nothing."""
        probation = self._probation
        if probation is None:
            reason = self._lately.add(result)
            if reason is not None:
                self._alarm(reason)
        elif self.verdict is None and result.model.version == self._version_on_probation():
            self.verdict = probation.push(result)
            self.passed = probation.passed

    def _mend(self, said: str) -> None:
        """The store found something wrong when it was opened: told when somebody hears it."""
        log.warning("%s", said)
        self._mended.append(said)

    def _alarm(self, reason: str) -> None:
        """A model past its trial does worse than it did: whoever led it in hears of it."""
        current = self.store.journal.current
        log.warning("%s: %s", self.name, reason)
        kind = "latency" if reason.startswith("slow") else "confidence"
        self._alarmed(kind, None if current is None else current.release, reason)

    def standing(self, group: str) -> dict[str, Any]:
        """What the state topic says of this model's updates."""
        return standing_of(self.store.journal, group, self._here)

    def stop(self, *, wished: bool = True) -> None:
        """The device is closed, wished or not: what was learned of the model is kept."""
        self._end_shadow()
        self.give_back(wished=wished)
        journal = self.store.journal
        try:
            if self._probation is None and journal.state is not State.PROBATION:
                self.store.change(incumbent=self._lately.incumbent)
        except UpdateError as exc:
            log.warning("%s: %s", self.name, exc)

    def give_back(self, *, wished: bool) -> None:
        """The process ends in order: its start may not count; from any thread."""
        try:
            self.store.stopped(wished=wished)
        except UpdateError as exc:
            log.warning("%s: %s", self.name, exc)

    def factory_version(self) -> int:
        """The version of the model that the device was made with."""
        return self._factory.manifest.version

    def pieces(self) -> Iterable[bytes]:
        """The factory's bundle, cut into chunks."""
        return self._factory.pieces()

    def incumbent(self) -> Incumbent:
        """How the model that serves does."""
        return self._lately.incumbent

    def progress(self, here_bytes: int, all_bytes: int) -> None:
        """Take note of how much of a candidate has come.

        Raises:
            SetAsideError: the device's thread is wanted for something else.
        """
        self._here = (here_bytes, all_bytes)
        fraction = here_bytes / all_bytes
        if fraction - self._told >= _TELL_FRACTION or fraction < self._told:
            self._told = fraction
            self._moved()
        if self._over():
            raise SetAsideError(f"set aside at {fraction:.0%}: the download goes on by itself")

    def shadow(self, path: Path, windows: int) -> None:
        """Let a bundle see the next windows beside the incumbent; its answers go nowhere."""
        self._end_shadow()
        if self._lane is None:
            raise ConfigError(f"no lane runs {self.name}")
        model = Model.load(path)
        self._shadow = Shadow(model, windows)
        self._lane.watch[self.name] = self._shadow.see

    def shadowed(self) -> Shadowed | None:
        """What came of that; None while it goes on."""
        outcome = None if self._shadow is None else self._shadow.outcome
        if outcome is not None:
            self._end_shadow()
        return outcome

    def misfit(self, path: Path) -> str | None:
        """Why a bundle is not for this device's sensors or cascade; None where it is."""
        try:
            manifest = Bundle.read(path).manifest
        except EdgeMLError as exc:
            return f"invalid: {exc}"
        if manifest.name != self.name:
            return f"wrong device: it is {manifest.name}, this device runs {self.name}"
        missing = sorted(self.needs.difference(labels_in(manifest.outputs)))
        if missing:
            return f"wrong labels: this device waits for {', '.join(missing)}, which it has not"
        return _difference(self._factory.manifest.inputs, manifest.inputs)

    def probe(self, path: Path | None) -> Verdict:
        """How a bundle does in a process of its own on this machine; None is the factory's."""
        return self._factory.probe() if path is None else probed(path)

    def swap(self, path: Path | None) -> None:
        """Serve with another bundle from the next window on; None is the factory's."""
        model, owned = self._load(path)
        try:
            model.warm_up()
            journal = self.store.journal
            self._lately = self._watching(Incumbent())
            self.verdict, self.passed, self._rescued = None, False, False
            on_probation = journal.state is State.PROBATION
            self._probation = self._new_probation(0) if on_probation else None
            # Without a lane, as for `edgeml update`, the next start serves with it.
            if self._lane is not None and not self._lane.offer(model, owned=owned):
                raise ConfigError(f"no lane runs {self.name} with windows such as these")
        except BaseException:
            if owned:
                model.close()
            raise
        if self._lane is None and owned:
            model.close()

    def report(self, change: Change) -> None:
        """Take note of a change, and tell everybody."""
        log.info("%s: %s", self.name, change)
        for observer in self._observers:
            self._let_hear(observer, change)

    def _let_hear(self, observer: Observer, change: Change) -> None:
        try:
            observer(change)
        except Exception:  # somebody's own code keeps no update from its next step
            log.exception("%s: what hears of updates failed", self.name)

    def settle(self) -> None:
        """Forget what is over: the trial, and a shadow run that nothing waits for."""
        state = self.store.journal.state
        if state is not State.PROBATION and self._probation is not None:
            if self.passed:
                self._lately = self._watching(self._probation.seen)
            self._probation = None
        if state is not State.SHADOWING:
            self._end_shadow()

    def _end_shadow(self) -> None:
        shadow, self._shadow = self._shadow, None
        if shadow is not None:
            if self._lane is not None:
                self._lane.watch.pop(self.name, None)
            shadow.close()

    def _rescue(self, model: Model, failure: Exception) -> bool:
        """A model on probation failed at a window: let the one before serve, in the loop, at once.

        The journal follows in the updates' thread; if the power goes in between, the next
        start is counted as every start on probation is.
        """
        if self._probation is None:
            return False
        if self._rescued:
            return True
        back = self.store.journal.previous
        try:
            before, owned = self._load(None if back is None else self.store.path_of(back))
        except EdgeMLError as exc:
            log.warning("%s: the model before cannot be loaded either: %s", self.name, exc)
            return False
        same = before.manifest.inputs == model.manifest.inputs
        lane = self._lane
        if (
            (isinstance(failure, InputError) and same)
            or lane is None
            or not lane.offer(before, owned=owned)
        ):
            if owned:
                before.close()
            return False
        log.warning("%s: %s; the model before serves on", self.name, failure)
        self._rescued = True
        self.verdict = f"{CRASHES}{failure}"
        return True

    def _load(self, path: Path | None) -> tuple[Model, bool]:
        """A bundle, None for the factory's, and whether it is this site's to close."""
        return self._factory.load() if path is None else (Model.load(path), True)

    def _version_on_probation(self) -> int | None:
        current = self.store.journal.current
        return None if current is None else current.version

    def _new_probation(self, starts: int) -> Probation:
        limits, before = self._updates.probation, self.store.journal.incumbent
        return Probation(limits, before, starts, confident=self._confident)

    def _watching(self, before: Incumbent) -> Lately:
        return Lately(before, self._updates.probation, confident=self._confident)

    def _broken(self) -> str | None:
        """Why the current bundle cannot even be loaded; None where it can."""
        try:
            if self.store.current is not None:
                Model.load(self.store.current).close()
        except EdgeMLError as exc:
            return f"{CRASHES}{exc}"
        return None

    def _resume(self) -> Probation | None:
        """Count this start; undo a bundle with which the process does not stay up."""
        with self.store.starting():
            starts = self.store.started()
            if not starts:
                return None
            trial = self._new_probation(starts)
            reason = trial.crashes() or self._broken()
            if reason is None:
                return trial
            log.warning("%s: %s; going back", self.name, reason)
            self.store.roll_back(reason)
        self.undone = self.store.journal.lately[-1]
        return None


def _difference(mine: InputSpec, theirs: InputSpec) -> str | None:
    """Why windows for one model are none for another; None where they are."""
    if mine.channels != theirs.channels:
        names = ", ".join(channel.name for channel in theirs.channels)
        return f"wrong sensor: it takes {names}, this device's sensors are others"
    if mine.sample_rate_hz != theirs.sample_rate_hz:
        takes, gives = (
            f"{one.sample_rate_hz:g} samples a second" if one.sample_rate_hz else "no steady rate"
            for one in (theirs, mine)
        )
        return f"wrong sensor: it takes {takes}, this device gives {gives}"
    return None
