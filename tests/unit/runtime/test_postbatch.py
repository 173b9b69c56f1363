"""A batch's answers are those of its rows, whatever the numbers are."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeml.arrays import Floats
from edgeml.manifest import OutputSpec
from edgeml.runtime.outputs import Outputs
from edgeml.runtime.postbatch import build_many
from edgeml.runtime.postprocess import build
from tests.unit.runtime.test_postprocess import ABC, tensor

NUMBERS = st.floats(width=32) | st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf])
ROWS = arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(3)), elements=NUMBERS)
SPECS = {
    "classification": OutputSpec("classification", ABC),
    "a threshold": OutputSpec("classification", ABC, threshold=0.5),
    "a threshold that is no float32": OutputSpec("classification", ABC, threshold=0.7),
    "multilabel": OutputSpec("multilabel", ABC),
    "regression": OutputSpec("regression", postprocess={"scale": 2, "offset": -1}),
    "embedding": OutputSpec("embedding"),
    "unit length": OutputSpec("embedding", postprocess={"normalise": True}),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered")
@given(rows=ROWS)
@example(rows=np.array([[0.7, 0, 0], [0, 0.75, 0.7]], np.float32))
def test_a_batch_answers_as_its_rows(spec: OutputSpec, rows: Floats) -> None:
    outputs = Outputs((tensor(1, 3),), ("SOFTMAX",), (0,), (1,))
    x = np.zeros((len(rows), 1), np.float32)
    one = build(spec, outputs)
    singles = [one([rows[i : i + 1]], x[i]) for i in range(len(rows))]
    many = build_many(spec, outputs)([rows], x)
    assert repr(list(many)) == repr(singles), "repr, since NaN is not equal to itself"
    assert repr([many[i] for i in range(len(many))]) == repr(singles)
    assert many.labels() == [label for label, _, _ in singles]
    assert repr(many.scores().tolist()) == repr([score for _, score, _ in singles])
