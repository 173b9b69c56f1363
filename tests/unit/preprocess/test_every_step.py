"""What holds for every step alike; a step without a case here fails the suite."""

import copy
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeml.manifest import PreprocessStep
from edgeml.preprocess import EXACT_STEPS, STEPS, Pipeline

SERIES, IMAGE, AUDIO = (48, 3), (9, 12, 3), (256,)
SERIES_HZ, AUDIO_HZ = 50.0, 8000.0


@dataclass(frozen=True)
class Case:
    """A step with parameters, the window that it is given, and what it should make of the shape."""

    shape: tuple[int, ...]
    step: dict[str, Any]
    gives: tuple[int, ...]
    hz: float | None = None
    hz_after: float | None = None

    def pipeline(self) -> Pipeline:
        return Pipeline.from_steps([self.step], self.shape, self.hz)


def _series(gives: tuple[int, ...], hz_after: float | None = SERIES_HZ, **step: Any) -> Case:
    return Case(SERIES, step, gives, SERIES_HZ, hz_after)


def _image(gives: tuple[int, ...], **step: Any) -> Case:
    return Case(IMAGE, step, gives)


FRAMES = {"frame": 64, "hop": 32}
ALL_FEATURES = [
    "mean", "std", "min", "max", "rms", "peak", "crest", "skew", "kurtosis", "zero_crossings",
]  # fmt: skip

CASES = [
    _series((48, 2), step="select", channels=[2, 0]),
    _series((48, 2), step="select", channels=[1, 2]),
    _series((48, 3), step="select", channels=[0, 1, 2]),
    _series((48, 3), step="scale", factor=2.5),
    _series((48, 3), step="scale", factor=[1, 2, 3], offset=-0.5),
    _series((48, 3), step="scale", offset=[1, 0, 3]),
    _series((48, 3), step="standardize", mean=[0.1, -9.8, 3], std=[0.5, 2, 1e-3]),
    _image(IMAGE, step="standardize", mean=np.full(IMAGE, 7.5).tolist(), std=3),
    _series((48, 3), step="clip", low=-1, high=[1, 2, 3]),
    _series((48, 3), step="clip", low=0),
    _series((48, 3), step="clip", high=0.25),
    *(
        _series((48, 3), step="normalize", method=method, scope=scope)
        for method in ("zscore", "minmax", "peak", "l2")
        for scope in ("channel", "window")
    ),
    _series((48, 3), step="detrend"),
    _series((48, 3), step="detrend", method="constant"),
    Case((1, 2), {"step": "detrend"}, (1, 2)),
    _series((47, 3), step="difference"),
    _series((41, 3), step="difference", lag=7),
    _series((48, 1), step="magnitude"),
    _series((48, 5), step="magnitude", groups=[[0, 1], [2]], append=True),
    _series((48, 3), step="lowpass", cutoff_hz=5, order=4),
    _series((48, 3), step="highpass", cutoff_hz=0.5),
    _series((48, 3), step="bandpass", low_hz=0.5, high_hz=12, order=3),
    Case((300, 2), {"step": "lowpass", "cutoff_hz": 3, "order": 1}, (300, 2), 50.0, 50.0),
    _series((24, 3), 25.0, step="resample", rate_hz=25),
    _series((62, 3), 64.0, step="resample", rate_hz=64),
    Case(AUDIO, {"step": "resample", "rate_hz": 5500}, (176,), AUDIO_HZ, 5500.0),
    _series((48, 3), step="taper", window="hamming", periodic=False),
    Case(AUDIO, {"step": "taper"}, AUDIO, AUDIO_HZ, AUDIO_HZ),
    _series((25, 3), None, step="rfft"),
    _series((33, 3), None, step="rfft", output="power", n_fft=65),
    Case(AUDIO, {"step": "spectrogram", **FRAMES}, (7, 33), AUDIO_HZ, 250.0),
    Case(
        (256, 2),
        {"step": "spectrogram", **FRAMES, "n_fft": 100, "output": "power", "window": "blackman"},
        (7, 51, 2),
    ),
    Case(AUDIO, {"step": "log_mel", **FRAMES, "mels": 10}, (7, 10), AUDIO_HZ, 250.0),
    Case(
        (256, 2),
        {"step": "log_mel", **FRAMES, "mels": 8, "filters": "slaney", "spectrum": "magnitude"},
        (7, 8, 2),
        AUDIO_HZ,
        250.0,
    ),
    Case(AUDIO, {"step": "mfcc", **FRAMES, "mels": 10, "low_hz": 80}, (7, 10), AUDIO_HZ, 250.0),
    Case(
        (256, 1),
        {"step": "mfcc", **FRAMES, "mels": 20, "coefficients": 5},
        (7, 5, 1),
        AUDIO_HZ,
        250.0,
    ),
    _series((10, 3), None, step="statistics", features=ALL_FEATURES),
    _series((3, 3), None, step="statistics", features=["rms"], bands_hz=[[0.5, 5], [5, 25]]),
    Case(AUDIO, {"step": "statistics", "features": ["mean", "crest"]}, (2,), AUDIO_HZ),
    *(
        _image((*size, 3), step="resize", height=size[0], width=size[1], method=method)
        for method in ("nearest", "bilinear", "area")
        for size in ((4, 5), (20, 31), (9, 12), (3, 30))
    ),
    Case((8, 8), {"step": "resize", "height": 3, "width": 5}, (3, 5)),
    _image((4, 6, 3), step="crop", height=4, width=6),
    _image((4, 6, 3), step="crop", height=4, width=6, top=5, left=0),
    _image(IMAGE, step="color_order", **{"from": "rgb", "to": "bgr"}),
    _image(IMAGE, step="color_order", **{"from": "bgr", "to": "bgr"}),
    _image((9, 12, 1), step="color_order", **{"from": "bgr", "to": "gray"}),
    _image((12, 12, 3), step="pad", widths=[[1, 2]], value=-1.5),
    _image((12, 17, 4), step="pad", widths=[[1, 2], [0, 5], [1, 0]]),
    _image((12, 17, 3), step="pad", widths=[[1, 2], [0, 5]], mode="edge"),
    _image((15, 17, 3), step="pad", widths=[[1, 5], [0, 5]], mode="reflect"),
    _series((48, 3), step="pad", widths=[[0, 0]], mode="edge"),
    _series((48, 3, 1), step="reshape", shape=[48, 3, 1]),
    _series((144,), None, step="reshape", shape=[-1]),
    _image((3, 9, 12), step="layout", **{"from": "hwc", "to": "chw"}),
    Case(SERIES, {"step": "layout", "from": "tc", "to": "tc"}, SERIES, SERIES_HZ, SERIES_HZ),
]


