"""Reads a skops file: checks what it would unpack to, names what it would import, then loads.

skops builds only what is on its list of trusted types; those that the compiled
estimators need beyond it are on ours. Nothing of the file is executed.
"""

import math
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.sources.float_model import first_line

SCHEMA: Final = "schema.json"
MAX_SCHEMA_BYTES: Final = 64 << 20
MAX_MEMBERS: Final = 200_000
MAX_UNPACKED_BYTES: Final = 2 << 30
MAX_RATIO: Final = 200
SMALL_BYTES: Final = 64 << 20

TRUSTED: Final = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.feature_selection._univariate_selection.chi2",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
)
"""Types of scikit-learn that hold numbers alone, and functions that a selector keeps by name."""


def load(path: Path) -> Any:
    """The object in a skops file.

    Raises:
        ConversionError: damaged, too large when unpacked, or of types that are not trusted.
        MissingDependencyError: skops is not installed.
    """
    try:
        import skops.io
    except ImportError as exc:
        raise MissingDependencyError(
            f"skops cannot be imported ({exc}); install it with: "
            "pip install 'edgeml-converters[sklearn]'"
        ) from exc
    check(path)
    try:
        unknown = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
        if unknown:
            raise ConversionError(
                f"{path}: it holds {', '.join(sorted(unknown)[:5])}, which is not trusted to load; "
                "save a pipeline of scikit-learn's own estimators alone"
            )
        return skops.io.load(path, trusted=list(TRUSTED))
    except (ConversionError, MemoryError):
        raise
    except Exception as exc:
        raise ConversionError(
            f"{path}: skops cannot load it ({first_line(exc)}); is the file damaged?"
        ) from exc


def check(path: Path) -> None:
    """Object to a file before it is unpacked.

    Raises:
        ConversionError: no zip, more than it should unpack to, or arrays that are
            larger than what is there.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise ConversionError(f"{path}: not a skops file (no zip); is the download complete?")
        with zipfile.ZipFile(path) as archive:
            _check_sizes(path, archive)
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    _check_array(path, archive, member)
    except (ConversionError, MemoryError):
        raise
    except Exception as exc:  # numpy's parser of headers raises tokenize's own errors, too
        raise ConversionError(f"{path}: not a skops file ({first_line(exc)})") from exc


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    unpacked = sum(member.file_size for member in members)
    packed = max(path.stat().st_size, 1)
    large = unpacked > SMALL_BYTES and unpacked > MAX_RATIO * packed
    if unpacked > MAX_UNPACKED_BYTES or large or len(members) > MAX_MEMBERS:
        raise ConversionError(
            f"{path}: {packed} bytes that unpack to {unpacked} in {len(members)} files; that is no "
            "trained model"
        )
    schema = next((one for one in members if one.filename == SCHEMA), None)
    if schema is None:
        raise ConversionError(f"{path}: a zip without a {SCHEMA} is no skops file")
    if schema.file_size > MAX_SCHEMA_BYTES:
        raise ConversionError(f"{path}: its {SCHEMA} is larger than {MAX_SCHEMA_BYTES} bytes")
    nested = next((one.filename for one in members if one.filename.endswith(".npz")), None)
    if nested is not None:
        raise ConversionError(
            f"{path}: it holds a sparse matrix ({nested}); train on dense arrays, as a device has"
        )


def _check_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """An array's header may claim a size that its bytes do not have; numpy would allocate it."""
    formats: Any = np.lib.format
    with archive.open(member) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version = formats.read_magic(file)
        read = formats.read_array_header_1_0 if version == (1, 0) else formats.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
        raise ConversionError(
            f"{path}: {member.filename} claims {list(shape)} of {dtype} in {member.file_size} bytes"
        )
