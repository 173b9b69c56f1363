"""`Trust` in a process that lasts for one question, so that a device does not hold what it needs.

python-tuf with its cryptography is 13 MiB that a device would keep for a look
an hour; and bytes that nobody trusts are parsed where limits on memory, CPU and
the wall clock hold. The child asks for published files line by line, this side fetches them.
"""

import base64
import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any, Final

from edgeml.errors import TrustError, UpdateError, retold
from edgeml.ota.standing import Get, Offer, Standing
from edgeml.releases.index import MAX_INDEX_BYTES, ReleaseIndex
from edgeml.releases.rollout import Rule
from edgeml.runtime.process import module_command

CHILD: Final = "edgeml.ota.trustchild"
_MAX_LINE_BYTES: Final = 2 * MAX_INDEX_BYTES
_LAST_WORDS_S: Final = 5.0


class TrustProcess:
    """What `ota.trust.Trust` does, each time in a process of its own.

    Args:
        folder: for the metadata that was believed last; made if it is not there.
        root: the first root, as its owner gave it to this device.

    Raises:
        TrustError: that root is plainly none; its signatures are looked at with each check.
    """

    def __init__(self, folder: Path, root: bytes) -> None:
        self._folder = folder
        self._root = root
        try:
            role = json.loads(root)["signed"]["_type"]
        except (ValueError, KeyError, TypeError) as exc:
            raise _no_root(f"{type(exc).__name__}: {exc}") from exc
        if role != "root":
            raise _no_root(f"it is {role!r}")

    def check(
        self,
        get: Get,
        group: str,
        names: tuple[str, ...],
        now_s: float,
        floor_s: float,
        floor_root: int | None = None,
    ) -> Standing:
        """Learn what the publisher says, as far as it is proven.

        Args:
            get: where published files come from.
            group: this device's.
            names: of the models it runs.
            now_s: unix time by the machine's clock.
            floor_s: the latest signed time that was ever seen.
            floor_root: the version of the root under which it was, as for `Trust.check`.

        Raises:
            TrustError: it is not proven, as `Trust.check` says.
            UpdateError: nothing could be learnt, or the process died of it.
        """
        order = {
            "group": group,
            "names": names,
            "now_s": now_s,
            "floor_s": floor_s,
            "floor_root": floor_root,
        }
        found = self._ask("check", order, get)
        offers = {
            name: Offer(Rule.parse(rule.encode()), *more)
            for name, (rule, *more) in found["offers"].items()
        }
        return Standing(
            offers, frozenset(found["revoked"]), found["signed_s"], found["root_version"]
        )

    def index(self, get: Get, release: str) -> ReleaseIndex:
        """The index of a release, as the targets role signed it.

        Raises:
            TrustError: it is not proven.
            UpdateError: it is signed, and still none; or the process died of it.
        """
        return ReleaseIndex.parse(self._ask("index", {"release": release}, get).encode())

    def _ask(self, task: str, order: dict[str, Any], get: Get) -> Any:
        root = base64.b64encode(self._root).decode()
        whole = {"task": task, "folder": str(self._folder.absolute()), "root": root, **order}
        given, answered = os.pipe()
        asked, asking = os.pipe()
        with (
            tempfile.TemporaryFile() as said,
            os.fdopen(asked, "rb") as questions,
            os.fdopen(answered, "wb") as answers,
        ):
            try:
                child = subprocess.Popen(
                    [*module_command(CHILD), str(asking), str(os.getpid())],
                    stdin=given,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    pass_fds=(asking,),
                    start_new_session=True,
                )
            finally:
                os.close(given)
                os.close(asking)
            try:
                with contextlib.suppress(BrokenPipeError):  # it died while it was answered
                    found = _converse(questions, answers, whole, get)
                    if found is not None:
                        return found
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_LAST_WORDS_S)
            finally:
                child.kill()  # whatever ends this ends it: it has nothing left to do
                status = child.wait()
                with contextlib.suppress(BrokenPipeError):
                    answers.close()
            said.seek(0)
            last = said.read().decode(errors="replace").strip().rpartition("\n")[2][:200]
        raise UpdateError(
            "the process that looks at what is published ended without an answer "
            f"(status {status}{': ' if last else ''}{last})"
        )


def _converse(questions: IO[bytes], answers: IO[bytes], order: dict[str, Any], get: Get) -> Any:
    """Give the order and every file that is asked for; the answer, or None where none came.

    Raises:
        UpdateError: what the child refused.
        BrokenPipeError: the child is gone.
    """
    answers.write(json.dumps(order).encode() + b"\n")
    answers.flush()
    while (line := questions.readline(_MAX_LINE_BYTES)).endswith(b"\n"):
        document = json.loads(line)
        if "get" not in document:
            return _understand(document)
        data = get(document["get"])
        answers.write(b"-1\n" if data is None else b"%d\n" % len(data))
        answers.write(data or b"")
        answers.flush()
    return None


def _understand(document: dict[str, Any]) -> Any:
    if "error" not in document:
        return document["answer"]
    raise retold(document, UpdateError)


def _no_root(why: str) -> TrustError:
    return TrustError(f"root: the root file is not TUF root metadata ({why})")
