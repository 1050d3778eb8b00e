-- The gateway's database, version 1. SQLite in WAL mode, 4 KiB pages, synchronous=FULL (NORMAL for outcomes of deliveries), secure_delete=ON, foreign_keys=ON.
--
-- Rules for a change: a new version only adds (tables, indexes, columns that may be null or have a default), so that the
-- version before it can go on with the file after a rollback of the image. It gets a file of its own and a line in
-- migrate.rs; this one stays as it is.
--
-- Conventions: ids are 16 bytes; `*_at` is milliseconds since 1970 in UTC; `mono` is nanoseconds since that boot; words are
-- the ones of the JSON (`TEST_FINISHED`, `synchronized`).

-- A few single facts.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY, -- 'clean': 1 after an orderly stop, 0 while in use, so that a start knows whether to check the pages
                            -- 'cursors_lost': 1 after a salvage that could not read the destinations
                            -- 'retained:<broker>:<topic>': 1 for each retained topic that a broker was given
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Bytes as they were received, one row a commit. The rows with equal `message` are one message, in order of id.
CREATE TABLE captures (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    analyzer    TEXT    NOT NULL,
    received_at INTEGER NOT NULL,           -- wall time of the commit
    message     INTEGER,                    -- id of the message's last capture; null while the message is open
    first_seq   INTEGER,                    -- the first and the last event stored with it; null if there was none
    last_seq    INTEGER,
    repeated    INTEGER NOT NULL DEFAULT 0, -- 1: every event decoded from it was known already
    base        INTEGER REFERENCES captures (id), -- the capture that `content` is a patch against; null: `content` is the bytes
    depth       INTEGER NOT NULL DEFAULT 0, -- an upper bound of the patches between this and a whole capture
    bytes       INTEGER NOT NULL,           -- how many bytes were received
    content     BLOB    NOT NULL            -- the bytes, or the patch (patch.rs has its format)
) STRICT;
CREATE INDEX captures_open ON captures (analyzer, id) WHERE message IS NULL;
CREATE INDEX captures_by_analyzer ON captures (analyzer, id);
CREATE INDEX captures_by_message ON captures (message) WHERE message IS NOT NULL;
CREATE INDEX captures_by_base ON captures (base) WHERE base IS NOT NULL;

-- The log: one row an event, whatever the number of destinations. Never changed but for a corrected clock
-- (received_at, clock), an eviction (body, evicted) and erasure.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of commit; never used twice
    id          BLOB    NOT NULL UNIQUE,
    analyzer    TEXT    NOT NULL,
    name        TEXT    NOT NULL,           -- EventName
    received_at INTEGER NOT NULL,
    clock       TEXT    NOT NULL,           -- ClockQuality
    boot        BLOB    NOT NULL,
    mono        INTEGER NOT NULL,
    test_id     BLOB,                       -- null: about no test
    state       TEXT,                       -- the test's state in this event
    has_device  INTEGER NOT NULL,           -- 1: the body says which device
    evicted     INTEGER NOT NULL DEFAULT 0, -- 1: the raw samples of the body were given up to free space
    capture     INTEGER,                    -- the last capture of the commit; the row itself may be gone
    body        TEXT    NOT NULL            -- the EventKind as JSON; last, so that a scan need not read it
) STRICT;
CREATE INDEX events_by_test ON events (test_id, seq) WHERE test_id IS NOT NULL;
CREATE INDEX tests_by_analyzer ON events (analyzer, seq) WHERE test_id IS NOT NULL;
CREATE INDEX events_of_unsure_time ON events (boot, seq) WHERE clock IN ('unset', 'unsynchronized');

-- Where events go. Everything that belongs to a destination at or below its cursor and has no row in `deliveries` is done.
CREATE TABLE destinations (
    id         TEXT    PRIMARY KEY,         -- 'mqtt', 'webhook:<id>'
    cursor     INTEGER NOT NULL,            -- a seq; never moves backwards
    ordinal    INTEGER NOT NULL,            -- how many ordinals were given out up to the cursor
    configured INTEGER NOT NULL             -- 0: no longer in the settings; keeps its backlog until a person drops it
) STRICT, WITHOUT ROWID;

-- Which events belong to a destination: the epoch in force at an event's seq decides, for ever.
CREATE TABLE epochs (
    destination TEXT    NOT NULL REFERENCES destinations (id) ON DELETE CASCADE,
    from_seq    INTEGER NOT NULL,           -- the first seq for which it is in force
    filter      TEXT    NOT NULL,           -- {"names":[...]}; names null: all events; names empty: none
    PRIMARY KEY (destination, from_seq)
) STRICT, WITHOUT ROWID;

-- The undone events at or below a cursor. A delivery that succeeds is deleted here.
CREATE TABLE deliveries (
    destination   TEXT    NOT NULL REFERENCES destinations (id) ON DELETE CASCADE,
    seq           INTEGER NOT NULL REFERENCES events (seq), -- so that an undone event cannot be deleted
    ordinal       INTEGER NOT NULL,         -- its place in this destination's count
    lane          TEXT    NOT NULL,         -- 't:<test>' or 'a:<analyzer>'
    state         TEXT    NOT NULL CHECK (state IN ('queued', 'waiting', 'held', 'dead')),
    attempts      INTEGER NOT NULL,         -- made so far
    reason_code   TEXT,                     -- ReasonCode of the last failure; null only while queued
    reason_detail TEXT,
    redriven      INTEGER NOT NULL,         -- 1: a person sent it off again
    due_boot      BLOB,                     -- waiting: the boot in which `due_mono` means something,
    due_mono      INTEGER,                  --          when the next attempt is due in that boot,
    due_left_ms   INTEGER,                  --          and how long that was away when the row was written, for any other boot
    PRIMARY KEY (destination, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_by_seq ON deliveries (seq);

-- Every attempt made. Failures stay as long as their event, successes for `attempts_kept_days`.
CREATE TABLE attempts (
    id            INTEGER PRIMARY KEY,
    destination   TEXT    NOT NULL REFERENCES destinations (id) ON DELETE CASCADE,
    seq           INTEGER NOT NULL REFERENCES events (seq) ON DELETE CASCADE,
    number        INTEGER NOT NULL,         -- 1 is the first
    at            INTEGER NOT NULL,         -- wall time
    duration_ms   INTEGER NOT NULL,
    status        INTEGER,                  -- the HTTP status, if there was an answer
    reason_code   TEXT,                     -- null: delivered
    reason_detail TEXT,
    answer        TEXT    NOT NULL          -- the beginning of the answer's body
) STRICT;
CREATE INDEX attempts_by_event ON attempts (seq, destination);
CREATE INDEX attempts_delivered ON attempts (at) WHERE reason_code IS NULL;
