"""Scores, and how sure they are, against other people's implementations and by simulation."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import f1_score, roc_auc_score

from edgeml.errors import ConfigError, InputError
from edgeml.manifest import OutputSpec
from edgeml_converters.baseline import confidence_knots
from edgeml_converters.interval import paired_bootstrap, paired_shares
from edgeml_converters.judge import Judge
from edgeml_converters.metrics import METRICS, agreement, answers, choose_metric

RNG = np.random.default_rng(4)


def test_the_area_under_the_curve_is_scikit_learn_s_with_ties_too() -> None:
    truth = RNG.integers(0, 2, 500)
    scores = np.round(truth + RNG.normal(0, 1.5, 500), 1)
    ours = METRICS["auc"].function(scores[:, np.newaxis], truth)
    assert ours == pytest.approx(roc_auc_score(truth, scores))


def test_the_area_of_classes_is_scikit_learn_s_one_against_the_rest() -> None:
    truth = RNG.integers(0, 4, 300)
    scores = np.exp(2 * np.eye(4)[truth] + RNG.normal(0, 1, (300, 4)))
    shares = scores / scores.sum(axis=1, keepdims=True)
    expected = roc_auc_score(truth, shares, multi_class="ovr", average="macro")
    assert METRICS["auc"].function(shares, truth) == pytest.approx(expected)
    two = truth % 2
    logits = RNG.normal(0, 1, (300, 2)) + np.eye(2)[two]
    expected = roc_auc_score(two, logits[:, 1] - logits[:, 0])
    assert METRICS["auc"].function(logits, two) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_an_anomaly_is_right_or_wrong_by_its_threshold(metric: str) -> None:
    truth = np.arange(40) % 2
    scores = (truth + np.where(np.arange(40) < 4, 9, 0) * (truth == 0))[:, np.newaxis]
    reference = scores.astype(np.float32)
    judge = Judge(OutputSpec("anomaly", threshold=0.5), metric, reference, reference, truth)
    verdict = judge.judge(np.full_like(reference, 7))
    said = (scores[:, 0] > 0.5).astype(int)
    expected = {
        "accuracy": (np.mean(said == truth), 0.5),
        "f1": (
            f1_score(truth, said, average="macro"),
            f1_score(truth, np.ones(40), average="macro"),
        ),
    }[metric]
    assert (verdict.score_float, verdict.score) == pytest.approx(expected)
    assert judge.chance() is None


def test_a_regression_of_several_numbers_wants_as_many_labels() -> None:
    reference = RNG.normal(size=(20, 3)).astype(np.float32)
    with pytest.raises(InputError, match=r"labels \[20\].* answers 3 numbers"):
        Judge(OutputSpec("regression"), "mse", reference, reference, np.zeros(20, np.float32))


def test_f1_is_scikit_learn_s_macro_average() -> None:
    truth = RNG.integers(0, 4, 300)
    answers_ = np.eye(4)[truth] + RNG.normal(0, 0.8, (300, 4))
    expected = f1_score(truth, answers_.argmax(1), average="macro")
    assert METRICS["f1"].function(answers_, truth) == pytest.approx(expected)


def test_the_knots_of_a_calibration_lie_on_isotonic_regression() -> None:
    confidence = RNG.uniform(0.3, 1, 400)
    right = RNG.uniform(size=400) < confidence**2
    knots = confidence_knots(confidence, right)
    fitted = IsotonicRegression().fit(confidence, right)
    for sure, share in knots[1:-1]:
        assert share == pytest.approx(float(fitted.predict([sure])[0]), abs=0.02)
    shares = [share for _, share in knots]
    assert shares == sorted(shares)


def test_forty_windows_without_a_difference_still_leave_room_for_nine_points() -> None:
    right = np.ones(40, bool)
    low, high = paired_shares(right, right)
    z2 = 1.959963984540054**2
    assert high == pytest.approx(z2 / (40 + z2), abs=1e-6)
    assert low == pytest.approx(-high, abs=1e-6)


def test_the_interval_for_paired_shares_covers_the_truth_about_as_often_as_it_says() -> None:
    """Tango's own claim, by simulation: 95 %, here within what 800 draws can tell."""
    covered = 0
    for _ in range(800):
        draw = RNG.choice(4, 80, p=[0.80, 0.08, 0.02, 0.10])  # both, only ref., only ours, none
        low, high = paired_shares(draw <= 1, (draw == 0) | (draw == 2))
        covered += low <= 0.06 <= high
    assert 0.925 <= covered / 800 <= 0.985


@pytest.mark.parametrize(("lost", "won"), [(80, 0), (0, 80), (0, 0), (40, 40)])
def test_the_interval_stays_within_what_a_difference_of_shares_can_be(lost: int, won: int) -> None:
    n = 80
    reference = np.arange(n) < lost
    ours = np.arange(n) >= n - won
    low, high = paired_shares(reference, ours)
    assert -1 <= low <= (lost - won) / n <= high <= 1


def test_the_bootstrap_gives_the_same_interval_twice_and_holds_the_mean() -> None:
    values = RNG.normal(0.2, 1, 200)
    first = paired_bootstrap(lambda rows: float(values[rows].mean()), 200)
    assert first == paired_bootstrap(lambda rows: float(values[rows].mean()), 200)
    assert first[0] < values.mean() < first[1]
    assert first[1] - first[0] == pytest.approx(2 * 1.96 / np.sqrt(200), rel=0.15)


