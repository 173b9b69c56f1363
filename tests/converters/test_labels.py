"""Labels as people keep them: numbers that are names, bytes, words; each means one thing."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from edgeml.errors import InputError
from edgeml.manifest import OutputSpec
from edgeml_converters.guess import guess_spec, with_labels
from edgeml_converters.samples import check_labels
from edgeml_converters.sources import open_source


@pytest.mark.parametrize(
    ("names", "labels", "places"),
    [
        (("1", "2", "3"), [3, 1, 1], [2, 0, 0]),
        (("1", "2"), [1, 1, 1], [0, 0, 0]),
        (("-1", "1"), [-1, 1, 1], [0, 1, 1]),
        (("0", "2", "3"), [2.0, 0.0, 2.0], [1, 0, 1]),
        (("low", "high"), [1, 0, 1], [1, 0, 1]),
        (("low", "high"), [True, False, True], [1, 0, 1]),
        (("low", "high"), np.array([b"high", b"low", b"low"]), [1, 0, 0]),
    ],
)
def test_a_number_that_is_the_name_of_a_label_means_that_label(
    names: tuple[str, ...], labels: Any, places: list[int]
) -> None:
    """Not the label at that place: the classes of an estimator are seldom counted from 0."""
    outputs = OutputSpec("classification", names)
    assert check_labels(labels, outputs, 3, "evaluation").tolist() == places


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("classification", [0, 1, np.nan], "1 labels are NaN or infinite; drop those windows"),
        ("regression", ["on", "off", "on"], "names such as 'on', but the model has none"),
    ],
)
def test_labels_that_say_nothing_are_refused_for_what_they_are(
    task: str, labels: Any, message: str
) -> None:
    outputs = OutputSpec(task, ("low", "high") if task == "classification" else ())
    with pytest.raises(InputError, match=message):
        check_labels(labels, outputs, 3, "evaluation")


def test_an_estimator_s_own_classes_are_not_renamed_by_the_data() -> None:
    rows = np.eye(3, dtype=np.float32)
    estimator = LogisticRegression().fit(rows, ["b", "c", "d"])
    model = open_source(estimator)
    spec = guess_spec(model, "letters")
    for labels in (["a", "b", "c"], ["b", "c", "d"]):
        assert with_labels(spec, model, np.array(labels)) == (spec, None)
    numbered = LogisticRegression().fit(rows, [1.0, 2.0, 3.0])
    assert open_source(numbered).labels == ("1", "2", "3")
