"""Files with a scikit-learn estimator in them: skops, which is safe, and pickles, which are not."""

import pickle
import warnings
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.sources.float_model import FloatModel, first_line
from edgeml_converters.sources.sklearn import skops_file
from edgeml_converters.sources.sklearn.model import from_estimator, installed, is_estimator

PICKLES: Final = (".pkl", ".pickle", ".joblib")
SUFFIXES: Final = (".skops", *PICKLES)


def load(path: Path, *, trust_pickle: bool) -> FloatModel:
    """Open a file by its suffix.

    Args:
        path: one of `SUFFIXES`.
        trust_pickle: whether a pickle may be loaded, which executes what is in it.

    Raises:
        ConversionError: not trusted, damaged, or no supported estimator.
        MissingDependencyError: scikit-learn or skops is not installed.
    """
    if not path.is_file():
        raise ConversionError(f"{path}: no such file")
    if path.suffix.lower() in PICKLES and not trust_pickle:
        raise ConversionError(
            f"{path}: a pickle is a program that loading executes, so only your own should be "
            "loaded: allow it with --trust-pickle (trust_pickle=True), or save it with "
            "skops.io.dump, which loads safely"
        )
    version = installed()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = _pickled(path) if path.suffix.lower() in PICKLES else skops_file.load(path)
    if not is_estimator(made):
        raise ConversionError(
            f"{path}: it holds a {type(made).__name__}, which is no scikit-learn estimator"
        )
    try:
        return from_estimator(made, _notes(caught, version))
    except (ConversionError, MissingDependencyError) as exc:
        raise type(exc)(f"{path}: {exc}") from exc


def _pickled(path: Path) -> Any:
    """Unpickle a file that its owner trusts; joblib reads plain pickles too."""
    import joblib

    try:
        return joblib.load(path)
    except MemoryError:
        raise
    except ModuleNotFoundError as exc:
        raise ConversionError(
            f"{path}: it needs the module {exc.name!r}, which is not installed here"
        ) from exc
    except (Exception, pickle.UnpicklingError) as exc:
        raise ConversionError(
            f"{path}: cannot be unpickled ({first_line(exc)}); is the file damaged?"
        ) from exc


def _notes(caught: list[warnings.WarningMessage], version: str) -> tuple[str, ...]:
    """What a saved version that is not the installed one means."""
    from sklearn.exceptions import InconsistentVersionWarning

    saved = {
        str(one.message.original_sklearn_version)
        for one in caught
        if isinstance(one.message, InconsistentVersionWarning)
    }
    return tuple(
        f"it was saved by scikit-learn {one} and loaded by {version}; compare its score with that "
        "of its training"
        for one in sorted(saved)
    )
