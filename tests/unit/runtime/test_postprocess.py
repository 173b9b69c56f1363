"""From outputs to answers, task by task: labels, thresholds, activations, and what does not fit."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import ManifestError
from edgeml.manifest import OutputSpec
from edgeml.runtime.outputs import TABLE_LIMIT, Answer, Outputs, number_decoder
from edgeml.runtime.postprocess import active_labels, build, sigmoid, softmax, top_k
from edgeml.runtime.tensors import TensorSpec, dequantise

ABC = ("a", "b", "c")


def tensor(
    *shape: int, dtype: str = "float32", scale: float | None = None, zero: int = 0
) -> TensorSpec:
    scales = [] if scale is None else [scale]
    return TensorSpec(
        0,
        "y",
        shape,
        (),
        np.dtype(dtype),
        np.array(scales, np.float32),
        np.array([zero] * len(scales), np.int32),
        0,
    )


def answer(  # one call of a freshly built function
    spec: OutputSpec,
    values: npt.ArrayLike,
    final_op: str = "SOFTMAX",
    window: npt.ArrayLike = (0.0,),
) -> Answer:
    raw = np.asarray(values, np.float32)[np.newaxis]
    x = np.asarray(window, np.float32)
    outputs = Outputs((tensor(*raw.shape),), (final_op,), (0,), x.shape)
    return build(spec, outputs)([raw], x)


def classes(threshold: float | None = None, options: Mapping[str, Any] | None = None) -> OutputSpec:
    return OutputSpec("classification", ABC, threshold, postprocess=options)


def test_the_largest_output_names_the_label() -> None:
    label, score, numbers = answer(classes(), [0.25, 0.5, 0.25])
    assert (label, score, numbers) == ("b", 0.5, (0.25, 0.5, 0.25))


def test_of_equal_scores_the_first_label_wins() -> None:
    assert answer(classes(), [0.25, 0.375, 0.375])[0] == "b"


def test_a_score_below_the_threshold_names_no_label() -> None:
    assert answer(classes(0.6), [0.25, 0.5, 0.25])[:2] == (None, 0.5)
    assert answer(classes(0.5), [0.25, 0.5, 0.25])[:2] == ("b", 0.5)


def test_logits_get_a_softmax_and_probabilities_do_not() -> None:
    logits = [1.0, 3.0, 2.0]
    _, _, numbers = answer(classes(), logits, "FULLY_CONNECTED")
    assert sum(numbers) == pytest.approx(1, abs=1e-6)
    assert answer(classes(), [0.2, 0.7, 0.1], "SOFTMAX")[2] == pytest.approx((0.2, 0.7, 0.1))
    assert answer(classes(), [0.2, 0.7, 0.1], "LOGISTIC")[2] == pytest.approx((0.2, 0.7, 0.1))


def test_the_manifest_overrules_the_guess() -> None:
    assert answer(classes(options={"activation": "none"}), [1, 3, 2], "MEAN")[2] == (1, 3, 2)
    numbers = answer(classes(options={"activation": "sigmoid"}), [0, 0, 0], "MEAN")[2]
    assert numbers == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("where", [0, 1, 2])
def test_a_model_that_gives_nan_names_no_label(where: int) -> None:
    values = [0.25, 0.5, 0.25]
    values[where] = math.nan
    label, score, _ = answer(classes(), values)
    assert label is None
    assert math.isnan(score)


def test_one_probability_and_two_labels_make_a_choice_of_two() -> None:
    spec = OutputSpec("classification", ("off", "on"))
    assert answer(spec, [0.75], "LOGISTIC") == ("on", 0.75, (0.25, 0.75))
    assert answer(spec, [0.25], "LOGISTIC") == ("off", 0.75, (0.75, 0.25))
    assert answer(spec, [0.0], "FULLY_CONNECTED") == ("on", 0.5, (0.5, 0.5))


def test_multilabel_keeps_every_label_that_reaches_the_threshold() -> None:
    spec = OutputSpec("multilabel", ABC, 0.5)
    label, score, numbers = answer(spec, [0.75, 0.25, 0.5], "LOGISTIC")
    assert (label, score) == ("a", 0.75)
    assert active_labels(numbers, ABC, 0.5) == ("a", "c")
    assert answer(spec, [0.25, 0.25, 0.25], "LOGISTIC")[0] is None


def test_multilabel_logits_get_a_sigmoid() -> None:
    numbers = answer(OutputSpec("multilabel", ABC), [0, 100, -100], "FULLY_CONNECTED")[2]
    assert numbers == pytest.approx((0.5, 1, 0))


def test_a_regression_is_scaled_to_its_unit() -> None:
    spec = OutputSpec("regression", unit="degC", postprocess={"scale": 10, "offset": -5})
    assert answer(spec, [2.5], "FULLY_CONNECTED") == (None, 20.0, (20.0,))


def test_an_embedding_is_its_vector_and_its_length() -> None:
    assert answer(OutputSpec("embedding"), [3, 4], "") == (None, 5.0, (3.0, 4.0))
    unit = OutputSpec("embedding", postprocess={"normalise": True})
    assert answer(unit, [3, 4], "")[2] == pytest.approx((0.6, 0.8))
    assert answer(unit, [0, 0], "")[2] == (0, 0)


def test_an_anomaly_is_what_an_autoencoder_cannot_reproduce() -> None:
    spec = OutputSpec("anomaly", threshold=1.0)
    assert answer(spec, [1, 2, 3, 4], "", [1, 2, 3, 4]) == ("normal", 0.0, (0.0,))
    assert answer(spec, [1, 2, 3, 4], "", [1, 2, 3, 8]) == ("anomaly", 4.0, (4.0,))
    assert (
        answer(spec, [1, 2, 3, 4], "", [1, 2, 3, 6])[0] == "normal"
    )  # at the threshold, not above


@pytest.mark.parametrize(
    ("values", "options"),
    [([math.nan, 2], None), ([math.nan], None), ([math.nan, 0], {"centres": [[0, 0]]})],
    ids=["reconstruction", "output", "distance"],
)
def test_an_anomaly_model_that_gives_nan_has_not_found_all_to_be_normal(
    values: list[float], options: Mapping[str, Any] | None
) -> None:
    spec = OutputSpec("anomaly", threshold=1.0, postprocess=options)
    label, score, _ = answer(spec, values, "", [1, 2])
    assert label is None
    assert math.isnan(score)


def test_an_anomaly_may_be_the_models_one_number() -> None:
    assert answer(OutputSpec("anomaly", threshold=0.5), [0.75], "", [1, 2])[:2] == ("anomaly", 0.75)


def test_an_anomaly_may_be_the_distance_to_the_nearest_centre() -> None:
    options = {"centres": [[0, 0], [10, 10]]}
    spec = OutputSpec("anomaly", threshold=4.0, postprocess=options)
    assert answer(spec, [3, 4], "", [0.0] * 5)[:2] == ("anomaly", 5.0)
    assert answer(spec, [10, 13], "", [0.0] * 5)[:2] == ("normal", 3.0)
    spread = OutputSpec("anomaly", threshold=4.0, postprocess={**options, "spread": [1, 4]})
    assert answer(spread, [0, 8], "", [0.0] * 5)[1] == 2.0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (OutputSpec("classification", ("a", "b")), "2 labels but the model's output has 3"),
        (OutputSpec("multilabel", ("a",)), "1 labels but"),
        (OutputSpec("regression", ("a", "b")), "2 labels but"),
        (classes(options={"activation": "softmx"}), "did you mean 'softmax'"),
        (classes(options={"activatoin": "none"}), "did you mean 'activation'"),
        (OutputSpec("regression", postprocess={"scale": "x"}), "should be a number"),
        (OutputSpec("anomaly", threshold=1.0), "'reconstruction' needs an output as large"),
        (OutputSpec("anomaly", threshold=1.0, postprocess={"score": "output"}), "one number"),
        (OutputSpec("anomaly", threshold=1.0, postprocess={"score": "distanse"}), "did you mean"),
        (OutputSpec("anomaly", threshold=1.0, postprocess={"centres": [[1]]}), "vectors of 3"),
        (OutputSpec("anomaly", threshold=1.0, postprocess={"centres": [["x"]]}), "not a list"),
        (
            OutputSpec("anomaly", threshold=1.0, postprocess={"centres": [[1, 2, math.inf]]}),
            "centres finite",
        ),
        (
            OutputSpec(
                "anomaly", threshold=1.0, postprocess={"centres": [[1, 2, 3]], "spread": [1, 0, 1]}
            ),
            "above zero",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_found_while_loading(spec: OutputSpec, message: str) -> None:
    outputs = Outputs((tensor(1, 3),), ("FULLY_CONNECTED",), (0,), (5,))
    with pytest.raises(ManifestError, match=message):
        build(spec, outputs)


@given(st.lists(st.floats(-80, 80, width=32, allow_subnormal=False), min_size=1, max_size=20))
def test_softmax_is_positive_and_sums_to_one_whatever_the_logits(logits: list[float]) -> None:
    p = softmax(np.array(logits, np.float32))
    exact = np.exp(np.array(logits) - max(logits))
    assert (p >= 0).all()
    assert np.allclose(p, exact / exact.sum(), atol=1e-6)


@given(st.floats(-1000, 1000, width=32, allow_subnormal=False))
def test_sigmoid_does_not_overflow_and_is_right(x: float) -> None:
    assert sigmoid(np.array([x], np.float32))[0] == pytest.approx(
        1 / (1 + math.exp(min(700, -x))), abs=1e-6
    )


def test_top_k_orders_by_score_and_then_by_position() -> None:
    assert top_k((0.1, 0.4, 0.4, 0.1), "abcd", 3) == (("b", 0.4), ("c", 0.4), ("a", 0.1))
    assert top_k((0.5,), ("a",), 5) == (("a", 0.5),)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("size", [1, TABLE_LIMIT, TABLE_LIMIT + 1])
def test_numbers_by_table_are_those_by_arithmetic(dtype: str, size: int) -> None:
    limits = np.iinfo(dtype)
    spec = tensor(1, size, dtype=dtype, scale=0.0173, zero=7)
    q = np.linspace(limits.min, limits.max, size).astype(dtype)[np.newaxis]
    assert number_decoder(spec)(q) == tuple(dequantise(q, spec)[0].tolist())
