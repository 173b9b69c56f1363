"""How an updater undoes a model, whatever fails on the way back."""

import errno
from pathlib import Path

import pytest

from edgeml.errors import UpdateError
from edgeml.ota.disk import SystemDisk
from edgeml.ota.host import Change
from edgeml.ota.states import State
from edgeml.ota.store import Store
from edgeml.ota.updater import Updater

from .fakedevice import INSTALLED, FakeDevice, Site, full, look, take
from .publisher import Publisher


def on_probation_after_another(site: Site, publisher: Publisher) -> tuple[Updater, Store]:
    """Version 3 is on probation, and version 2 is what it would go back to."""
    updater, store = site.start()
    take(updater)
    publisher.offer(3)
    look(updater)
    return updater, store


def test_a_model_that_misbehaves_on_probation_is_undone_and_never_comes_back(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    updater.turn()
    updater.judge("nan: a score of nan", passed=False)
    assert device.serving is None
    assert device.changes[-1].reason == "nan: a score of nan"
    assert store.journal.bad == {"activity-2": "nan: a score of nan"}
    publisher.clock.advance(3600)
    look(updater)
    assert device.story == [*INSTALLED, "unhealthy"]


def test_a_candidate_that_the_interpreter_refuses_after_all_is_undone(
    site: Site, device: FakeDevice
) -> None:
    device.cannot_load = True
    updater, store = site.start()
    updater.turn()
    assert device.story == [*INSTALLED, "unhealthy"]
    assert device.changes[-1].reason.startswith("crashes: ")
    assert store.current is None


def test_a_release_that_is_revoked_while_it_serves_is_undone(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    take(updater)
    publisher.repository.revoke("activity-2")
    publisher.publish()
    look(updater)
    assert device.changes[-1].event == "revoked"
    assert device.serving is None
    assert store.current is None


def test_a_release_taken_back_is_undone_even_while_the_next_one_is_under_way(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    take(updater)
    publisher.offer(3)
    again, store = site.start(policy="ask")
    again.turn()
    assert store.journal.state is State.WAITING
    publisher.repository.revoke("activity-2")
    publisher.publish()
    look(again)
    assert device.story[-2:] == ["withdrawn", "revoked"]
    assert device.serving is None
    again.turn()
    assert again.waiting_for == "activity-3"


def test_a_model_gone_back_to_that_cannot_be_loaded_leaves_the_factorys(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    take(updater)
    assert store.current is not None
    device.unloadable.add(store.current)
    publisher.offer(3)
    look(updater)
    updater.judge("nan: a score of nan", passed=False)
    assert device.serving is None
    assert store.journal.current is None
    assert list(store.journal.bad) == ["activity-3", "activity-2"]


def test_a_swap_back_that_fails_is_tried_again_with_the_next_turn(
    site: Site, device: FakeDevice
) -> None:
    updater, store = site.start()
    updater.turn()
    device.factory_fails = True
    updater.judge("nan: a score of nan", passed=False)
    served = [device.serving]
    device.factory_fails = False
    updater.judge(None, passed=False)
    served.append(device.serving)
    assert [one is None for one in served] == [False, True]
    assert store.journal.state is State.IDLE


def test_a_card_that_takes_no_journal_still_serves_the_model_before_and_writes_it_later(
    site: Site, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater, store = site.start()
    updater.turn()
    with monkeypatch.context() as patched:
        patched.setattr("edgeml.ota.store.replace", full)
        with pytest.raises(UpdateError, match="disk: "):
            updater.judge("nan: a score of nan", passed=False)
    assert device.serving is None
    updater.judge(None, passed=False)
    assert store.journal.bad == {"activity-2": "nan: a score of nan"}


def test_going_back_by_hand_remembers_the_release_as_bad(site: Site, device: FakeDevice) -> None:
    updater, store = site.start()
    with pytest.raises(UpdateError, match="nothing to go back to"):
        updater.roll_back("by hand: wished")
    take(updater)
    updater.roll_back("by hand: wished")
    assert device.serving is None
    assert store.journal.bad == {"activity-2": "by hand: wished"}


def test_a_way_back_that_the_disk_cut_off_is_finished_with_one_swap_and_told_once(
    site: Site, device: FakeDevice, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater, store = on_probation_after_another(site, publisher)
    right, before = SystemDisk.rename, store.journal.previous
    served: list[Path | None] = []
    monkeypatch.setattr(device, "swap", served.append)

    def second_fails(disk: SystemDisk, old: Path, new: Path) -> None:
        if store.journal.state is State.ROLLING_BACK:
            raise OSError(errno.EIO, "Input/output error")
        right(disk, old, new)

    with monkeypatch.context() as patched:
        patched.setattr(SystemDisk, "rename", second_fails)
        for _ in range(3):
            with pytest.raises(UpdateError, match="Input/output error"):
                updater.judge("nan: a score of nan", passed=False)
    assert before is not None
    assert served == [store.path_of(before)]
    updater.judge("nan: a score of nan", passed=False)
    assert store.journal.state is State.IDLE
    assert store.journal.current == before
    assert store.journal.bad == {"activity-3": "nan: a score of nan"}
    assert device.story.count("unhealthy") == 1


def test_what_fails_after_a_model_is_undone_undoes_no_second_one(
    site: Site, device: FakeDevice, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's own code hears of the undoing, and fails."""
    updater, store = on_probation_after_another(site, publisher)
    before = store.journal.previous

    def fails(_: Change) -> None:
        raise KeyError("lamp")

    with monkeypatch.context() as patched:
        patched.setattr(device, "report", fails)
        with pytest.raises(KeyError):
            updater.judge("nan: a score of nan", passed=False)
    updater.judge("nan: a score of nan", passed=False)
    assert store.journal.current == before
    assert store.journal.bad == {"activity-3": "nan: a score of nan"}
    assert device.serving == store.current
