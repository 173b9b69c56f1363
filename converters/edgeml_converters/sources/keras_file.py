"""Looks into a `.keras` or `.h5` file before Keras does, because Keras trusts what it loads.

Refused here: what is no such file, zips that unpack to much more than they
are, layers that carry Python code, and layer sizes beyond any real model, which
would fill the memory before the missing weights were noticed.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConversionError
from edgeml_converters.sources.hdf5_probe import probe

HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
WEIGHTS: Final = "model.weights.h5"
MAX_UNPACKED_BYTES: Final = 2 << 30
MAX_RATIO: Final = 200
SMALL_BYTES: Final = 64 << 20
MAX_CONFIG_BYTES: Final = 64 << 20
MAX_SIZE: Final = 1 << 20
"""The largest number in a layer's configuration: units, filters, a vocabulary, an axis."""
_SIZES: Final = frozenset(
    (
        *("units", "filters", "output_dim", "input_dim", "depth_multiplier", "num_heads"),
        *("kernel_size", "pool_size", "size", "strides", "padding", "cropping", "target_shape"),
        *("key_dim", "value_dim", "max_tokens", "num_tokens", "n"),
    )
)
MAX_ACTIVATION: Final = 1 << 26
"""The most numbers that one input may hold."""


def check(path: Path) -> None:
    """Object to a file that should not be loaded.

    Raises:
        ConversionError: why.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
        config = (
            _zipped_config(path) if path.suffix.lower() == ".keras" else _hdf5_config(path, head)
        )
    except OSError as exc:
        raise ConversionError(f"{path}: cannot be read ({_short(exc)})") from exc
    _check_config(path, config)
    if path.suffix.lower() == ".keras":
        probe(path, WEIGHTS)


def _check_config(path: Path, config: Any) -> None:
    for key, value in _walk(config):
        if key == "class_name" and value == "Lambda":
            raise ConversionError(
                f"{path}: it has a Lambda layer, which is Python code that loading would execute; "
                "rebuild the model with layers of Keras, or pass the model object to convert()"
            )
        if key in _SIZES and isinstance(value, int) and abs(value) > MAX_SIZE:
            raise ConversionError(f"{path}: a layer says {key} = {value}; is the file damaged?")
        if key in ("batch_shape", "batch_input_shape") and isinstance(value, list):
            _check_input(path, value)


def _check_input(path: Path, shape: list[Any]) -> None:
    size = 1
    for n in shape[1:]:
        size *= n if isinstance(n, int) else 1
    if size > MAX_ACTIVATION:
        raise ConversionError(f"{path}: its input has the shape {shape}; is the file damaged?")


def _zipped_config(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        raise ConversionError(f"{path}: not a .keras file (no zip); is the download complete?")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            packed = max(path.stat().st_size, 1)
            if size > MAX_UNPACKED_BYTES or (size > SMALL_BYTES and size > MAX_RATIO * packed):
                raise ConversionError(
                    f"{path}: {packed} bytes that unpack to {size}; that is no trained model"
                )
            with archive.open("config.json") as file:
                text = file.read(MAX_CONFIG_BYTES + 1)
    except (KeyError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as exc:
        if isinstance(exc, ConversionError):
            raise
        raise ConversionError(f"{path}: not a .keras file ({_short(exc)})") from exc
    return _parsed(path, text)


def _hdf5_config(path: Path, head: bytes) -> Any:
    if head != HDF5_MAGIC:
        raise ConversionError(f"{path}: not an HDF5 file; is the download complete?")
    text = probe(path)
    if text is None:
        raise ConversionError(
            f"{path}: weights without a model; save it whole with model.save('model.keras')"
        )
    return _parsed(path, text.encode())


def _parsed(path: Path, text: bytes) -> Any:
    if len(text) > MAX_CONFIG_BYTES:
        raise ConversionError(f"{path}: its configuration is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ConversionError(f"{path}: its configuration is not JSON ({_short(exc)})") from exc


def _walk(config: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value) in a configuration; a list's members come under the list's key."""
    pending: list[tuple[str, Any]] = [("", config)]
    while pending:
        key, value = pending.pop()
        yield key, value
        if isinstance(value, dict):
            pending.extend(value.items())
        elif isinstance(value, list):
            pending.extend((key, item) for item in value)


def _short(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200] or type(exc).__name__
