"""The PostgreSQL store's tables, one step for each version that ever was, and its partitions.

Everything lives in a schema of its own, `edgeml`. Rows of results and events
stand in one partition a day, by the time at which an ingest received them: a
device's clock may be wrong by years, and then it is a wrong value in a column
and not a partition in the year 2106. Whoever changes a table holds one lock,
so that many ingests may start at once.
"""

from datetime import datetime, timezone
from typing import Any, Final

from psycopg import Connection, sql

from edgeml.errors import StoreError

SCHEMA: Final = "edgeml"
DAY_S: Final = 86_400
LATEST_S: Final = 253_402_300_799.0
"""The end of the year 9999: no day has a longer name."""

PARTITIONED: Final = ("result_rows", "event_rows", "sample_rows")
_LOCK: Final = 0x6564_6765_6D6C  # "edgeml", as a number that no other program uses by chance

_VERSION_1: Final = """
CREATE TABLE edgeml.outboxes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device text NOT NULL, outbox text NOT NULL, seen_s double precision NOT NULL,
    mark bigint NOT NULL DEFAULT 0, above bigint[] NOT NULL DEFAULT '{}',
    results bigint NOT NULL DEFAULT 0, missing bigint NOT NULL DEFAULT 0,
    last_seq bigint NOT NULL DEFAULT 0, last_end_s double precision, last_label text,
    UNIQUE (device, outbox)
) WITH (fillfactor = 50);
CREATE TABLE edgeml.models (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL, version bigint NOT NULL, digest text NOT NULL,
    UNIQUE (name, version, digest)
);
CREATE TABLE edgeml.result_rows (
    outbox_id bigint NOT NULL, seq bigint NOT NULL, model_id bigint NOT NULL,
    received_s double precision NOT NULL,
    start_s double precision NOT NULL, end_s double precision NOT NULL,
    label text, score double precision, outputs double precision[] NOT NULL,
    pre_us double precision NOT NULL, invoke_us double precision NOT NULL,
    post_us double precision NOT NULL, "window" bigint, extra json
) PARTITION BY RANGE (received_s);
CREATE TABLE edgeml.event_rows (
    outbox_id bigint NOT NULL, seq bigint NOT NULL, received_s double precision NOT NULL,
    time_s double precision NOT NULL, kind text NOT NULL, fields json NOT NULL
) PARTITION BY RANGE (received_s);
CREATE TABLE edgeml.gap_rows (
    outbox_id bigint NOT NULL, first bigint NOT NULL, last bigint NOT NULL,
    received_s double precision NOT NULL, time_s double precision NOT NULL, reason text NOT NULL,
    PRIMARY KEY (outbox_id, first)
);
CREATE TABLE edgeml.dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_s double precision NOT NULL, topic text NOT NULL, reason text NOT NULL,
    payload bytea NOT NULL
);
CREATE TABLE edgeml.devices (
    device text PRIMARY KEY, seen_s double precision NOT NULL,
    online boolean NOT NULL DEFAULT false, outbox text NOT NULL DEFAULT '',
    boots bigint NOT NULL DEFAULT 0, connections bigint NOT NULL DEFAULT 0,
    state_s double precision, version text, model text,
    health json NOT NULL DEFAULT '{}', health_s double precision
) WITH (fillfactor = 50);
CREATE FUNCTION edgeml.moment(seconds double precision) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT CASE WHEN seconds BETWEEN -62135596800 AND 253402300799 THEN to_timestamp(seconds) END';
COMMENT ON FUNCTION edgeml.moment IS
    'A device''s clock as a time; null where it says what is no date.';
CREATE VIEW edgeml.results AS
    SELECT o.device, o.outbox, r.seq, m.name AS model, m.version AS model_version,
        m.digest AS model_digest, r.start_s, r.end_s, r.label, r.score, r.outputs,
        r.pre_us, r.invoke_us, r.post_us, r."window", r.extra, r.received_s,
        edgeml.moment(r.end_s) AS end_at, edgeml.moment(r.received_s) AS received_at
    FROM edgeml.result_rows r
    JOIN edgeml.outboxes o ON o.id = r.outbox_id JOIN edgeml.models m ON m.id = r.model_id;
CREATE VIEW edgeml.events AS
    SELECT o.device, o.outbox, e.seq, e.time_s, e.kind, e.fields, e.received_s,
        edgeml.moment(e.time_s) AS at, edgeml.moment(e.received_s) AS received_at
    FROM edgeml.event_rows e JOIN edgeml.outboxes o ON o.id = e.outbox_id;
CREATE VIEW edgeml.gaps AS
    SELECT o.device, o.outbox, g.first, g.last, g.reason, g.time_s, g.received_s
    FROM edgeml.gap_rows g JOIN edgeml.outboxes o ON o.id = g.outbox_id
"""

