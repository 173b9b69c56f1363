"""The two models of a cascade are updated each by itself: neither takes what is the other's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeml import Updates
from edgeml.bundle import Bundle, pack
from edgeml.errors import BackendError
from edgeml.lane import Cascade, Lane
from edgeml.ota.journal import Held
from edgeml.ota.states import Event
from edgeml.releases.chunk import digest_of
from edgeml.result import Result
from edgeml.sensors.sample import Window
from edgeml.updatesite import Site
from tests.waiting import until

from .publisher import ACTIVITY

NAMES = ("gate", "then")


def make(folder: Path, name: str, version: int) -> Path:
    """A bundle of that name and version."""
    given = Bundle.read(ACTIVITY)
    path = folder / f"{name}-{version}.tflite"
    manifest = given.manifest.replace(name=name, version=version)
    path.write_bytes(pack(given.tflite, manifest, given.golden, given.baseline))
    return path


def answers(lane: Lane, number: int) -> list[Result]:
    """What the cascade makes of one window."""
    data = np.random.default_rng(number).normal(0, 5, (100, 6)).astype(np.float32)
    return list(lane.push([Window(float(number), number + 1.0, data)]))


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Lane, dict[str, Site]]]:
    """A cascade that lets every window pass, and the sites of its models, as a device has them."""
    settings = Updates(ACTIVITY, folder=tmp_path, state=tmp_path / "u", slower=1000.0)
    made = {name: Site(make(tmp_path, name, 1), tmp_path / "u", settings) for name in NAMES}
    first, second = (site.starts_with() for site in made.values())
    lane = Lane(Cascade(first, second, lambda _: True))
    for site in made.values():
        site.attach(lane, [], lambda: None, lambda: False)
    yield lane, made
    for site in made.values():
        site.stop()
    lane.close()


def on_probation(lane: Lane, site: Site, path: Path) -> None:
    """Let a bundle serve on probation, as after an update."""
    data = path.read_bytes()
    held = Held(f"{site.name}-2", digest_of(data))
    site.store.step(Event.RELEASE_FOUND, candidate=held)
    site.store.step(Event.PERMITTED)
    site.store.path_of(held).write_bytes(data)
    site.store.step(Event.CHUNKS_COMPLETE)
    site.store.activate(site.incumbent())
    site.swap(site.store.current)
    assert {result.model.name: result.model.version for result in answers(lane, 0)}[site.name] == 2


@pytest.mark.parametrize("name", NAMES)
def test_whichever_model_fails_at_a_window_on_probation_gives_way_in_the_loop(
    name: str,
    sites: tuple[Lane, dict[str, Site]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lane, made = sites
    on_probation(lane, made[name], make(tmp_path, name, 2))

    def fails(*_: object) -> Result:
        raise BackendError("the interpreter failed")

    (model,) = (one for one in lane.models if one.ref.name == name)
    monkeypatch.setattr(model, "predict", fails)
    assert [(r.model.name, r.model.version) for r in answers(lane, 1)] == [("gate", 1), ("then", 1)]
    assert made[name].verdict == "crashes: the interpreter failed"
    (other,) = set(NAMES) - {name}
    assert made[other].verdict is None


def test_both_models_may_have_a_candidate_in_their_shadow_at_once(
    sites: tuple[Lane, dict[str, Site]], tmp_path: Path
) -> None:
    lane, made = sites
    for name, site in made.items():
        site.shadow(make(tmp_path, name, 2), 5)
    seen: dict[str, dict[str, object]] = {}

    def both_are_done() -> bool:
        answers(lane, len(seen))
        for name, site in made.items():
            outcome = site.shadowed()
            if outcome is not None and outcome.reason is None:
                seen[name] = dict(outcome.facts)
        return len(seen) == 2

    until(both_are_done)
    assert [facts["windows"] for facts in seen.values()] == [5, 5]
