"""Which entries make one message: of one kind and one model, as many as it holds."""

from typing import Final

from edgeml.sync.channels import kinds_of
from edgeml.sync.entries import Entry, Kind
from edgeml.sync.flow import Read
from edgeml.sync.outbox import Outbox

_ENTRIES_AT_ONCE: Final = 64


def gather(outbox: Outbox, read: Read, limit_bytes: int, most_rows: int) -> list[Entry] | None:
    """The entries that answer a read; None where the first is longer than a message.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    first, last = read.first, read.last
    gathered: list[Entry] = []
    size = rows = 0
    while first <= last:
        found = outbox.read(
            kinds_of(read), first, last, descending=read.descending, limit=_ENTRIES_AT_ONCE
        )
        for entry in found:
            if not _wanted(entry, read):
                continue
            if len(entry.body) > limit_bytes:
                return gathered or None
            size += len(entry.body)
            rows += entry.last - entry.seq + 1 if entry.kind is not Kind.GAP else 1
            full = size > limit_bytes or rows > most_rows
            alone = read.alone.touches(entry.seq, entry.last)
            if gathered and (full or alone or entry.model != gathered[0].model):
                return gathered
            gathered.append(entry)
            if alone:
                return gathered
        if len(found) < _ENTRIES_AT_ONCE:
            break
        if read.descending:
            last = found[-1].seq - 1
        else:
            first = found[-1].last + 1
    return gathered


def _wanted(entry: Entry, read: Read) -> bool:
    if read.skip.touches(entry.seq, entry.last):
        return False
    return read.only is None or read.only.touches(entry.seq, entry.last)
