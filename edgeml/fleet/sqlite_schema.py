"""The SQLite store's tables, one step for each version that ever was.

A store is brought up to date when it is opened, each step in a transaction of
its own, so that a crash in between leaves a store of some version and never
half of one. Steps are only ever added.
"""

import sqlite3
from pathlib import Path
from typing import Final

from edgeml.errors import StoreError

_VERSION_1: Final = """
CREATE TABLE outboxes (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, outbox TEXT NOT NULL, seen_s REAL NOT NULL,
    UNIQUE (device, outbox)
);
CREATE TABLE spans (
    outbox_id INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (outbox_id, first)
) WITHOUT ROWID;
CREATE TABLE models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
    UNIQUE (name, version, digest)
);
CREATE TABLE result_rows (
    outbox_id INTEGER NOT NULL, seq INTEGER NOT NULL, model_id INTEGER NOT NULL,
    received_s REAL NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL, label TEXT, score REAL,
    outputs TEXT NOT NULL, pre_us REAL NOT NULL, invoke_us REAL NOT NULL, post_us REAL NOT NULL,
    window INTEGER, extra TEXT,
    PRIMARY KEY (outbox_id, seq)
) WITHOUT ROWID;
CREATE TABLE event_rows (
    outbox_id INTEGER NOT NULL, seq INTEGER NOT NULL, received_s REAL NOT NULL,
    time_s REAL NOT NULL, kind TEXT NOT NULL, fields TEXT NOT NULL,
    PRIMARY KEY (outbox_id, seq)
) WITHOUT ROWID;
CREATE TABLE gap_rows (
    outbox_id INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    received_s REAL NOT NULL, time_s REAL NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (outbox_id, first)
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY, received_s REAL NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE devices (
    device TEXT PRIMARY KEY, seen_s REAL NOT NULL, online INTEGER NOT NULL DEFAULT 0,
    outbox TEXT NOT NULL DEFAULT '', boots INTEGER NOT NULL DEFAULT 0,
    connections INTEGER NOT NULL DEFAULT 0, state_s REAL, version TEXT, model TEXT,
    health TEXT NOT NULL DEFAULT '{}'
);
CREATE VIEW results AS
    SELECT o.device, o.outbox, r.seq, m.name AS model, m.version AS model_version,
        m.digest AS model_digest, r.start_s, r.end_s, r.label, r.score, r.outputs,
        r.pre_us, r.invoke_us, r.post_us, r.window, r.extra, r.received_s
    FROM result_rows r JOIN outboxes o ON o.id = r.outbox_id JOIN models m ON m.id = r.model_id;
CREATE VIEW events AS
    SELECT o.device, o.outbox, e.seq, e.time_s, e.kind, e.fields, e.received_s
    FROM event_rows e JOIN outboxes o ON o.id = e.outbox_id;
CREATE VIEW gaps AS
    SELECT o.device, o.outbox, g.first, g.last, g.reason, g.time_s, g.received_s
    FROM gap_rows g JOIN outboxes o ON o.id = g.outbox_id;
CREATE VIEW counts AS
    SELECT o.device, o.outbox,
        (SELECT count(*) FROM result_rows r WHERE r.outbox_id = o.id) AS n,
        (SELECT coalesce(sum(last - first + 1), 0) FROM gap_rows g WHERE g.outbox_id = o.id)
            AS missing,
        (SELECT coalesce(max(last) - sum(last - first + 1), 0) FROM spans s
            WHERE s.outbox_id = o.id) AS unaccounted
    FROM outboxes o;
"""

_VERSION_2: Final = """
ALTER TABLE outboxes ADD COLUMN results INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outboxes ADD COLUMN missing INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outboxes ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outboxes ADD COLUMN last_end_s REAL;
ALTER TABLE outboxes ADD COLUMN last_label TEXT;
ALTER TABLE devices ADD COLUMN health_s REAL;
UPDATE outboxes SET
    results = (SELECT count(*) FROM result_rows r WHERE r.outbox_id = outboxes.id),
    missing = (SELECT coalesce(sum(last - first + 1), 0) FROM gap_rows g
        WHERE g.outbox_id = outboxes.id),
    last_seq = (SELECT coalesce(max(seq), 0) FROM result_rows r WHERE r.outbox_id = outboxes.id);
UPDATE outboxes SET
    last_end_s = (SELECT end_s FROM result_rows r WHERE r.outbox_id = id AND r.seq = last_seq),
    last_label = (SELECT label FROM result_rows r WHERE r.outbox_id = id AND r.seq = last_seq);
DROP VIEW counts
"""
# A status that counted every row would take the longer the more there is to be proud of.

_VERSION_3: Final = """
CREATE TABLE sample_rows (
    outbox_id INTEGER NOT NULL, seq INTEGER NOT NULL, model_id INTEGER NOT NULL,
    received_s REAL NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL, label TEXT, score REAL,
    reason TEXT NOT NULL, npy BLOB NOT NULL,
    PRIMARY KEY (outbox_id, seq)
);
CREATE VIEW samples AS
    SELECT o.device, o.outbox, s.seq, m.name AS model, m.version AS model_version,
        m.digest AS model_digest, s.start_s, s.end_s, s.label, s.score, s.reason, s.npy,
        s.received_s
    FROM sample_rows s JOIN outboxes o ON o.id = s.outbox_id JOIN models m ON m.id = s.model_id
"""

STEPS: Final = (_VERSION_1, _VERSION_2, _VERSION_3)
"""Step n brings a store from version n to n + 1."""


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring a store to this edgeml's version.

    Raises:
        StoreError: a later edgeml made it.
        sqlite3.Error: it cannot be changed.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(STEPS):
            raise StoreError(
                f"{path}: the store has schema {version}, this edgeml knows {len(STEPS)}; upgrade"
            )
        for step in STEPS[version:]:
            for statement in step.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version={len(STEPS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
