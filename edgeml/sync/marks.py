"""What ingests have said on this line: who they are, what they have together, what to do about it.

An ingest that is new, or that has less than was confirmed before, may speak for a store that was
restored, replaced or failed over. Some seconds later, when others have spoken, too, what they
have is held against the disk. Until one has spoken live, the device is announced again.
"""

from dataclasses import dataclass
from typing import Final

from edgeml.sync.messages import Ack

AUDIT_DELAY_S: Final = 5.0
_INGESTS_REMEMBERED: Final = 8


@dataclass(slots=True)
class Marks:
    """The words of one connection.

    Attributes:
        trusted: one of them was live, and knew no more than this outbox gave.
        audit_s: when they are to be held against the disk; None for never.
        ask_s: when the device is to be announced again.
    """

    trusted: bool = False
    audit_s: float | None = None
    ask_s: float = 0.0
    _pause_s: float = 0.0
    _ingests: tuple[str, ...] = ()
    _greeters: tuple[str, ...] = ()
    _latest: Ack | None = None

    def restart(self, now_s: float, pause_s: float) -> None:
        """Another connection: nobody has spoken on it."""
        self._ingests = self._greeters = ()
        self.audit_s = None
        self._pause_s, self.ask_s = pause_s, now_s + pause_s

    def hear(self, ack: Ack, *, less: bool, now_s: float) -> bool:
        """Take in a word; whether it is the first of this ingest.

        Args:
            ack: what it says.
            less: it has less than was confirmed before, and no audit is due.
            now_s: the monotonic clock.
        """
        news = ack.ingest not in self._ingests
        # While an audit is due, what one ingest says late must not hide what another has stored.
        due = self.audit_s is not None
        self._latest = ack.joined(self._latest) if due and not news else ack
        if news:
            self._ingests = (*self._ingests, ack.ingest)[-_INGESTS_REMEMBERED:]
        if news or less:
            self.audit_s = now_s + AUDIT_DELAY_S
        return news

    def greets(self, ack: Ack) -> bool:
        """Whether an ingest says hello for the first time.

        Its first word may have been of rows that it got before it said hello.
        """
        if not ack.greeting or ack.ingest in self._greeters:
            return False
        self._greeters = (*self._greeters, ack.ingest)[-_INGESTS_REMEMBERED:]
        return True

    def audit(self, now_s: float) -> Ack | None:
        """What is to be held against the disk now, if anything."""
        if self.audit_s is None or now_s < self.audit_s:
            return None
        self.audit_s = None
        return self._latest

    def asked(self, now_s: float, longest_s: float) -> None:
        """The device was announced again: the next time twice as late."""
        self._pause_s = min(self._pause_s * 2, longest_s)
        self.ask_s = now_s + self._pause_s
