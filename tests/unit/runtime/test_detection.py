"""Object detection: suppression against a plain oracle, box formats, and both kinds of files."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import ManifestError
from edgeml.manifest import OutputSpec
from edgeml.runtime.detection import ROLES, Detection, detections, suppress
from edgeml.runtime.graph import DETECTION_OP
from edgeml.runtime.outputs import Answer, Outputs
from edgeml.runtime.postprocess import build
from edgeml.runtime.tensors import TensorSpec

NONE = np.empty(0, np.float32)


def tensor(*shape: int) -> TensorSpec:
    return TensorSpec(0, "y", shape, (), np.dtype(np.float32), NONE, NONE.astype(np.int32), 0)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [max(0.0, c[2] - c[0]) * max(0.0, c[3] - c[1]) for c in (a, b)]
    union = sum(areas) - height * width
    return height * width / union if union > 0 else 0.0


def by_the_definition(
    boxes: list[list[float]], scores: list[float], classes: list[int], iou: float
) -> list[int]:
    order = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept: list[int] = []
    for i in order:
        if all(classes[i] != classes[j] or overlap(boxes[i], boxes[j]) <= iou for j in kept):
            kept.append(i)
    return kept


eighths = st.integers(0, 8).map(lambda n: n / 8)


@given(
    st.lists(
        st.tuples(eighths, eighths, eighths, eighths, st.integers(0, 99), st.integers(0, 2)),
        max_size=12,
    ),
    st.sampled_from([0.25, 0.5, 0.75]),
)
def test_suppression_is_that_of_the_definition(
    found: list[tuple[float, float, float, float, int, int]], iou: float
) -> None:
    boxes = [[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d, _, _ in found]
    scores = [score / 100 for *_, score, _ in found]
    classes = [label for *_, label in found]
    kept = suppress(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(classes),
        iou,
        100,
    )
    assert kept.tolist() == by_the_definition(boxes, scores, classes, iou)


def test_suppression_stops_at_the_limit() -> None:
    boxes = np.array([[i, 0, i + 0.5, 1] for i in range(10)], np.float32)
    scores = np.linspace(1, 0.1, 10, dtype=np.float32)
    assert suppress(boxes, scores, np.zeros(10), 0.5, 3).tolist() == [0, 1, 2]


def answer(
    boxes: npt.ArrayLike,
    scores: npt.ArrayLike,
    options: Mapping[str, Any] | None = None,
    final: tuple[str, str] = ("ADD", "LOGISTIC"),
    labels: tuple[str, ...] = (),
    threshold: float | None = None,
) -> Answer:
    raw = [np.asarray(boxes, np.float32)[np.newaxis], np.asarray(scores, np.float32)[np.newaxis]]
    outputs = Outputs(tuple(tensor(*r.shape) for r in raw), final, (0, 0), (1,))
    spec = OutputSpec("detection", labels, threshold, postprocess=options)
    return build(spec, outputs)(raw, NONE)


TWO = [[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]]


def test_candidates_become_rows_of_six_best_first() -> None:
    label, score, numbers = answer(TWO, [[0.75, 0.0], [0.0, 0.875]], labels=("cat", "dog"))
    assert (label, score) == ("dog", 0.875)
    found = detections(numbers, ("cat", "dog"))
    assert [(d.label, d.score) for d in found] == [("dog", 0.875), ("cat", 0.75)]
    assert (found[0].ymin, found[0].xmax) == pytest.approx((0.6, 0.9))


def test_nothing_above_the_threshold_is_no_object() -> None:
    """Its score is that of the best candidate, as it is for a file with its own suppression."""
    assert answer(TWO, [[0.25, 0.0], [0.0, 0.375]]) == (None, 0.375, ())
    made = finished()
    made[2] *= 0.25
    assert taken(made) == (None, 0.1875, ())
    assert detections(()) == ()


def test_a_class_without_a_name_is_called_by_its_number() -> None:
    assert answer(TWO, [[0.75, 0.0], [0.0, 0.875]])[0] == "class 1"


def test_logits_get_a_sigmoid() -> None:
    _, score, _ = answer(TWO, [[0.0, -9.0], [-9.0, 9.0]], final=("ADD", "ADD"))
    assert score == pytest.approx(1 / (1 + math.exp(-9)), abs=1e-6)


def test_a_background_class_is_left_out() -> None:
    scores = [[0.9, 0.6, 0.0], [0.9, 0.0, 0.7]]
    label, score, _ = answer(TWO, scores, {"background": True}, labels=("cat", "dog"))
    assert label == "dog"
    assert score == pytest.approx(0.7)


def test_centres_become_corners() -> None:
    _, _, numbers = answer([[0.5, 0.5, 0.5, 0.25]], [[1.0]], {"boxes": "centres"})
    assert numbers[2:] == (0.25, 0.375, 0.75, 0.625)


def test_anchors_decode_as_tensorflows_detection_models_encode() -> None:
    options = {"anchors": [[0.5, 0.5, 0.25, 0.5]]}
    encoded = [[2.0, -1.0, 5 * math.log(2), 0.0]]
    _, _, numbers = answer(encoded, [[1.0]], options)
    centre_y, centre_x = 0.5 + 0.2 * 0.25, 0.5 - 0.1 * 0.5
    expected = (centre_y - 0.25, centre_x - 0.25, centre_y + 0.25, centre_x + 0.25)
    assert numbers[2:] == pytest.approx(expected, abs=1e-6)


def test_the_boxes_may_be_the_second_output() -> None:
    raw = [np.array([[[0.75, 0.0]]], np.float32), np.array([[TWO[0]]], np.float32)]
    outputs = Outputs((tensor(1, 1, 2), tensor(1, 1, 4)), ("LOGISTIC", "ADD"), (0, 0), (1,))
    assert build(OutputSpec("detection"), outputs)(raw, NONE)[1] == 0.75


def finished() -> list[npt.NDArray[np.float32]]:
    """What the operator of such a file gives: two objects, and what lies behind them."""
    return [
        np.array([[*TWO, [0, 0, 0, 0]]], np.float32),
        np.array([[1, 0, 0]], np.float32),
        np.array([[0.75, 0.625, 0.9375]], np.float32),
        np.array([2], np.float32),
    ]


def taken(made: list[npt.NDArray[np.float32]]) -> Answer:
    tensors = tuple(tensor(*r.shape) for r in made)
    outputs = Outputs(tensors, (DETECTION_OP,) * 4, (0, 1, 2, 3), (1,))
    return build(OutputSpec("detection"), outputs)(made, NONE)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_a_file_with_its_own_suppression_is_taken_as_it_is(order: tuple[int, ...]) -> None:
    """The file may list the operator's outputs in any order; the graph says which is which."""
    made = finished()
    raw = [made[i] for i in order]
    outputs = Outputs(tuple(tensor(*r.shape) for r in raw), (DETECTION_OP,) * 4, order, (1,))
    label, score, numbers = build(OutputSpec("detection", ("cat", "dog")), outputs)(raw, NONE)
    assert (label, score) == ("dog", 0.75)
    assert [d.label for d in detections(numbers, ("cat", "dog"))] == ["dog", "cat"]


