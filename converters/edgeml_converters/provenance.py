"""What went into a conversion, in a form that can be checked later: digests and versions."""

import hashlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from edgeml_converters.analysis import Provenance
from edgeml_converters.samples import Samples

DISTRIBUTIONS: Final = (
    *("edgeml", "edgeml-converters", "tensorflow", "ai-edge-litert", "ai-edge-quantizer"),
    *("numpy", "keras", "tf_keras"),
)
_CHUNK: Final = 1 << 20


def provenance(
    source: object,
    framework: str,
    calibration: Samples,
    evaluation: Samples,
    options: Mapping[str, Any],
    created: str,
) -> Provenance:
    """Put together what went in.

    Args:
        source: as it was given.
        framework: as the opened model says.
        calibration: the windows that ranges were measured on.
        evaluation: the windows that were judged on.
        options: with defaults filled in.
        created: what the manifest says.
    """
    is_path = isinstance(source, (str, os.PathLike))
    return Provenance(
        source=Path(str(source)).name if is_path else type(source).__name__,
        source_digest=digest_of(Path(str(source))) if is_path else None,
        framework=framework,
        calibration_digest=calibration.digest(),
        calibration_windows=len(calibration),
        evaluation_digest=evaluation.digest(),
        evaluation_windows=len(evaluation),
        labelled=evaluation.labels is not None,
        versions=_versions(),
        options=dict(options),
        created=created,
    )


def digest_of(path: Path) -> str:
    """SHA-256 in hex: of a file, or of a folder's files with their names, in order."""
    state = hashlib.sha256()
    if path.is_file():
        _add(path, state)
        return state.hexdigest()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        state.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        _add(file, state)
    return state.hexdigest()


def _add(path: Path, state: Any) -> None:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)


def _versions() -> dict[str, str]:
    installed = {name: _version(name) for name in DISTRIBUTIONS}
    known = {name: number for name, number in installed.items() if number is not None}
    return {"python": platform.python_version(), **known}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
