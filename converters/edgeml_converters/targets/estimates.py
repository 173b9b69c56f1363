"""What a model costs on its target, as whatever knows it best says."""

from collections.abc import Mapping

from edgeml_converters.targets.armlab import count_on_core
from edgeml_converters.targets.coral import rules_of_edge_tpu
from edgeml_converters.targets.target import ArmCore, Estimate, EthosU, Target
from edgeml_converters.targets.vela import ask_vela


def estimate(target: Target, files: Mapping[str, bytes]) -> Mapping[str, Estimate]:
    """The cost of each of some files on the target.

    Where nothing can be said (no emulated core, no Vela), an estimate without
    figures says why and what would change that.

    Args:
        target: the machine.
        files: TFLite files by name.
    """
    if isinstance(target.cost, ArmCore):
        return count_on_core(target, target.cost, files)
    if isinstance(target.cost, EthosU):
        cost = target.cost
        return {name: ask_vela(target, cost, tflite) for name, tflite in files.items()}
    return {name: rules_of_edge_tpu(target, target.cost, file) for name, file in files.items()}
