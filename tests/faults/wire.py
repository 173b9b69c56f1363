"""A wire between two network namespaces that loses, delays and swallows packets.

Each end is a TUN interface in a namespace of its own, and this process carries
every IP packet between them. So the kernels' own TCP meets loss, delay, and
above all silence: a line cut here sends nobody a reset, as when a radio fades
or a router forgets a connection. (tc's netem does the same, where the kernel has it.)
"""

import fcntl
import heapq
import os
import random
import secrets
import select
import struct
import subprocess
import threading
import time
from pathlib import Path

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_TCP = 6
_PACKET_BYTES = 65536
_POLL_S = 0.05


class NoWireError(Exception):
    """This machine has no namespaces or TUN interfaces for us."""


class Wire:
    """Two namespaces, `near` and `far`, and what is between them.

    Args:
        seed: which packets get lost follows from it.

    Attributes:
        far_address: the far end, as seen from the near one.
        loss: the share of packets that get lost.
        delay_s: how long each takes.
        cut: nothing passes, and nobody is told.
        lost: packets that did not pass.
    """

    far_address = "10.77.0.1"

    def __init__(self, seed: str) -> None:
        self.loss = 0.0
        self.delay_s = 0.0
        self.cut = False
        self.lost = 0
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        self._forgotten: set[int] = set()
        self._closing = threading.Event()
        tag = secrets.token_hex(3)
        self.near, self.far = f"edgeml-n{tag}", f"edgeml-f{tag}"
        self._ends: list[int] = []
        try:
            for name, address in ((self.near, "10.77.0.2"), (self.far, self.far_address)):
                self._ends.append(_end(name, f"edgt{tag}{name[7]}", address))
        except (OSError, subprocess.CalledProcessError) as exc:
            self._remove()
            raise NoWireError(f"no network namespaces with TUN interfaces here: {exc}") from exc
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def inside(self, namespace: str, *command: object) -> list[str]:
        """The command that runs another in a namespace."""
        return ["ip", "netns", "exec", namespace, *(str(part) for part in command)]

    def forget(self) -> None:
        """Swallow whatever belongs to a connection that exists now; new ones pass."""
        with self._lock:
            self._forgotten |= self._seen

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._remove()

    def _remove(self) -> None:
        for end in self._ends:
            os.close(end)
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def _carry(self) -> None:
        near, far = self._ends
        waiting: list[tuple[float, int, int, bytes]] = []
        count = 0
        while not self._closing.is_set():
            due_s = waiting[0][0] - time.monotonic() if waiting else _POLL_S
            for end in select.select([near, far], [], [], min(max(due_s, 0.0), _POLL_S))[0]:
                packet = os.read(end, _PACKET_BYTES)
                if self._passes(packet, near_to_far=end == near):
                    count += 1
                    arrival_s = time.monotonic() + self.delay_s
                    heapq.heappush(
                        waiting, (arrival_s, count, far if end == near else near, packet)
                    )
                else:
                    self.lost += 1
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(waiting)
                os.write(end, packet)

    def _passes(self, packet: bytes, *, near_to_far: bool) -> bool:
        head = (packet[0] & 15) * 4
        if packet[0] >> 4 != 4 or packet[9] != _TCP:
            return True
        source, target = struct.unpack_from(">HH", packet, head)
        with self._lock:
            port = source if near_to_far else target
            self._seen.add(port)
            if port in self._forgotten:
                return False
        return not self.cut and self._rng.random() >= self.loss


def _end(namespace: str, name: str, address: str) -> int:
    """A TUN interface in a new namespace; the descriptor by which its packets come and go."""
    if not Path("/dev/net/tun").exists():
        raise OSError("there is no /dev/net/tun")
    _ip("netns", "add", namespace)
    end = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN_NO_PI))
        _ip("link", "set", name, "netns", namespace)
        _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", name)
        for link in ("lo", name):
            _ip("-n", namespace, "link", "set", link, "up")
    except BaseException:
        os.close(end)
        raise
    return end


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
