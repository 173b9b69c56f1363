"""PyTorch modules: objects of the caller's, and the pickles that torch.save makes of them.

The caller has PyTorch, or he would have no module: it is exported in his own
process and held to his own PyTorch. Only the conversion is a worker's.
"""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.environments import TORCH, ready
from edgeml_converters.sources.float_model import FloatModel, Floats, first_line, in_batches
from edgeml_converters.sources.foreign import make_products, proven
from edgeml_converters.sources.layout import to_first

PICKLES: Final = (".pt", ".pth")


def is_module(source: object) -> bool:
    """Whether this is a PyTorch module; without importing PyTorch, which whoever made one has."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def load(path: Path, *, trust_pickle: bool) -> FloatModel:
    """Open what torch.save wrote of a whole module.

    Raises:
        ConversionError: not trusted, damaged, or no module.
        MissingDependencyError: PyTorch is not installed here.
    """
    if not trust_pickle:
        raise ConversionError(
            f"{path}: a file of torch.save is a pickle, a program that is executed when it is "
            "loaded: allow it with --trust-pickle (trust_pickle=True), or save the model with "
            "torch.export.save(torch.export.export(model, (example,)), 'model.pt2')"
        )
    try:
        import torch
    except ImportError as exc:
        raise MissingDependencyError(
            f"{path}: reading it needs PyTorch and the module's own code here ({exc}); "
            "pip install torch"
        ) from exc
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as exc:
        raise ConversionError(f"{path}: PyTorch cannot load it: {first_line(exc)}") from exc
    if isinstance(loaded, dict):
        raise ConversionError(
            f"{path}: weights without a model; load them into the module and pass that to "
            "convert(), or save it with torch.export.save"
        )
    if not is_module(loaded):
        raise ConversionError(f"{path}: it holds a {type(loaded).__name__}, not a module")
    return from_module(loaded)


def from_module(module: Any) -> FloatModel:
    """Take a module; what it takes is known when there are windows to give it."""
    import torch

    def predict(_: Floats) -> Floats:
        raise ConversionError(
            "a PyTorch module does not say what shape it takes: give convert() a spec"
        )

    def settled(prepared: Floats) -> FloatModel:
        return _settled(torch, module, prepared)

    return FloatModel(_framework(torch), (), (), predict, _no_saved_model, settled=settled)


def _settled(torch: Any, module: Any, prepared: Floats) -> FloatModel:
    with _evaluating(module):
        last = _takes_channels_first(torch, module, prepared)

    def predict(batch: Floats) -> Floats:
        with _evaluating(module):
            return _run(torch, module, batch)

    def products(plain: Floats, folder: Path) -> Iterator[bytes]:
        program = folder / "module.pt2"
        with _evaluating(module):
            _export(torch, module, plain[:1], program)
        return make_products(ready(TORCH), program, plain, folder, last=last)

    return proven(_framework(torch), prepared, predict, products, last=last)


@contextlib.contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """The caller's module as it answers on a device, and afterwards as it was."""
    # Each part for itself: a frozen one does not train while the whole does.
    were_training = [(part, bool(part.training)) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in were_training:
            part.training = was_training


def _takes_channels_first(torch: Any, module: Any, prepared: Floats) -> bool:
    """Whether the module takes windows only with their channels moved to the front.

    Raises:
        ConversionError: it takes them in neither layout, or has no one tensor as its answer.
    """
    try:
        _check_answer(torch, _call(torch, module, prepared[:1]))
    except _RefusedError as plain:
        if prepared.ndim < 3:
            raise
        try:
            _check_answer(torch, _call(torch, module, to_first(prepared[:1])))
        except _RefusedError as turned:
            raise ConversionError(f"{plain}; and with channels first, {turned}") from turned
        return True
    return False


class _RefusedError(ConversionError):
    """The module's own code objects to a window."""


def _call(torch: Any, module: Any, window: Floats) -> Any:
    try:
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(window)))
    except Exception as exc:
        raise _RefusedError(
            f"the module does not take {list(window.shape)}: {first_line(exc)}"
        ) from exc


def _check_answer(torch: Any, said: Any) -> None:
    if not isinstance(said, torch.Tensor) or len(said) != 1 or said.ndim < 2:
        shape = list(getattr(said, "shape", ())) or type(said).__name__
        raise ConversionError(
            f"the module answers {shape} to one window; edgeml runs models that answer one tensor "
            "with a batch axis"
        )


def _run(torch: Any, module: Any, windows: Floats) -> Floats:
    def call(batch: Floats) -> Any:
        with torch.no_grad():
            return module(torch.from_numpy(np.ascontiguousarray(batch))).cpu().numpy()

    return in_batches(call, windows, ())


def _export(torch: Any, module: Any, window: Floats, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (torch.from_numpy(window),), strict=False)
            torch.export.save(program, path)
    except Exception as exc:
        raise ConversionError(f"torch.export cannot export the module: {first_line(exc)}") from exc


def _framework(torch: Any) -> str:
    return f"torch {torch.__version__}"


def _no_saved_model(_: Path) -> None:
    raise ConversionError("a PyTorch module becomes a .tflite, not a SavedModel")
