"""The table of an update's life is whole: every state is reached, left, and safe to die in."""

from pathlib import Path

import pytest

from edgeml.errors import UpdateError
from edgeml.ota.states import TRANSITIONS, Event, State, diagram, follow


def test_every_state_is_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) == set(State)
    assert {before for before, _ in TRANSITIONS} == set(State)


def test_every_event_moves_something() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_every_state_leads_back_to_idle() -> None:
    home = {State.IDLE}
    for _ in State:
        home |= {before for (before, _), after in TRANSITIONS.items() if after in home}
    assert home == set(State)


def test_only_activation_leads_to_probation() -> None:
    into = {event for (_, event), after in TRANSITIONS.items() if after is State.PROBATION}
    assert into == {Event.ACTIVATED}


def test_a_step_that_the_table_does_not_have_is_a_bug_that_raises() -> None:
    with pytest.raises(UpdateError, match="an update that is idle cannot become activated"):
        follow(State.IDLE, Event.ACTIVATED)


def test_the_diagram_has_every_edge() -> None:
    text = diagram()
    assert text.count("-->") == len(TRANSITIONS) + 1
    assert "probation --> rolling_back: unhealthy" in text


def test_the_documentation_draws_the_table_as_it_is() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "updates.md"
    assert diagram() in page.read_text("utf-8")
