"""The floor: what is older than the latest signed time that a device has seen is expired."""

from edgeml.ota.updater import RETRY_S

from .fakedevice import FakeDevice, Site, look
from .publisher import DAY_S, Publisher


def test_expired_metadata_is_refused_once_and_inference_is_left_alone(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    store.change(floor_s=int(publisher.clock.now_s()) + 400 * DAY_S, floor_root=1)
    for _ in range(3):
        look(updater)
    assert device.story == ["refused"]
    assert device.changes[0].reason.startswith("expired: ")
    assert device.serving is None


def test_one_date_far_ahead_locks_no_device_out(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    """A rule from a publisher whose clock was a year ahead: the floor stays below what is valid."""
    publisher.clock.advance(300 * DAY_S)
    publisher.repository.rollout("activity-2", 10_000)
    publisher.clock.step_wall(-300 * DAY_S)
    publisher.repository.refresh(everything=True)
    publisher.publish()
    updater, store = site.start()
    updater.turn()
    assert store.journal.floor_s < publisher.clock.now_s() + 2 * DAY_S


def test_a_floor_does_not_outlive_the_root_under_which_it_was_learned(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    store.change(floor_s=int(publisher.clock.now_s()) + 400 * DAY_S, floor_root=1)
    updater.turn()
    assert device.changes[-1].reason.startswith("expired: ")
    publisher.repository.rotate("root")
    publisher.repository.refresh()
    publisher.publish()
    publisher.clock.advance(RETRY_S)
    look(updater)
    assert device.story[-1] == "activated"
    assert store.journal.floor_root == 2
