"""How rows get into a PostgreSQL store, table by table; each of these runs inside a transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Connection, Cursor, sql

from edgeml.errors import StoreError
from edgeml.fleet.accounting import News
from edgeml.fleet.batches import ResultRow
from edgeml.fleet.postgres_read import spans_of
from edgeml.fleet.postgres_schema import SCHEMA, day_of, partition_name
from edgeml.fleet.store import Intake, Letter
from edgeml.result import ModelRef
from edgeml.sync.messages import State

Key = tuple[str, str]
"""A device and one of its outboxes."""

Model = tuple[str, int, str]
"""A model's name, version and digest."""

_COPY_RESULTS: Final = (
    "COPY {} (outbox_id, seq, model_id, received_s, start_s, end_s, label, score, outputs, "
    'pre_us, invoke_us, post_us, "window", extra) FROM STDIN'
)
REGISTER: Final = (
    "INSERT INTO edgeml.outboxes (device, outbox, seen_s) "
    "SELECT device, outbox, -1 FROM unnest(%s::text[], %s::text[]) AS k(device, outbox) "
    "ON CONFLICT (device, outbox) DO NOTHING"
)
LOCK: Final = (
    "SELECT o.id, o.device, o.outbox, o.mark, o.above "
    "FROM unnest(%s::text[], %s::text[]) AS k(device, outbox) "
    "JOIN edgeml.outboxes o ON o.device = k.device AND o.outbox = k.outbox "
    "ORDER BY o.id FOR UPDATE OF o"
)
_SETTLE: Final = """
    UPDATE edgeml.outboxes o SET seen_s = greatest(o.seen_s, %s),
        mark = n.mark, above = n.above::bigint[],
        results = o.results + n.results, missing = o.missing + n.missing,
        last_end_s = CASE WHEN n.seq > o.last_seq THEN n.end_s ELSE o.last_end_s END,
        last_label = CASE WHEN n.seq > o.last_seq THEN n.label ELSE o.last_label END,
        last_seq = greatest(o.last_seq, n.seq)
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::float8[], %s::text[]) AS n(id, mark, above, results, missing, seq, end_s, label)
    WHERE o.id = n.id
"""
MODELS: Final = (
    "SELECT m.id, m.name, m.version, m.digest "
    "FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS k(name, version, digest) "
    "JOIN edgeml.models m ON m.name = k.name AND m.version = k.version AND m.digest = k.digest"
)
REGISTER_MODELS: Final = (
    "INSERT INTO edgeml.models (name, version, digest) "
    "SELECT name, version, digest FROM unnest(%s::text[], %s::bigint[], %s::text[]) "
    "AS k(name, version, digest) ON CONFLICT (name, version, digest) DO NOTHING"
)
_TOUCH: Final = (
    "INSERT INTO edgeml.devices AS d (device, seen_s) VALUES (%s, %s) "
    "ON CONFLICT (device) DO UPDATE SET seen_s = greatest(d.seen_s, excluded.seen_s)"
)
_NOTE_STATE: Final = (
    # A will or a retained birth of an older session must not hide a newer one.
    "UPDATE edgeml.devices SET online = %(online)s, outbox = %(outbox)s, boots = %(boots)s, "
    "connections = %(connections)s, state_s = %(time_s)s, version = %(version)s, "
    "model = coalesce(%(model)s, model) WHERE device = %(device)s AND "
    "(outbox <> %(outbox)s OR (boots, connections) <= (%(boots)s, %(connections)s))"
)


class AnewError(StoreError):
    """What was looked up is not there any more: somebody restored the database under us."""


@dataclass(frozen=True, slots=True)
class Account:
    """One outbox within one transaction, its row locked."""

    outbox_id: int
    news: News


def accounts_of(locked: Cursor[Any] | None, keys: Sequence[Key]) -> dict[Key, Account]:
    """What each of these outboxes accounts for, from what `LOCK` found.

    Raises:
        AnewError: one of them is gone.
    """
    found = [] if locked is None else locked.fetchall()
    if len(found) < len(keys):
        raise AnewError("an outbox is not registered any more")
    return {
        (device, outbox): Account(outbox_id, News(spans_of(mark, above)))
        for outbox_id, device, outbox, mark, above in found
    }


def numbers_of(named: Cursor[Any] | None, models: set[Model]) -> dict[Model, int]:
    """Under which number each model stands, from what `MODELS` found.

    Raises:
        AnewError: one of them is gone.
    """
    found = [] if named is None else named.fetchall()
    if len(found) < len(models):
        raise AnewError("a model is not registered any more")
    return {(name, version, digest): number for number, name, version, digest in found}


def copy(db: Connection[Any], rows: Sequence[tuple[object, ...]], received_s: float) -> None:
    """Copy rows made by `flat` into the partition of their day."""
    if not rows:
        return
    table = sql.Identifier(SCHEMA, partition_name("result_rows", day_of(received_s)))
    with db.cursor() as cursor, cursor.copy(sql.SQL(_COPY_RESULTS).format(table)) as copy:
        for row in rows:
            copy.write_row(row)


