"""The report: one page that loads nothing and says what somebody must know to decide."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.errors import ConversionError
from edgeml_converters import Conversion, convert, write_report
from edgeml_converters.analysis import Stage, WindowShown
from edgeml_converters.report.labels import Box, Disc, places
from edgeml_converters.report.picture import data_uri, shades
from edgeml_converters.report.plot import padded, round_ticks
from edgeml_converters.report.window import window_card
from edgeml_converters.targets.target import Estimate

VOID = {"meta", "img", "line", "circle", "polyline", "rect"}


class _Page(HTMLParser):
    """Checks that tags nest, and keeps text and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def conversion(model: Any, data: Any, held_out: Any, spec: Any) -> Conversion:
    return convert(model, data[0], spec=spec, evaluation=held_out, target="edgetpu", max_drop=0.1)


@pytest.fixture(scope="module")
def page(conversion: Conversion, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(conversion, path)
    return path.read_text("utf-8")


def _read(page: str) -> _Page:
    reader = _Page()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    reader = _read(page)
    assert all(address.startswith("data:") for address in reader.addresses)
    assert not re.search(r"https?:|@import|url\(", page)


def test_the_page_says_what_was_chosen_and_how_sure_that_is(
    page: str, conversion: Conversion
) -> None:
    text = " ".join(_read(page).text)
    assert f"{len(conversion.tflite):,} bytes" in text
    assert "the true loss lies between" in text
    for candidate in conversion.candidates:
        assert candidate.scheme in text
        assert candidate.reason in text


def test_every_part_of_the_analysis_is_on_the_page(page: str, conversion: Conversion) -> None:
    text = " ".join(_read(page).text)
    analysis = conversion.analysis
    assert "Confusion matrix, float model" in text
    assert f"Confusion matrix, {conversion.chosen.scheme}" in text
    for layer in analysis.layers:
        assert layer.name in text
    for name in analysis.operators:
        assert name in text
    for channel in analysis.channels:
        assert channel.name in text
    for stage in analysis.window.stages:
        assert stage.step in text
    assert analysis.provenance.calibration_digest in text
    assert "Cost on edgetpu" in text
    assert "edgetpu_compiler" in text


def test_a_cost_that_nobody_could_estimate_is_said_in_a_sentence_not_an_empty_table(
    conversion: Conversion, tmp_path: Path
) -> None:
    nothing = {conversion.chosen.scheme: Estimate("pi4", "none: no emulated core")}
    write_report(replace(conversion, estimates=nothing), tmp_path / "report.html")
    text = " ".join(_read((tmp_path / "report.html").read_text("utf-8")).text)
    assert "Cost on pi4 Not estimated: no emulated core." in text


def test_a_conversion_is_printed_without_its_bytes_and_tensors(conversion: Conversion) -> None:
    assert f"chosen=Candidate(scheme={conversion.chosen.scheme!r}" in repr(conversion)
    assert len(repr(conversion)) < 5000


def test_words_from_outside_cannot_become_markup(conversion: Conversion, tmp_path: Path) -> None:
    hostile = replace(conversion, warnings=("<script>alert(1)</script>",))
    write_report(hostile, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_report_that_cannot_be_written_says_where(conversion: Conversion, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"no[/\\]r\.html: the report cannot be written"):
        write_report(conversion, tmp_path / "no" / "r.html")


def test_pictures_are_pngs_with_the_pixels_that_were_given() -> None:
    import base64
    import io

    from PIL import Image

    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    head, _, data = data_uri(pixels).partition(",")
    assert head == "data:image/png;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(shown, pixels)


def test_shades_span_the_values_and_take_what_is_not_finite() -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan]], np.float32)
    assert shades(values).tolist() == [[0, 128], [255, 0]]
    assert shades(np.full((2, 2), 7, np.float32)).tolist() == [[0, 0], [0, 0]]


def test_no_name_lies_over_another_or_over_a_disc() -> None:
    """Five files about as large and as good, as the candidates of small networks are."""
    middles = [(300, 60), (304, 63), (308, 60), (700, 58), (712, 61)]
    discs = [Disc(x, y, 8, f"scheme{i}") for i, (x, y) in enumerate(middles)]
    area = Box(58, 0, 904, 246)
    taken = Box(830, 30, 904, 47)
    found = [place.box for place in places(discs, area, [taken])]
    others = [taken, *(disc.box for disc in discs)]
    for i, box in enumerate(found):
        assert not any(box.meets(other) for other in [*others, *found[:i]])
        assert area.top <= box.top
        assert box.bottom <= area.bottom


def test_a_long_window_is_drawn_over_as_many_samples_as_it_has() -> None:
    stage = Stage("raw", {}, np.sin(np.arange(1900, dtype=np.float32)))
    card = window_card(WindowShown(0, None, (stage,)))
    assert ">1500</text>" in card


def test_ticks_are_round_and_within_the_axis() -> None:
    assert round_ticks(0.93, 1.02, 4) == [0.95, 1.0]
    low, high = padded([5.0, 5.0])
    assert low < 5.0 < high
