"""Ranges instead of numbers: the same answers as a plain set would give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.sync.spans import Spans

RANGES = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda r: (r[0], r[0] + r[1])),
    max_size=12,
)


def members(spans: Spans) -> set[int]:
    return {n for first, last in spans.ranges for n in range(first, last + 1)}


@given(RANGES, RANGES)
def test_every_operation_agrees_with_plain_sets(
    a: list[tuple[int, int]], b: list[tuple[int, int]]
) -> None:
    left, right = Spans.of(a), Spans.of(b)
    assert members(left.union(right)) == members(left) | members(right)
    assert members(left.minus(right)) == members(left) - members(right)
    assert left.count == len(members(left))
    for first, last in b:
        assert members(left.plus(first, last)) == members(left) | set(range(first, last + 1))
        assert left.covers(first, last) == set(range(first, last + 1)).issubset(members(left))
        assert left.touches(first, last) == bool(set(range(first, last + 1)) & members(left))
        assert members(left.above(first)) == {n for n in members(left) if n > first}
        assert (first in left) == (first in members(left))


@given(RANGES, RANGES)
def test_ranges_never_touch_one_another(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> None:
    for spans in (Spans.of(a), Spans.of(a).union(Spans.of(b)), Spans.of(a).minus(Spans.of(b))):
        for (_, last), (first, _) in zip(spans.ranges, spans.ranges[1:], strict=False):
            assert last + 1 < first


@pytest.mark.parametrize(
    ("ranges", "reach"),
    [([], 0), ([(2, 9)], 0), ([(1, 4)], 4), ([(1, 4), (6, 9)], 4), ([(1, 4), (5, 9)], 9)],
)
def test_reach_is_the_end_of_the_run_that_begins_at_one(
    ranges: list[tuple[int, int]], reach: int
) -> None:
    assert Spans.of(ranges).reach() == reach


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        Spans.of([(3, 2)])
