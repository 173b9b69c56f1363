"""A conversion as one page that needs no network, from which somebody decides in a minute."""

import os
from pathlib import Path

from edgeml.bundle import Bundle
from edgeml.errors import ConversionError
from edgeml_converters.outcome import Conversion
from edgeml_converters.report.page import render


def write_report(conversion: Conversion, path: str | os.PathLike[str]) -> None:
    """Write the page.

    Raises:
        ConversionError: it cannot be written there.
    """
    manifest = Bundle.from_bytes(conversion.bundle).manifest
    text = render(conversion, manifest.name, manifest.version)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConversionError(
            f"{os.fspath(path)}: the report cannot be written ({exc.strerror or exc})"
        ) from exc


__all__ = ["render", "write_report"]
