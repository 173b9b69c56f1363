"""Messages say what was meant, and nothing from the network gets through half-read."""

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import InputError, ProtocolError
from edgeml.fleet import batches as read
from edgeml.fleet import samplerows
from edgeml.fleet.answers import encode_answer
from edgeml.fleet.selfreports import parse_health, parse_state
from edgeml.result import ModelRef, Result
from edgeml.sync import batches, messages, rows, windows, wire
from edgeml.sync.messages import Ack, Receipt, Refusal, State, digest_of, parse_answer
from edgeml.sync.spans import Spans

MODEL = ModelRef("activity", 3, "ab" * 32)
RESULT = Result(MODEL, 100.5, 110.25, "walking", 0.75, (0.25, 0.75), 11.04, 22.0, 3.0)


def a_batch(*encoded: bytes) -> bytes:
    return batches.encode_batch("0123456789abcdef", MODEL, encoded)


def test_a_result_survives_the_journey() -> None:
    row = rows.result_row(7, RESULT, 42, {"truth": "walking", "n": [1, 2.5, None]})
    batch = read.parse_results(a_batch(row))
    assert (batch.outbox, batch.model) == ("0123456789abcdef", MODEL)
    assert batch.results[0] == read.ResultRow(
        7, 100.5, 110.25, "walking", 0.75, (0.25, 0.75), 11.0, 22.0, 3.0, 42,
        {"truth": "walking", "n": [1, 2.5, None]},
    )  # fmt: skip
    assert batch.spans == Spans(((7, 7),))


def test_compression_changes_nothing_but_the_size() -> None:
    payload = a_batch(*(rows.result_row(n, RESULT, n, None) for n in range(1, 200)))
    packed = wire.compress(payload)
    assert len(packed) < len(payload) / 5
    assert read.parse_results(packed) == read.parse_results(payload)


ANY_NUMBER = st.one_of(
    st.floats(),
    st.integers(-(2**40), 2**40),
    st.booleans(),
    st.floats().map(np.float64),
    st.floats(width=32).map(np.float32),
)
A_TIME = st.floats(0, 1e10)
TOOK_US = st.one_of(A_TIME, st.integers(0, 2**40), A_TIME.map(np.float64), A_TIME.map(np.float32))


@given(
    st.none() | st.text(),
    ANY_NUMBER,
    st.lists(ANY_NUMBER).map(tuple),
    st.tuples(A_TIME, A_TIME),
    st.tuples(A_TIME, TOOK_US, TOOK_US),
    st.none() | st.integers(0, 2**40),
)
def test_the_short_way_to_a_row_and_the_encoder_say_the_same(
    label: str | None,
    score: float,
    outputs: tuple[float, ...],
    times: tuple[float, float],
    took: tuple[float, float, float],
    window: int | None,
) -> None:
    result = Result(MODEL, *times, label, score, outputs, *took)
    usual = rows.result_row(7, result, window, None)
    encoded = rows.result_row(7, result, window, {})
    assert json.loads(usual) == json.loads(encoded.replace(b',"extra":{}', b""))


def test_a_result_that_is_not_a_number_is_still_delivered() -> None:
    broken = RESULT._replace(score=math.nan, outputs=(math.inf, 0.5))
    batch = read.parse_results(a_batch(rows.result_row(1, broken, None, {"x": -math.inf})))
    assert batch.results[0].score is None
    assert batch.results[0].outputs == (None, 0.5)
    assert batch.results[0].extra == {"x": None}


def test_a_label_that_utf8_cannot_spell_is_still_delivered() -> None:
    batch = read.parse_results(
        a_batch(rows.result_row(1, RESULT._replace(label="\ud800ü"), None, None))
    )
    assert batch.results[0].label == "?ü"


def test_events_and_gaps_survive_the_journey() -> None:
    drift = rows.event_row(4, 99.5, "drift", {"psi": 0.3})
    gap = rows.gap_row(5, 9, 100.0, "disk cap")
    batch = read.parse_events(batches.encode_batch("x", None, [drift, gap]))
    assert batch.events[0] == read.EventRow(4, 4, 99.5, "drift", {"psi": 0.3})
    assert batch.events[1] == read.EventRow(5, 9, 100.0, "gap", {"count": 5, "reason": "disk cap"})
    assert batch.spans == Spans(((4, 9),))