@pytest.mark.parametrize("place", [(0, 0), (1, 1)])
def test_a_detector_that_gives_nan_found_nothing_and_says_so(place: tuple[int, int]) -> None:
    scores = [[0.75, 0.0], [0.0, 0.875]]
    scores[place[0]][place[1]] = math.nan
    label, score, numbers = answer(TWO, scores)
    assert (label, numbers) == (None, ())
    assert math.isnan(score)


def test_a_box_that_is_nowhere_is_no_object() -> None:
    label, score, numbers = answer([TWO[0], [math.nan, 0, 1, 1]], [[0.75, 0.0], [0.0, 0.875]])
    assert (label, numbers) == (None, ())
    assert math.isnan(score)


@pytest.mark.parametrize(
    ("role", "bad"),
    [(role, bad) for role in ("boxes", "classes", "scores") for bad in (math.nan, math.inf)],
)
def test_nan_from_a_files_own_suppression_is_said_and_never_raised(role: str, bad: float) -> None:
    made = finished()
    made[ROLES.index(role)].flat[0] = bad
    label, score, numbers = taken(made)
    assert (label, numbers) == (None, ())
    assert math.isnan(score)


@pytest.mark.parametrize("count", [math.nan, math.inf, -1, 1e9])
def test_a_count_that_cannot_be_leaves_the_scores_to_decide(count: float) -> None:
    made = finished()
    made[3][0] = count
    assert taken(made)[:2] == ("class 0", 0.9375)


def test_a_detection_says_where_and_what() -> None:
    row = (0.0, 0.5, 0.1, 0.2, 0.3, 0.4)
    assert detections(row, ("cat",)) == (Detection("cat", 0.5, 0.1, 0.2, 0.3, 0.4),)


@pytest.mark.parametrize(
    ("shapes", "options", "labels", "message"),
    [
        (((1, 2, 4),), None, (), r"boxes \(n, 4\) and scores"),
        (((1, 2, 4), (1, 3, 2)), None, (), r"boxes \(n, 4\) and scores"),
        (((1, 2, 4), (1, 2, 2)), None, ("a", "b", "c"), "3 labels but the model scores 2"),
        (((1, 2, 4), (1, 2, 2)), {"background": True}, ("a", "b"), "2 labels but .* 1 classes"),
        (((1, 2, 4), (1, 2, 2)), {"boxes": "corner"}, (), "did you mean 'corners'"),
        (((1, 2, 4), (1, 2, 2)), {"anchors": [[0, 0, 1, 1]]}, (), "the model has 2 boxes"),
        (((1, 2, 4), (1, 2, 2)), {"anchors": [["x"]]}, (), "not a list of boxes"),
        (((1, 2, 4), (1, 2, 2)), {"activation": "softmx"}, (), "did you mean 'softmax'"),
        (((1, 2, 4), (1, 2, 2)), {"io": 0.5}, (), "did you mean 'iou'"),
        (((1, 2, 4), (1, 2, 2)), {"iou": 1.5}, (), "an overlap is 0 to 1"),
        (((1, 2, 4), (1, 2, 2)), {"max_detections": 0}, (), "1 is the least"),
        (
            ((1, 2, 4), (1, 2, 2)),
            {"anchors": [[0, 0, 1, 1]] * 2, "scale": [1, 1, 0, 1]},
            (),
            "4 numbers above zero",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_found_while_loading(
    shapes: tuple[tuple[int, ...], ...],
    options: Mapping[str, Any] | None,
    labels: tuple[str, ...],
    message: str,
) -> None:
    final = ("ADD",) * len(shapes)
    outputs = Outputs(tuple(tensor(*s) for s in shapes), final, (0,) * len(shapes), (1,))
    with pytest.raises(ManifestError, match=message):
        build(OutputSpec("detection", labels, postprocess=options), outputs)
