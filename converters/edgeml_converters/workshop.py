"""Makes the files of one source: each step that schemes share is done once.

A source that is a `.tflite` already stays as it is, byte for byte, for the
scheme that it has; other schemes start from it where it is float.

The float file is converted once and calibrated once; int8, int16x8 and mixed start
from what that gives. What was made is kept, failures too, so that a model that
cannot be calibrated is not tried again for the next scheme.
"""

import contextlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConversionError
from edgeml_converters.int8 import Int8, convert_int8
from edgeml_converters.lite import calibrate, convert_saved_model, quantise_int16
from edgeml_converters.modern import modernised
from edgeml_converters.schemes import SCHEMES, Scheme
from edgeml_converters.slim import slim
from edgeml_converters.sources import LiteFile
from edgeml_converters.weights import convert_weights

Floats = npt.NDArray[np.float32]


class Workshop:
    """One model, its calibration data, and what was made of them so far."""

    def __init__(
        self,
        start: Path | LiteFile,
        io: str,
        calibration: Floats,
        *,
        max_bytes: int | None = None,
        clip: bool = True,
    ) -> None:
        """Take the material.

        Args:
            start: a SavedModel whose `serve` signature has a batch of 1, or a file that was
                made already.
            io: "float" or "int8": the type of integer files' input and output.
            calibration: float32 (n, *model input), preprocessed.
            max_bytes: a size that int8 tries to stay within.
            clip: whether int8 may narrow the ranges that calibration saw.
        """
        self.io = io
        self.calibration = calibration
        self._start = start
        self._max_bytes = max_bytes
        self._clip = clip
        self._calibrated: bytes | ConversionError | None = None
        self._int8: Int8 | None = None
        self._float: bytes | None = None

    def try_calibrating(self) -> None:
        """Calibrate now; a model that cannot be says so when a scheme asks for it."""
        with contextlib.suppress(ConversionError):
            self.calibrated()

    def calibrated(self) -> bytes:
        """The float file with the range of every activation.

        Raises:
            ConversionError: the converter refuses the model.
        """
        if self._calibrated is None:
            try:
                self._calibrated = calibrate(self.float_file(), self.calibration)
            except ConversionError as exc:
                self._calibrated = exc
        if isinstance(self._calibrated, ConversionError):
            raise self._calibrated
        return self._calibrated

    def float_file(self) -> bytes:
        """The float file with the names of its tensors.

        Raises:
            ConversionError: the converter refuses the model.
        """
        if self._float is None:
            scheme = SCHEMES["float32"]
            self._float = (
                modernised(self._start.tflite)
                if isinstance(self._start, LiteFile)
                else convert_saved_model(self._start, scheme, "float", self.calibration)
            )
        return self._float

    def int8(self) -> Int8:
        """Full int8, with how it was made.

        Raises:
            ConversionError: the converter refuses the model.
            BackendError: the interpreter refuses what it made.
        """
        if self._int8 is None:
            self._int8 = convert_int8(
                self.calibrated(), self.io, self.calibration, self._max_bytes, clip=self._clip
            )
        return self._int8

    def make(self, scheme: Scheme) -> bytes:
        """The file of a scheme, unchecked; `mixed` is a search of its own.

        Raises:
            ConversionError: the converter refuses the model.
            BackendError: the interpreter refuses what it made.
            MissingDependencyError: the scheme needs a package that is not installed.
        """
        if isinstance(self._start, LiteFile) and scheme.name == self._start.scheme:
            return slim(self._start.tflite) if self._start.made_here else self._start.tflite
        if scheme.name == "int8":
            return self.int8().tflite
        if scheme.name == "float32":
            return slim(self.float_file())
        if scheme.name == "int16x8":
            return slim(quantise_int16(self.calibrated(), self.io, self.calibration))
        if scheme.name == "int4" or isinstance(self._start, LiteFile):
            return slim(convert_weights(self.float_file(), scheme.name))
        return slim(convert_saved_model(self._start, scheme, self.io, self.calibration))