def _name(case: Case) -> str:
    rest = {key: value for key, value in case.step.items() if key != "step"}
    return f"{case.step['step']}{list(case.shape)}{json.dumps(rest)[:50]}"


every_case = pytest.mark.parametrize("case", CASES, ids=_name)


def _windows(case: Case, count: int, seed: int = 5) -> npt.NDArray[np.float32]:
    spread = np.random.default_rng(seed).normal(2.0, 10.0, (count, *case.shape))
    return spread.astype(np.float32)


def test_every_step_has_a_case_here() -> None:
    assert {case.step["step"] for case in CASES} == set(STEPS)


@every_case
def test_inferred_shape_rate_and_dtype_are_the_real_ones(case: Case) -> None:
    pipeline = case.pipeline()
    result = pipeline(_windows(case, 1)[0])
    assert pipeline.output_shape == result.shape == case.gives
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert pipeline.sample_rate_hz == case.hz_after


@every_case
def test_a_batch_is_bit_for_bit_its_windows_one_by_one(case: Case) -> None:
    pipeline, windows = case.pipeline(), _windows(case, 5)
    singles = np.stack([pipeline(window) for window in windows])
    np.testing.assert_array_equal(pipeline.batch(windows), singles)


@every_case
def test_an_empty_batch_gives_an_empty_batch(case: Case) -> None:
    assert case.pipeline().batch(_windows(case, 0)).shape == (0, *case.gives)


@every_case
def test_no_call_writes_to_its_input(case: Case) -> None:
    # The steps around it own memory of their own to write into, as in a real pipeline.
    around = {"step": "scale", "factor": 1.5, "offset": 0.25}
    pipeline = Pipeline.from_steps([case.step, around], case.shape, case.hz)
    windows = _windows(case, 3)
    before = windows.copy()
    windows.setflags(write=False)
    pipeline.batch(windows)
    for window in windows:
        pipeline(window)
        pipeline(window, new=1)
    np.testing.assert_array_equal(windows, before)


