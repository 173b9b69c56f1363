"""What a release and a published file are called, on every transport.

A published file has the same relative name everywhere: the end of an MQTT
topic, of a URL, of a path. Only names made or checked here become paths, so
nothing that a server says can name a place outside.
"""

import re
from typing import Final

from edgeml.errors import UpdateError

TIMESTAMP: Final = "tuf/timestamp"
METADATA: Final = "tuf/bundle"
DEFAULT_GROUP: Final = "default"
MAX_VERSION: Final = (1 << 53) - 1

SIGNED_S: Final = "edgeml_signed_s"
"""The field of TUF's timestamp that says when it was signed; other clients pass over it."""

REVOKED: Final = "revoked.json"
"""The TUF target that lists the revoked releases, in its file and in its `custom`."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RELEASE: Final = re.compile(r"([A-Za-z0-9_-]{1,64})-([1-9][0-9]{0,15})")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def release_id(name: str, version: int) -> str:
    """`activity-2`.

    Raises:
        UpdateError: the name or the version is none that a bundle can have.
    """
    checked_name(name, "release name")
    if isinstance(version, bool) or not 0 < version <= MAX_VERSION:
        raise UpdateError(f"release version {version} should be a whole number from 1")
    return f"{name}-{version}"


def parse_release_id(text: str) -> tuple[str, int]:
    """The name and the version in a release id.

    Raises:
        UpdateError: it is not one.
    """
    found = _RELEASE.fullmatch(text)
    if found is None or int(found[2]) > MAX_VERSION:
        raise UpdateError(f"{text[:99]!r} is not a release; expected NAME-VERSION, as activity-2")
    return found[1], int(found[2])


def checked_name(name: str, what: str) -> str:
    """The name of a model or a group: 1 to 64 letters, digits, `_` or `-`.

    Raises:
        UpdateError: it is something else.
    """
    if not _NAME.fullmatch(name):
        raise UpdateError(f"{what} {name[:99]!r} should be 1 to 64 letters, digits, '_' or '-'")
    return name


def checked_digest(digest: str) -> str:
    """A SHA-256 in lower-case hex.

    Raises:
        UpdateError: it is something else.
    """
    if not _DIGEST.fullmatch(digest):
        raise UpdateError(f"{digest[:99]!r} is not a SHA-256 in hex")
    return digest


def file_name(digest: str) -> str:
    """Where a chunk or a TUF target file is published: `c/SHA256`, of its plain bytes."""
    return f"c/{checked_digest(digest)}"


def release_target(release: str) -> str:
    """The TUF target that holds a release's index: `releases/activity-2`."""
    parse_release_id(release)
    return f"releases/{release}"


def rollout_target(group: str, name: str) -> str:
    """The TUF target that holds a model's rule in one group: `rollouts/default/activity`."""
    return f"rollouts/{checked_name(group, 'group')}/{checked_name(name, 'release name')}"