def test_an_anomaly_is_scored_by_how_badly_its_window_is_restored() -> None:
    inputs = RNG.normal(size=(5, 8, 2)).astype(np.float32)
    outputs = inputs + np.arange(5, dtype=np.float32)[:, np.newaxis, np.newaxis]
    scores = answers("anomaly", outputs, inputs)
    np.testing.assert_allclose(scores[:, 0], np.arange(5.0) ** 2, rtol=1e-5)


def test_agreement_is_one_with_oneself_and_says_how_many_differ() -> None:
    reference = np.eye(3)[RNG.integers(0, 3, 60)]
    changed = reference.copy()
    changed[:6] = np.roll(changed[:6], 1, axis=1)
    assert agreement("classification", changed, reference, None).mean() == pytest.approx(0.9)
    assert agreement("regression", reference, reference, None).mean() == 1
    assert agreement("anomaly", reference, reference, 0.5).mean() == 1


@pytest.mark.parametrize("metric", ["agreement", "mse"])
def test_a_small_number_that_died_beside_a_large_one_is_what_a_regression_lost(
    metric: str,
) -> None:
    """One output scale for both, as int8 has, leaves nothing of the small one."""
    reference = (RNG.normal(size=(200, 2)) * [1000, 0.5]).astype(np.float32)
    truth = reference + (RNG.normal(size=(200, 2)) * [50, 0.02]).astype(np.float32)
    judge = Judge(OutputSpec("regression"), metric, reference, reference, truth)
    step = np.float32(4)
    verdict = judge.judge(np.rint(reference / step) * step)
    assert verdict.drop > 0.4
    assert verdict.drop_low > 0.4
    assert judge.judge(reference).drop == 0
    same_size = reference * np.array([0.0005, 1], np.float32)
    even = Judge(OutputSpec("regression"), "agreement", same_size, same_size, None)
    assert even.judge(same_size + np.float32(0.001)).drop < 0.01


def test_a_number_that_never_varies_is_held_against_its_own_size() -> None:
    reference = np.full((20, 1), 1000.0)
    assert agreement("regression", reference + 2, reference, None).mean() == pytest.approx(0.998)


def test_a_float_model_without_any_error_may_round_otherwise() -> None:
    """An error of 1e-14 that becomes twice as large is no loss of a hundred per cent."""
    truth = np.linspace(0, 40, 60, dtype=np.float32)[:, np.newaxis]
    reference = truth + np.float32(1e-6)
    judge = Judge(OutputSpec("regression"), "mse", truth, reference, truth)
    assert judge.judge(truth - np.float32(1e-5)).drop < 1e-3
    assert judge.judge(truth + np.float32(0.4)).drop > 100


def test_one_output_for_two_classes_is_judged_as_a_device_reads_it() -> None:
    chance = np.array([[0.1], [0.5], [0.9], [0.4]], np.float32)
    truth = np.array([0, 1, 1, 1])
    outputs = OutputSpec("classification", ("off", "on"))
    logits = np.log(chance / (1 - chance))
    for said, squashed in ((chance, False), (logits, True)):
        judge = Judge(outputs, "accuracy", said, said, truth, logits=squashed)
        assert judge.judge(said).score == 0.75
        assert judge.answers(said).argmax(1).tolist() == [0, 1, 1, 0]
        np.testing.assert_allclose(judge.answers(said)[:, 1:], chance, rtol=1e-6)


@pytest.mark.parametrize("task", ["anomaly", "classification"])
def test_labels_of_one_kind_give_no_area_under_a_curve(task: str) -> None:
    outputs = OutputSpec(task, ("a", "b") if task == "classification" else (), threshold=1.0)
    with pytest.raises(ConfigError, match="needs windows of two kinds at least"):
        choose_metric("auc", outputs, np.zeros(9, np.int64))
    chosen, warning = choose_metric(None, outputs, np.zeros(9, np.int64))
    expected = "agreement" if task == "anomaly" else "accuracy"
    assert chosen == expected
    assert (warning is not None) == (task == "anomaly")


def test_labels_that_no_metric_takes_are_said_to_count_for_nothing() -> None:
    outputs = OutputSpec("multilabel", ("a", "b"))
    chosen, warning = choose_metric(None, outputs, np.eye(2, dtype=np.float32))
    assert (chosen, "count for nothing" in str(warning)) == ("agreement", True)
    assert choose_metric("agreement", outputs, np.eye(2)) == ("agreement", None)
    assert choose_metric(None, outputs, None) == ("agreement", None)


def test_a_drop_in_an_error_is_told_as_a_share_of_the_float_model_s() -> None:
    truth = RNG.normal(size=(50, 1)).astype(np.float32)
    reference = truth + np.float32(0.1)
    judge = Judge(OutputSpec("regression"), "mse", truth, reference, truth)
    verdict = judge.judge(truth + np.float32(0.11))
    assert verdict.drop == pytest.approx(0.21, rel=1e-3)
    assert verdict.rmse == pytest.approx(0.01, rel=1e-3)
    assert verdict.drop_low <= verdict.drop <= verdict.drop_high


@pytest.mark.parametrize(
    ("task", "metric", "message"),
    [
        ("classification", "mse", "accuracy or f1 or auc or agreement would"),
        ("regression", "f1", "mse or agreement would"),
        ("embedding", "accuracy", "; agreement would"),
        ("anomaly", "accuracy", "needs the threshold"),
    ],
)
def test_a_metric_that_does_not_fit_the_task_is_refused(
    task: str, metric: str, message: str
) -> None:
    labels = ("a", "b") if task == "classification" else ()
    with pytest.raises(ConfigError, match=message):
        choose_metric(metric, OutputSpec(task, labels), np.arange(9) % 2)
