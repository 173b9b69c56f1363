"""Mel features and resizing against TensorFlow, which many models are trained with.

TensorFlow runs in float64 for the mel features, so what is left is one rounding
to float32, and what the logarithm makes of the last bits of near-silence.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.preprocess import Pipeline
from edgeml.preprocess.mel import mel_weights

pytestmark = pytest.mark.workstation

Floats = npt.NDArray[np.float32]
HZ = 16000.0

WEIGHTS = 1e-9
LOGARITHM = 2e-6
PIXEL = 1.5e-3
"""Of values up to 255: TensorFlow reckons each of an area's four edges, up to 24, in float32."""

seeds = st.integers(0, 1 << 32)
sides = st.integers(1, 24)
quick = settings(deadline=None, max_examples=40)


def _tensorflow() -> Any:
    """Imported by the tests that use it only, since it takes seconds."""
    return pytest.importorskip("tensorflow")


def _apply(step: dict[str, Any], window: Floats, hz: float | None = None) -> Floats:
    return Pipeline.from_steps([step], window.shape, hz)(window)


@quick
@given(
    mels=st.integers(1, 80),
    n_fft=st.sampled_from([128, 200, 512, 1024]),
    low=st.floats(0, 1000),
    width=st.floats(100, 7000),
)
def test_htk_weights_are_tensorflows(mels: int, n_fft: int, low: float, width: float) -> None:
    tf = _tensorflow()
    ours = mel_weights("htk", mels, n_fft, HZ, low, low + width)
    theirs = tf.signal.linear_to_mel_weight_matrix(
        mels, n_fft // 2 + 1, HZ, low, low + width, tf.float64
    )
    np.testing.assert_allclose(ours, theirs.numpy(), atol=WEIGHTS)


@st.composite
def audio(draw: st.DrawFn) -> tuple[Floats, dict[str, Any]]:
    """A few frames of tone and noise, and how to cut them."""
    frame = draw(st.sampled_from([100, 256, 400]))
    n_fft = draw(st.sampled_from([n for n in (256, 512, 1024) if n >= frame]))
    hop = draw(st.integers(frame // 4, frame))
    count = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(seeds))
    time = np.arange(frame + (count - 1) * hop + draw(st.integers(0, hop - 1))) / HZ
    tone = np.sin(2 * np.pi * draw(st.floats(50, 7000)) * time)
    wave = tone + draw(st.sampled_from([1e-3, 0.1, 1.0])) * rng.normal(size=len(time))
    return wave.astype(np.float32), {"frame": frame, "hop": hop, "n_fft": n_fft}


def _stft(wave: Floats, cut: dict[str, Any]) -> Any:
    tf = _tensorflow()
    wide = tf.constant(wave, dtype=tf.float64)
    return tf.abs(tf.signal.stft(wide, cut["frame"], cut["hop"], cut["n_fft"]))


@quick
@given(drawn=audio())
def test_spectrogram_is_tensorflows_stft(drawn: tuple[Floats, dict[str, Any]]) -> None:
    wave, cut = drawn
    expected = _stft(wave, cut).numpy()
    result = _apply({"step": "spectrogram", **cut}, wave)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=2e-7, atol=1e-9 * expected.max())


@quick
@given(drawn=audio(), mels=st.integers(4, 40), spectrum=st.sampled_from(["power", "magnitude"]))
def test_log_mel_and_mfcc_are_tensorflows(
    drawn: tuple[Floats, dict[str, Any]], mels: int, spectrum: str
) -> None:
    tf = _tensorflow()
    wave, cut = drawn
    magnitude = _stft(wave, cut)
    weights = tf.signal.linear_to_mel_weight_matrix(
        mels, cut["n_fft"] // 2 + 1, HZ, 60.0, 7600.0, tf.float64
    )
    energy = tf.matmul(magnitude**2 if spectrum == "power" else magnitude, weights)
    logarithm = tf.math.log(energy + 1e-6)
    step = {**cut, "mels": mels, "low_hz": 60, "high_hz": 7600, "spectrum": spectrum}
    result = _apply({"step": "log_mel", **step}, wave, HZ)
    assert result.shape == logarithm.shape
    np.testing.assert_allclose(result, logarithm.numpy(), rtol=LOGARITHM, atol=LOGARITHM)
    count = min(13, mels)
    coefficients = tf.signal.mfccs_from_log_mel_spectrograms(logarithm)[..., :count].numpy()
    result = _apply({"step": "mfcc", **step}, wave, HZ)
    scale = float(np.abs(coefficients).max())
    np.testing.assert_allclose(result, coefficients, rtol=LOGARITHM, atol=LOGARITHM * scale)


@settings(deadline=None)
@given(
    size=st.tuples(sides, sides),
    wanted=st.tuples(sides, sides),
    method=st.sampled_from(["bilinear", "area"]),
    seed=seeds,
)
def test_resize_is_tensorflows(
    size: tuple[int, int], wanted: tuple[int, int], method: str, seed: int
) -> None:
    tf = _tensorflow()
    image = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    step = {"step": "resize", "height": wanted[0], "width": wanted[1], "method": method}
    expected = tf.image.resize(image, wanted, method).numpy()
    np.testing.assert_allclose(_apply(step, image), expected, atol=PIXEL)


@settings(deadline=None)
@given(
    wanted=st.tuples(sides, sides),
    times=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=seeds,
)
def test_nearest_is_tensorflows_where_no_centre_falls_between_pixels(
    wanted: tuple[int, int], times: tuple[int, int], seed: int
) -> None:
    tf = _tensorflow()
    size = (wanted[0] * times[0], wanted[1] * times[1])
    image = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    step = {"step": "resize", "height": wanted[0], "width": wanted[1], "method": "nearest"}
    np.testing.assert_array_equal(
        _apply(step, image), tf.image.resize(image, wanted, "nearest").numpy()
    )


@settings(deadline=None)
@given(height=sides, width=sides, seed=seeds)
def test_gray_is_tensorflows_to_the_fourth_digit_of_its_weights(
    height: int, width: int, seed: int
) -> None:
    tf = _tensorflow()
    image = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    gray = _apply({"step": "color_order", "from": "rgb", "to": "gray"}, image)
    np.testing.assert_allclose(gray, tf.image.rgb_to_grayscale(image).numpy(), atol=255 * 1.01e-4)
