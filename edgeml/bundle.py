"""The bundle: one file that every TFLite tool opens and every zip tool too.

It is a valid `.tflite` with a zip appended, as TFLite Metadata does it. This
module alone knows that layout. Reading executes nothing from the file (no
pickle), bounds every size before it allocates, and answers any corruption with
`BundleError`.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import BundleError, ManifestError
from edgeml.manifest import MAX_MANIFEST_BYTES, Manifest

MAX_BUNDLE_BYTES: Final = 1 << 30
MAX_GOLDEN_BYTES: Final = 64 << 20
MAX_BASELINE_BYTES: Final = 4 << 20
MAX_MEMBERS: Final = 64

_MANIFEST = "manifest.json"
_GOLDEN = "golden.npz"
_BASELINE = "baseline.json"
_LABELS = "labels.txt"
_TFLITE_MAGIC = b"TFL3"
_EOCD = struct.Struct("<4s4H2LH")
_EOCD_MAGIC = b"PK\x05\x06"
_npy_format: Any = np.lib.format  # numpy declares no types for it
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: one fixed time, so that equal inputs give equal bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """The self-test: raw windows, and what the model's output tensor must hold.

    Attributes:
        windows: float32 (n, *inputs.shape), raw sensor units.
        outputs: (n, *output shape), in the output tensor's own dtype.
        tolerance: the largest difference allowed, in steps of an integer
            output or absolute for a float one.
    """

    windows: npt.NDArray[np.float32]
    outputs: npt.NDArray[Any]
    tolerance: float


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle, read and checked.

    Attributes:
        manifest: what the weights do not say.
        tflite: the model itself, without the zip.
        golden: the self-test, if the bundle has one.
        baseline: the monitoring reference, if the bundle has one.
        sha256: of the whole file, in hex.
        size_bytes: of the whole file.
    """

    manifest: Manifest
    tflite: bytes
    golden: Golden | None
    baseline: Mapping[str, Any] | None
    sha256: str
    size_bytes: int

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Bundle":
        """Read a bundle from a file.

        Raises:
            BundleError: the file cannot be read, or is not a bundle.
        """
        return cls.from_bytes(read_file(path), where=os.fspath(path))

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "bundle") -> "Bundle":
        """Read a bundle from memory.

        Args:
            data: the whole file.
            where: its name, for error messages.

        Raises:
            BundleError: the bytes are not a bundle.
        """
        tflite, archive = split(data, where)
        if archive is None:
            raise BundleError(
                f"{where}: a plain .tflite without a manifest; edgeml.Model.load runs it as it is, "
                "`edgeml convert` makes a bundle of it"
            )
        with archive:
            manifest = Manifest.from_json(
                _member(archive, _MANIFEST, MAX_MANIFEST_BYTES, where), f"{where}: {_MANIFEST}"
            )
            digest = hashlib.sha256(tflite).hexdigest()
            if digest != manifest.tflite_sha256:
                raise BundleError(
                    f"{where}: the model's SHA-256 is {digest[:16]}… but the manifest says "
                    f"{manifest.tflite_sha256[:16]}…; the file is damaged, fetch it again"
                )
            names = set(archive.namelist())
            golden = _read_golden(archive, manifest, where) if _GOLDEN in names else None
            baseline = _read_baseline(archive, where) if _BASELINE in names else None
        return cls(manifest, tflite, golden, baseline, hashlib.sha256(data).hexdigest(), len(data))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a model file of at most 1 GiB.

    Raises:
        BundleError: there is no such file, it cannot be read, or it is too large.
    """
    where = os.fspath(path)
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BUNDLE_BYTES:
                raise BundleError(f"{where}: {size} bytes; a bundle has at most {MAX_BUNDLE_BYTES}")
            # Not read(MAX_BUNDLE_BYTES): that would allocate the maximum before it reads a byte.
            return file.read(size)
    except OSError as exc:
        raise BundleError(f"{where}: cannot be read ({exc.strerror or exc})") from exc


def split(data: bytes, where: str = "bundle") -> tuple[bytes, zipfile.ZipFile | None]:
    """Separate the model from the zip behind it.

    Returns:
        The model's bytes, and the open archive or None for a plain `.tflite`.

    Raises:
        BundleError: not a TFLite file, or its zip is damaged.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"{where}: {len(data)} bytes; a bundle has at most {MAX_BUNDLE_BYTES}")
    if len(data) < 8 or data[4:8] != _TFLITE_MAGIC:
        raise BundleError(f"{where}: not a TFLite file (bytes 4 to 8 should be 'TFL3')")
    start = _zip_start(data, where)
    if start is None:
        return data, None
    try:
        archive = zipfile.ZipFile(io.BytesIO(data[start:]))
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, OSError) as exc:
        raise BundleError(f"{where}: the zip behind the model is damaged ({exc})") from exc
    return data[:start], archive


def _zip_start(data: bytes, where: str) -> int | None:
    """Where the zip begins: its end record says how long it is, so no other tool is needed."""
    at = data.rfind(_EOCD_MAGIC, max(0, len(data) - (_EOCD.size + 0xFFFF)))
    if at < 0 or at + _EOCD.size > len(data):
        return None
    _, disk, cd_disk, here, total, cd_size, cd_offset, comment = _EOCD.unpack_from(data, at)
    if at + _EOCD.size + comment != len(data):
        return None
    start: int = at - cd_size - cd_offset
    if disk or cd_disk or here != total or total > MAX_MEMBERS or start < 8:
        raise BundleError(f"{where}: the zip behind the model is damaged; fetch the file again")
    return start


