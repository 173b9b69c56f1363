"""The bundle: one file that every TFLite tool opens and every zip tool too.

It is a valid `.tflite` with a zip appended, as TFLite Metadata does it. This
module alone knows that layout. Reading executes nothing from the file (no
pickle), bounds every size before it allocates, and answers any corruption with
`BundleError`.
"""

import contextlib
import io
import json
import math
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from edgeml.archive import Archive, holds_local_header, write_zip, zip_start
from edgeml.arrays import Array, Floats
from edgeml.digest import sha256_hex
from edgeml.errors import BundleError, ManifestError
from edgeml.manifest import MAX_MANIFEST_BYTES, Manifest
from edgeml.npy import read_npy, write_npy

MAX_BUNDLE_BYTES: Final = 1 << 30
MAX_GOLDEN_BYTES: Final = 64 << 20
MAX_BASELINE_BYTES: Final = 4 << 20

MANIFEST: Final = "manifest.json"
GOLDEN: Final = "golden.npz"
BASELINE: Final = "baseline.json"
LABELS: Final = "labels.txt"
_TFLITE_MAGIC = b"TFL3"


class Golden(NamedTuple):
    """The self-test: raw windows, and what the model's output tensor must hold.

    Attributes:
        windows: float32 (n, *inputs.shape), raw sensor units.
        outputs: (n, *output shape), in the output tensor's own dtype.
        tolerance: the largest difference allowed, in steps of an integer
            output or absolute for a float one.
    """

    windows: Floats
    outputs: Array
    tolerance: float


class Bundle(NamedTuple):
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
        if archive is None or MANIFEST not in archive.names:
            raise BundleError(
                f"{where}: a plain .tflite without a manifest; edgeml.Model.load runs it as it is, "
                "`edgeml convert` makes a bundle of it"
            )
        text = archive.read(MANIFEST, MAX_MANIFEST_BYTES)
        manifest = Manifest.from_json(text, f"{where}: {MANIFEST}")
        digest = sha256_hex(tflite)
        if digest != manifest.tflite_sha256:
            raise BundleError(
                f"{where}: the model's SHA-256 is {digest[:16]}… but the manifest says "
                f"{manifest.tflite_sha256[:16]}…; the file is damaged, fetch it again"
            )
        golden = _read_golden(archive, manifest, where) if GOLDEN in archive.names else None
        baseline = _read_baseline(archive, where) if BASELINE in archive.names else None
        return cls(manifest, tflite, golden, baseline, sha256_hex(data), len(data))


def read_file(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a model file of at most 1 GiB.

    Raises:
        BundleError: there is no such file, it cannot be read, or it is too large.
    """
    where = os.fspath(path)
    try:
        with io.FileIO(where) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BUNDLE_BYTES:
                raise BundleError(f"{where}: {size} bytes; a bundle has at most {MAX_BUNDLE_BYTES}")
            return file.readall()[: MAX_BUNDLE_BYTES + 1]
    except OSError as exc:
        raise BundleError(f"{where}: cannot be read ({exc.strerror or exc})") from exc


def split(data: bytes, where: str = "bundle") -> tuple[bytes, Archive | None]:
    """Separate the model from the zip behind it.

    Returns:
        The model's bytes, and the archive or None for a plain `.tflite`.

    Raises:
        BundleError: not a TFLite file, or its zip is damaged or cut short.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise BundleError(f"{where}: {len(data)} bytes; a bundle has at most {MAX_BUNDLE_BYTES}")
    if len(data) < 8 or data[4:8] != _TFLITE_MAGIC:
        raise BundleError(
            f"{where}: not a TFLite file (bytes 4 to 8 should be 'TFL3'), which "
            "`edgeml convert` makes of a trained model"
        )
    start = zip_start(data, where)
    archive = None if start is None else Archive(data[start:], where)
    # A bundle that lost its zip's end, or its manifest's name, must not pass for a plain model.
    if (archive is None or MANIFEST not in archive.names) and _was_bundle(data, archive):
        raise BundleError(f"{where}: a bundle whose zip is cut short; fetch the file again")
    return data[:start], archive


def _was_bundle(data: bytes, archive: Archive | None) -> bool:
    if archive is not None and not {GOLDEN, BASELINE}.isdisjoint(archive.names):
        return True
    return holds_local_header(data, MANIFEST)


def _read_golden(archive: Archive, manifest: Manifest, where: str) -> Golden:
    content = archive.read(GOLDEN, MAX_GOLDEN_BYTES)
    where = f"{where}: {GOLDEN}"
    arrays = Archive(content, where)
    windows = _read_array(arrays, "windows.npy", where)
    outputs = _read_array(arrays, "outputs.npy", where)
    tolerance = _read_array(arrays, "tolerance.npy", where)
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


def _read_array(arrays: Archive, name: str, where: str) -> Array:
    content = arrays.read(name, MAX_GOLDEN_BYTES)
    try:
        return read_npy(content)
    except ValueError as exc:
        raise BundleError(f"{where}: {name} is damaged ({exc}); fetch the file again") from exc


def _read_baseline(archive: Archive, where: str) -> Mapping[str, Any]:
    content = archive.read(BASELINE, MAX_BASELINE_BYTES)
    try:
        baseline = json.loads(content, parse_constant=_not_a_number)
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"{where}: {BASELINE} is not JSON ({exc})") from exc
    if not isinstance(baseline, dict):
        raise BundleError(f"{where}: {BASELINE} is not a JSON object")
    return baseline


def _not_a_number(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


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
    model, _ = split(tflite, "model")
    manifest = manifest.replace(tflite_sha256=sha256_hex(model))
    members: dict[str, bytes] = {MANIFEST: manifest.to_json().encode()}
    if golden is not None:
        members[GOLDEN] = write_zip(
            {
                "windows.npy": write_npy(golden.windows),
                "outputs.npy": write_npy(golden.outputs),
                "tolerance.npy": write_npy(np.float64(golden.tolerance)),
            }
        )
    if baseline is not None:
        members[BASELINE] = json.dumps(baseline, allow_nan=False, separators=(",", ":")).encode()
    if manifest.outputs.labels:
        members[LABELS] = ("\n".join(manifest.outputs.labels) + "\n").encode()
    return model + write_zip(members)


def write_bundle(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all: a reader never sees half of it, nor does a power cut.

    Raises:
        BundleError: the folder is missing, not writable or full.
    """
    import tempfile
    from pathlib import Path

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
