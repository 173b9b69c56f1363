"""How far a window is from normal: what an autoencoder misses, or a distance to what is known.

Three ways to a score, chosen by `outputs.postprocess.score` or else by the
model's shape: "reconstruction" is the mean squared difference between the
preprocessed window and the model's output of the same size; "output" is the
model's one number; "distance" is the Euclidean distance of the model's vector
to the nearest of `centres`, each axis divided by `spread` where given (with the
standard deviations, that is the Mahalanobis distance of uncorrelated axes). A result's
`outputs` hold the score alone.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from edgeml.arrays import Array, Floats
from edgeml.errors import ManifestError, nearest
from edgeml.jsonread import Fields
from edgeml.manifest import OutputSpec
from edgeml.runtime.outputs import Answer, Outputs, Postprocess, joined_decoder

KINDS: Final = ("reconstruction", "output", "distance")
ANOMALY: Final = "anomaly"
NORMAL: Final = "normal"


def anomaly(spec: OutputSpec, outputs: Outputs, options: Fields) -> Postprocess:
    """The function that scores a window; see the module.

    Raises:
        ManifestError: an unknown way, or one that the model's shape does not allow.
    """
    size = sum(tensor.size for tensor in outputs.tensors)
    kind = options.optional_text("score") or _kind(options, size)
    threshold = np.inf if spec.threshold is None else spec.threshold
    values = joined_decoder(outputs.tensors)

    def answer(score: float) -> Answer:
        if score != score:  # a model that gives NaN has not found all to be well
            return None, score, (score,)
        return (ANOMALY if score > threshold else NORMAL), score, (score,)

    if kind == "reconstruction":
        if size != outputs.input_size:
            raise ManifestError(
                f"outputs.postprocess.score 'reconstruction' needs an output as large as the "
                f"preprocessed window ({outputs.input_size} values); the model gives {size}"
            )
        return lambda raw, x: answer(_mean_square(values(raw), x))
    if kind == "output":
        if size != 1:
            raise ManifestError(
                f"outputs.postprocess.score 'output' needs a model with one number; it gives {size}"
            )

        def scalar(raw: Sequence[Array], _: Floats) -> Answer:
            return answer(float(values(raw)[0]))

        return scalar
    if kind == "distance":
        centres, spread = _centres(options, size)

        def distance(raw: Sequence[Array], _: Floats) -> Answer:
            away = (centres - values(raw)) / spread
            # Not numpy's square root: on 32-bit ARM its last bit is the vector unit's guess.
            return answer(math.sqrt(float(np.min(np.sum(away * away, axis=1)))))

        return distance
    raise ManifestError(
        f"outputs.postprocess.score {kind!r} is none of {', '.join(KINDS)}{nearest(kind, KINDS)}"
    )


def _kind(options: Fields, size: int) -> str:
    if "centres" in options.raw:
        return "distance"
    if size == 1:
        return "output"
    return "reconstruction"


def _mean_square(y: Floats, x: Floats) -> float:
    away = y - x.ravel()
    return float(np.add.reduce(np.multiply(away, away, away))) / away.size


def _centres(options: Fields, size: int) -> tuple[Floats, Floats]:
    rows = options.items("centres")
    try:
        centres = np.array(rows, np.float32)
    except (ValueError, TypeError) as exc:
        raise ManifestError(
            f"outputs.postprocess.centres is not a list of vectors ({exc})"
        ) from exc
    if centres.ndim != 2 or centres.shape[1] != size or not len(centres):
        raise ManifestError(
            f"outputs.postprocess.centres has the shape {list(centres.shape)}; the model gives "
            f"vectors of {size}"
        )
    spread = np.array(options.numbers("spread") or [1.0] * size, np.float32)
    if spread.shape != (size,) or not (spread > 0).all() or not np.isfinite(centres).all():
        raise ManifestError(
            f"outputs.postprocess.spread should be {size} numbers above zero, and centres finite"
        )
    return centres, spread
