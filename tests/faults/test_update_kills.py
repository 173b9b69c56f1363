"""An update that is killed at any system call: the device comes up with a whole model and goes on.

A process with the device's own trust, store, parcel and updater installs a
release, or undoes one, and gets SIGKILL at each call that writes, syncs, makes,
renames or removes a file, once on the call's way in and once on its way out.
What the next start finds is opened as the device opens it. An installation alone has over 300
such points, and they lie in every state of the table. Those that EDGEML_FAULT_RUNS asks for
(10; each run stands for ten points) are a sample that EDGEML_FAULT_SEED (0) gives; from
200 runs on, as in `make faults`, it is every point.
"""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgeml.clock import SystemClock
from edgeml.errors import EdgeMLError
from edgeml.ota.host import Change, Shadowed, Verdict
from edgeml.ota.journal import Journal
from edgeml.ota.probation import Incumbent
from edgeml.ota.settings import Updates
from edgeml.ota.states import State
from edgeml.ota.store import Store
from edgeml.ota.transport import Folder
from edgeml.ota.trust import Trust
from edgeml.ota.updater import Updater
from edgeml.runtime.model import Model
from edgeml.updatesite import Site
from tests.faults import ptrace
from tests.integration.publisher import ACTIVITY, Publisher

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not ptrace.SUPPORTED, reason="knows the system calls of Linux on 64 bits"),
]

RUNS = int(os.environ.get("EDGEML_FAULT_RUNS", "10"))
SEED = int(os.environ.get("EDGEML_FAULT_SEED", "0"))
EVERY_POINT_FROM = 200
POINTS_A_RUN = 10
LEAST_POINTS = 300


class Quick:
    """A device whose probe finds nothing, so that the kills are about files."""

    def factory_version(self) -> int:
        return 1

    def misfit(self, path: Path) -> str | None:
        return None

    def probe(self, path: Path | None) -> Verdict:
        return Verdict(None)

    def pieces(self) -> Iterable[bytes]:
        return ()

    def incumbent(self) -> Incumbent:
        return Incumbent()

    def progress(self, here_bytes: int, all_bytes: int) -> None:
        return None

    def shadow(self, path: Path, windows: int) -> None:
        return None

    def shadowed(self) -> Shadowed | None:
        return Shadowed(None, {"windows": 1.0, "agreement": 1.0})

    def swap(self, path: Path | None) -> None:
        return None

    def report(self, change: Change) -> None:
        return None


class Plant:
    """A publisher with two releases after the factory's, and devices of it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.publisher = Publisher(place)
        (place / "root.json").write_bytes(self.publisher.root)
        self.settings = Updates(
            place / "root.json", folder=self.publisher.out, slower=1000.0, shadow_windows=1
        )
        self.digests: dict[str | None, str] = {}

    def updater(self, folder: Path) -> tuple[Updater, Store]:
        """As a start of the device makes it."""
        store = Store(folder / "activity")
        store.started()
        trust = Trust(folder / "trust", self.settings.read_root())
        transports = [Folder(self.publisher.out)]
        updater = Updater(
            "activity", "pump-7", self.settings, store, trust, transports, Quick(), SystemClock()
        )
        return updater, store

    def install(self, folder: Path) -> None:
        updater, store = self.updater(folder)
        for _ in range(3):
            updater.turn()
            updater.judge(None, passed=True)
            updater.check_now()
        assert store.journal.state is State.IDLE

    def undo(self, folder: Path) -> None:
        updater, _ = self.updater(folder)
        updater.turn()
        updater.judge("nan: a score of nan", passed=False)

    def on_probation(self, folder: Path) -> None:
        updater, store = self.updater(folder)
        states = []
        for _ in range(2):
            updater.turn()
            states.append(store.journal.state)
        assert states == [State.SHADOWING, State.PROBATION]

    def serves(self, folder: Path) -> str | None:
        """What a start of the device serves with: its release, after it was loaded and warm."""
        site = Site(ACTIVITY, folder, self.settings)
        what = site.starts_with()
        assert not isinstance(what, Model)
        with Model.load(what) as model:
            model.warm_up()
            version = model.ref.version
        held = site.store.journal.current
        assert (1 if held is None else held.version) == version
        return None if held is None else held.release


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Devices run release 2, and release 3 is out."""
    made = Plant(tmp_path_factory.mktemp("plant"))
    made.publisher.offer(2)
    made.install(made.place / "settled")
    made.publisher.offer(3)
    shutil.copytree(made.place / "settled", made.place / "trying", symlinks=True)
    made.on_probation(made.place / "trying")
    return made


