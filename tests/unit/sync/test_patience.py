"""How long answers take, learnt from those that came."""

import pytest

from edgeml.sync.patience import Estimate


def test_before_the_first_answer_nothing_is_known() -> None:
    assert Estimate().due_s == 0.0


def test_the_first_answer_counts_three_times_as_rfc_6298_says() -> None:
    assert Estimate().after(2.0).due_s == pytest.approx(2.0 + 4 * 1.0)


def test_answers_that_always_take_the_same_leave_no_doubt() -> None:
    estimate = Estimate()
    for _ in range(100):
        estimate = estimate.after(3.0)
    assert estimate.due_s == pytest.approx(3.0, abs=0.02)


def test_answers_that_take_longer_and_longer_are_never_due_before_they_come() -> None:
    estimate, took_s = Estimate().after(0.1), 0.1
    for _ in range(200):
        took_s *= 1.05
        assert took_s < estimate.due_s
        estimate = estimate.after(took_s)


@pytest.mark.parametrize("answers", [(1.0, 5.0), (0.2, 0.3, 4.0, 0.1)])
def test_what_varies_is_given_more_time_than_it_takes_on_average(
    answers: tuple[float, ...],
) -> None:
    estimate = Estimate()
    for _ in range(30):
        for took_s in answers:
            estimate = estimate.after(took_s)
    assert estimate.due_s > max(answers)
