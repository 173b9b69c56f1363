"""What a lane makes of its windows: which labels hold, and what a model that missed some knows."""

import itertools

import numpy as np
import pytest

from edgeml import Cascade, Device, Model
from edgeml.bundle import pack
from edgeml.lane import Lane
from edgeml.manifest import OutputSpec, PreprocessStep
from edgeml.preprocess import Pipeline
from edgeml.result import Result
from edgeml.runtime.detection import detections
from edgeml.sensors import Replay, Sample, Window

from .gait import FIXTURES, LABELS, fixture, manifest, windows

LOWPASS = (PreprocessStep("lowpass", {"cutoff_hz": 4.0}),)
STREAM = windows(1, rows=200)[0]
DETECTOR = pack(
    fixture("detector_float"),
    manifest(OutputSpec("detection", ("cat", "dog", "owl"), 0.6), preprocess=()),
)
MULTILABEL = OutputSpec("multilabel", LABELS, 0.0)


def test_a_filter_behind_a_gate_takes_every_row_once_though_windows_were_kept_from_it() -> None:
    """Window 3 goes on where window 1 ended; before window 7 rows are missing: it begins anew."""
    passed = (0, 1, 3, 7)
    numbers = itertools.count()
    cheap = pack(fixture("identity_float"), manifest(OutputSpec("embedding"), preprocess=()))
    costly = pack(
        fixture("identity_float"), manifest(OutputSpec("embedding"), preprocess=LOWPASS, name="c")
    )
    lane = Lane(Cascade(cheap, costly, lambda _: next(numbers) in passed))
    results = [r for s in Replay(STREAM, sample_rate_hz=50) for r in lane.push((s,))]
    found = [r.outputs for r in results if r.model.name == "c"]
    lane.close()
    pipeline = Pipeline.from_steps(LOWPASS, (20, 3), 50.0)
    streamed = pipeline.recording(STREAM, 10)
    expected = [streamed[0], streamed[1], streamed[3], pipeline(STREAM[70:90])]
    np.testing.assert_allclose(found, [e.ravel() for e in expected], rtol=1e-5, atol=1e-6)


def test_a_model_that_takes_over_begins_anew_whatever_it_saw_before() -> None:
    path = FIXTURES / "variable_float.tflite"
    x = np.ones(3, np.float32)
    with Model.load(path) as serving, Model.load(path) as other:
        alone = other.predict(x).outputs
        other.predict(x, new=1)
        lane = Lane(serving)
        assert lane.offer(other, owned=False)
        (first,) = lane.push((Window(0.0, 0.0, x, new=1),))
        (second,) = lane.push((Window(0.0, 0.0, x, new=1),))
        assert first.outputs == alone
        assert second.outputs != alone


def test_each_label_of_a_multilabel_model_that_holds_begins_its_action() -> None:
    began: dict[str, list[Result]] = {label: [] for label in LABELS}
    model = pack(fixture("classifier_float"), manifest(MULTILABEL))
    with Device("d", model=model) as device:
        for label in LABELS:
            device.on(label, began[label].append)
        results = list(device.run([Window(0.0, 1.0, windows(1)[0])]))
    assert list(began.values()) == [results] * len(LABELS)


def test_each_object_of_a_detector_begins_its_action_and_opens_a_cascade() -> None:
    began: list[Result] = []
    then = pack(fixture("identity_float"), manifest(OutputSpec("embedding"), name="then"))
    with Device("d", model=Cascade(DETECTOR, then, "owl")) as device:
        device.on("owl", began.append)
        names = [r.model.name for r in device.run([Window(0.0, 1.0, windows(1)[0])])]
    (result,) = began
    assert names == ["gait", "then"]
    assert result.label == "cat"
    assert {found.label for found in detections(result.outputs, ("cat", "dog", "owl"))} >= {"owl"}


def test_a_stream_that_makes_no_window_is_in_the_log_once_and_not_only_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lane = Lane(pack(fixture("identity_float"), manifest(OutputSpec("embedding"))))
    row = np.zeros(3, np.float32)
    for i in range(300):  # a tenth of the rate that the model takes
        assert not list(lane.push((Sample(i / 5, row),)))
        assert len(caplog.records) == (i >= 200)
    assert "200 samples made no window of 20: 199 gaps" in caplog.text
    lane.restart()
    for i in range(300):
        list(lane.push((Sample(i / 50, row),)))
    assert len(caplog.records) == 1
    lane.close()


@pytest.mark.parametrize(
    ("smoothing", "alone"),
    [
        ({"kind": "votes", "k": 1, "n": 1}, True),
        ({"kind": "hysteresis", "on": 0.1, "off": 0.1}, True),
        ({"kind": "mean", "n": 2}, False),
        (None, False),
    ],
)
def test_a_label_that_smoothing_decided_holds_alone(
    smoothing: dict[str, object] | None, alone: bool
) -> None:
    spec = manifest(MULTILABEL._replace(smoothing=smoothing))
    lane = Lane(pack(fixture("classifier_float"), spec))
    (result,) = lane.push((Window(0.0, 1.0, windows(1)[0]),))
    assert tuple(lane.labels(result)) == ((result.label,) if alone else LABELS)
    lane.close()