@every_case
def test_an_intermediate_may_be_overwritten_without_changing_the_result(case: Case) -> None:
    """After a step that makes new memory, each step works in place: the numbers stay the same."""
    copied = {"step": "scale", "factor": 1.0, "offset": 1.0}
    window = _windows(case, 1)[0]
    alone = case.pipeline()(window + np.float32(1.0))
    behind = Pipeline.from_steps([copied, case.step], case.shape, case.hz)
    np.testing.assert_array_equal(behind(window), alone)


@every_case
def test_a_result_stays_as_it_was_when_the_next_window_comes(case: Case) -> None:
    pipeline, windows = case.pipeline(), _windows(case, 2)
    first = pipeline(windows[0], new=1)
    before = first.copy()
    pipeline(windows[1], new=1)
    np.testing.assert_array_equal(first, before)


@every_case
def test_the_layout_of_a_window_in_memory_changes_nothing(case: Case) -> None:
    pipeline, window = case.pipeline(), _windows(case, 1)[0]
    turned = np.asfortranarray(window)
    spaced = np.repeat(window, 2, axis=0)[::2]
    np.testing.assert_array_equal(pipeline(turned), pipeline(window))
    np.testing.assert_array_equal(pipeline(spaced), pipeline(window))
    np.testing.assert_array_equal(pipeline(window.astype(np.float64)), pipeline(window))


@every_case
def test_a_step_survives_its_way_through_json(case: Case) -> None:
    sent = json.loads(json.dumps(case.step, allow_nan=False))
    name = sent.pop("step")
    again = Pipeline.from_steps([PreprocessStep(name, sent)], case.shape, case.hz)
    window = _windows(case, 1)[0]
    np.testing.assert_array_equal(again(window), case.pipeline()(window))
    assert again.steps == (PreprocessStep(name, sent),)


@every_case
def test_compiling_leaves_the_parameters_alone(case: Case) -> None:
    before = copy.deepcopy(case.step)
    case.pipeline()
    assert case.step == before


VALUES = st.one_of(
    st.just(0.0),
    st.floats(-1e6, 1e6, width=32),
    st.sampled_from([1e-45, -1e-38, 1e12, -1e12, 9.80665, 255.0]),
)


@every_case
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_finite_window_never_becomes_nan_or_infinite(case: Case, data: st.DataObject) -> None:
    """Constant, silent and one-sided windows too, where a naive ratio would be 0 / 0."""
    a, b, at = data.draw(VALUES), data.draw(VALUES), data.draw(st.integers(0, case.shape[0]))
    window = np.full(case.shape, a, dtype=np.float32)
    window[at:] = b
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(case.pipeline()(window)).all()


@every_case
def test_a_pipeline_streams_a_recording_as_calls_with_new_do(case: Case) -> None:
    rows, stride = case.shape[0], max(1, case.shape[0] // 3)
    recording = _windows(Case((rows * 3, *case.shape[1:]), {}, ()), 1)[0]
    pipeline = case.pipeline()
    starts = range(0, len(recording) - rows + 1, stride)
    live = np.stack([pipeline(recording[s : s + rows], new=stride) for s in starts])
    np.testing.assert_array_equal(pipeline.recording(recording, stride), live)


EXACT_BITS = {
    "clip": "c49f8aac5a0ed5fc",
    "color_order": "dc8fcca217fbf63b",
    "crop": "ad391a34afe0d2e2",
    "difference": "8602cc2576f79604",
    "layout": "3a2453ab784a8f79",
    "magnitude": "617a4708526274b7",
    "pad": "3bd1d82861124759",
    "reshape": "dba0e2d7f6e70c90",
    "resize": "579c122d4e3710ad",
    "scale": "1e8994ee8cc101e4",
    "select": "dd1c98f91c5dd90f",
    "standardize": "5815426aa5407ae2",
}


@pytest.mark.parametrize("name", sorted(EXACT_STEPS))
def test_an_exact_step_gives_the_same_bits_on_every_machine(name: str) -> None:
    """Hashes of all its cases, as made on x86-64; the ARM suite runs this too."""
    digest = hashlib.sha256()
    for case in CASES:
        if case.step["step"] == name:
            steps = (np.arange(1, math.prod(case.shape) + 1, dtype=np.int64) ** 2 * 7919) % 100003
            window = (steps / 1009 - 40).astype(np.float32).reshape(case.shape)
            digest.update(case.pipeline()(window).astype("<f4").tobytes())
    assert digest.hexdigest()[:16] == EXACT_BITS[name]
