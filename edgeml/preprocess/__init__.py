"""What turns raw sensor windows into what the model was trained on.

One implementation, in numpy alone, for training, conversion and the device.
The steps and their parameters are listed in docs/preprocess.md.
"""

from edgeml.preprocess.pipeline import Pipeline
from edgeml.preprocess.steps import EXACT_STEPS, STEPS

__all__ = ["EXACT_STEPS", "STEPS", "Pipeline"]
