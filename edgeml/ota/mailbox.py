"""What `edgeml update` asks of a running device, and what that answers: two small files.

A request is one file in the folder of the updates, replaced whole; the device
takes it away when it begins with it, and leaves an answer that names it. Whoever
may write the folder may ask. The device looks for a request with every turn.
"""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeml.errors import UpdateError
from edgeml.jsonread import Fields
from edgeml.ota.disk import SystemDisk, replace
from edgeml.releases.document import read_document

VERBS: Final = ("check", "apply", "rollback", "pin", "unpin")
_MAX_BYTES: Final = 64 << 10
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for.

    Attributes:
        verb: one of `VERBS`.
        release: which release it is about; None for the one at hand.
        model: which model it is about; None for the only one.
        key: names the request.
    """

    verb: str
    release: str | None = None
    model: str | None = None
    key: str = ""


class Mailbox:
    """A folder's request and its answer."""

    def __init__(self, folder: Path) -> None:
        self._request = folder / "request.json"
        self._answer = folder / "answer.json"
        self._turnstile = folder / "request.lock"

    @property
    def waiting(self) -> bool:
        """Whether a request lies there."""
        return self._request.exists()

    def take(self) -> Request | None:
        """The request that lies there, which then is gone; None for none that makes sense."""
        if not self.waiting:
            return None
        try:
            try:
                data = self._request.read_bytes()
            finally:
                self._request.unlink()
            fields = Fields(read_document(data, "request", _MAX_BYTES), "request", UpdateError)
            return Request(
                fields.text("verb"),
                fields.optional_text("release"),
                fields.optional_text("model"),
                fields.text("key"),
            )
        except (OSError, UpdateError):
            return None

    def answer(self, request: Request, answer: Mapping[str, Any]) -> None:
        """Say what came of a request; a folder that cannot be written leaves it without."""
        data = json.dumps({"v": 1, "key": request.key, "answer": answer}).encode()
        try:
            replace(SystemDisk(), self._answer, data)
        except OSError as exc:
            raise UpdateError(f"disk: {self._answer} cannot be written ({exc.strerror})") from exc

    def ask(
        self, request: Request, timeout_s: float, sleep: Callable[[float], object] = time.sleep
    ) -> Mapping[str, Any]:
        """Ask the device that runs, and wait for its answer.

        Raises:
            UpdateError: it cannot be asked, or does not answer in time.
        """
        key = secrets.token_hex(8)
        document = {
            "v": 1,
            "verb": request.verb,
            "release": request.release,
            "model": request.model,
            "key": key,
        }
        try:
            file = os.open(self._turnstile, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise _not_allowed(self._request, exc) from exc
        give_up_s = time.monotonic() + timeout_s
        try:
            while not _locked(file):
                if time.monotonic() >= give_up_s:
                    raise UpdateError(
                        f"busy: another command waited for this device's answer for {timeout_s:g} s"
                    )
                sleep(_LOOK_S)
            replace(SystemDisk(), self._request, json.dumps(document).encode())
            while (found := self._answer_to(key)) is None:
                if time.monotonic() >= give_up_s:
                    self._request.unlink(missing_ok=True)
                    raise UpdateError(
                        f"the device has not answered within {timeout_s:g} s; it may be trying a "
                        "model out: ask again, or look with: edgeml update status"
                    )
                sleep(_LOOK_S)
            return found
        except OSError as exc:
            raise _not_allowed(self._request, exc) from exc
        finally:
            os.close(file)

    def _answer_to(self, key: str) -> Mapping[str, Any] | None:
        try:
            fields = Fields(
                read_document(self._answer.read_bytes(), "answer", _MAX_BYTES),
                "answer",
                UpdateError,
                ignore_unknown=True,
            )
        except (OSError, UpdateError):
            return None
        return fields.child("answer").raw if fields.text("key") == key else None


def _locked(file: int) -> bool:
    """Whether nobody else has the file's lock, which this process then has until it closes it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _not_allowed(path: Path, exc: OSError) -> UpdateError:
    return UpdateError(
        f"{path} cannot be written ({exc.strerror or exc}); ask as the user that the device "
        "runs as, or with sudo"
    )
