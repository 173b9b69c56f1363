"""Environments of their own for converters whose packages cannot live beside ours."""

from edgeml_converters.environments.build import Environment, ready
from edgeml_converters.environments.recipes import ONNX, TORCH, Recipe
from edgeml_converters.environments.worker import run_worker

__all__ = ["ONNX", "TORCH", "Environment", "Recipe", "ready", "run_worker"]
