"""What a lane makes of its windows: which labels hold, and what a model that missed some knows."""

import itertools

import numpy as np
import pytest

from edgeml import Cascade, Device, Model
from edgeml.bundle import pack
from edgeml.errors import InputError
from edgeml.lane import Lane
from edgeml.manifest import InputSpec, OutputSpec, PreprocessStep, channels
from edgeml.preprocess import Pipeline
from edgeml.result import Result
from edgeml.runtime.detection import detections
from edgeml.sensors import Block, Replay, Sample, Window

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


LOUD = pack(
    fixture("identity_float"),
    manifest(
        OutputSpec("embedding"), preprocess=(*LOWPASS, PreprocessStep("scale", {"factor": 1e4}))
    ),
)


@pytest.mark.parametrize(("together", "again"), [(1, 290), (150, 300)])
def test_a_reading_that_overflows_in_preprocessing_is_handled_as_one_that_is_no_number(
    together: int, again: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What follows is as if the stream began there, in the filter that met it, too.

    What came together was cut before; the window that reaches into what comes next begins anew.
    """
    rows, times_s = np.tile(STREAM, (3, 1))[:500], 1e9 + np.arange(500) / 50
    clean = Lane(LOUD)
    expected = {r.start_s: r.outputs for r in clean.push(Block(times_s[240:], rows[240:]))}
    clean.close()
    rows[233, 1] = 1e38
    lane = Lane(LOUD)
    results: list[Result] = []
    for at in range(0, 500, together):
        results += lane.push(Block(times_s[at : at + together], rows[at : at + together]))
    starts = [round((r.start_s - 1e9) * 50) for r in results]
    assert starts == [*range(0, 220, 10), *range(240, 290, 10), *range(again, 490, 10)]
    after = [r for r, start in zip(results, starts, strict=True) if 240 <= start < 290]
    np.testing.assert_allclose([r.outputs for r in after], [expected[r.start_s] for r in after])
    assert lane.stats.not_finite == (1 if together == 1 else 2)
    assert caplog.text.count("gait: a window is left out: the preprocessed window holds") == 1
    lane.close()


def test_under_the_policy_raise_such_a_reading_ends_the_run() -> None:
    lane = Lane(LOUD, on_nan="raise")
    with pytest.raises(InputError, match="the preprocessed window holds"):
        list(lane.push(Block(np.arange(20) / 50, np.full((20, 3), 1e38, np.float32))))
    lane.close()


def test_a_swap_to_other_windows_goes_on_counting() -> None:
    """The duty cycle goes by what was counted since it last looked."""
    spec = manifest(OutputSpec("embedding"))
    other = spec.replace(version=8, inputs=spec.inputs._replace(stride=5))
    with Model.load(pack(fixture("identity_float"), other)) as newer:
        lane = Lane(pack(fixture("identity_float"), spec))
        assert len(list(lane.push(Block(np.arange(40) / 50, STREAM[:40])))) == 3
        assert lane.offer(newer, owned=False)
        assert len(list(lane.push(Block(np.arange(40, 65) / 50, STREAM[:25])))) == 2
        assert (lane.stats.samples, lane.stats.windows) == (65, 5)
        lane.close()


def test_what_was_cut_for_a_model_that_fails_is_not_shown_to_one_that_takes_other_windows() -> None:
    """Many windows may come of one block, and the first of them brings the incumbent back."""
    spec = manifest(OutputSpec("embedding"))
    longer = spec.inputs._replace(window=40, shape=(40, 3))
    halved = (PreprocessStep("resample", {"rate_hz": 25.0}),)
    with (
        Model.load(pack(fixture("identity_float"), spec)) as candidate,
        Model.load(
            pack(fixture("identity_float"), spec.replace(inputs=longer, preprocess=halved))
        ) as incumbent,
    ):
        lane = Lane(candidate)
        lane.rescue["gait"] = lambda model, _: (
            model is candidate and lane.offer(incumbent, owned=False)
        )
        candidate.close()
        assert not list(lane.push(Block(np.arange(100) / 50, STREAM[:100])))
        results = list(lane.push(Block(np.arange(100, 160) / 50, STREAM[:60])))
        assert [round(r.start_s * 50) for r in results] == [100, 110, 120]
        lane.close()


def test_the_stride_of_a_model_of_pictures_lasts_one_of_them() -> None:
    picture = InputSpec(channels(["red", "green", "blue"]), 5.0, 4, 4, (4, 5, 3))
    flat = (PreprocessStep("reshape", {"shape": [20, 3]}),)
    spec = manifest(OutputSpec("embedding"), inputs=picture, preprocess=flat)
    lane = Lane(pack(fixture("identity_float"), spec))
    assert lane.stride_s == 0.2
    lane.close()


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
