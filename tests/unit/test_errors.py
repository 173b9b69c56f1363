"""Errors told from one process to another."""

import pytest

from edgeml import errors
from edgeml.errors import BackendError, BundleError, EdgeMLError, UpdateError, retold, told

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, EdgeMLError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_class_and_its_text(kind: type[EdgeMLError]) -> None:
    said = told(kind("pump.tflite: it is wrong"))
    again = retold(said, BackendError)
    assert type(again) is kind
    assert str(again) == "pump.tflite: it is wrong"


@pytest.mark.parametrize("kind", ["OSError", "NewerError", "nearest", "Iterable", "", None, 7])
def test_what_is_no_error_of_ours_is_the_one_that_was_asked_for(kind: object) -> None:
    again = retold({"error": "no", "kind": kind}, UpdateError)
    assert (type(again), str(again)) == (UpdateError, "no")


def test_an_error_without_a_class_is_the_one_that_was_asked_for() -> None:
    assert isinstance(retold({"error": "no"}, BundleError), BundleError)