_VERSION_2: Final = """
CREATE TABLE edgeml.sample_rows (
    outbox_id bigint NOT NULL, seq bigint NOT NULL, model_id bigint NOT NULL,
    received_s double precision NOT NULL,
    start_s double precision NOT NULL, end_s double precision NOT NULL,
    label text, score double precision, reason text NOT NULL, npy bytea NOT NULL
) PARTITION BY RANGE (received_s);
CREATE VIEW edgeml.samples AS
    SELECT o.device, o.outbox, s.seq, m.name AS model, m.version AS model_version,
        m.digest AS model_digest, s.start_s, s.end_s, s.label, s.score, s.reason, s.npy,
        s.received_s
    FROM edgeml.sample_rows s
    JOIN edgeml.outboxes o ON o.id = s.outbox_id JOIN edgeml.models m ON m.id = s.model_id
"""

STEPS: Final = (_VERSION_1, _VERSION_2)
"""Step n brings a store from version n to n + 1."""


def version_of(db: Connection[Any], where: str) -> int:
    """Which version of the tables is there; 0 where there are none.

    Raises:
        StoreError: a later edgeml made them.
    """
    if not _exists(db, "schema_version"):
        return 0
    row = db.execute("SELECT version FROM edgeml.schema_version").fetchone()
    version = 0 if row is None else int(row[0])
    if version > len(STEPS):
        raise StoreError(
            f"{where}: the store has schema {version}, this edgeml knows {len(STEPS)}; upgrade"
        )
    return version


def migrate(db: Connection[Any], where: str) -> None:
    """Bring a store to this edgeml's version, in one transaction.

    Who needs nothing changed takes no lock and needs no right to change anything.

    Raises:
        StoreError: a later edgeml made it.
        psycopg.Error: it cannot be changed.
    """
    if version_of(db, where) == len(STEPS):
        return
    with db.transaction():
        lock(db)
        version = version_of(db, where)
        if version == 0:
            db.execute("CREATE SCHEMA IF NOT EXISTS edgeml")
            db.execute("CREATE TABLE edgeml.schema_version (version bigint NOT NULL)")
            db.execute("INSERT INTO edgeml.schema_version VALUES (0)")
        for step in STEPS[version:]:
            db.execute(step.encode())
        db.execute("UPDATE edgeml.schema_version SET version = %s", (len(STEPS),))


def lock(db: Connection[Any]) -> None:
    """Be the only one to change tables until the transaction ends."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def day_of(received_s: float) -> int:
    """The day, counted from 1970, of a time of receipt."""
    return int(received_s // DAY_S)


def partition_name(table: str, day: int) -> str:
    """What the partition of a day is called, for example `result_rows_20260131`."""
    date = datetime.fromtimestamp(day * DAY_S, timezone.utc)
    return f"{table}_{date.year:04d}{date.month:02d}{date.day:02d}"


def make_partitions(db: Connection[Any], day: int) -> None:
    """Make a day's partitions where they are missing, in one transaction.

    A table is made alone and then attached, which readers and other writers do not notice;
    `CREATE … PARTITION OF` would wait until the last of them has gone.
    """
    with db.transaction():
        lock(db)
        for table in PARTITIONED:
            name = partition_name(table, day)
            if _exists(db, name):
                continue
            parts = {
                "parent": sql.Identifier(SCHEMA, table),
                "part": sql.Identifier(SCHEMA, name),
                "first": sql.Literal(float(day * DAY_S)),
                "end": sql.Literal(float((day + 1) * DAY_S)),
            }
            db.execute(
                sql.SQL(
                    "CREATE TABLE {part} (LIKE {parent} INCLUDING DEFAULTS, "
                    "PRIMARY KEY (outbox_id, seq))"
                ).format(**parts)
            )
            db.execute(
                sql.SQL(
                    "ALTER TABLE {parent} ATTACH PARTITION {part} "
                    "FOR VALUES FROM ({first}) TO ({end})"
                ).format(**parts)
            )


def partitions(db: Connection[Any], table: str) -> list[str]:
    """The names of a table's partitions, oldest first."""
    query = (
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = %s::regclass ORDER BY c.relname"
    )
    return [row[0] for row in db.execute(query, (f"{SCHEMA}.{table}",))]


def _exists(db: Connection[Any], table: str) -> bool:
    # Not to_regclass: it answers from a cache that may not know yet what somebody else made
    # while we waited for the lock.
    query = (
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s"
    )
    return db.execute(query, (SCHEMA, table)).fetchone() is not None
