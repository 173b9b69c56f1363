"""The windows that devices sent home, as one file to look at, to label and to train with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.errors import ConfigError, StoreError
from edgeml.npy import read_npy


def export_samples(rows: Iterator[Mapping[str, Any]], output: Path) -> int:
    """Write windows to an `.npz` that `edgeml convert --calibration` and any training reads.

    Beside `windows` it has `predicted` (what the model said, "" where it says none; whoever looks
    at the windows adds the true `labels`), `scores`, `reasons`, `devices`, `models`
    (`name@version`), `seqs` and `start_s`.

    Returns:
        How many windows were written.

    Raises:
        ConfigError: the name does not end in `.npz`, there is no sample, or windows of several
            shapes are among them.
        StoreError: the file cannot be written.
    """
    if output.suffix.lower() != ".npz":
        raise ConfigError(f"{output}: windows go into a file whose name ends in .npz")
    kept = [dict(row) for row in rows]
    if not kept:
        raise ConfigError("there is no sample here; a device sends them with samples=Samples(…)")
    windows = [read_npy(row["npy"]) for row in kept]
    kinds = {(row["model"], window.shape) for row, window in zip(kept, windows, strict=True)}
    if len({shape for _, shape in kinds}) > 1:
        said = ", ".join(f"{model} {list(shape)}" for model, shape in sorted(kinds))
        raise ConfigError(f"windows of several shapes do not fit one file ({said}); use --model")
    arrays: dict[str, Any] = {
        "windows": np.stack(windows),
        "predicted": np.array([row["label"] or "" for row in kept]),
        "scores": np.array([np.nan if row["score"] is None else row["score"] for row in kept]),
        "reasons": np.array([row["reason"] for row in kept]),
        "devices": np.array([row["device"] for row in kept]),
        "models": np.array([f"{row['model']}@{row['model_version']}" for row in kept]),
        "seqs": np.array([row["seq"] for row in kept]),
        "start_s": np.array([row["start_s"] for row in kept]),
    }
    try:
        with output.open("wb") as file:
            np.savez_compressed(file, **arrays)
    except OSError as exc:
        raise StoreError(f"{output}: cannot be written: {exc}") from exc
    return len(kept)
