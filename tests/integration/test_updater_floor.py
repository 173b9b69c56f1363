"""The floor: what is older than the latest signed time that a device has seen is expired."""

from edgeml.clock import ManualClock
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


def test_a_rule_that_nobody_renews_ends_where_no_clock_runs(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    """The timestamp says how late it is: a halt by silence reaches a Pi without a battery, too."""
    stands_still = ManualClock(publisher.clock.now_s())
    publisher.repository.rollout("activity-2", 10_000, expires_s=3600, renew=False)
    publisher.publish()
    updater, _ = site.start(policy="ask", clock=stands_still)
    updater.turn()
    publisher.clock.advance(2 * 3600)
    publisher.repository.refresh()
    publisher.publish()
    look(updater)
    assert device.story == ["release_found", "withdrawn"]
    assert device.changes[-1].reason.startswith("expired: the rule for activity-2")


def test_a_timestamp_signed_far_ahead_counts_only_until_the_next(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    clock = ManualClock(publisher.clock.now_s())
    publisher.clock.step_wall(300 * DAY_S)
    publisher.repository.refresh()
    publisher.publish()
    updater, _ = site.start(policy="ask", clock=clock)
    updater.turn()
    assert updater.offer is not None
    assert updater.offer.said_s > clock.now_s() + 299 * DAY_S
    publisher.clock.step_wall(-300 * DAY_S)
    publisher.repository.rollout("activity-2", 10_000)
    publisher.repository.refresh()
    publisher.publish()
    look(updater)
    updater.agree("activity-2")
    updater.turn()
    assert device.story[-1] == "activated"
