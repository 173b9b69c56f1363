"""Text from outside is read as numbers or refused with its reason, never guessed at."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import ConfigError
from edgeml.sensors.lines import (
    MAX_LINE_BYTES,
    CsvReading,
    JsonReading,
    LineSplitter,
    attempt,
    parse_path,
)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("x", ("x",)),
        ("imu.accel[0]", ("imu", "accel", 0)),
        ("[2][1]", (2, 1)),
        ("a b.c-d", ("a b", "c-d")),
    ],
)
def test_a_path_is_keys_and_numbers(path: str, parts: tuple[str | int, ...]) -> None:
    assert parse_path(path) == parts


@pytest.mark.parametrize("path", ["", ".", "a.", "a..b", "a[", "a[x]", "a[-1]", ".a"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"imu\.accel"):
        parse_path(path)


def test_json_gives_the_numbers_at_their_paths() -> None:
    reading = JsonReading(["imu.a[1]", "t"])
    np.testing.assert_array_equal(reading(b'{"imu": {"a": [1, 2.5]}, "t": -3}'), [2.5, -3])
    assert reading(b'{"imu": {"a": [1, 2]}, "t": null}').dtype == np.float32
    assert np.isnan(reading(b'{"imu": {"a": [1, 2]}, "t": null}')[1])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[1]",
        b'{"imu": 1, "t": 2}',
        b'{"imu": {"a": [1]}, "t": 2}',
        b'{"imu": {"a": [1, "2"]}, "t": 2}',
        b'{"imu": {"a": [1, true]}, "t": 2}',
        b'{"imu": {"a": [1, {}]}, "t": 2}',
        b'{"imu": {"a": "ab"}, "t": 2}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"imu": {"a": [1, 1' + b"0" * 400 + b']}, "t": 2}',
    ],
    ids=lambda text: repr(text[:24]),
)
def test_json_of_another_shape_is_an_error_with_a_reason(text: bytes) -> None:
    assert isinstance(attempt(JsonReading(["imu.a[1]", "t"]), text), ValueError)


def test_csv_gives_its_fields_and_an_empty_one_is_missing() -> None:
    values = CsvReading(3)(b" 1.5, ,-2e3")
    np.testing.assert_array_equal(values, np.array([1.5, math.nan, -2000], np.float32))


@pytest.mark.parametrize("line", [b"1,2", b"1,2,3,4", b"1,2,three", b"1,2,\xb03", b"1;2;3"])
def test_csv_of_another_shape_is_an_error_with_a_reason(line: bytes) -> None:
    error = attempt(CsvReading(3), line)
    assert isinstance(error, ValueError)
    assert str(error)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_read_or_fail(text: bytes) -> None:
    for reading in (CsvReading(2), JsonReading(["a", "b"])):
        found = attempt(reading, text)
        assert isinstance(found, ValueError) or found.shape == (2,)


@given(
    st.lists(st.binary(min_size=1, max_size=9).filter(lambda b: b"\n" not in b and b.strip())),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"torn\n" + b"".join(line + b"\r\n" for line in lines)
    splitter = LineSplitter()
    found: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        got, too_long = splitter.push(stream[at : at + size])
        assert not too_long
        found += got
        at, turn = at + size, turn + 1
    assert found == [line.strip() for line in lines]


def test_a_line_without_end_is_thrown_away_and_counted_once() -> None:
    splitter = LineSplitter()
    splitter.push(b"\n")
    too_long = sum(splitter.push(b"x" * MAX_LINE_BYTES)[1] for _ in range(10))
    assert too_long == 1
    assert splitter.push(b"the rest\n1,2\n") == ([b"1,2"], 0)
