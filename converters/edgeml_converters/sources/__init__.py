"""Opens a trained model, whatever it was saved as: one file a format, one table of them."""

from edgeml_converters.sources.float_model import FloatModel, LiteFile, finite
from edgeml_converters.sources.opening import open_source

__all__ = ["FloatModel", "LiteFile", "finite", "open_source"]
