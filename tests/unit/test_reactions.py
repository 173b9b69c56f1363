"""A trigger fires once at a beginning and once at an end, however much the label flickers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import ConfigError
from edgeml.reactions import Edge, Trigger


def _edges(labels: str, windows: int) -> list[tuple[int, str]]:
    trigger = Trigger("w", windows)
    pushed = [(i, trigger.push(label)) for i, label in enumerate(labels)]
    return [(i, edge.value) for i, edge in pushed if edge is not None]


def test_one_window_is_enough_by_default() -> None:
    assert _edges("sswws", 1) == [(2, "began"), (4, "ended")]


def test_a_flicker_shorter_than_the_windows_is_not_an_edge() -> None:
    assert _edges("swswwswwwsswsss", 3) == [(8, "began"), (14, "ended")]


@given(st.text("ws", max_size=60), st.integers(1, 5))
def test_edges_alternate_and_each_has_its_run_of_windows(labels: str, windows: int) -> None:
    edges = _edges(labels, windows)
    assert [edge for _, edge in edges] == ["began", "ended"] * (len(edges) // 2) + ["began"] * (
        len(edges) % 2
    )
    for at, edge in edges:
        run = labels[at - windows + 1 : at + 1]
        assert all((label == "w") == (edge == "began") for label in run)


def test_it_knows_whether_the_label_holds() -> None:
    trigger = Trigger("w")
    assert trigger.push("w") is Edge.BEGAN
    assert trigger.active
    assert trigger.push(None) is Edge.ENDED
    assert not trigger.active


def test_no_window_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="windows=0"):
        Trigger("w", 0)
