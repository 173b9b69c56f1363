"""A window never spans a gap, and every sample is accounted for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import ConfigError, SensorError
from edgeml.manifest import InputSpec, channels
from edgeml.sensors import Block, Limits, Sample, Window, Windower


def spec(window: int = 4, stride: int = 4, rate_hz: float | None = 10.0) -> InputSpec:
    return InputSpec(
        channels=channels(["x", "y"]),
        sample_rate_hz=rate_hz,
        window=window,
        stride=stride,
        shape=(window, 2),
    )


def sample(i: int, time_s: float | None = None) -> Sample:
    return Sample(i / 10 if time_s is None else time_s, np.array([i, -i], np.float32))


def push_all(windower: Windower, samples: list[Sample]) -> list[Window]:
    return [window for s in samples if (window := windower.push(s)) is not None]


@given(
    window=st.integers(1, 12), stride=st.integers(1, 30), count=st.integers(0, 120)
)  # fmt: skip
def test_windows_start_every_stride_samples(window: int, stride: int, count: int) -> None:
    windows = push_all(Windower(spec(window, stride)), [sample(i) for i in range(count)])
    starts = list(range(0, count - window + 1, stride))
    assert [int(w.data[0, 0]) for w in windows] == starts
    for w, start in zip(windows, starts, strict=True):
        np.testing.assert_array_equal(w.data[:, 0], np.arange(start, start + window))
        assert w.start_s == start / 10
        assert w.end_s == (start + window - 1) / 10


def test_a_window_says_how_many_of_its_rows_are_new() -> None:
    windower = Windower(spec(4, 2))
    windows = push_all(
        windower, [*(sample(i) for i in range(8)), *(sample(i) for i in range(20, 26))]
    )
    assert [w.new for w in windows] == [5, 2, 2, 5, 2]


def test_a_window_keeps_its_data_when_later_samples_arrive() -> None:
    windower = Windower(spec(4, 1))
    windows = push_all(windower, [sample(i) for i in range(100)])
    np.testing.assert_array_equal(windows[0].data[:, 0], [0, 1, 2, 3])


def test_a_missing_stretch_restarts_the_window_and_is_counted() -> None:
    windower = Windower(spec())
    early = [sample(i) for i in range(3)]
    late = [sample(i, i / 10) for i in range(10, 14)]
    windows = push_all(windower, early + late)
    assert [w.start_s for w in windows] == [1.0]
    assert windower.stats.gaps == 1
    assert windower.stats.samples == 7


def test_one_missing_sample_is_a_gap_and_jitter_of_a_third_of_a_period_is_not() -> None:
    jittery = Windower(spec())
    assert push_all(jittery, [sample(i, i / 10 + 0.03 * (i % 2)) for i in range(4)])
    assert jittery.stats.gaps == 0
    missing = Windower(spec())
    push_all(missing, [sample(i) for i in (0, 1, 3)])
    assert missing.stats.gaps == 1


def test_a_clock_set_back_restarts_the_window() -> None:
    windower = Windower(spec())
    push_all(windower, [sample(0), sample(1), sample(2, -5.0), sample(3, -4.9)])
    assert windower.stats.backward_steps == 1
    assert windower.stats.windows == 0


def test_without_a_rate_no_step_forward_is_a_gap() -> None:
    windower = Windower(spec(rate_hz=None))
    assert push_all(windower, [sample(i, i * 1000.0) for i in range(4)])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reading_that_is_not_finite_never_reaches_a_window(bad: float) -> None:
    samples = [sample(i) for i in range(12)]
    samples[2].values[0] = bad
    windower = Windower(spec())
    windows = push_all(windower, samples)
    assert windower.stats.not_finite == 1
    assert [w.start_s for w in windows] == [0.3, 0.7]
    assert all(np.isfinite(w.data).all() for w in windows)


def test_hold_repeats_the_last_value_of_the_channel() -> None:
    samples = [sample(i) for i in range(4)]
    samples[2].values[0] = math.nan
    (window,) = push_all(Windower(spec(), on_nan="hold"), samples)
    np.testing.assert_array_equal(window.data, [[0, 0], [1, -1], [1, -2], [3, -3]])


def test_hold_without_a_value_to_hold_restarts() -> None:
    samples = [sample(i) for i in range(5)]
    samples[0].values[0] = math.nan
    (window,) = push_all(Windower(spec(), on_nan="hold"), samples)
    assert window.start_s == 0.1


def test_raise_names_the_moment() -> None:
    with pytest.raises(SensorError, match=r"0\.000 s"):
        Windower(spec(), on_nan="raise").push(Sample(0.0, np.array([math.nan, 0], np.float32)))


def test_a_sample_with_other_channels_is_refused() -> None:
    with pytest.raises(SensorError, match="channels are not the model's"):
        Windower(spec()).push(Sample(0.0, np.zeros(3, np.float32)))


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'restart'"):
        Windower(spec(), on_nan="restrat")


def limited(policy: str) -> Windower:
    ranges = Limits.of(spec().channels, {"x": (0.0, 10.0)})
    return Windower(spec(), limits=ranges, on_out_of_range=policy)


def spiked() -> list[Sample]:
    samples = [sample(i) for i in range(8)]
    samples[2].values[0] = 99.0
    return samples


@pytest.mark.parametrize(
    ("policy", "column"),
    [("restart", [3, 4, 5, 6]), ("hold", [0, 1, 1, 3]), ("clip", [0, 1, 10, 3])],
)
def test_a_reading_out_of_its_range_is_counted_and_handled_as_declared(
    policy: str, column: list[int]
) -> None:
    windower = limited(policy)
    first = push_all(windower, spiked())[0]
    np.testing.assert_array_equal(first.data[:, 0], column)
    assert windower.stats.out_of_range == 1
    assert windower.stats.not_finite == 0


def test_out_of_range_can_be_an_error_that_names_the_value() -> None:
    with pytest.raises(SensorError, match=r"0\.200 s: \[99\.\]"):
        push_all(limited("raise"), spiked())


def test_a_channel_without_a_range_is_believed() -> None:
    windower = limited("restart")
    push_all(windower, [sample(i) for i in range(4)])
    assert windower.stats.out_of_range == 0
    assert windower.stats.windows == 1


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"xx": (0.0, 1.0)}, "no channel 'xx'"),
        ({"x": (1.0, 1.0)}, "holds nothing"),
        ({"x": (math.nan, 1.0)}, "holds nothing"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(
    ranges: dict[str, tuple[float, float]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Limits.of(spec().channels, ranges)


def test_an_unknown_range_policy_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'clip'"):
        Windower(spec(), on_out_of_range="clipp")


@given(
    window=st.integers(1, 8), stride=st.integers(1, 12), factors=st.lists(st.integers(1, 8))
)  # fmt: skip
def test_a_widened_stride_holds_from_the_next_window_on(
    window: int, stride: int, factors: list[int]
) -> None:
    windower = Windower(spec(window, stride))
    factor_at = [*factors, *[1] * 8]
    starts, news = [], []
    windower.widen(factor_at[0])
    for i in range(400):
        found = windower.push(sample(i))
        if found is not None:
            starts.append(int(found.data[0, 0]))
            news.append(found.new)
            windower.widen(factor_at[min(len(starts), len(factor_at) - 1)])
    steps = [stride * f for f in factor_at] + [stride] * 400
    assert np.diff(starts).tolist() == steps[: len(starts) - 1]
    assert news[1:] == steps[: len(starts) - 1]


def test_a_frame_that_is_the_whole_input_is_a_window_by_itself() -> None:
    image = InputSpec(channels(["ink"]), None, window=8, stride=8, shape=(8, 8, 1))
    windower = Windower(image)
    frames = [Sample(float(i), np.full((8, 8, 1), i, np.float32)) for i in range(6)]
    windows = push_all(windower, frames)
    assert [(w.start_s, w.end_s, w.new) for w in windows] == [(i, i, None) for i in range(6)]
    windower.widen(3)
    assert len(push_all(windower, [f._replace(time_s=f.time_s + 10) for f in frames])) == 2


@pytest.mark.parametrize("rate_hz", [5.0, None])
def test_a_frame_after_a_pause_says_so_that_nothing_from_before_steadies_it(
    rate_hz: float | None,
) -> None:
    """One that is a little late, as those of a camera in the dark are, goes with those before."""
    windower = Windower(InputSpec(channels(["g"]), rate_hz, window=8, stride=8, shape=(8, 8, 1)))
    times_s = [0.0, 0.2, 0.6, 1.0, 60.0, 60.2]
    frames = [Sample(t, np.zeros((8, 8, 1), np.float32)) for t in times_s]
    broken = [w.broken for w in push_all(windower, frames)]
    assert broken == [True, False, False, False, rate_hz is not None, False]
    assert windower.stats.gaps == (0 if rate_hz is None else 3)
    windower.restart()
    (after,) = push_all(windower, [Sample(60.4, np.zeros((8, 8, 1), np.float32))])
    assert (after.new, after.broken) == (None, True)


def test_a_frame_that_is_not_finite_is_left_out() -> None:
    image = InputSpec(channels(["ink"]), None, window=2, stride=2, shape=(2, 2, 1))
    windower = Windower(image, on_nan="hold")
    assert windower.push(Sample(0.0, np.full((2, 2, 1), np.nan, np.float32))) is None
    assert windower.stats.not_finite == 1


def test_the_stride_is_never_multiplied_by_less_than_one() -> None:
    with pytest.raises(ConfigError):
        Windower(spec()).widen(0)


@given(
    window=st.integers(1, 9),
    stride=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 40), max_size=12),
    troubles=st.dictionaries(
        st.integers(0, 200), st.sampled_from(["nan", "gap", "back", "out"]), max_size=4
    ),
)
def test_a_block_gives_the_windows_that_its_samples_would(
    window: int, stride: int, cuts: list[int], troubles: dict[int, str]
) -> None:
    limits = Limits.of(spec().channels, {"x": (-1.0, 1000.0)})
    one_by_one, at_once = (Windower(spec(window, stride), limits=limits) for _ in range(2))
    samples: list[Sample] = []
    time_s = 0.0
    for i in range(sum(cuts)):
        trouble = troubles.get(i)
        time_s += {"gap": 5.0, "back": -5.0}.get(trouble or "", 0.1)
        x = {"nan": math.nan, "out": 9999.0}.get(trouble or "", float(i))
        samples.append(Sample(time_s, np.array([x, -i], np.float32)))
    expected = push_all(one_by_one, samples)
    found: list[Window] = []
    at = 0
    for cut in cuts:
        part = samples[at : at + cut]
        times = np.array([s.time_s for s in part])
        values = np.array([s.values for s in part], np.float32).reshape(-1, 2)
        found += at_once.push_block(Block(times, values))
        at += cut
    assert [(w.start_s, w.end_s, w.new) for w in found] == [
        (w.start_s, w.end_s, w.new) for w in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)
    assert at_once.stats == one_by_one.stats


def test_a_block_of_other_channels_is_refused() -> None:
    with pytest.raises(SensorError, match="channels are not the model's"):
        Windower(spec()).push_block(Block(np.zeros(2), np.zeros((2, 3), np.float32)))


def test_a_block_is_a_sequence_of_samples() -> None:
    block = Block(np.array([1.0, 2.0, 3.0]), np.arange(6, dtype=np.float32).reshape(3, 2))
    assert len(block) == 3
    assert [s.time_s for s in block] == [1.0, 2.0, 3.0]
    assert isinstance(block[1].time_s, float)
    np.testing.assert_array_equal(block[-1].values, [4, 5])
    assert [s.time_s for s in block[1:]] == [2.0, 3.0]