def settle(db: Connection[Any], accounts: Sequence[Account], received_s: float) -> None:
    """Write back what each outbox accounts for, and how many and which is the newest."""
    if not accounts:
        return
    lines = []
    for account in accounts:
        news = account.news
        mark = news.after.reach()
        pairs = ",".join(f"{first},{last}" for first, last in news.after.above(mark).ranges)
        latest = news.latest
        newest: tuple[object, ...] = (0, None, None)
        if latest is not None:
            newest = (latest.seq, latest.end_s, text(latest.label))
        counts = (news.new_results, news.missing)
        lines.append((account.outbox_id, mark, f"{{{pairs}}}", *counts, *newest))
    db.execute(_SETTLE, (received_s, *columns(lines)))


def note_events(db: Connection[Any], accounts: Sequence[Account], received_s: float) -> None:
    """Put away events and gap records."""
    events = [
        (a.outbox_id, row.seq, received_s, row.time_s, text(row.kind), json.dumps(row.fields))
        for a in accounts
        for row in a.news.events
    ]
    gaps = [
        (a.outbox_id, gap.first, gap.last, received_s, gap.time_s, text(gap.reason))
        for a in accounts
        for gap in a.news.gaps
    ]
    table = sql.Identifier(SCHEMA, partition_name("event_rows", day_of(received_s)))
    with db.cursor() as cursor:
        if events:
            insert = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s)").format(table)
            cursor.executemany(insert, events)
        if gaps:
            cursor.executemany("INSERT INTO edgeml.gap_rows VALUES (%s, %s, %s, %s, %s, %s)", gaps)


def note_samples(
    db: Connection[Any],
    accounts: Sequence[Account],
    numbers: Mapping[Model, int],
    received_s: float,
) -> None:
    """Put away windows."""
    samples = [
        (a.outbox_id, row.seq, numbers[named(model)], received_s, row.start_s, row.end_s,
         text(row.label), row.score, text(row.reason), row.npy)
        for a in accounts
        for model, row in a.news.samples
    ]  # fmt: skip
    if not samples:
        return
    table = sql.Identifier(SCHEMA, partition_name("sample_rows", day_of(received_s)))
    insert = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)")
    with db.cursor() as cursor:
        cursor.executemany(insert.format(table), samples)


def note_devices(db: Connection[Any], intake: Intake, received_s: float) -> None:
    """Put away what devices say of themselves."""
    devices = {state.device for state in intake.states.values()} | intake.healths.keys()
    if not devices:
        return
    with db.cursor() as cursor:
        cursor.executemany(_TOUCH, [(device, received_s) for device in sorted(devices)])
        cursor.executemany(_NOTE_STATE, [_state_fields(state) for state in intake.states.values()])
        cursor.executemany(
            "UPDATE edgeml.devices SET health = %s, health_s = %s WHERE device = %s",
            [(json.dumps(health), received_s, device) for device, health in intake.healths.items()],
        )


def note_letters(db: Connection[Any], letters: Sequence[Letter], received_s: float) -> None:
    """Put away what cannot be read; nothing in it may be a reason to fail."""
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO edgeml.dead_letters (received_s, topic, reason, payload) "
            "VALUES (%s, %s, %s, %s)",
            [
                (received_s, text(letter.topic), text(letter.reason), letter.payload)
                for letter in letters
            ],
        )


def _state_fields(state: State) -> dict[str, object]:
    return {
        "device": state.device,
        "online": state.online,
        "outbox": state.outbox,
        "boots": state.epoch[0],
        "connections": state.epoch[1],
        "time_s": state.time_s,
        "version": state.version,
        "model": None if state.model is None else f"{state.model.name}@{state.model.version}",
    }


def flat(row: ResultRow, head: tuple[int, int, float]) -> tuple[object, ...]:
    """A result as a row; the head is the outbox, the model and the time of receipt."""
    outbox_id, model_id, received_s = head
    return (
        outbox_id,
        row.seq,
        model_id,
        received_s,
        row.start_s,
        row.end_s,
        text(row.label),
        row.score,
        list(row.outputs),
        row.pre_us,
        row.invoke_us,
        row.post_us,
        row.window,
        None if row.extra is None else json.dumps(row.extra),
    )


def named(model: ModelRef) -> Model:
    """What a model is known by here."""
    return model.name, model.version, model.digest


def columns(rows: Sequence[Sequence[object]]) -> tuple[list[object], ...]:
    """Rows as columns, for `unnest`."""
    return tuple(list(column) for column in zip(*rows, strict=True))


def text(value: str | None) -> str | None:
    """The text without the one character that PostgreSQL's text cannot hold."""
    return value.replace("\0", "\ufffd") if value and "\0" in value else value
