"""Many devices in one process: real sessions over real sockets, and little else.

What decides is the device's own code: `edgeml.sync.session.Session` says what
is sent, sent again and let go, rows and messages are encoded and read by the
device's modules. What a thousand devices cannot have on one machine is left
out: threads, paho and the outbox's file; rows wait in memory, as if each `put`
were durable at once. One thread, one epoll, MQTT 3.1.1.

    python benchmarks/fleet/clients.py PORT FLEET FIRST DEVICES SECONDS

Prints `ready` when all are connected, begins when a line comes in, and prints
one JSON object when every result is confirmed, or a minute later.
"""

import gc
import heapq
import json
import random
import resource
import select
import socket
import sys
import time
from collections import Counter, deque
from itertools import count
from time import monotonic

from packets import packet, taken, text

from edgeml.errors import ProtocolError
from edgeml.result import ModelRef, Result
from edgeml.sync import flow, topics
from edgeml.sync.batches import encode_batch
from edgeml.sync.messages import Receipt, Refusal, State, digest_of, encode_health, parse_answer
from edgeml.sync.rows import result_row
from edgeml.sync.session import Policy, Session
from edgeml.sync.spans import Spans

MODEL = ModelRef("activity", 3, "ab" * 32)
PERIOD_S = 1.0
HEALTH_S = 30.0
KEEPALIVE_S = 120
CONNECTS_PER_S = 400
DRAIN_S = 60.0
BATCH_ROWS = 512
TURNS_BEFORE_READING = 20
SLICE_S = 0.01


def score_of(seq: int) -> float:
    """What a result says, so that whoever finds it in the store can check it."""
    return seq * 7919 % 1000 / 1000


