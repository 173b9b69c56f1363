"""The report is one well-formed page that loads nothing and says what happened."""

import re
from html.parser import HTMLParser

import pytest

from edgeml.demo.outcome import Outcome, TimelinePoint
from edgeml.demo.report import render
from edgeml.demo.svg import ticks
from edgeml.demo.tally import Answer, tally

VOID = {"meta", "br"}


class Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outcome(lost: int = 0) -> Outcome:
    answers = [Answer(float(i), "walk", 0.9, (0.9, 0.1), 30.0 + i % 7) for i in range(50)]
    return Outcome(
        tally=tally(answers, answers[lost:], {a.start_s: "walk" for a in answers}),
        timeline=tuple(
            TimelinePoint(i / 10, i, max(0, i - 20), i < 20 or i > 40) for i in range(50)
        ),
        recordings=40,
        killed_at_s=2.0,
        outage_s=2.0,
        outages=1,
        seconds=5.0,
        times_us=tuple(a.total_us for a in answers),
        labels=("walk", "<run>"),
        model="activity",
        version=1,
        digest="ab" * 32,
        bundle_bytes=12345,
        score_float=1.0,
        score_quantised=0.975,
        machine="aarch64, Python 3.11",
        interpreter="litert",
        broker="Mosquitto",
    )


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    page = render(outcome())
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert not re.search(r"(?:src|href)=|https?://|@import|url\(", page)


def test_the_page_says_that_everything_arrived() -> None:
    page = render(outcome())
    assert "Every result arrived, each once." in page
    assert "0.975" in page
    assert "broker dead" in page


def test_the_page_says_what_was_lost() -> None:
    assert "3 lost, 0 doubled." in render(outcome(lost=3))


def test_on_a_telephone_a_wide_drawing_scrolls_and_a_colour_stays_beside_its_name() -> None:
    page = render(outcome())
    assert [
        wide for wide, width in re.findall(r'<svg( class="wide")? viewBox="0 0 (\d+)', page)
    ] == [
        ' class="wide"',
        "",
    ]
    assert re.search(r'<span><span class="key" style="[^"]+"></span>produced</span>', page)


def test_text_from_the_model_is_escaped() -> None:
    page = render(outcome())
    assert "<run>" not in page
    assert "&lt;run&gt;" in page


@pytest.mark.parametrize("maximum", [0.0, 0.007, 1.0, 9.9, 12345.0])
def test_ticks_are_round_and_within_the_range(maximum: float) -> None:
    marks = ticks(maximum)
    assert marks[0] == 0
    assert all(0 <= mark <= maximum for mark in marks)
    assert 1 <= len(marks) <= 7
