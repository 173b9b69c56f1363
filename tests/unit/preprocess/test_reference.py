"""docs/preprocess.md is true: its examples give what it says, and it names every parameter."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess import EXACT_STEPS, STEPS, Pipeline
from edgeml.preprocess.stage import Signal
from edgeml.preprocess.statistics import FEATURES

pytestmark = pytest.mark.workstation

REFERENCE = (Path(__file__).parents[3] / "docs" / "preprocess.md").read_text("utf-8")
SECTIONS = {
    found["name"]: found["body"]
    for found in re.finditer(r"(?ms)^### `(?P<name>\w+)`\n(?P<body>.*?)(?=^##|\Z)", REFERENCE)
}
EXAMPLE = re.compile(
    r"(?m)^`(?P<step>\{.*\})`: \[(?P<takes>[\d, ]+)\](?: at (?P<hz>[\d.]+) Hz)?"
    r" → \[(?P<gives>[\d, ]+)\]$"
)


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(","))


def _examples() -> Iterator[tuple[dict[str, Any], tuple[int, ...], float | None, tuple[int, ...]]]:
    for found in EXAMPLE.finditer(REFERENCE):
        hz = None if found["hz"] is None else float(found["hz"])
        yield json.loads(found["step"]), _shape(found["takes"]), hz, _shape(found["gives"])


def test_every_step_has_its_section_and_an_example_of_itself() -> None:
    assert sorted(SECTIONS) == sorted(STEPS)
    for name, body in SECTIONS.items():
        assert [json.loads(found["step"])["step"] for found in EXAMPLE.finditer(body)] == [name]


@pytest.mark.parametrize(
    ("step", "takes", "hz", "gives"), [*_examples()], ids=lambda value: str(value)[:40]
)
def test_an_example_gives_the_shape_that_it_says(
    step: dict[str, Any], takes: tuple[int, ...], hz: float | None, gives: tuple[int, ...]
) -> None:
    assert Pipeline.from_steps([step], takes, hz).output_shape == gives


@pytest.mark.parametrize(
    ("step", "takes", "hz"),
    [example[:3] for example in _examples()],
    ids=lambda value: str(value)[:40],
)
def test_the_parameters_named_are_those_that_the_step_reads(
    step: dict[str, Any], takes: tuple[int, ...], hz: float | None
) -> None:
    fields = Fields({k: v for k, v in step.items() if k != "step"}, step["step"], PreprocessError)
    STEPS[step["step"]](fields, Signal(takes, hz))
    left = re.findall(r"(?m)^\| (`.*?) \|", SECTIONS[step["step"]])
    named = [name for cell in left for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(fields._asked)


def test_every_feature_is_named() -> None:
    for feature in FEATURES:
        assert f"`{feature}`" in SECTIONS["statistics"]


def test_the_steps_marked_exact_are_those_that_promise_it() -> None:
    assert {name for name, body in SECTIONS.items() if " Exact.\n" in body} == EXACT_STEPS