class Device:
    """One device: a socket, a session, and the rows that wait."""

    def __init__(self, name: str, fleet: str, port: int, lags: Counter[int]) -> None:
        self.name = name
        self.outbox = f"{random.getrandbits(64):016x}"
        self.session = Session(Policy(self.outbox, True, 16, 10.0, BATCH_ROWS), 1, 0, 0)
        self.rows: dict[int, bytes] = {}
        self.produced_s: dict[int, float] = {}
        self.next_seq = 1
        self.trusted = False
        self.up = False
        self.problems: list[str] = []
        self._lags = lags
        self._in = bytearray()
        self._out: deque[bytes] = deque()
        self._mid = 0
        self._topic = {
            channel: topics.device_topic(fleet, name, channel)
            for channel in (topics.STATE, topics.RESULTS, topics.HEALTH, topics.ACK)
        }
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        will = text(self._topic[topics.STATE]) + text(self._state(online=False))
        # Clean session, a retained will of QoS 1.
        head = text("MQTT") + bytes((4, 0b00101110)) + KEEPALIVE_S.to_bytes(2, "big")
        self._send(packet(0x10, head, text(name), will))

    @property
    def wants_to_write(self) -> bool:
        """Whether the socket was full."""
        return bool(self._out)

    def produce(self, now_s: float) -> None:
        """One more result."""
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        wall_s = time.time()
        score = score_of(seq)
        result = Result(
            MODEL, wall_s - 10, wall_s, "walking", score, (score, 1 - score), 11.5, 80.25, 3.0
        )
        self.rows[seq] = result_row(seq, result, seq, None)
        self.produced_s[seq] = now_s
        if self.up:
            self._tell(self._committed())

    def tick(self, now_s: float) -> None:
        """Whatever is due."""
        due_s = self.session.next_deadline_s()
        if due_s is not None and now_s >= due_s:
            self._tell(flow.Tick())

    def say_health(self) -> None:
        """What a device says every half a minute."""
        delivery = {"waiting_rows": len(self.rows), "oldest_age_s": 0.0}
        payload = encode_health(self.name, time.time(), {"delivery": delivery})
        self._send(packet(0x30, text(self._topic[topics.HEALTH]), payload))

    def write(self) -> None:
        """Send what the socket would not take before."""
        while self._out:
            data = self._out.popleft()
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self._out.appendleft(data[sent:])
                return

    def read(self) -> None:
        """Take what has come.

        Raises:
            ConnectionError: the broker has gone.
        """
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionError(f"{self.name}: the broker closed the connection")
        self._in += data
        while (whole := taken(self._in)) is not None:
            self._on_packet(*whole)

    def _on_packet(self, kind: int, body: bytes) -> None:
        if kind >> 4 == 2:  # CONNACK
            subscription = text(self._topic[topics.ACK]) + b"\1"
            self._send(packet(0x82, b"\0\1", subscription))
        elif kind >> 4 == 9:  # SUBACK
            self.up = True
            self._announce()
            self._tell(flow.Up(65535))
        elif kind >> 4 == 4:  # PUBACK
            self._tell(flow.Answered(int.from_bytes(body[:2], "big"), reached=True))
        elif kind >> 4 == 3:
            self._on_answer(body[2 + int.from_bytes(body[:2], "big") :], bool(kind & 1))

    def _on_answer(self, payload: bytes, retained: bool) -> None:
        try:
            answer = parse_answer(payload)
        except ProtocolError as exc:
            self.problems.append(str(exc))
            return
        if isinstance(answer, Refusal):
            self.problems.append(f"refused: {answer.reason}")
        elif isinstance(answer, Receipt):
            self._tell(flow.Stored(answer.digests))
        else:
            self._tell(flow.Acked(answer, retained))

    def _committed(self) -> flow.Committed:
        return flow.Committed(self.next_seq, Spans(), self.next_seq - 1 if self.trusted else 0)

    def _state(self, *, online: bool) -> bytes:
        return State(online, self.name, self.outbox, (1, 1), time.time(), "0", MODEL).encode()

    def _announce(self) -> None:
        self._publish(topics.STATE, self._state(online=True), retain=True)

    def _publish(self, channel: str, payload: bytes, *, retain: bool = False) -> int:
        self._mid = self._mid % 65535 + 1
        kind = 0x33 if retain else 0x32
        mid = self._mid.to_bytes(2, "big")
        self._send(packet(kind, text(self._topic[channel]), mid, payload))
        return self._mid

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        if len(self._out) == 1:
            self.write()

    def _tell(self, event: flow.Event) -> None:
        events: deque[flow.Event] = deque([event])
        while events:
            for effect in self.session.handle(events.popleft(), monotonic()):
                followed = self._carry_out(effect)
                if followed is not None:
                    events.append(followed)

    def _carry_out(self, effect: flow.Effect) -> flow.Event | None:
        if isinstance(effect, flow.Read):
            return self._send_rows(effect)
        if isinstance(effect, flow.LetGo):
            self._let_go(effect.acked)
        elif isinstance(effect, flow.Trust):
            self.trusted = True
            return self._committed()
        elif isinstance(effect, flow.Ask):
            self._announce()
        elif isinstance(effect, flow.Isolate):
            # Each row stands by itself here, so there is nothing to rewrite.
            vouched = self.next_seq - 1 if self.trusted else 0
            return flow.Committed(self.next_seq, Spans(), vouched, effect.spans)
        elif isinstance(effect, flow.Audit):
            stored = effect.ack.above.plus(1, effect.ack.mark)
            horizon = effect.ack.horizon(self.next_seq - 1)
            lost = [n for n in range(1, horizon + 1) if n not in stored and n not in self.rows]
            if lost:
                self.problems.append(f"the store lost {len(lost)} confirmed rows")
        else:
            self.problems.append(repr(effect))
        return None

    def _send_rows(self, read: flow.Read) -> flow.Event:
        if read.of_events or read.of_samples:
            return flow.Nothing(read)
        found = [
            seq
            for seq in self.rows
            if read.first <= seq <= read.last
            and seq not in read.skip
            and (read.only is None or seq in read.only)
        ][:BATCH_ROWS]
        wanted = _company(found, read.alone)
        if not wanted:
            return flow.Nothing(read)
        payload = encode_batch(self.outbox, MODEL, [self.rows[seq] for seq in wanted])
        token = self._publish(topics.RESULTS, payload)
        spans = Spans.of((seq, seq) for seq in wanted)
        return flow.Sent(read, token, spans, len(wanted), digest_of(payload))

    def _let_go(self, acked: Spans) -> None:
        now_s = monotonic()
        for seq in [seq for seq in self.rows if seq in acked]:
            del self.rows[seq]
            self._lags[round(1000 * (now_s - self.produced_s.pop(seq)))] += 1


def _company(seqs: list[int], alone: Spans) -> list[int]:
    """The first of these that may travel in one message."""
    for at, seq in enumerate(seqs):
        if seq in alone:
            return seqs[: max(at, 1)]
    return seqs


