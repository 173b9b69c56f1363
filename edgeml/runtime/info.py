"""What was loaded and how it runs: for `edgeml inspect`, birth messages and bug reports."""

from typing import Any, NamedTuple

from edgeml.manifest import Manifest
from edgeml.runtime.backend import Backend
from edgeml.runtime.source import Source


class ModelInfo(NamedTuple):
    """Facts about a loaded model.

    Attributes:
        name: of the model.
        version: of the model.
        task: of the model.
        digest: SHA-256 of the whole file, in hex.
        size_bytes: of the whole file.
        bundle: whether the file has a manifest of its own.
        backend: the interpreter's short name.
        backend_version: of its package.
        threads: that it computes with.
        delegate: in use; None for none.
        delegate_error: why the delegate asked for is not in use; None where it is.
        operators: the distinct operators of the graph.
        input: its name, shape, dtype, scale and zero point.
        outputs: the same of each output.
        load_ms: what reading and opening took.
    """

    name: str
    version: int
    task: str
    digest: str
    size_bytes: int
    bundle: bool
    backend: str
    backend_version: str
    threads: int
    delegate: str | None
    delegate_error: str | None
    operators: tuple[str, ...]
    input: dict[str, Any]
    outputs: tuple[dict[str, Any], ...]
    load_ms: float

    @classmethod
    def of(
        cls,
        source: Source,
        manifest: Manifest,
        backend: Backend,
        delegate_error: str | None,
        load_ms: float,
    ) -> "ModelInfo":
        """The facts of one loading."""
        return cls(
            name=manifest.name,
            version=manifest.version,
            task=manifest.task,
            digest=source.sha256,
            size_bytes=source.size_bytes,
            bundle=source.manifest is not None,
            backend=backend.name,
            backend_version=backend.version,
            threads=backend.threads,
            delegate=backend.delegate,
            delegate_error=delegate_error,
            operators=source.graph.op_names,
            input=backend.input.as_dict(),
            outputs=tuple(tensor.as_dict() for tensor in backend.outputs),
            load_ms=load_ms,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return self._asdict()
