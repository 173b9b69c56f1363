"""The one place that drives TensorFlow's TFLite converter.

It knows the converter's switches, its noise on stderr, and which of its many
exceptions mean what. TensorFlow ships no types, so `Any` starts and ends here
and in `sources.py`. Only builtin operators are allowed: no runtime that edgeml
supports carries the Flex delegate.
"""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml.runtime.graph import read_graph
from edgeml_converters.schemes import SCHEMES, Scheme

Floats = npt.NDArray[np.float32]

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def quiet_converter() -> Iterator[None]:
    """Keep what native code and Python warnings write to file descriptor 2 out of the terminal.

    The converter reports there in passing what it then raises in words; it is
    logged for `--verbose` and otherwise dropped.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                _log.info("%s", line)


def tensorflow() -> Any:
    """TensorFlow, imported quietly.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        with quiet_converter():
            import tensorflow as tf
    except ImportError as exc:
        raise MissingDependencyError(
            f"TensorFlow cannot be imported ({exc}); install it with: pip install edgeml-converters"
        ) from exc
    tf.get_logger().setLevel("ERROR")
    return tf


def convert_saved_model(folder: Path, scheme: Scheme, io: str, calibration: Floats) -> bytes:
    """One run of the converter.

    Args:
        folder: a SavedModel whose `serve` signature has a batch of 1.
        scheme: what to quantise to.
        io: "float" or "int8": the type of the model's input and output.
        calibration: float32 (n, *model input), preprocessed.

    Returns:
        The flatbuffer, unchecked.

    Raises:
        ConversionError: the converter refuses the model, or needs operators that no
            runtime here carries (the message names them).
    """
    tf = tensorflow()
    with quiet_converter():
        try:
            converter = tf.lite.TFLiteConverter.from_saved_model(os.fspath(folder), ["serve"])
            _configure(tf, converter, scheme, io, calibration)
            flatbuffer: bytes = converter.convert()
        except Exception as exc:
            raise _translated(exc, scheme) from exc
    return flatbuffer


CRASHING: Final = frozenset({"WHILE", "IF"})
"""On control flow TensorFlow 2.21's calibrator ends the process, in the public route too."""


def calibrate(float_tflite: bytes, calibration: Floats) -> bytes:
    """A float model with the range of every activation recorded in it, to be quantised.

    Args:
        float_tflite: from `convert_saved_model`.
        calibration: float32 (n, *model input), preprocessed.

    Raises:
        ConversionError: the calibrator refuses the model, or would crash on it.
    """
    crashing = sorted(CRASHING & set(read_graph(float_tflite).operators))
    if crashing:
        raise ConversionError(
            f"it has {' and '.join(crashing)} in it, on which TensorFlow's calibrator crashes; "
            "build recurrent layers with unroll=True, or take a scheme without calibration"
        )
    tensorflow()
    from tensorflow.lite.python.optimize import calibrator

    with quiet_converter():
        try:
            whole = calibrator.add_intermediate_tensors(float_tflite)
            made = calibrator.Calibrator(whole).calibrate(lambda: _one_by_one(calibration))
            return bytes(made)
        except Exception as exc:
            raise _translated(exc, SCHEMES["int8"]) from exc


def quantise(
    calibrated: bytes, io: str, *, dense_per_channel: bool = True, in_float: Sequence[str] = ()
) -> bytes:
    """Turn a calibrated model into int8: the converter's last step, alone.

    Args:
        calibrated: from `calibrate`, its ranges perhaps changed since.
        io: "float" or "int8": the type of the model's input and output.
        dense_per_channel: a scale for each output of a dense layer, or one for all.
        in_float: operators to leave in float, by the name of their output.

    Raises:
        ConversionError: the quantiser refuses the model.
    """
    tf = tensorflow()
    from tensorflow.lite.python import convert as passes

    kind = tf.int8 if io == "int8" else tf.float32
    with quiet_converter():
        try:
            quantised = passes.mlir_quantize(
                calibrated,
                input_data_type=kind,
                output_data_type=kind,
                disable_per_channel_for_dense_layers=not dense_per_channel,
                denylisted_nodes=list(in_float) or None,
            )
            flatbuffer = bytes(passes.deduplicate_readonly_buffers(quantised))
        except Exception as exc:
            raise _translated(exc, SCHEMES["int8"]) from exc
    return flatbuffer


def quantise_int16(calibrated: bytes, io: str, calibration: Floats) -> bytes:
    """Turn a calibrated model into int16 activations and int8 weights, as the converter would.

    The converter runs the calibration data twice for this scheme and needs only the
    second run, which finds its ranges anew; the file is the same.

    Args:
        calibrated: from `calibrate`.
        io: "float" or "int8", for float or int16 input and output.
        calibration: float32 (n, *model input), preprocessed.

    Raises:
        ConversionError: the quantiser refuses the model.
    """
    tf = tensorflow()
    from tensorflow.lite.python import convert as passes
    from tensorflow.lite.python.optimize.calibrator import Calibrator

    kind = tf.int16 if io == "int8" else tf.float32
    with quiet_converter():
        try:
            quantised = Calibrator(calibrated).calibrate_and_quantize(
                lambda: _one_by_one(calibration), kind, kind, False, tf.int16, tf.int64
            )
            flatbuffer = bytes(passes.deduplicate_readonly_buffers(quantised))
        except Exception as exc:
            raise _translated(exc, SCHEMES["int16x8"]) from exc
    return flatbuffer


def _one_by_one(calibration: Floats) -> Iterator[list[Floats]]:
    for window in calibration:
        yield [window[np.newaxis]]


def _configure(tf: Any, converter: Any, scheme: Scheme, io: str, calibration: Floats) -> None:
    converter.target_spec.supported_ops = [getattr(tf.lite.OpsSet, name) for name in scheme.op_sets]
    if scheme.optimise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme.weight_type:
        converter.target_spec.supported_types = [getattr(tf, scheme.weight_type)]
    if scheme.calibrated:
        converter.representative_dataset = lambda: _one_by_one(calibration)
    if scheme.activation_dtype and io == "int8":
        kind = getattr(tf, scheme.activation_dtype)
        converter.inference_input_type = kind
        converter.inference_output_type = kind


_FLEX_LINE = re.compile(r"^Flex ops: (.+)$|^Custom ops: (.+)$", re.MULTILINE)
_LEGALISE = re.compile(r"'(tf\.\w+)' op is neither a custom op nor a flex op")


def _translated(exc: Exception, scheme: Scheme) -> ConversionError:
    text = str(exc)
    ops = [name for match in _FLEX_LINE.findall(text) for name in match if name]
    ops += sorted(set(_LEGALISE.findall(text)) - set(ops)) if not ops else []
    if ops:
        return ConversionError(
            f"{scheme.name}: the model uses {', '.join(ops)}, which TFLite has no builtin operator "
            "for, and no runtime on a device carries Flex; replace those layers and train again"
        )
    detail = next((line.strip() for line in text.splitlines() if line.strip()), type(exc).__name__)
    return ConversionError(
        f"{scheme.name}: TensorFlow's converter refuses the model: {detail[:300]}"
    )
