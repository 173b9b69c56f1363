"""Drift is told when it begins, by name, and never for what chance alone would give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.bundle import Bundle
from edgeml.errors import BundleError
from edgeml.manifest import InputSpec, channels
from edgeml.monitor.drift import STRETCH, Drift, Drifted, Reference, alarm_level, psi

ACTIVITY = Path(__file__).resolve().parents[3] / "models" / "activity" / "activity.tflite"
INPUTS = InputSpec(channels(["x"]), sample_rate_hz=1.0, window=4, stride=4, shape=(4, 1))
USUAL, ELSEWHERE = 0.0, 3.0


def baseline(centre: float = USUAL, windows: int = 500) -> dict[str, Any]:
    """Of windows of four readings of a noise, and an output that is evenly spread."""
    rng = np.random.default_rng(1)
    data = rng.normal(centre, 1.0, (windows, 4))
    spread = {"mean": data.mean(1), "std": data.std(1), "value": rng.uniform(0, 1, windows)}

    def histogram(statistic: str) -> dict[str, Any]:
        values = spread[statistic]
        edges = np.quantile(values, np.arange(1, 10) / 10)
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=10)
        name = "score" if statistic == "value" else "x"
        return {
            "name": name, "statistic": statistic,
            "edges": edges.tolist(), "counts": counts.tolist(),
        }  # fmt: skip

    return {
        "schema": "1.0", "windows": windows, "knots": [],
        "inputs": [histogram("mean"), histogram("std")], "outputs": [histogram("value")],
    }  # fmt: skip


REFERENCE = Reference.read(baseline(), 1)


def stretch(
    drift: Drift, centre: float = USUAL, *, sure: float = 1.0, seed: int = 7
) -> Drifted | None:
    """What is told at the end of a thousand windows; nothing may be told before."""
    rng = np.random.default_rng(seed)
    windows = rng.normal(centre, 1.0, (STRETCH, 4, 1)).astype(np.float32)
    answers = rng.uniform(0, sure, (STRETCH, 1)).tolist()
    found = [drift.add(*given) for given in zip(windows, answers, strict=True)]
    assert not any(found[:-1])
    return found[-1]


def test_what_chance_alone_gives_is_no_drift() -> None:
    drift = Drift(REFERENCE, INPUTS)
    assert [stretch(drift, seed=seed) for seed in range(10)] == [None] * 10


def test_sensors_that_give_something_else_are_told_once_until_they_are_well_again() -> None:
    drift = Drift(REFERENCE, INPUTS)
    found = [stretch(drift, centre) for centre in (ELSEWHERE, ELSEWHERE, USUAL, ELSEWHERE)]
    assert [one and (one.of, one.feature) for one in found] == [
        ("inputs", "x mean"), None, None, ("inputs", "x mean"),
    ]  # fmt: skip
    assert found[0] is not None
    assert found[0].psi > found[0].level


def test_answers_that_are_spread_otherwise_to_the_same_windows_are_the_models() -> None:
    drift = Drift(REFERENCE, INPUTS)
    found = stretch(drift, sure=0.3)
    assert found is not None
    assert (found.of, found.feature) == ("outputs", "score value")
    assert stretch(drift, sure=0.3) is None


def test_other_windows_explain_other_answers() -> None:
    found = stretch(Drift(REFERENCE, INPUTS), ELSEWHERE, sure=0.3)
    assert found is not None
    assert found.of == "inputs"


def test_a_successor_that_was_judged_on_something_else_is_told_as_such() -> None:
    before = Drift(REFERENCE, INPUTS)
    assert stretch(before) is None
    other = Reference.read(baseline(ELSEWHERE), 1)
    after = Drift(other, INPUTS, before)
    found = stretch(after)
    assert found is not None
    assert found.of == "reference"
    unknown = stretch(Drift(other, INPUTS))
    assert unknown is not None
    assert unknown.of == "inputs"


def test_what_drifted_under_the_predecessor_already_is_not_told_again() -> None:
    before = Drift(REFERENCE, INPUTS)
    assert stretch(before, ELSEWHERE) is not None
    after = Drift(REFERENCE, INPUTS, before)
    assert stretch(after, ELSEWHERE) is None
    assert stretch(after) is None
    assert stretch(after, ELSEWHERE) is not None


@pytest.mark.parametrize(
    ("rate", "window", "stride", "every"),
    [(10.0, 100, 50, 2), (100.0, 100, 10, 10), (1.0, 4, 4, 1), (1000.0, 10, 10, 100),
     (None, 8, 8, 20)],
)  # fmt: skip
def test_windows_that_overlap_or_lie_close_count_once(
    rate: float | None, window: int, stride: int, every: int
) -> None:
    inputs = InputSpec(channels(["x"]), rate, window, stride, (window, 1))
    drift = Drift(REFERENCE, inputs)
    elsewhere = np.full((window, 1), 9.0, np.float32)
    seen = next(n for n in range(1, STRETCH * 200) if drift.add(elsewhere, (0.5,)))
    assert seen == every * (STRETCH - 1) + 1


def test_answers_that_the_reference_does_not_count_are_not_judged() -> None:
    drift = Drift(REFERENCE, INPUTS)
    rng = np.random.default_rng(3)
    for _ in range(STRETCH):
        window = rng.normal(USUAL, 1.0, (4, 1)).astype(np.float32)
        assert drift.add(window, (0.1, 0.9)) is None


def test_the_index_of_equal_shapes_is_nothing_and_grows_as_they_part() -> None:
    assert psi([100, 200], [50, 100]) == pytest.approx(0, abs=1e-4)
    steps = [psi([100 + n, 100 - n], [100, 100]) for n in (0, 20, 50, 100)]
    assert steps == sorted(steps)
    assert steps[2] == pytest.approx(0.25 * np.log(3), rel=0.02)


@pytest.mark.workstation
@pytest.mark.parametrize("bins", [2, 3, 8, 10])
def test_the_level_is_that_of_the_chi_square(bins: int) -> None:
    from scipy.stats import chi2

    expected = (1 / 1000 + 1 / 40) * chi2.ppf(1 - 1e-4, bins - 1)
    # Wilson and Hilferty's is too cautious by 7 % where there are two bins.
    assert alarm_level(1000, 40, bins) == pytest.approx(max(0.25, expected), rel=0.08)
    assert alarm_level(1000, 100_000, bins) == 0.25


def test_the_reference_of_a_bundle_is_read() -> None:
    bundle = Bundle.read(ACTIVITY)
    assert bundle.baseline is not None
    reference = Reference.read(bundle.baseline, len(bundle.manifest.inputs.channels))
    assert reference.inputs[1].feature == "accelerometer_x std"
    assert len(reference.outputs) == len(bundle.manifest.outputs.labels)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"schema": "2.0"},
        {"schema": "1.0", "inputs": 3},
        {"schema": "1.0", "inputs": [{}, {}]},
        {"inputs": [{"name": "x", "statistic": "mean", "edges": [1, 0], "counts": [1, 1, 1]}] * 2},
        {"inputs": [{"name": "x", "statistic": "mean", "edges": [1], "counts": [1]}] * 2},
        {"inputs": [{"name": "x", "statistic": "mean", "edges": [1], "counts": [1, -1]}] * 2},
        {"inputs": [{"name": "x", "statistic": "mean", "edges": [], "counts": []}] * 2},
        {"inputs": []},
    ],
)
def test_a_reference_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    document = wrong if not wrong or "schema" in wrong else {"schema": "1.0", **wrong}
    with pytest.raises(BundleError, match=r"baseline\.json"):
        Reference.read(document, 1)
