"""The metadata bundle: the exact bytes of everything that a TUF client asks for, in one file.

A client of TUF asks for one root after the other until one is missing. With
every root in one retained message "missing" is known at once and needs no
timeout. The bundle itself is not signed and need not be: each file in it is.
"""

import re
from collections.abc import Mapping
from typing import Final

from edgeml.errors import UpdateError
from edgeml.releases.chunk import decode_file
from edgeml.releases.document import read_document

MAX_METADATA_BYTES: Final = 4 << 20
MAX_FILES: Final = 1000
_FILE: Final = re.compile(r"timestamp\.json|[1-9][0-9]{0,9}\.(root|snapshot|targets|rollout)\.json")


def parse_metadata(encoded: bytes) -> dict[str, bytes]:
    """The files in a published bundle, by name; none of them is trusted yet.

    Raises:
        UpdateError: it is damaged or exceeds a bound.
    """
    plain = decode_file(encoded, MAX_METADATA_BYTES)
    texts = read_document(plain, "metadata bundle", MAX_METADATA_BYTES).get("files")
    if not isinstance(texts, dict) or not all(isinstance(t, str) for t in texts.values()):
        raise UpdateError("metadata bundle: its files are not texts")
    try:
        files = {str(name): text.encode() for name, text in texts.items()}
    except UnicodeEncodeError as exc:
        raise UpdateError(f"metadata bundle: a file is not UTF-8 ({exc})") from exc
    check_files(files)
    return files


def check_files(files: Mapping[str, bytes]) -> None:
    """See that these are files of TUF's, and not too many.

    Raises:
        UpdateError: they are not.
    """
    if len(files) > MAX_FILES:
        raise UpdateError(f"metadata bundle: {len(files)} files; at most {MAX_FILES} are read")
    for name in files:
        if not _FILE.fullmatch(name):
            raise UpdateError(f"metadata bundle: {name[:99]!r} is not a file of TUF's")
