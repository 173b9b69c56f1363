"""Where a model comes from: a bundle, or a plain .tflite that must do without a manifest.

A plain file gets the manifest that its tensors and its last operator suggest: a
softmax classifies, a detection operator detects, anything else gives numbers.
It takes its window as the input tensor's real numbers, so integer inputs are
quantised and integer outputs dequantised as in a bundle.
"""

import math
import os
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from edgeml.bundle import MANIFEST, Bundle, read_file, split
from edgeml.digest import sha256_hex
from edgeml.errors import BundleError
from edgeml.manifest import MAX_ELEMENTS, InputSpec, Manifest, OutputSpec, channels
from edgeml.runtime.graph import DETECTION_OP, Graph, read_graph
from edgeml.runtime.tensors import TensorSpec

_EPOCH: Final = "1970-01-01T00:00:00Z"


class Source(NamedTuple):
    """A model file, read and checked as far as that goes without an interpreter.

    Attributes:
        name: of the file, for messages.
        tflite: the model.
        manifest: None for a plain .tflite.
        graph: what the file says of itself.
        sha256: of the whole file, in hex.
        size_bytes: of the whole file.
        baseline: the monitoring reference of a bundle that has one.
    """

    name: str
    tflite: bytes
    manifest: Manifest | None
    graph: Graph
    sha256: str
    size_bytes: int
    baseline: Mapping[str, Any] | None = None


def read_source(source: str | os.PathLike[str] | bytes | Bundle) -> Source:
    """Read a model file.

    Raises:
        BundleError: it cannot be read, or is neither a bundle nor a .tflite.
    """
    if isinstance(source, Bundle):
        return _from_bundle(source, source.manifest.name)
    if isinstance(source, bytes):
        name, data = "model", source
    else:
        name, data = os.fspath(source), read_file(source)
    if is_bundle(data, name):
        return _from_bundle(Bundle.from_bytes(data, name), name)
    tflite, _ = split(data, name)
    graph = read_graph(tflite, name)
    return Source(name, tflite, None, graph, sha256_hex(data), len(data))


def is_bundle(data: bytes, name: str = "model") -> bool:
    """Whether the file carries a manifest; a zip without one is another tool's metadata.

    Raises:
        BundleError: not a .tflite at all, or its zip is damaged.
    """
    _, archive = split(data, name)
    return archive is not None and MANIFEST in archive.names


def _from_bundle(bundle: Bundle, name: str) -> Source:
    graph = read_graph(bundle.tflite, name)
    return Source(
        name,
        bundle.tflite,
        bundle.manifest,
        graph,
        bundle.sha256,
        bundle.size_bytes,
        bundle.baseline,
    )


def manifest_for(source: Source, given: TensorSpec, outputs: tuple[TensorSpec, ...]) -> Manifest:
    """A manifest for a plain .tflite.

    Raises:
        BundleError: its input has no shape that a window could have.
    """
    shape = given.shape[1:] if given.shape[:1] == (1,) else given.shape
    shape = shape or (1,)
    if min(shape) < 1 or math.prod(shape) > MAX_ELEMENTS:
        raise BundleError(f"{source.name}: input {given.name!r} has the shape {list(given.shape)}")
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", re.split(r"[/\\]", source.name)[-1].partition(".")[0])[
        :64
    ]
    spec = _output_spec(source.graph, outputs)
    return Manifest(
        name=stem or "model",
        version=1,
        task=spec.task,
        created=_EPOCH,
        description="a plain .tflite without a manifest",
        tflite_sha256=sha256_hex(source.tflite),
        inputs=InputSpec(
            channels=channels([f"x{i}" for i in range(shape[-1])]),
            sample_rate_hz=None,
            window=shape[0],
            stride=shape[0],
            shape=shape,
        ),
        outputs=spec,
    )


def _output_spec(graph: Graph, outputs: tuple[TensorSpec, ...]) -> OutputSpec:
    if DETECTION_OP in graph.final_ops:
        return OutputSpec("detection")
    if len(outputs) == 1 and graph.final_ops[0] == "SOFTMAX":
        return OutputSpec("classification", tuple(str(i) for i in range(outputs[0].size)))
    return OutputSpec("embedding")
