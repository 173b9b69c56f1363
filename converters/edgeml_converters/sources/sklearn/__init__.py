"""scikit-learn: estimators and pipelines of them, as objects or in files."""

from edgeml_converters.sources.sklearn.files import SUFFIXES, load
from edgeml_converters.sources.sklearn.model import from_estimator, is_estimator

__all__ = ["SUFFIXES", "from_estimator", "is_estimator", "load"]
