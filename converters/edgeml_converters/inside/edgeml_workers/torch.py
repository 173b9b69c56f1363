"""PyTorch programs, in the environment that has litert-torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .reply import RefusedError, answer, fixed

BATCH = 256


def describe(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """The shapes of a program's input and output, and which PyTorch says so."""
    import torch

    program = torch.export.load(order["source"])
    given = _tensors(program, program.graph_signature.user_inputs, "input")
    made = _tensors(program, program.graph_signature.user_outputs, "output")
    return {
        "version": torch.__version__,
        "input": fixed(_sizes(given), "input"),
        "output": fixed(_sizes(made), "output"),
    }


def predict(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the program answers to the windows in `windows.npy`, into `outputs.npy`."""
    import torch

    program = torch.export.load(order["source"])
    batch = next(iter(_tensors(program, program.graph_signature.user_inputs, "input").shape))
    run = program.module(check_guards=False)
    windows = torch.from_numpy(np.load("windows.npy", allow_pickle=False))
    size = 1 if batch == 1 and type(batch) is int else BATCH
    with torch.no_grad():
        parts = [run(windows[i : i + size]).numpy() for i in range(0, len(windows), size)]
    np.save("outputs.npy", np.concatenate(parts), allow_pickle=False)
    return {}


def convert(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """The float .tflite, into `product.tflite`; channels last where the order says so."""
    import litert_torch
    import torch

    program = torch.export.load(order["source"])
    run = program.module(check_guards=False)
    sample = torch.from_numpy(np.load("windows.npy", allow_pickle=False)[:1])
    if order["channels_last"]:
        sample = torch.movedim(sample, 1, -1).contiguous()
        run = torch.export.export(_behind_turn(run), (sample,), strict=False).module()
    litert_torch.convert(run, (sample,)).export("product.tflite")
    return {"product": "product.tflite"}


def _behind_turn(run: Any) -> Any:
    """A program behind the turn from channels last to channels first."""
    import torch

    turn: Any = torch.nn.Module()
    turn.run = run
    turn.forward = lambda x: run(torch.movedim(x, -1, 1))
    return turn


def _tensors(program: Any, names: Any, what: str) -> Any:
    """The one tensor among a program's inputs or outputs."""
    import torch

    if len(names) != 1:
        raise RefusedError(
            f"the model has {len(names)} {what}s; edgeml runs models with one of each"
        )
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    value = values.get(names[0])
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
        kind = getattr(value, "dtype", type(value).__name__)
        raise RefusedError(f"its {what} is {kind}; edgeml runs models on float32")
    return value


def _sizes(tensor: Any) -> list[Any]:
    return [int(n) if isinstance(n, int) else None for n in tensor.shape]


if __name__ == "__main__":
    answer({"describe": describe, "predict": predict, "convert": convert})
