"""Whether a file fits its target: the schemes it takes, and each operator with its layer's name."""

from edgeml.errors import ConfigError, ConversionError, nearest
from edgeml.runtime.graph import read_graph
from edgeml_converters.inspection import CASTS, operator_name, unpack_model
from edgeml_converters.targets.target import Target

_SHOWN = 5


def allowed_schemes(names: tuple[str, ...], target: Target, *, asked: bool) -> tuple[str, ...]:
    """Those of some schemes that the target takes.

    Args:
        names: the schemes.
        target: what the model is made for.
        asked: whether somebody asked for these very ones, so that leaving one out is an error.

    Raises:
        ConfigError: the target takes none of them.
    """
    fitting = tuple(name for name in names if name in target.schemes)
    if fitting and (len(fitting) == len(names) or not asked):
        return fitting
    wanted = ", ".join(name for name in names if name not in target.schemes)
    raise ConfigError(
        f"{target.title} runs {', '.join(target.schemes)}, not {wanted}"
        f"{nearest(wanted, target.schemes)}; choose another --scheme or --target"
    )


def misfits(tflite: bytes, target: Target) -> tuple[str, ...]:
    """The operators that the target does not run, each with the layer it computes.

    Returns:
        `OPERATOR of layer 'NAME'`, in order of execution.

    Raises:
        ConversionError: the file cannot be read.
    """
    if set(read_graph(tflite, target.name).operators) <= target.operators:
        return ()
    model = unpack_model(tflite)
    graph = model.subgraphs[0]
    found = []
    for operator in graph.operators:
        name = operator_name(model, operator)
        if name in target.operators or (name in CASTS and target.elsewhere):
            continue
        layer = graph.tensors[int(operator.outputs[0])].name
        found.append(f"{name} of layer {_text(layer)!r}")
    return tuple(found)


def check_fits(tflite: bytes, target: Target) -> tuple[str, ...]:
    """Warnings about a file on its target.

    Raises:
        ConversionError: an operator that the target does not run, nor leaves to a CPU.
    """
    found = misfits(tflite, target)
    if not found:
        return ()
    more = len(found) - _SHOWN
    listed = ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    if not target.elsewhere:
        raise ConversionError(
            f"{target.title} does not run {listed}; change those layers or choose another --target"
        )
    return (f"target: {listed} run {target.elsewhere}",)


def _text(name: bytes | str | None) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else (name or "")
