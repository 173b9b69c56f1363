"""`torch.export` files, looked into before PyTorch loads them, because it trusts them.

A `.pt2` is a zip with a program in JSON and weights as plain bytes. PyTorch
reads more from it than that: pickles, which execute code; symbolic sizes, which
sympy evaluates as Python; guards, which are Python; and the names of functions,
which it takes from its own modules, `torch.os.system` too. What a program for a
device needs is none of it, so a file is loaded only where all of that is absent.
"""

import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConversionError
from edgeml_converters.environments import TORCH, ready
from edgeml_converters.sources.float_model import FloatModel
from edgeml_converters.sources.foreign import open_foreign

SUFFIX: Final = ".pt2"
MAX_UNPACKED_BYTES: Final = 2 << 30
MAX_JSON_BYTES: Final = 256 << 20
_END_BYTES: Final = 22
"""Of the record that ends a zip without a comment."""
_FUNCTION: Final = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed)\.\w+(\.\w+)?"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge)"
    r"|math\.(ceil|floor)|torch\.sym_(int|float|max|min|not|sqrt)"
)
_SIZE: Final = re.compile(r"-?\d+|[su]\d+")
_DAMAGE: Final = (
    *(zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError, ValueError),
    *(NotImplementedError, RecursionError, AttributeError, TypeError),
)


def load(path: Path) -> FloatModel:
    """Open a file whose content was looked into.

    Raises:
        ConversionError: it is no program, holds what is executed on loading, or is no
            model for a device.
        MissingDependencyError: the environment for it cannot be made.
    """
    check(path)
    return open_foreign(path, ready(TORCH), "torch")


def check(path: Path) -> None:
    """Object to a file that should not be loaded.

    Raises:
        ConversionError: why.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_one_reading(path, members)
            _check_sizes(path, members)
            parts = [member for member in members if member.filename.endswith(".json")]
            programs = [part for part in parts if "/models/" in f"/{part.filename}"]
            if not programs:
                raise ConversionError(f"{path}: {_what_else(members)}")
            for part in parts:
                _check_json(path, json.loads(archive.read(part)))
    except ConversionError:
        raise
    except _DAMAGE as exc:
        text = " ".join(str(exc).split())[:200] or type(exc).__name__
        raise ConversionError(f"{path}: no torch.export file, or a damaged one ({text})") from exc


def _check_one_reading(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """A zip can be made to hold one list of members for Python's reader and one for PyTorch's.

    Where the directory ends with the file, and the first member begins with it, there
    is nothing that one reader would skip and the other not.
    """
    with path.open("rb") as file:
        file.seek(-_END_BYTES, os.SEEK_END)
        end = file.read()
    first = min((member.header_offset for member in members), default=0)
    if first or end[:4] != b"PK\x05\x06" or end[-2:] != bytes(2):
        raise zipfile.BadZipFile("it is not one zip from its first byte to its last")


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    packed, size = path.stat().st_size, sum(member.file_size for member in members)
    largest = max((m.file_size for m in members if m.filename.endswith(".json")), default=0)
    # torch.export stores its members as they are: what unpacks to more is not of its making.
    if size > MAX_UNPACKED_BYTES or largest > MAX_JSON_BYTES or size > 2 * packed + (1 << 20):
        raise ConversionError(f"{path}: {packed} bytes that unpack to {size}; that is no program")


def _check_json(path: Path, document: Any) -> None:
    for key, value in _walk(document):
        if key == "use_pickle" and value is not False:
            raise ConversionError(
                f"{path}: some of its weights are pickles, which execute code when they are "
                "loaded; export the model again from plain tensors"
            )
        if key == "target" and isinstance(value, str) and not _FUNCTION.fullmatch(value):
            raise ConversionError(
                f"{path}: it calls {value[:100]!r}, which is none of PyTorch's operators on "
                "tensors; loading it could execute anything"
            )
        if key == "expr_str" and not (isinstance(value, str) and _SIZE.fullmatch(value)):
            raise ConversionError(
                f"{path}: it has the size {str(value)[:100]!r}, which PyTorch would evaluate; "
                "export it with fixed sizes"
            )
        if key == "guards_code" and value:
            raise ConversionError(
                f"{path}: it carries guards, which are Python code; export it with fixed sizes"
            )


def _walk(document: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, value) in a JSON document."""
    pending: list[Any] = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            yield from value.items()
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _what_else(members: list[zipfile.ZipInfo]) -> str:
    names = [member.filename for member in members]
    if any(name.startswith("serialized_") for name in names):
        return "it is of a PyTorch before 2.9; save it again with torch.export.save of a newer one"
    if any(name.endswith("data.pkl") for name in names):
        return "it is a file of torch.save, not of torch.export.save"
    return "it holds no program; save it with torch.export.save"
