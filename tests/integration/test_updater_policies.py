"""What lets an updater begin: a policy, an hour, a pin, a rule that stays."""

from pathlib import Path
from typing import Any

import pytest

from edgeml.errors import ConfigError, UpdateError
from edgeml.ota.host import Shadowed
from edgeml.ota.probation import Limits
from edgeml.ota.settings import Updates
from edgeml.ota.states import State

from .fakedevice import FETCHED, INSTALLED, FakeDevice, Site, look
from .publisher import Publisher

NIGHT: dict[str, Any] = {"policy": "hours", "hours": (2, 5)}


def test_under_ask_nothing_is_fetched_before_somebody_agrees(
    site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start(policy="ask")
    updater.turn()
    updater.turn()
    assert device.story == ["release_found"]
    assert updater.waiting_for == "activity-2"
    with pytest.raises(UpdateError, match="activity-3 does not wait; what waits is activity-2"):
        updater.agree("activity-3")
    updater.agree("activity-2")
    updater.turn()
    assert device.story == INSTALLED


@pytest.mark.parametrize(("hour", "story"), [(12.0, ["release_found"]), (3.5, INSTALLED)])
def test_under_hours_it_waits_for_them(
    hour: float, story: list[str], site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start(hour=hour, policy="hours", hours=(2, 5))
    updater.turn()
    assert device.story == story


def test_what_came_too_late_for_its_hours_is_installed_within_the_next(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    """Its last chunk came at noon, by a restart then; neither probe nor swap is at noon."""
    with publisher.biggest_file_missing():
        updater, store = site.start(hour=4.9, **NIGHT)
        updater.turn()
        assert store.journal.state is State.FETCHING
    for _ in range(2):
        updater, store = site.start(hour=12.0, **NIGHT)
        updater.turn()
        updater.turn()
        assert store.journal.state is State.PROBING
        assert store.journal.tries == 0
    updater, _ = site.start(hour=2.5, **NIGHT)
    updater.turn()
    assert [event for event in device.story if event != "refused"] == INSTALLED


def test_what_waits_for_its_hours_is_installed_at_once_where_somebody_agrees(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    """Before it is fetched, and when it is here already; the agreement outlives a restart."""
    with publisher.biggest_file_missing():
        updater, _ = site.start(hour=4.9, **NIGHT)
        updater.turn()
    updater, store = site.start(**NIGHT)
    updater.turn()
    assert store.journal.state is State.PROBING
    updater.agree("activity-2")
    updater, _ = site.start(**NIGHT)
    updater.turn()
    assert [event for event in device.story if event != "refused"] == INSTALLED


def test_a_shadow_run_that_ends_outside_the_hours_waits_for_them(
    site: Site, device: FakeDevice
) -> None:
    hour = [4.9]
    updater, store = site.start(
        policy="hours", hours=(2, 5), shadow_windows=10, local_hour=lambda: hour[-1]
    )
    updater.turn()
    device.outcome = Shadowed(None, {"windows": 10.0, "agreement": 1.0})
    states = []
    for later in (5.1, 2.0):
        hour.append(later)
        updater.turn()
        states.append(store.journal.state)
    assert states == [State.SHADOWING, State.PROBATION]


def test_what_somebody_asked_for_is_installed_at_any_hour_after_a_restart_too(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    with publisher.biggest_file_missing():
        updater, _ = site.start(**NIGHT)
        updater.look()
        with pytest.raises(UpdateError, match="missing"):
            updater.apply()
    again, _ = site.start(**NIGHT)
    again.turn()
    assert device.story == [*FETCHED, "activated"]


def test_a_rollout_halted_while_it_waits_is_withdrawn(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start(policy="ask")
    updater.turn()
    publisher.repository.halt()
    publisher.publish()
    look(updater)
    assert device.story == ["release_found", "withdrawn"]
    assert store.journal.state is State.IDLE
    assert store.journal.bad == {}


def test_a_pinned_device_looks_at_no_release(site: Site, device: FakeDevice) -> None:
    updater, store = site.start()
    store.change(pinned="")
    updater.turn()
    assert device.story == []


def test_a_device_pinned_to_a_release_takes_that_one_only(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    store.change(pinned="activity-3")
    updater.turn()
    assert device.story == []
    publisher.offer(3)
    look(updater)
    assert device.story == INSTALLED


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_bytes_per_s": 0}, "max_bytes_per_s should be above 0"),
        ({"larger": 0}, "larger"),
        ({"policy": "hours", "hours": (25, 3)}, "two of 0 to 24"),
        ({"policy": "hours", "hours": (3, 3)}, "two of 0 to 24"),
        ({"probation": Limits(windows=0)}, "of probation should be above 0"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_when_it_is_made(
    wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        Updates("root.json", **wrong)


def test_a_root_that_is_not_there_says_what_to_carry(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"carry the publisher's metadata/1\.root\.json"):
        Updates(tmp_path / "none.json").read_root()


def test_another_file_in_the_roots_place_is_named(tmp_path: Path) -> None:
    """A list of samples, metadata of another role: found before anything is fetched."""
    path = tmp_path / "root.json"
    for content in (b"time_s,x\n0,1\n", b"[1]", b'{"signed": {"_type": "targets"}}'):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"root\.json is not a publisher's root file; carry"):
            Updates(path).read_root()