def _member(archive: zipfile.ZipFile, name: str, limit: int, where: str) -> bytes:
    try:
        with archive.open(name) as file:
            content = file.read(limit + 1)
    except KeyError:
        raise BundleError(f"{where}: no {name} in it; is this a bundle made by edgeml?") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, RuntimeError) as exc:
        raise BundleError(f"{where}: {name} is damaged ({exc}); fetch the file again") from exc
    if len(content) > limit:
        raise BundleError(f"{where}: {name} is larger than {limit} bytes")
    return content


def _read_golden(archive: zipfile.ZipFile, manifest: Manifest, where: str) -> Golden:
    content = _member(archive, _GOLDEN, MAX_GOLDEN_BYTES, where)
    where = f"{where}: {_GOLDEN}"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as arrays:
            windows = _read_array(arrays, "windows.npy", where)
            outputs = _read_array(arrays, "outputs.npy", where)
            tolerance = _read_array(arrays, "tolerance.npy", where)
    except (zipfile.BadZipFile, OSError, ValueError) as exc:
        if isinstance(exc, BundleError):
            raise
        raise BundleError(f"{where} is damaged ({exc}); fetch the file again") from exc
    if windows.dtype != np.float32 or windows.shape[1:] != manifest.inputs.shape:
        raise BundleError(
            f"{where}: windows are {windows.dtype} {windows.shape}; the manifest says float32 "
            f"(n, {', '.join(map(str, manifest.inputs.shape))})"
        )
    if len(outputs) != len(windows) or not len(windows):
        raise BundleError(f"{where}: {len(windows)} windows but {len(outputs)} outputs")
    if tolerance.dtype.kind != "f" or tolerance.size != 1 or not 0 <= tolerance.item() < math.inf:
        raise BundleError(f"{where}: the tolerance is not one number >= 0")
    if not np.isfinite(windows).all():
        raise BundleError(f"{where}: windows hold NaN or infinity")
    return Golden(windows, outputs, float(tolerance.item()))


def _read_array(arrays: zipfile.ZipFile, name: str, where: str) -> npt.NDArray[Any]:
    """One array of an npz, its size known to be bounded before numpy allocates it."""
    content = _member(arrays, name, MAX_GOLDEN_BYTES, where)
    raw = io.BytesIO(content)
    try:
        if _npy_format.read_magic(raw) != (1, 0):
            raise ValueError("not version 1.0 of the npy format")
        shape, fortran_order, dtype = _npy_format.read_array_header_1_0(raw)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - raw.tell():
            raise ValueError(f"its header says {dtype} {shape}, its length does not")
        flat = np.frombuffer(content, dtype, offset=raw.tell())
        array: npt.NDArray[Any] = flat.reshape(shape, order="F" if fortran_order else "C")
    except (ValueError, EOFError, OSError, TypeError, SyntaxError, KeyError, OverflowError) as exc:
        raise BundleError(f"{where}: {name} is damaged ({exc}); fetch the file again") from exc
    if array.dtype.kind not in "fiu":
        raise BundleError(f"{where}: {name} holds {array.dtype}, not numbers")
    return array


def _read_baseline(archive: zipfile.ZipFile, where: str) -> Mapping[str, Any]:
    content = _member(archive, _BASELINE, MAX_BASELINE_BYTES, where)
    try:
        baseline = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"{where}: {_BASELINE} is not JSON ({exc})") from exc
    if not isinstance(baseline, dict):
        raise BundleError(f"{where}: {_BASELINE} is not a JSON object")
    return baseline


def pack(
    tflite: bytes,
    manifest: Manifest,
    golden: Golden | None = None,
    baseline: Mapping[str, Any] | None = None,
) -> bytes:
    """Make a bundle. Equal inputs give equal bytes.

    Args:
        tflite: a model; a zip that it already carries is dropped.
        manifest: its `tflite_sha256` is filled in here.
        golden: the self-test.
        baseline: the monitoring reference, JSON values only.

    Raises:
        BundleError: `tflite` is not a TFLite file.
    """
    model, old = split(tflite, "model")
    if old is not None:
        old.close()
    manifest = replace(manifest, tflite_sha256=hashlib.sha256(model).hexdigest())
    members: dict[str, bytes] = {_MANIFEST: manifest.to_json().encode()}
    if golden is not None:
        members[_GOLDEN] = _zip(
            {
                "windows.npy": _npy(golden.windows),
                "outputs.npy": _npy(golden.outputs),
                "tolerance.npy": _npy(np.float64(golden.tolerance)),
            }
        )
    if baseline is not None:
        members[_BASELINE] = json.dumps(baseline, allow_nan=False, separators=(",", ":")).encode()
    if manifest.outputs.labels:
        members[_LABELS] = ("\n".join(manifest.outputs.labels) + "\n").encode()
    return model + _zip(members)


def write_bundle(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: a reader never sees half of it, nor does a power cut.

    Raises:
        BundleError: the folder is missing, not writable or full.
    """
    target = Path(path)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as exc:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise BundleError(f"{target}: cannot be written ({exc.strerror or exc})") from exc


def _npy(array: npt.ArrayLike) -> bytes:
    buffer = io.BytesIO()
    _npy_format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _zip(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


__all__ = [
    "Bundle",
    "BundleError",
    "Golden",
    "ManifestError",
    "pack",
    "read_file",
    "split",
    "write_bundle",
]
