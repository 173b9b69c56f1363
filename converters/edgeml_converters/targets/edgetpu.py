"""Coral Edge TPU: int8 throughout, and the operators that its compiler's page lists.

The list is that of "TensorFlow models on the Edge TPU", section "Supported
operations", in Coral's documentation.
"""

from typing import Final

from edgeml_converters.targets.target import EdgeTpu, Target

OPERATORS: Final = frozenset(
    {
        *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D"),
        *("EXPAND_DIMS", "FULLY_CONNECTED", "L2_NORMALIZATION", "LOGISTIC", "LSTM"),
        *("MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PACK", "PAD", "PRELU"),
        *("QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1"),
        *("RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE"),
        *("SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUARED_DIFFERENCE", "SQUEEZE"),
        *("STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV"),
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    }
)

TARGET: Final = Target(
    "edgetpu",
    "Coral Edge TPU",
    ("int8",),
    EdgeTpu(parameter_bytes=8 << 20),
    operators=OPERATORS,
    elsewhere="on the CPU, and so does everything after it",
)