def test_an_acknowledgement_survives_the_journey() -> None:
    ack = Ack("x", 120, Spans(((130, 140), (150, 150))), "boot.3", greeting=True)
    assert Ack.parse(encode_answer(ack)) == ack


def test_an_acknowledgement_names_only_the_lowest_ranges_and_judges_no_further() -> None:
    many = Spans(tuple((n, n) for n in range(10, 1000, 2)))
    ack = Ack.parse(encode_answer(Ack("x", 5, many, "i")))
    assert len(ack.above.ranges) == messages.MAX_RANGES
    assert ack.horizon(5000) == ack.above.ranges[-1][1]
    assert Ack("x", 5, Spans(((10, 20),)), "i").horizon(5000) == 5000


def test_a_receipt_survives_the_journey_and_is_told_from_the_other_answers() -> None:
    receipt = Receipt((digest_of(b"one"), digest_of(b"two")), "a.1")
    assert parse_answer(encode_answer(receipt)) == receipt
    refusal = Refusal(digest_of(b"one"), "why", "a.1")
    assert parse_answer(encode_answer(refusal)) == refusal
    ack = Ack("box", 3, Spans(), "a.1")
    assert parse_answer(encode_answer(ack)) == ack
    with pytest.raises(ProtocolError):
        parse_answer(b'{"v":1,"stored":[1]}')


def test_a_state_survives_the_journey() -> None:
    state = State(True, "pump-7", "x", (3, 17), 99.5, "0.1.0", MODEL)
    assert parse_state(state.encode()) == state
    assert parse_state(replace(state, online=False, model=None).encode()).model is None


GOOD = json.loads(a_batch(rows.result_row(1, RESULT, None, None)))


def changed(**top: object) -> bytes:
    return json.dumps({**GOOD, **top}).encode()


def row_with(**fields: object) -> bytes:
    return changed(rows=[{**GOOD["rows"][0], **fields}])


def row_without(key: str) -> bytes:
    return changed(rows=[{k: v for k, v in GOOD["rows"][0].items() if k != key}])


POISON = {
    "nothing": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"v":"\xff"}',
    "a list": b"[]",
    "NaN": b'{"v":NaN}',
    "deep": b"[" * 100_000,
    "cut short": json.dumps(GOOD).encode()[:-10],
    "not zlib": b"x not zlib",
    "zlib cut short": wire.compress(json.dumps(GOOD).encode())[:-6],
    "a later version": changed(v=2),
    "no version": changed(v=None),
    "no outbox": changed(outbox=None),
    "no model": changed(model=None),
    "a model of another shape": changed(model=["activity"]),
    "no rows": changed(rows=[]),
    "rows are text": changed(rows="abc"),
    "a row is a number": changed(rows=[5]),
    "a row is a list": changed(rows=[[1]]),
    "seq missing": row_without("seq"),
    "label missing": row_without("label"),
    "seq zero": row_with(seq=0),
    "seq negative": row_with(seq=-1),
    "seq too great": row_with(seq=1 << 63),
    "seq a float": row_with(seq=1.0),
    "seq true": row_with(seq=True),
    "score text": row_with(score="0.5"),
    "score true": row_with(score=True),
    "time infinite": json.dumps(GOOD).encode().replace(b"100.5", b"1e999"),
    "time too great": row_with(start_s=10**400),
    "outputs a number": row_with(outputs=1.0),
    "outputs nested": row_with(outputs=[[1.0]]),
    "label a number": row_with(label=3),
    "extra a list": row_with(extra=[]),
    "extra infinite": row_with(extra={"x": 1}).replace(b'"x": 1', b'"x": 1e999'),
    "window too great": row_with(window=1 << 70),
}


@pytest.mark.parametrize("payload", POISON.values(), ids=POISON)
def test_poison_is_refused_with_a_reason(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"\w"):
        read.parse_results(payload)


