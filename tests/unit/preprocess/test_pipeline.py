"""The pipeline as a whole: what it refuses, what it costs nothing, what it remembers."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from edgeml.errors import InputError, PreprocessError
from edgeml.manifest import PreprocessStep
from edgeml.preprocess import STEPS, Pipeline

NAN, INFINITE = float("nan"), float("inf")
SERIES, IMAGE = (100, 6), (8, 8, 3)


def _step(step: str, **params: Any) -> dict[str, Any]:
    return {"step": step, **params}


# What is wrong, the window's shape, its rate, and what the message must say.
REFUSED: list[tuple[Any, tuple[int, ...], float | None, str]] = [
    (_step("standardise", mean=0, std=1), SERIES, None, "did you mean 'standardize'"),
    (_step("blur"), SERIES, None, "no step 'blur'"),
    ({"mean": 0}, SERIES, None, "preprocess[0].step is missing"),
    (["clip"], SERIES, None, "should be an object"),
    (_step("standardize", mean=0), SERIES, None, "standardize.std is missing"),
    (_step("standardize", mean=0, std=1, stdd=2), SERIES, None, "did you mean 'std'"),
    (_step("standardize", mean=0, std=0), SERIES, None, "not above zero"),
    (_step("standardize", mean=0, std=[1, 1, 1, 1, 1, -1]), SERIES, None, "not above zero"),
    (_step("standardize", mean=0, std=1e-45), SERIES, None, "1 / std overflows"),
    (_step("standardize", mean=[1, 2, 3], std=1), SERIES, None, "6 numbers (one a channel)"),
    (_step("standardize", mean=[[1], [2, 3]], std=1), SERIES, None, "a list of numbers"),
    (_step("standardize", mean=[], std=1), SERIES, None, "has the shape [0]"),
    (_step("standardize", mean=NAN, std=1), SERIES, None, "finite"),
    (_step("standardize", mean=[0, 0, 0, 0, 0, NAN], std=1), SERIES, None, "not finite"),
    (_step("standardize", mean=True, std=1), SERIES, None, "should be a number"),
    (_step("standardize", mean="0", std=1), SERIES, None, "should be a number"),
    (_step("standardize", mean=[0, 0, 0, 0, 0, "0"], std=1), SERIES, None, "list of numbers"),
    (_step("standardize", mean=np.zeros(6), std=1), SERIES, None, "give the list"),
    (_step("scale", factor=1e39), SERIES, None, "not finite in float32"),
    (_step("scale", factor=10**400), SERIES, None, "a number that fits"),
    (_step("scale", offset=[INFINITE] * 6), SERIES, None, "not finite"),
    (_step("scale", factr=2), SERIES, None, "did you mean 'factor'"),
    (_step("clip"), SERIES, None, "low, high or both"),
    (_step("clip", low=1, high=0), SERIES, None, "above"),
    (_step("select", channels=[6]), SERIES, None, "there are 6, 0 to 5"),
    (_step("select", channels=[-1]), SERIES, None, "names channel -1"),
    (_step("select", channels=[]), SERIES, None, "empty"),
    (_step("select", channels=[0.5]), SERIES, None, "whole numbers"),
    (_step("normalize", method="z-score"), SERIES, None, "did you mean 'zscore'"),
    (_step("normalize", scope="row"), SERIES, None, "one of channel, window"),
    (_step("detrend", method=1), SERIES, None, "should be a string"),
    (_step("difference", lag=100), SERIES, None, "1 to 99"),
    (_step("difference", lag=0), SERIES, None, "1 to 99"),
    (_step("difference"), (1, 6), None, "at least two rows"),
    (_step("magnitude", groups=[[0, 6]]), SERIES, None, "names channel 6"),
    (_step("magnitude", groups=[0, 1]), SERIES, None, "list of channel indices"),
    (_step("magnitude", groups=[]), SERIES, None, "at least one group"),
    (_step("magnitude", groups=[[]]), SERIES, None, "is empty"),
    (_step("magnitude"), (100,), None, "needs a channel axis"),
    (_step("lowpass", cutoff_hz=5), SERIES, None, "needs a sample rate"),
    (_step("lowpass", cutoff_hz=25), SERIES, 50.0, "should lie between"),
    (_step("lowpass", cutoff_hz=0), SERIES, 50.0, "should lie between"),
    (_step("lowpass", cutof_hz=5), SERIES, 50.0, "is it misspelt as 'cutof_hz'"),
    (_step("highpass", cutoff_hz=5, order=9), SERIES, 50.0, "1 to 8"),
    (_step("highpass", cutoff_hz=5, order=2.0), SERIES, 50.0, "whole number"),
    (_step("bandpass", low_hz=5, high_hz=5), SERIES, 50.0, "above low_hz"),
    (_step("resample", rate_hz=25), SERIES, None, "needs a sample rate"),
    (_step("resample", rate_hz=-1), SERIES, 50.0, "positive"),
    (_step("resample", rate_hz=16.0001), SERIES, 50.0, "ratio of whole numbers"),
    (_step("resample", rate_hz=1e9), SERIES, 50.0, "ratio of whole numbers"),
    (_step("taper", window="han"), SERIES, None, "did you mean 'hann'"),
    (_step("taper", periodic=1), SERIES, None, "true or false"),
    (_step("rfft", n_fft=64), SERIES, None, "100 to"),
    (_step("rfft", output="phase"), SERIES, None, "magnitude, power"),
    (_step("spectrogram", frame=101, hop=10), SERIES, None, "1 to 100"),
    (_step("spectrogram", frame=10), SERIES, None, "hop is missing"),
    (_step("spectrogram", frame=1 << 16, hop=1), (1 << 20,), None, "take a longer hop"),
    (_step("log_mel", frame=64, hop=32, mels=8), SERIES, None, "needs a sample rate"),
    (_step("log_mel", frame=64, hop=32, mels=8, high_hz=26), SERIES, 50.0, "within 0 to 25"),
    (_step("log_mel", frame=64, hop=32, mels=8, offset=0), SERIES, 50.0, "above zero"),
    (_step("mfcc", frame=64, hop=32, mels=8, coefficients=9), SERIES, 50.0, "1 to 8"),
    (_step("statistics"), SERIES, 50.0, "features, bands_hz or both"),
    (_step("statistics", features=["curtosis"]), SERIES, None, "did you mean 'kurtosis'"),
    (_step("statistics", bands_hz=[[0, 5]] * 300), (1 << 20,), 50.0, "fewer bands"),
    (_step("statistics", bands_hz=[[0, 5]]), SERIES, None, "needs a sample rate"),
    (_step("statistics", bands_hz=[[5, 26]]), SERIES, 50.0, "within 0 to 25"),
    (_step("statistics", bands_hz=[[5, NAN]]), SERIES, 50.0, "within 0 to 25"),
    (_step("statistics", bands_hz=[5, 6]), SERIES, 50.0, "[low, high]"),
    (_step("statistics", bands_hz=[[5.1, 5.2]]), SERIES, 50.0, "0.5 Hz apart"),
    (_step("resize", height=4), IMAGE, None, "width is missing"),
    (_step("resize", height=4, width=0), IMAGE, None, "1 to"),
    (_step("resize", height=4, width=4, method="cubic"), IMAGE, None, "nearest, bilinear, area"),
    (_step("resize", height=4, width=4), (64,), None, "[height, width]"),
    (_step("crop", height=9, width=4), IMAGE, None, "1 to 8"),
    (_step("crop", height=4, width=4, top=5), IMAGE, None, "0 to 4"),
    (_step("color_order", **{"from": "rgb", "to": "hsv"}), IMAGE, None, "rgb, bgr, gray"),
    (_step("color_order", **{"from": "rgb", "to": "bgr"}), SERIES, None, "[height, width, 3]"),
    (_step("pad", widths=[[1, -1]]), IMAGE, None, "[before, after]"),
    (_step("pad", widths=[[1, 1]] * 4), IMAGE, None, "[before, after]"),
    (_step("pad", widths=[[8, 0]], mode="reflect"), IMAGE, None, "only 7 elements"),
    (_step("pad", widths=[[1 << 30, 0]]), IMAGE, None, "elements"),
    (_step("reshape", shape=[7, -1]), SERIES, None, "does not hold the 600 elements"),
    (_step("reshape", shape=[-1, -1]), SERIES, None, "one -1"),
    (_step("reshape", shape=[]), SERIES, None, "positive numbers"),
    (_step("layout", **{"from": "hw", "to": "wh"}), IMAGE, None, "3 different letters"),
    (_step("layout", **{"from": "hwc", "to": "chh"}), IMAGE, None, "letters of 'hwc'"),
]


@pytest.mark.parametrize(("step", "shape", "hz", "says"), REFUSED)
def test_what_is_wrong_with_a_step_is_said_before_the_first_window(
    step: Any, shape: tuple[int, ...], hz: float | None, says: str
) -> None:
    with pytest.raises(PreprocessError) as caught:
        Pipeline.from_steps([step], shape, hz)
    assert says in str(caught.value)


def test_the_table_of_what_is_refused_covers_every_step() -> None:
    assert {
        step["step"] for step, *_ in REFUSED if isinstance(step, dict) and "step" in step
    } >= set(STEPS)


def test_an_error_names_the_place_of_its_step() -> None:
    steps = [_step("clip", low=0), _step("clip", lo=0)]
    with pytest.raises(PreprocessError, match=r"preprocess\[1\] clip"):
        Pipeline.from_steps(steps, SERIES)


@pytest.mark.parametrize("shape", [(), (0, 6), (100, -1)])
def test_a_window_needs_elements(shape: tuple[int, ...]) -> None:
    with pytest.raises(PreprocessError, match="input_shape"):
        Pipeline.from_steps([], shape)


@pytest.mark.parametrize("hz", [0.0, -50.0, NAN, INFINITE])
def test_a_sample_rate_is_a_positive_number(hz: float) -> None:
    with pytest.raises(PreprocessError, match="rate"):
        Pipeline.from_steps([], SERIES, hz)


def test_a_filter_may_not_follow_a_step_that_looks_at_the_whole_window() -> None:
    filters = _step("lowpass", cutoff_hz=5)
    for other in (_step("detrend"), _step("normalize"), _step("taper")):
        with pytest.raises(PreprocessError, match="put the filter first"):
            Pipeline.from_steps([other, filters], SERIES, 50.0)
    Pipeline.from_steps([filters, _step("detrend")], SERIES, 50.0)


def test_steps_come_as_manifest_values_or_as_json_objects() -> None:
    as_json = Pipeline.from_steps([_step("scale", factor=2)], SERIES)
    as_values = Pipeline.from_steps([PreprocessStep("scale", {"factor": 2})], SERIES)
    assert as_json.steps == as_values.steps


def test_no_steps_give_the_window_itself() -> None:
    window = np.ones(SERIES, dtype=np.float32)
    assert Pipeline.from_steps([], SERIES)(window) is window


def test_other_numbers_become_float32() -> None:
    pipeline = Pipeline.from_steps([], (2, 2))
    for window in ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]], dtype=">i2")):
        result = pipeline(window)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, [[1, 2], [3, 4]])


def test_a_big_endian_window_comes_out_in_the_machines_own_order() -> None:
    pipeline = Pipeline.from_steps([], (2,))
    window = np.array([1.5, 2.5], dtype=np.dtype(np.float32).newbyteorder())
    result = pipeline(window)
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, [1.5, 2.5])


@pytest.mark.parametrize("window", [np.zeros((99, 6)), np.zeros(600), np.zeros((1, 100, 6)), 3.0])
def test_a_window_of_another_shape_is_refused(window: Any) -> None:
    with pytest.raises(InputError, match=r"\[100, 6\]"):
        Pipeline.from_steps([], SERIES)(window)


@pytest.mark.parametrize(
    "window",
    ["walk", [[1, 2], [3]], None, [object()], ["1", "2"], [1j, 2], np.zeros(2, "M8[s]")],
    ids=["text", "ragged", "nothing", "objects", "digits", "complex", "times"],
)
def test_what_is_no_array_of_real_numbers_is_refused(window: Any) -> None:
    """Training would go on without the imaginary parts, and a device refuses what has them."""
    pipeline = Pipeline.from_steps([], (2,))
    for take in (pipeline, pipeline.batch, lambda samples: pipeline.recording(samples, 1)):
        with pytest.raises(InputError, match=r"(the samples|an? |the batch) "):
            take(window)


@pytest.mark.parametrize("windows", [np.zeros(SERIES), np.zeros((2, 99, 6)), 0.0])
def test_a_batch_of_another_shape_is_refused(windows: Any) -> None:
    with pytest.raises(InputError, match="batch"):
        Pipeline.from_steps([], SERIES).batch(windows)


def test_a_large_batch_is_worked_through_in_parts() -> None:
    pipeline = Pipeline.from_steps([_step("normalize")], (1 << 18, 1))
    windows = np.arange(5 << 18, dtype=np.float32).reshape(5, -1, 1)
    np.testing.assert_array_equal(pipeline.batch(windows)[4], pipeline(windows[4]))


def test_a_pipelines_steps_follow_one_another_in_shape_and_rate() -> None:
    pipeline = Pipeline.from_steps(
        [
            _step("select", channels=[0, 1, 2]),
            _step("magnitude", append=True),
            _step("resample", rate_hz=25),
            _step("detrend"),
            _step("statistics", features=["rms"], bands_hz=[[0, 12.5]]),
            _step("reshape", shape=[-1]),
        ],
        SERIES,
        50.0,
    )
    assert pipeline.output_shape == (8,)
    assert pipeline.sample_rate_hz is None
    with pytest.raises(PreprocessError, match=r"within 0 to 12\.5"):
        Pipeline.from_steps(
            [_step("resample", rate_hz=25), _step("statistics", bands_hz=[[0, 20]])], SERIES, 50.0
        )


@pytest.mark.parametrize(
    ("samples", "stride", "says"),
    [
        (np.zeros((99, 6)), 10, "100 or more rows"),
        (np.zeros((200, 5)), 10, r"100 or more rows of \[6\]"),
        (np.zeros((200, 6)), 0, "at least one row"),
        (0.0, 1, "recording"),
    ],
)
def test_a_recording_that_does_not_fit_is_refused(samples: Any, stride: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Pipeline.from_steps([], SERIES).recording(samples, stride)


@pytest.mark.workstation  # an emulated machine cannot start another Python
def test_importing_the_steps_loads_numpy_and_nothing_heavy() -> None:
    code = (
        "import sys, edgeml.preprocess; "
        "heavy = {'scipy', 'tensorflow', 'ai_edge_litert', 'tflite_runtime', 'paho', 'tuf'}; "
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
