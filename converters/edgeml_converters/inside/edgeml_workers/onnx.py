"""ONNX models, in the environment that has onnx2tf and onnxruntime.

onnx2tf turns inputs of three axes and more to channels last, whatever they are.
So there are two ways: as it does by itself, and with an input that it is told to
leave as it stands. Which of them is right is for the numbers to say, outside.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .reply import RefusedError, answer, fixed

BATCH = 256
_PICTURES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""What onnx2tf 1 fetches from the network for a model of pictures, unless it lies there."""


def describe(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """The shapes of a model's input and output, as onnxruntime sees them."""
    import onnxruntime

    given, made = _ends(_session(order["source"]))
    return {
        "version": onnxruntime.__version__,
        "input": fixed(given.shape, "input"),
        "output": fixed(made.shape, "output"),
    }


def predict(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """What onnxruntime answers to the windows in `windows.npy`, into `outputs.npy`."""
    session = _session(order["source"])
    given, made = _ends(session)
    windows = np.load("windows.npy", allow_pickle=False)
    size = 1 if given.shape[0] == 1 else BATCH
    parts = [
        session.run([made.name], {given.name: windows[i : i + size]})[0]
        for i in range(0, len(windows), size)
    ]
    np.save("outputs.npy", np.concatenate(parts), allow_pickle=False)
    return {}


def convert(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """A candidate for the float .tflite; way 0 is the likelier, way 1 the other."""
    import onnx

    np.save(_PICTURES, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
    name = _ends(_session(order["source"]))[0].name
    model = onnx.load(order["source"])
    if order["channels_last"] == (order["way"] == 0):
        onnx.save(model, "model.onnx")
        return {"product": _run_onnx2tf("model.onnx", ())}
    onnx.save(_turned(model, name) if order["channels_last"] else model, "model.onnx")
    outer = f"{name}_channels_last" if order["channels_last"] else name
    return {"product": _run_onnx2tf("model.onnx", (outer,))}


def _run_onnx2tf(source: str, kept: tuple[str, ...]) -> str:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import onnx2tf

    onnx2tf.convert(
        input_onnx_file_path=source,
        output_folder_path="made",
        batch_size=1,
        copy_onnx_input_output_names_to_tflite=True,
        keep_ncw_or_nchw_or_ncdhw_input_names=list(kept) or None,
        non_verbose=True,
    )
    return str(next(iter(Path("made").glob("*_float32.tflite"))))


def _turned(model: Any, name: str) -> Any:
    """The model behind a transposition, so that its input has its channels last."""
    from onnx import helper

    given = next(one for one in model.graph.input if one.name == name)
    dims = given.type.tensor_type.shape.dim
    sizes = [1, *(dim.dim_value for dim in list(dims)[1:])]
    order = [0, len(sizes) - 1, *range(1, len(sizes) - 1)]
    outer = f"{name}_channels_last"
    shape = [sizes[0], *sizes[2:], sizes[1]]
    model.graph.input.remove(given)
    model.graph.input.insert(0, helper.make_tensor_value_info(outer, 1, shape))
    model.graph.node.insert(0, helper.make_node("Transpose", [outer], [name], perm=order))
    return model


def _session(source: str) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def _ends(session: Any) -> tuple[Any, Any]:
    given, made = session.get_inputs(), session.get_outputs()
    if len(given) != 1 or len(made) != 1:
        raise RefusedError(
            f"the model has {len(given)} inputs and {len(made)} outputs; edgeml runs models with "
            "one of each"
        )
    for one, what in ((given[0], "input"), (made[0], "output")):
        if one.type != "tensor(float)":
            raise RefusedError(f"its {what} is {one.type}; edgeml runs models on float32")
    return given[0], made[0]


if __name__ == "__main__":
    answer({"describe": describe, "predict": predict, "convert": convert})
