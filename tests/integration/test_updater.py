"""An updater's way from a release to one that serves: all is real but the device."""

from pathlib import Path

import pytest

from edgeml.ota.host import Verdict
from edgeml.ota.judging import MAX_TRIES
from edgeml.ota.states import State
from edgeml.ota.updater import UNFIT_S

from .fakedevice import FETCHED, INSTALLED, FakeDevice, Site, take
from .publisher import ACTIVITY, Publisher


def test_a_release_is_found_fetched_probed_and_serves_on_probation(
    site: Site, device: FakeDevice, publisher: Publisher, tmp_path: Path
) -> None:
    updater, store = site.start()
    updater.turn()
    assert device.story == INSTALLED
    assert store.journal.state is State.PROBATION
    assert device.serving == store.current
    assert device.serving is not None
    assert device.serving.read_bytes() == (tmp_path / "activity-2.tflite").read_bytes()
    updater.judge(None, passed=True)
    assert device.story == [*INSTALLED, "healthy"]
    assert device.changes[-1].after == "idle"


def test_the_next_release_goes_on_top_and_takes_what_is_the_same_from_the_last(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    updater, store = site.start()
    take(updater)
    publisher.offer(3)
    take(updater)
    assert store.journal.current is not None
    assert store.journal.previous is not None
    assert (store.journal.current.release, store.journal.previous.release) == (
        "activity-3",
        "activity-2",
    )


def test_a_candidate_that_is_not_for_these_sensors_is_refused_for_good(
    site: Site, device: FakeDevice
) -> None:
    device.wrong_sensor = True
    updater, store = site.start()
    updater.turn()
    assert device.story == [*FETCHED, "probe_failed"]
    assert store.journal.bad == {"activity-2": "sensors: it takes other channels"}
    assert device.serving is None


def test_a_candidate_much_slower_than_the_incumbent_is_refused(
    site: Site, device: FakeDevice
) -> None:
    device.verdict = lambda path: Verdict(None, 1.0 if path == ACTIVITY else 1001.0)
    updater, store = site.start()
    updater.turn()
    assert device.changes[-1].event == "probe_failed"
    assert device.changes[-1].reason.startswith("slow: a p95 of 1001.00 ms")
    assert store.current is None


def test_a_candidate_that_takes_much_more_memory_than_the_incumbent_is_refused(
    site: Site, device: FakeDevice
) -> None:
    device.verdict = lambda path: Verdict(None, 1.0, 60.0 if path == ACTIVITY else 121.0)
    updater, store = site.start()
    updater.turn()
    assert device.changes[-1].event == "probe_failed"
    assert store.journal.bad == {"activity-2": "fat: a peak of 121 MiB, more than 120"}
    assert device.serving is None


def test_where_not_even_the_incumbent_can_be_tried_no_candidate_is_condemned(
    site: Site, device: FakeDevice, publisher: Publisher
) -> None:
    """While `pip install -U` runs, or where memory is short, each probe dies."""
    device.verdict = lambda _: Verdict("crashes: No module named 'edgeml.version'")
    updater, store = site.start()
    for _ in range(MAX_TRIES + 1):
        updater.turn()
        assert store.journal.state is State.PROBING
        publisher.clock.advance(UNFIT_S)
    assert device.changes[-1].event == "refused"
    assert device.changes[-1].reason.startswith("machine: not even what serves")
    assert not store.journal.bad
    device.verdict = lambda _: None
    updater.turn()
    assert device.story[-1] == "activated"


def test_a_candidate_that_takes_the_machine_down_in_each_probe_is_given_up(
    site: Site, device: FakeDevice
) -> None:
    class PowerCutError(BaseException):
        pass

    def down(_: Path) -> Verdict:
        raise PowerCutError

    device.verdict = down
    for _ in range(MAX_TRIES):
        updater, store = site.start()
        with pytest.raises(PowerCutError):
            updater.turn()
    updater, store = site.start()
    updater.turn()
    assert device.story[-1] == "probe_failed"
    assert store.journal.bad == {"activity-2": "crashes: this machine went down in 3 probes of it"}


def test_after_a_restart_on_probation_the_starts_are_counted(
    site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start()
    updater.turn()
    _, store = site.start()
    assert store.started() == 1
    assert store.journal.state is State.PROBATION
