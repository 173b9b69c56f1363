"""What a .tflite file says of itself: its operators, and what computes its outputs.

Read from the file's own tables, without an interpreter, so `edgeml inspect`
works on any machine and on files that nobody trusts. Field numbers are those of
TFLite's schema.fbs.
"""

from typing import Final, NamedTuple

from edgeml.errors import BundleError
from edgeml.flatbuffer import Buffer, Table
from edgeml.runtime.extents import check_extents

TENSOR_TYPES: Final = (
    *("float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64"),
    *("int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4"),
    *("bfloat16", "int2", "uint4", "float8_e4m3fn", "float8_e5m2"),
)

CUSTOM: Final = 32
"""The number of what is no builtin: the file carries the operator's name."""

_NAMES: Final = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6
RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL
CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST
PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN
TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL
BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD
UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM
STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM
STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS
STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG
STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER
STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER
STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE
STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT
STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR
REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
"""

BUILTIN_OPERATORS: Final = tuple(_NAMES.split())
"""TFLite's builtin operators: names by their number in schema.fbs, `BuiltinOperator`."""

MOVERS: Final = frozenset({"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST"})
"""Operators that change how numbers are held and not what they say."""

DETECTION_OP: Final = "TFLite_Detection_PostProcess"
"""The custom operator that ends a detection model which suppresses by itself."""

STATEFUL_OPS: Final = frozenset({"VAR_HANDLE", "ASSIGN_VARIABLE", "READ_VARIABLE"})

_MODEL_CODES, _MODEL_SUBGRAPHS, _MODEL_DESCRIPTION = 1, 2, 3
_CODE_OLD, _CODE_CUSTOM, _CODE_NEW = 0, 1, 3
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 1, 2, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_VARIABLE = 0, 1, 3, 5


class GraphTensor(NamedTuple):
    """An input or an output as the file declares it."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Graph(NamedTuple):
    """A model's main graph.

    Attributes:
        description: what made the file, as it says itself.
        operators: the name of each, in order of execution.
        inputs: as declared.
        outputs: as declared.
        final_ops: for each output the operator that computes it, behind those
            that only move numbers; "" where it is an input or a constant.
        final_slots: for each output, which of that operator's outputs it is.
        variables: whether tensors keep what they hold from one run to the next, as an
            LSTM's state does.
        streams: whether that is meant to run on across windows, as SVDF is made for.
        state: whether operators keep a state of their own across runs.
    """

    description: str
    operators: tuple[str, ...]
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    final_ops: tuple[str, ...]
    final_slots: tuple[int, ...]
    variables: bool
    streams: bool
    state: bool

    @property
    def op_names(self) -> tuple[str, ...]:
        """The distinct operators, sorted: what `requires.ops` of a manifest lists."""
        return tuple(sorted(set(self.operators)))


def read_graph(tflite: bytes, where: str = "model") -> Graph:
    """Read a model's main graph.

    Args:
        tflite: the file, with or without a zip behind it.
        where: its name, for error messages.

    Raises:
        BundleError: not a TFLite file, or a damaged one.
    """
    if tflite[4:8] != b"TFL3":
        raise BundleError(f"{where}: not a TFLite file (bytes 4 to 8 should be 'TFL3')")
    model = Buffer(tflite, where).root()
    names = [_operator_name(code) for code in model.tables(_MODEL_CODES)]
    subgraphs = model.tables(_MODEL_SUBGRAPHS)
    if not subgraphs:
        raise BundleError(f"{where}: the model has no graph")
    main = subgraphs[0]
    check_extents(model, subgraphs, len(names), where)
    tensors = main.tables(_GRAPH_TENSORS)
    steps = []
    for operator in main.tables(_GRAPH_OPERATORS):
        name = names[operator.number(_OPERATOR_CODE, "I")]
        inputs = operator.integers(_OPERATOR_INPUTS)
        steps.append((name, inputs, operator.integers(_OPERATOR_OUTPUTS)))
    outputs = main.integers(_GRAPH_OUTPUTS)
    operators = tuple(name for name, _, _ in steps)
    final = _final_ops(steps, outputs)
    return Graph(
        description=model.text(_MODEL_DESCRIPTION),
        operators=operators,
        inputs=_described(tensors, main.integers(_GRAPH_INPUTS)),
        outputs=_described(tensors, outputs),
        final_ops=tuple(name for name, _ in final),
        final_slots=tuple(slot for _, slot in final),
        variables=any(tensor.number(_TENSOR_VARIABLE, "B") for tensor in tensors),
        streams="SVDF" in operators,
        state=not STATEFUL_OPS.isdisjoint(operators),
    )


def _operator_name(code: Table) -> str:
    # The number outgrew its byte: files carry both, and the larger one is right.
    number = max(code.number(_CODE_OLD, "b"), code.number(_CODE_NEW, "i"))
    if number == CUSTOM:
        return code.text(_CODE_CUSTOM) or "CUSTOM"
    if 0 <= number < len(BUILTIN_OPERATORS):
        return BUILTIN_OPERATORS[number]
    return f"BUILTIN_{number}"


def _described(tensors: list[Table], indices: tuple[int, ...]) -> tuple[GraphTensor, ...]:
    described = []
    for index in indices:
        tensor = tensors[index]
        kind = tensor.number(_TENSOR_TYPE, "b")
        dtype = TENSOR_TYPES[kind] if 0 <= kind < len(TENSOR_TYPES) else f"type {kind}"
        described.append(
            GraphTensor(tensor.text(_TENSOR_NAME), tensor.integers(_TENSOR_SHAPE), dtype)
        )
    return tuple(described)


def _final_ops(
    steps: list[tuple[str, tuple[int, ...], tuple[int, ...]]], outputs: tuple[int, ...]
) -> list[tuple[str, int]]:
    made_by = {
        tensor: (name, inputs, slot)
        for name, inputs, made in steps
        for slot, tensor in enumerate(made)
    }
    final = []
    for tensor in outputs:
        name, inputs, slot = made_by.get(tensor, ("", (), 0))
        seen = set()
        while name in MOVERS and inputs and tensor not in seen:
            seen.add(tensor)
            tensor = inputs[0]
            name, inputs, slot = made_by.get(tensor, ("", (), 0))
        final.append((name, slot))
    return final
