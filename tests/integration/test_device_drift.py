"""A device measures its drift: that of its sensors is told, that of its model halts a rollout."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeml import Device, Mqtt
from edgeml.bundle import Bundle
from edgeml.demo import releases
from edgeml.fleet.localbroker import LocalBroker
from edgeml.sensors.sample import Window
from tests.waiting import until

from .publisher import ACTIVITY, ROOT
from .test_update_alarms import FLEET, Conductor

STRETCH = 80
ROUNDS = 5
"""Of forty recordings, of which each second one counts: more than a stretch."""


@pytest.fixture
def conductor(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Conductor]]:
    monkeypatch.setattr("edgeml.monitor.drift.STRETCH", STRETCH)
    with LocalBroker() as broker:
        made = Conductor(broker.url, "activity-3")
        yield broker.url, made
        made.close()


def recordings() -> npt.NDArray[np.float32]:
    with np.load(ROOT / "edgeml" / "demo" / "data" / "recordings.npz") as file:
        scaled: npt.NDArray[np.float32] = (file["codes"] * file["scale"]).astype(np.float32)
        return scaled


def run(model: Path | bytes, url: str, folder: Path, *given: npt.NDArray[np.float32]) -> None:
    """Let a device see these windows, round after round, and wait until all it says is home."""
    turn = [window for several in given for _ in range(ROUNDS) for window in several]
    windows = [Window(float(i), float(i) + 1, data) for i, data in enumerate(turn)]
    sync = Mqtt(url, FLEET, outbox=folder / "outbox.db", ack="broker")
    with Device("pump-7", model=model, sync=sync) as device:
        assert len(list(device.run(windows))) == len(turn)
        assert device.wait_delivered(60.0)


def test_sensors_that_give_something_else_are_told_and_no_release_is_blamed(
    conductor: tuple[str, Conductor], tmp_path: Path
) -> None:
    url, hears = conductor
    usual = recordings()
    run(ACTIVITY, url, tmp_path, usual, usual * np.float32(1000))
    until(lambda: hears.failures() == {} and bool(hears.alarms))
    (alarm,) = hears.alarms
    assert (alarm.kind, alarm.fields["of"]) == ("drift", "inputs")
    assert alarm.fields["psi"] > alarm.fields["level"] > 0.25
    assert alarm.fields["reason"].startswith("inputs: ")


def test_a_model_that_answers_otherwise_to_what_it_was_judged_on_speaks_against_its_release(
    conductor: tuple[str, Conductor], tmp_path: Path
) -> None:
    """Somebody took the sensor's unit for another: golden windows pass, real ones do not."""
    url, hears = conductor
    wrong = releases.wrong_unit(Bundle.read(ACTIVITY), 3)
    run(wrong, url, tmp_path, recordings())
    until(lambda: bool(hears.failures()))
    assert hears.failures()["pump-7"].startswith("drift: outputs: ")
    (alarm,) = hears.alarms
    assert (alarm.fields["release"], alarm.fields["of"]) == ("activity-3", "outputs")
