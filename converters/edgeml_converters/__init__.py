"""Turns a trained model into a bundle for edgeml, and proves what that cost.

    from edgeml_converters import convert, read_spec

    conversion = convert("model.keras", windows, spec=read_spec("spec.toml"), evaluation=(x, y))
    conversion.write("model.tflite")

TensorFlow is imported when a conversion starts, not with this package.
"""

from edgeml_converters.analysis import Analysis
from edgeml_converters.conversion import convert
from edgeml_converters.outcome import Candidate, Conversion, NoneFitsError
from edgeml_converters.report import write_report
from edgeml_converters.samples import standardize_step
from edgeml_converters.spec import Spec, read_spec

__version__ = "0.1.0"

__all__ = [
    "Analysis",
    "Candidate",
    "Conversion",
    "NoneFitsError",
    "Spec",
    "convert",
    "read_spec",
    "standardize_step",
    "write_report",
]
