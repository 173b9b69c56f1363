"""A candidate in the incumbent's shadow before it may serve."""

import pytest

from edgeml.ota.host import Shadowed
from edgeml.ota.states import State

from .fakedevice import FakeDevice, Site


def test_the_shadow_runs_before_the_candidate_takes_over_and_what_it_saw_is_told(
    site: Site, device: FakeDevice
) -> None:
    updater, store = site.start(shadow_windows=50)
    updater.turn()
    assert device.story[-1] == "shadow_begun"
    assert device.shadowing == store.candidate
    updater.turn()
    assert store.journal.state is State.SHADOWING
    device.outcome = Shadowed(None, {"windows": 50, "agreement": 0.96, "candidate_us": 90.0})
    updater.turn()
    assert device.story[-1] == "activated"
    assert device.changes[-1].reason == "shadow: 96.0% of the windows agree"
    assert device.changes[-1].as_dict()["agreement"] == 0.96


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Shadowed("nan: a score of nan"), "nan: a score of nan"),
        (
            Shadowed(None, {"windows": 50, "agreement": 0.5}),
            "disagrees: 50% of 50 windows agree with the incumbent, fewer than 90%",
        ),
    ],
)
def test_a_candidate_that_fails_in_the_shadow_never_serves(
    outcome: Shadowed, reason: str, site: Site, device: FakeDevice
) -> None:
    updater, store = site.start(shadow_windows=50, shadow_agreement=0.9)
    updater.turn()
    device.outcome = outcome
    updater.turn()
    assert device.story[-1] == "shadow_failed"
    assert store.journal.bad == {"activity-2": reason}
    assert device.serving is None


def test_a_restart_in_the_shadow_begins_again_with_the_probe(
    site: Site, device: FakeDevice
) -> None:
    updater, _ = site.start(shadow_windows=50)
    updater.turn()
    again, store = site.start(shadow_windows=50)
    states = [store.journal.state]
    again.turn()
    states.append(store.journal.state)
    assert states == [State.PROBING, State.SHADOWING]
