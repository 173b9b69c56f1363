"""A device for the tests of an updater: it probes for real, all else it does is to take notes."""

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgeml.clock import Clock
from edgeml.errors import BackendError
from edgeml.ota.host import Change, SetAsideError, Shadowed, Verdict
from edgeml.ota.probation import Incumbent
from edgeml.ota.settings import Updates
from edgeml.ota.store import Store
from edgeml.ota.transport import Folder, Transport
from edgeml.ota.trust import Trust
from edgeml.ota.updater import Updater
from edgeml.runtime.probe import probe

from .publisher import ACTIVITY, Publisher

FETCHED: Final = ["release_found", "permitted", "chunks_complete"]
INSTALLED: Final = [*FETCHED, "activated"]


@dataclass
class FakeDevice:
    """Probes for real, and notes what it was told."""

    wrong_sensor: bool = False
    cannot_load: bool = False
    verdict: Callable[[Path], Verdict | None] = lambda _: None
    unloadable: set[Path] = field(default_factory=set)
    factory_fails: bool = False
    outcome: Shadowed | None = None
    shadowing: Path | None = None
    wanted_elsewhere: Callable[[int], bool] = lambda _: False
    heard: list[tuple[int, int]] = field(default_factory=list)
    serving: Path | None = None
    changes: list[Change] = field(default_factory=list)

    def factory_version(self) -> int:
        return 1

    def misfit(self, path: Path) -> str | None:
        return "sensors: it takes other channels" if self.wrong_sensor else None

    def probe(self, path: Path | None) -> Verdict:
        given = self.verdict(path or ACTIVITY)
        if given is not None:
            return given
        report = probe(path or ACTIVITY)
        reason = report.error or ("; ".join(report.violations) or None)
        return Verdict(reason, report.facts.get("p95_ms"))

    def pieces(self) -> Iterable[bytes]:
        return ()

    def incumbent(self) -> Incumbent:
        return Incumbent(100.0, 0.9, 3, 500)

    def progress(self, here_bytes: int, all_bytes: int) -> None:
        self.heard.append((here_bytes, all_bytes))
        if self.wanted_elsewhere(here_bytes):
            raise SetAsideError("set aside: somebody asks for something else")

    def shadow(self, path: Path, windows: int) -> None:
        self.shadowing = path

    def shadowed(self) -> Shadowed | None:
        return self.outcome

    def swap(self, path: Path | None) -> None:
        if path is not None and (self.cannot_load or path in self.unloadable):
            raise BackendError("the interpreter refused it")
        if path is None and self.factory_fails:
            raise BackendError("out of memory")
        self.serving = path

    def report(self, change: Change) -> None:
        self.changes.append(change)

    @property
    def story(self) -> list[str]:
        return [change.event for change in self.changes]


class Site:
    """One device's folder, and the updater of each start of its process."""

    def __init__(self, place: Path, publisher: Publisher, device: FakeDevice) -> None:
        self._place = place
        self._publisher = publisher
        self._device = device

    def start(
        self,
        hour: float = 12.0,
        clock: Clock | None = None,
        transports: Sequence[Transport] | None = None,
        local_hour: Callable[[], float] | None = None,
        **settings: Any,
    ) -> tuple[Updater, Store]:
        updates = Updates(self._place / "root.json", slower=1000.0, **settings)
        store = Store(self._place / "device")
        updater = Updater(
            "activity",
            "pump-7",
            updates,
            store,
            Trust(self._place / "trust", updates.read_root()),
            [Folder(self._publisher.out)] if transports is None else transports,
            self._device,
            self._publisher.clock if clock is None else clock,
            (lambda: hour) if local_hour is None else local_hour,
        )
        return updater, store


def look(updater: Updater) -> None:
    """Look at what is offered by now, and do what follows from it."""
    updater.check_now()
    updater.turn()


def take(updater: Updater) -> None:
    """Install what is offered by now, and pass its probation."""
    look(updater)
    updater.judge(None, passed=True)


class Counting(Folder):
    """A folder that knows which files it was asked for, and which it gave."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[str] = []
        self.gave: list[str] = []

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        self.asked.extend(names)
        for name, data in super().fetch(names, limit_bytes):
            self.gave.append(name)
            yield name, data


def full(*_: object) -> None:
    """What a write to a full card does."""
    raise OSError(errno.ENOSPC, "No space left on device")
