"""Steps that change each element by itself: scale, standardise, clip.

They compute in float32 with one rounding an operation, in a fixed order, and
never a fused multiply-add: the same bits on x86-64, arm64 and armv7l, and so
the same int8 values after the model quantises its input.
"""

import numpy as np

from edgeml.arrays import Wide
from edgeml.errors import PreprocessError
from edgeml.jsonread import Fields
from edgeml.preprocess.params import constant, operand, varies_in_time
from edgeml.preprocess.stage import Array, Run, Signal, Stage


def scale(fields: Fields, given: Signal) -> Stage:
    """Gives x * factor + offset; either may be left out."""
    factor = constant(fields, "factor", given, default=1.0)
    offset = constant(fields, "offset", given, default=0.0)
    by, add = operand(factor, given), operand(offset, given)
    local = not (varies_in_time(factor, given) or varies_in_time(offset, given))
    if not add.any():

        def run(x: Array, out: Array | None) -> Array:
            y: Array = np.multiply(x, by, out)
            return y

    else:

        def run(x: Array, out: Array | None) -> Array:
            y: Array = np.multiply(x, by, out)
            y += add
            return y

    return Stage(given, run, local=local)


def standardize(fields: Fields, given: Signal) -> Stage:
    """Gives (x - mean) * (1 / std), where 1 / std is rounded to float32 once, when compiled.

    Small ARM cores multiply several floats at a time and divide them one by one;
    the product is within 1.5 units in the last place of the quotient.
    """
    mean = constant(fields, "mean", given)
    std = constant(fields, "std", given)
    subtract = operand(mean, given)
    by = operand(_reciprocal(fields, std), given)

    def run(x: Array, out: Array | None) -> Array:
        y: Array = np.subtract(x, subtract, out)
        y *= by
        return y

    return Stage(given, run, local=not (varies_in_time(mean, given) or varies_in_time(std, given)))


def _reciprocal(fields: Fields, std: Wide) -> Wide:
    if not np.all(std > 0):
        raise PreprocessError(
            f"{fields.path}.std holds a value that is not above zero; a channel that never "
            "changes tells the model nothing: leave it out with select, or use 1"
        )
    with np.errstate(over="ignore"):
        by = (1.0 / std).astype(np.float32)
    if not np.all(np.isfinite(by)):
        raise PreprocessError(f"{fields.path}.std holds a value so small that 1 / std overflows")
    return by.astype(np.float64)


def clip(fields: Fields, given: Signal) -> Stage:
    """The nearest value between `low` and `high`; either may be left out, not both."""
    low = None if fields.value("low") is None else constant(fields, "low", given)
    high = None if fields.value("high") is None else constant(fields, "high", given)
    if low is not None and high is not None and np.any(low > high):
        raise PreprocessError(f"{fields.path}.low is above {fields.path}.high")
    local = not any(varies_in_time(bound, given) for bound in (low, high) if bound is not None)
    return Stage(given, _clip(fields, given, low, high), local=local)


def _clip(fields: Fields, given: Signal, low: Wide | None, high: Wide | None) -> Run:
    if low is not None and high is not None:
        floor, ceiling = operand(low, given), operand(high, given)

        def both(x: Array, out: Array | None) -> Array:
            y: Array = np.maximum(x, floor, out=out)
            np.minimum(y, ceiling, out=y)
            return y

        return both
    if low is not None:
        floor = operand(low, given)
        return lambda x, out: np.maximum(x, floor, out=out)
    if high is not None:
        ceiling = operand(high, given)
        return lambda x, out: np.minimum(x, ceiling, out=out)
    raise PreprocessError(f"{fields.path} needs low, high or both")
