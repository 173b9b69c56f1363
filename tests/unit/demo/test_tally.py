"""The count is the demonstration's whole point, so it is tried on every way to be wrong."""

from dataclasses import replace

from edgeml.demo.tally import Answer, tally

LOGGED = [
    Answer(100.0 + i, "walk" if i % 2 else "run", 0.5 + i / 100, (0.1, 0.9), 40.0 + i)
    for i in range(10)
]
TRUTH = {answer.start_s: answer.label for answer in LOGGED}


def test_everything_delivered_once_is_complete() -> None:
    count = tally(LOGGED, list(reversed(LOGGED)), TRUTH)
    assert (count.produced, count.delivered, count.lost, count.duplicates) == (10, 10, 0, 0)
    assert count.complete
    assert count.accuracy == 1.0
    assert count.p50_us == 44.5


def test_a_missing_row_is_lost() -> None:
    count = tally(LOGGED, LOGGED[1:], TRUTH)
    assert (count.delivered, count.lost, count.complete) == (9, 1, False)


def test_a_second_row_for_a_window_is_a_duplicate() -> None:
    count = tally(LOGGED, [*LOGGED, LOGGED[3]], TRUTH)
    assert (count.delivered, count.duplicates, count.complete) == (10, 1, False)


def test_a_row_with_other_content_is_not_a_delivery() -> None:
    for changed in (
        replace(LOGGED[0], label="walk"),
        replace(LOGGED[0], score=0.51),
        replace(LOGGED[0], outputs=(0.1, 0.8)),
    ):
        count = tally(LOGGED, [changed, *LOGGED[1:]], TRUTH)
        assert (count.delivered, count.lost) == (9, 1)


def test_accuracy_is_of_what_was_delivered() -> None:
    wrong = replace(LOGGED[0], label="walk")
    count = tally([wrong, *LOGGED[1:]], [wrong, *LOGGED[1:]], TRUTH)
    assert count.accuracy == 0.9
    assert count.confusion["run", "walk"] == 1


def test_nothing_produced_is_not_complete() -> None:
    assert not tally([], [], {}).complete
