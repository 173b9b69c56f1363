"""The process that judges metadata: `python -m edgeml.ota.trustchild FD PARENT`.

Started by `trustprocess`. Reads its order from standard input, asks for
published files through the file descriptor it was given, and writes one answer
there. The memory that python-tuf and its cryptography take is back with the
system when it ends.
"""

import base64
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any, Final

from edgeml.errors import UpdateError, told
from edgeml.runtime.process import end_with, limit_process

CPU_S: Final = 120
MEMORY_MB: Final = 512
FILE_BYTES: Final = 64 << 20
SILENT_S: Final = 300
"""So long it may be busy with what it has; time that the network takes does not count."""


class Asking:
    """Published files, asked of the process that started this one."""

    def __init__(self, questions: IO[bytes], answers: IO[bytes]) -> None:
        self._questions = questions
        self._answers = answers

    def __call__(self, name: str) -> bytes | None:
        """A file by its name; None where it is not published."""
        self.say({"get": name})
        signal.alarm(0)
        try:
            line = self._answers.readline()
            if not line:
                raise UpdateError("the device ended")
            size = int(line)
            return None if size < 0 else self._answers.read(size)
        finally:
            signal.alarm(SILENT_S)

    def say(self, document: dict[str, Any]) -> None:
        """One line of JSON."""
        self._questions.write(json.dumps(document).encode() + b"\n")
        self._questions.flush()


def main(argv: list[str]) -> int:
    """Carry out one order; the exit status is 0 whenever an answer was written."""
    end_with(int(argv[1]))
    limit_process(CPU_S, MEMORY_MB, FILE_BYTES)
    signal.alarm(SILENT_S)  # nobody handles it, so it ends even what stands still in C
    answers = sys.stdin.buffer
    order = json.loads(answers.readline())
    with os.fdopen(int(argv[0]), "wb") as questions:
        asking = Asking(questions, answers)
        try:
            asking.say({"answer": _carry_out(order, asking)})
        except UpdateError as exc:
            asking.say(told(exc))
    return 0


def _carry_out(order: dict[str, Any], get: Asking) -> Any:
    from edgeml.ota.trust import Trust  # after the limits are set

    trust = Trust(Path(order["folder"]), base64.b64decode(order["root"]))
    if order["task"] == "index":
        return trust.index(get, order["release"]).encode().decode()
    names = tuple(order["names"])
    standing = trust.check(
        get, order["group"], names, order["now_s"], order["floor_s"], order["floor_root"]
    )
    return {
        "offers": {
            name: [
                offer.rule.encode().decode(),
                offer.bundle_digest,
                offer.bundle_bytes,
                offer.said_s,
            ]
            for name, offer in standing.offers.items()
        },
        "revoked": sorted(standing.revoked),
        "signed_s": standing.signed_s,
        "root_version": standing.root_version,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
