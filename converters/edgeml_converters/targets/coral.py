"""What can be said of a Coral Edge TPU without its compiler, which is closed.

The rules are those of Coral's page "TensorFlow models on the Edge TPU": int8
throughout, fixed shapes, and one stretch of supported operators from the start;
from the first other operator on, everything runs on the CPU.
"""

from edgeml.runtime.graph import read_graph
from edgeml_converters.inspection import CASTS, read_weights
from edgeml_converters.targets.target import EdgeTpu, Estimate, Target

COMMAND = "edgetpu_compiler --show_operations OUT.tflite"


def rules_of_edge_tpu(target: Target, cost: EdgeTpu, tflite: bytes) -> Estimate:
    """Which operators the compiler's rules place on the accelerator, and whether weights fit."""
    operators = [name for name in read_graph(tflite, target.name).operators if name not in CASTS]
    placed = next(
        (i for i, name in enumerate(operators) if name not in target.operators), len(operators)
    )
    weights = read_weights(tflite).total
    remarks = ["one byte a weight; the compiler's own tables come on top"]
    if weights > cost.parameter_bytes:
        remarks.append(
            f"{weights:,} bytes of weights exceed the {cost.parameter_bytes:,} on the chip: the "
            "rest is streamed over USB or PCIe at each inference"
        )
    return Estimate(
        target.name,
        "the published rules of the Edge TPU compiler, which is closed",
        {
            "operators": len(operators),
            "operators_on_tpu": placed,
            "weights_bytes": weights,
        },
        tuple(remarks),
        COMMAND,
    )