EVENT_POISON = {
    "a drift over a range": b'{"seq":1,"last":2,"time_s":1,"kind":"drift","fields":{}}',
    "a gap that ends before it begins": b'{"seq":5,"last":2,"time_s":1,"kind":"gap","fields":{}}',
    "no fields": b'{"seq":1,"time_s":1,"kind":"drift"}',
    "an endless number": b'{"seq":1,"time_s":1,"kind":"drift","fields":{"x":1e999}}',
}


@pytest.mark.parametrize("row", EVENT_POISON.values(), ids=EVENT_POISON)
def test_a_poisonous_event_is_refused(row: bytes) -> None:
    with pytest.raises(ProtocolError):
        read.parse_events(batches.encode_batch("x", None, [row]))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


PARSERS = (
    read.parse_results,
    read.parse_events,
    read.parse_samples,
    parse_health,
    Ack.parse,
    parse_state,
)


@pytest.mark.parametrize("parse", PARSERS)
@given(value=ANYTHING | st.dictionaries(st.sampled_from(["v", "outbox", "rows", "seq"]), ANYTHING))
def test_any_json_is_read_or_refused_but_never_breaks(
    parse: Callable[[bytes], object], value: object
) -> None:
    with contextlib.suppress(ProtocolError):
        assert parse(json.dumps(value).encode()) is not None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_but_never_break(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        read.parse_results(payload)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = wire.compress(b" " * (wire.MAX_UNPACKED_BYTES + 1))
    assert len(bomb) < 100_000
    with pytest.raises(ProtocolError, match="unpacks to more"):
        wire.load(bomb)


WINDOW = np.arange(12, dtype=np.int16).reshape(4, 3)
GOOD_SAMPLE = json.loads(
    batches.encode_batch("x", MODEL, [windows.sample_row(7, RESULT, WINDOW, "one in 5")])
)


def test_a_window_survives_the_journey_in_its_own_dtype() -> None:
    batch = read.parse_samples(json.dumps(GOOD_SAMPLE).encode())
    (row,) = batch.samples
    assert (row.seq, row.last, row.label, row.reason) == (7, 7, RESULT.label, "one in 5")
    assert (row.start_s, row.end_s, row.score) == (RESULT.start_s, RESULT.end_s, RESULT.score)
    np.testing.assert_array_equal(row.window(), WINDOW)
    assert row.window().dtype == np.int16
    assert (batch.outbox, batch.model, batch.spans) == ("x", MODEL, Spans(((7, 7),)))


def test_a_sample_without_label_and_with_a_score_that_is_none_travels() -> None:
    result = RESULT._replace(label=None, score=math.nan)
    row = samplerows.parse_sample(json.loads(windows.sample_row(1, result, WINDOW, "why")), "row")
    assert (row.label, row.score) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 0},
        {"seq": "1"},
        {"npy": 5},
        {"npy": "not base64!"},
        {"npy": "QUJD"},
        {"npy": GOOD_SAMPLE["rows"][0]["npy"][:-8]},
        {"reason": None},
        {"start_s": None},
        {"score": "high"},
        {"label": 5},
    ],
    ids=str,
)
def test_a_sample_that_is_none_is_refused(change: dict[str, object]) -> None:
    wrong = {**GOOD_SAMPLE, "rows": [{**GOOD_SAMPLE["rows"][0], **change}]}
    with pytest.raises(ProtocolError):
        read.parse_samples(json.dumps(wrong).encode())


def test_only_numbers_are_sent_and_never_more_than_32_bits_of_a_float() -> None:
    assert windows.sent_window(np.zeros((2, 2))).dtype == np.float32
    assert windows.sent_window(np.zeros((2, 2), np.uint8)).dtype == np.uint8
    given = np.zeros((2, 2), np.float32)
    assert not np.shares_memory(windows.sent_window(given), given)
    for wrong in (np.array(["a"]), np.zeros((0, 3))):
        with pytest.raises(InputError):
            windows.sent_window(wrong)