class Plant:
    """All devices, and when each has something to do."""

    def __init__(self, port: int, fleet: str, first: int, number: int) -> None:
        self.lags: Counter[int] = Counter()
        self._poll = select.epoll()
        self._devices: dict[int, Device] = {}
        self._full: set[int] = set()
        for n in range(number):
            device = Device(f"d{first + n:05d}", fleet, port, self.lags)
            self._devices[device.sock.fileno()] = device
            self._poll.register(device.sock.fileno(), select.EPOLLIN)
            if n % CONNECTS_PER_S == CONNECTS_PER_S - 1:
                self.serve(monotonic() + 1.0)

    @property
    def devices(self) -> list[Device]:
        """Every one."""
        return list(self._devices.values())

    def serve(self, until_s: float) -> None:
        """Let sockets live until then."""
        while (left_s := until_s - monotonic()) > 0:
            self._serve_once(left_s)

    def produce(self, seconds: float) -> None:
        """Let each device produce at its own moment of each period, and say how it is."""
        start_s = monotonic()
        order = count()
        heap: list[tuple[float, int, str, Device]] = []
        for n, device in enumerate(self.devices):
            first_s = start_s + PERIOD_S * n / len(self._devices)
            heap.append((first_s, next(order), "result", device))
            heap.append((first_s + HEALTH_S * random.random(), next(order), "health", device))
            heap.append((first_s + random.random(), next(order), "tick", device))
        heap = [entry for entry in heap if entry[0] < start_s + seconds]
        heapq.heapify(heap)
        again_s = {"result": PERIOD_S, "health": HEALTH_S, "tick": 1.0}
        while heap:
            due_s, _, what, device = heap[0]
            now_s = monotonic()
            if due_s > now_s:
                # In slices, because to wake up for each packet costs more than the packet does.
                time.sleep(SLICE_S)
                self._serve_once(0.0)
                continue
            if what == "result":
                device.produce(due_s)
            elif what == "health":
                device.say_health()
            else:
                device.tick(now_s)
            following = (due_s + again_s[what], next(order), what, device)
            if following[0] < start_s + seconds:
                heapq.heapreplace(heap, following)
            else:
                heapq.heappop(heap)
            self._note_full(device)
            if not next(order) % TURNS_BEFORE_READING:
                # Who is behind in producing must read all the same.
                self._serve_once(0.0)

    def drain(self, seconds: float) -> None:
        """Wait until everything is confirmed, at most so long."""
        end_s = monotonic() + seconds
        while any(device.rows for device in self.devices) and monotonic() < end_s:
            self.serve(min(monotonic() + 0.5, end_s))
            for device in self.devices:
                device.tick(monotonic())
                self._note_full(device)

    def _serve_once(self, timeout_s: float) -> None:
        for number, flags in self._poll.poll(timeout_s):
            device = self._devices[number]
            if flags & select.EPOLLOUT:
                device.write()
            if flags & ~select.EPOLLOUT:
                device.read()
            self._note_full(device)

    def _note_full(self, device: Device) -> None:
        number = device.sock.fileno()
        if device.wants_to_write != (number in self._full):
            flags = select.EPOLLIN | (select.EPOLLOUT if device.wants_to_write else 0)
            self._poll.modify(number, flags)
            self._full ^= {number}


def main() -> None:
    """Connect, produce, wait for the last confirmation, and say how it went."""
    port, fleet, first, number = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    seconds = float(sys.argv[5])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    plant = Plant(int(port), fleet, first, number)
    patience_s = monotonic() + 60
    while not all(d.trusted for d in plant.devices) and monotonic() < patience_s:
        plant.serve(monotonic() + 0.2)
        for device in plant.devices:
            device.tick(monotonic())
    gc.freeze()  # the devices stay, so nobody need look through them for rubbish
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.0)[0]:
        plant.serve(monotonic() + 0.05)
    before = resource.getrusage(resource.RUSAGE_SELF)
    plant.produce(seconds)
    used = resource.getrusage(resource.RUSAGE_SELF)
    plant.drain(DRAIN_S)
    document = {
        "produced": {device.name: device.next_seq - 1 for device in plant.devices},
        "waiting": {d.name: list(d.rows) for d in plant.devices if d.rows},
        "sent_again": sum(device.session.resends for device in plant.devices),
        "problems": [p for device in plant.devices for p in device.problems][:20],
        "lags_ms": sorted(plant.lags.items()),
        "cpu_s": round(used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime, 2),
    }
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main()