def _points(total: int) -> list[tuple[int, bool]]:
    every = [(n, after) for n in range(total) for after in (False, True)]
    if RUNS >= EVERY_POINT_FROM:
        return every
    return random.Random(SEED).sample(every, min(RUNS * POINTS_A_RUN // 2, len(every)))


@dataclass
class Kills:
    """Where a process died.

    Attributes:
        points: at which it could.
        calls: at which it did, by the call's name.
        states: of the update that it left.
    """

    points: int
    calls: Counter[str] = field(default_factory=Counter)
    states: Counter[State] = field(default_factory=Counter)

    def are_whole(self, states: set[State]) -> None:
        """Where every point was asked for, all of them were met, and these states among them."""
        if RUNS >= EVERY_POINT_FROM:
            assert self.calls.total() == self.points
            assert set(self.states) >= states


def _kill_everywhere(
    plant: Plant, start: str, work: Callable[[Path], None], then: Callable[[Path, str | None], None]
) -> Kills:
    """Let `work` die at each point from the same start."""
    folder = plant.place / "device"

    def fresh() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(plant.place / start, folder, symlinks=True)

    fresh()
    whole = ptrace.run(lambda: work(folder))
    assert whole.status == 0, "it does not even work without a kill"
    kills = Kills(2 * whole.calls)
    for point, after in _points(whole.calls):
        fresh()
        death = ptrace.run(lambda: work(folder), point, after=after)
        kills.calls[death.at or "end"] += 1
        left = (folder / "activity" / "journal.json").read_bytes()
        kills.states[Journal.parse(left).state] += 1
        try:
            then(folder, plant.serves(folder))
        except (AssertionError, EdgeMLError) as exc:
            way = "after" if after else "before"
            raise AssertionError(f"killed {way} call {point}, {death.at}: {exc}") from exc
    return kills


def test_an_installation_killed_at_any_call_leaves_a_whole_model_and_finishes(
    plant: Plant,
) -> None:
    def then(folder: Path, served: str | None) -> None:
        assert served in ("activity-2", "activity-3")
        plant.install(folder)
        assert plant.serves(folder) == "activity-3"
        names = {path.name for path in (folder / "trust").iterdir()}
        assert not [name for name in names if name.startswith("tmp")]
        assert not list((folder / "activity" / "part").iterdir())

    kills = _kill_everywhere(plant, "settled", plant.install, then)
    print(f"an installation was killed at {kills}")
    assert kills.points >= LEAST_POINTS
    assert {"write", "pwrite", "fsync", "rename", "create", "unlink"} <= set(kills.calls)
    kills.are_whole(set(State) - {State.ROLLING_BACK})


def test_a_way_back_killed_at_any_call_leaves_a_whole_model_and_finishes(plant: Plant) -> None:
    def then(folder: Path, served: str | None) -> None:
        assert served in ("activity-2", "activity-3")
        if served == "activity-3":
            plant.undo(folder)
        assert plant.serves(folder) == "activity-2"
        assert "activity-3" in Store(folder / "activity").journal.bad

    kills = _kill_everywhere(plant, "trying", plant.undo, then)
    print(f"a way back was killed at {kills}")
    assert {"fsync", "rename"} <= set(kills.calls)
    kills.are_whole({State.PROBATION, State.ROLLING_BACK, State.IDLE})
