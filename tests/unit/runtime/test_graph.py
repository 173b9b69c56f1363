"""What a file says of itself is read without an interpreter, and no file breaks the reader."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.errors import BundleError
from edgeml.flatbuffer import MAX_ELEMENTS
from edgeml.runtime.graph import BUILTIN_OPERATORS, CUSTOM, read_graph

FIXTURES = Path(__file__).parents[2] / "fixtures"
MODELS = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.tflite"))}


def test_the_classifiers_operators_come_in_order() -> None:
    graph = read_graph(MODELS["classifier_int8"])
    assert graph.operators == ("RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX")
    assert graph.op_names == ("FULLY_CONNECTED", "RESHAPE", "SOFTMAX")
    assert [(t.shape, t.dtype) for t in graph.inputs] == [((1, 20, 3), "int8")]
    assert [(t.shape, t.dtype) for t in graph.outputs] == [((1, 4), "int8")]


@pytest.mark.parametrize(
    ("model", "final"),
    [
        ("classifier_float", "SOFTMAX"),
        ("classifier_float_io", "SOFTMAX"),  # a DEQUANTIZE follows it
        ("classifier_uint8", "SOFTMAX"),  # a QUANTIZE follows it
        ("sigmoid_float", "LOGISTIC"),
        ("logits_float", "FULLY_CONNECTED"),
        ("identity_float", ""),
    ],
)
def test_the_final_operator_is_found_behind_those_that_only_move_numbers(
    model: str, final: str
) -> None:
    assert read_graph(MODELS[model]).final_ops == (final,)


def test_state_is_seen_in_variables_and_in_operators() -> None:
    svdf, counter = read_graph(MODELS["variable_float"]), read_graph(MODELS["counter_float"])
    assert (svdf.variables, svdf.streams, svdf.state) == (True, True, False)
    assert (counter.variables, counter.streams, counter.state) == (False, False, True)
    plain = read_graph(MODELS["classifier_int8"])
    assert (plain.variables, plain.streams, plain.state) == (False, False, False)


def test_the_operator_table_has_the_schemas_numbers() -> None:
    assert BUILTIN_OPERATORS[CUSTOM] == "CUSTOM"
    assert BUILTIN_OPERATORS[9] == "FULLY_CONNECTED"
    assert BUILTIN_OPERATORS[114] == "QUANTIZE"
    assert BUILTIN_OPERATORS[127] == "PLACEHOLDER_FOR_GREATER_OP_CODES"
    assert len(set(BUILTIN_OPERATORS)) == len(BUILTIN_OPERATORS)


@pytest.mark.workstation
def test_the_operator_table_is_that_of_the_interpreter() -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    known = {k: v for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    assert {name: BUILTIN_OPERATORS.index(name) for name in known} == known


@pytest.mark.parametrize("model", MODELS)
def test_a_file_cut_short_anywhere_is_refused(model: str) -> None:
    good = MODELS[model]
    for length in range(0, len(good) - 4, max(1, len(good) // 200)):
        with pytest.raises(BundleError):
            read_graph(good[:length])


@settings(max_examples=300)
@given(data=st.data())
def test_a_mutated_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    mutated = bytearray(MODELS[data.draw(st.sampled_from(sorted(MODELS)))])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(8, len(mutated) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    try:
        graph = read_graph(bytes(mutated))
    except BundleError:
        return
    assert len(graph.operators) <= MAX_ELEMENTS


@given(st.binary(max_size=400))
def test_arbitrary_bytes_behind_the_magic_are_read_or_refused(tail: bytes) -> None:
    with contextlib.suppress(BundleError):
        assert read_graph(tail[:4].ljust(4, b"\0") + b"TFL3" + tail).operators is not None


def test_another_format_is_named() -> None:
    with pytest.raises(BundleError, match="should be 'TFL3'"):
        read_graph(b"\x08\x00\x00\x00ONNX" + bytes(64))
