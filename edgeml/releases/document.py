"""One JSON object of version 1, read within a bound."""

import json
from typing import Any

from edgeml.errors import UpdateError


def read_document(data: bytes, what: str, limit_bytes: int) -> dict[str, Any]:
    """The object.

    Raises:
        UpdateError: it is larger, no JSON object, or of another version.
    """
    if len(data) > limit_bytes:
        raise UpdateError(f"{what}: {len(data)} bytes; at most {limit_bytes} are read")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UpdateError(f"{what} is not JSON ({exc})") from exc
    if not isinstance(document, dict):
        raise UpdateError(f"{what} is not a JSON object")
    if document.get("v") != 1:
        raise UpdateError(f"{what} is of version {document.get('v')!r}; upgrade edgeml to read it")
    return document
