"""Looks into a SavedModel before TensorFlow does, because its graph is a program.

Refused here: what is no such file, and operators that reach out of the model,
to files or to Python. No trained model needs one to answer.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from edgeml.errors import ConversionError
from edgeml_converters.lite import tensorflow

MAX_BYTES: Final = 2 << 30
"""What one protocol buffer can hold."""

OUTSIDE: Final = frozenset(
    (
        *("ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2"),
        *("TextLineReader", "TextLineReaderV2", "TFRecordReader", "TFRecordReaderV2"),
        *("FixedLengthRecordReader", "FixedLengthRecordReaderV2", "IdentityReader"),
        *("TFRecordDataset", "TFRecordDatasetV2", "TextLineDataset", "FixedLengthRecordDataset"),
        *("FixedLengthRecordDatasetV2", "SaveDataset", "SaveDatasetV2", "LoadDataset"),
        *("PyFunc", "PyFuncStateless", "EagerPyFunc", "RpcCall", "RpcClient", "RpcServer"),
        *("DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DumpTensor", "SummaryWriter"),
    )
)
"""Operators that read or write files, call Python, or send what they see elsewhere."""


def check(path: Path) -> None:
    """Object to a `saved_model.pb` that should not be loaded.

    Raises:
        ConversionError: why.
    """
    tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConversionError(f"{path}: {size} bytes; no SavedModel is larger than {MAX_BYTES}")
        parsed = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except OSError as exc:
        raise ConversionError(f"{path}: cannot be read ({exc.strerror or exc})") from exc
    except (DecodeError, RecursionError, MemoryError) as exc:
        raise ConversionError(f"{path}: damaged (no SavedModel in it); fetch it again") from exc
    found = sorted({node.op for node in _nodes(parsed)} & OUTSIDE)
    if found:
        raise ConversionError(
            f"{path}: it uses {', '.join(found)}, which reach out of the model when it runs; "
            "export it again without them"
        )


def _nodes(parsed: Any) -> Iterator[Any]:
    for meta in parsed.meta_graphs:
        yield from meta.graph_def.node
        for function in meta.graph_def.library.function:
            yield from function.node_def
