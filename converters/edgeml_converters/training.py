"""What training scripts share when their result must be the same twice: seeds, splits, progress.

Nothing here is about one model. A model's own choices stay in its train.py.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml_converters.lite import tensorflow
from edgeml_converters.outcome import Conversion


def seeded(seed: int) -> Any:
    """Keras, with every source of chance seeded and every kernel deterministic.

    Returns:
        The `keras` module.
    """
    tf = tensorflow()
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return tf.keras


def stratified(
    labels: npt.NDArray[Any], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Split indices so that each class gives the same share.

    Args:
        labels: (n,), one a window.
        share: of each class that goes into the second part, 0 to 1.
        seed: of the shuffle.

    Returns:
        Two sorted index arrays that together hold each index once.
    """
    rng = np.random.default_rng(seed)
    held: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held.extend(int(i) for i in members[: round(share * len(members))])
    second = np.array(sorted(held), np.int64)
    return np.setdiff1d(np.arange(len(labels)), second), second


def fit(
    model: Any, x: npt.NDArray[Any], y: npt.NDArray[Any], epochs: int, batch: int, title: str
) -> None:
    """Train, with a line at every tenth of the epochs."""
    keras = tensorflow().keras
    every = max(1, epochs // 10)

    def report(epoch: int, logs: dict[str, float]) -> None:
        if (epoch + 1) % every == 0:
            say(f"{title}: epoch {epoch + 1} of {epochs}, loss {logs['loss']:.4f}")

    lines = keras.callbacks.LambdaCallback(on_epoch_end=report)
    model.fit(x, y, epochs=epochs, batch_size=batch, verbose=0, callbacks=[lines])


def say(line: str) -> None:
    """One line of progress on stderr."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def finish(conversion: Conversion, out: Path) -> None:
    """Write the bundle and say what was measured."""
    conversion.write(out)
    for warning in conversion.warnings:
        say(f"warning: {warning}")
    verdict = conversion.verdict
    say(
        f"{out.name}: {conversion.metric} {verdict.score_float:.4f} float, {verdict.score:.4f} "
        f"{conversion.chosen.scheme}; {len(conversion.tflite)} bytes of model, "
        f"{len(conversion.bundle)} of bundle"
    )
