"""A microcontroller at the other end of a serial line, over a pseudo-terminal."""

import os
import threading


class FakeBoard:
    """Prints what it is told to; `port` is what `SerialLines` opens."""

    def __init__(self) -> None:
        import pty  # POSIX only

        self._main, self._far = pty.openpty()
        self.port = os.ttyname(self._far)
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print, or nothing when it is unplugged."""
        with self._lock:
            if self._main >= 0:
                os.write(self._main, text.encode())

    def unplug(self) -> None:
        """Hang up; harmless when it has."""
        with self._lock:
            for fd in (self._main, self._far):
                if fd >= 0:
                    os.close(fd)
            self._main = self._far = -1
