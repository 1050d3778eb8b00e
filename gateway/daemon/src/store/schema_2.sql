-- Version 2: events of other programs, registrations, the backlog beside the live events, manifests, audit.
-- The rules and conventions of schema.sql hold; what is here only adds to it.

-- What is remarkable about an event. Most events have no row here, so that the log itself stays narrow.
CREATE TABLE facts (
    seq          INTEGER PRIMARY KEY REFERENCES events (seq) ON DELETE CASCADE,
    qc           INTEGER NOT NULL DEFAULT 0, -- 1: a quality control run
    posted       TEXT,                       -- the dialect of another program's event
    session      TEXT,                       -- the session that numbers it in the dialect `session`
    sequence     INTEGER,                    -- its place in that session, from 0
    registration INTEGER,                    -- registrations.number: the sample that it is about
    erased_at    INTEGER,                    -- a person's data was taken out of the body then
    heeded       INTEGER NOT NULL DEFAULT 0  -- 1: it asked to erase somebody, and that is done
) STRICT;
CREATE UNIQUE INDEX facts_by_session ON facts (session, sequence) WHERE session IS NOT NULL;
CREATE INDEX facts_by_posted ON facts (posted, seq) WHERE posted IS NOT NULL;
CREATE INDEX facts_by_registration ON facts (registration, seq) WHERE registration IS NOT NULL;

-- How far each session has counted. It stays longer than the session's events, so that a session that is still alive never
-- starts from 0 again.
CREATE TABLE sessions (
    session TEXT    PRIMARY KEY,
    next    INTEGER NOT NULL,                -- the number of its next event
    last_at INTEGER                          -- when it was last heard of; null: while the clock could not be trusted
) STRICT, WITHOUT ROWID;

-- While a backlog is sent beside the live events: a second cursor over the live part of the log. Everything that belongs to
-- the destination after `split` up to `cursor` and has no row in `deliveries` is done. The row goes when the first cursor
-- reaches `split`, and that cursor then jumps here.
CREATE TABLE live_parts (
    destination TEXT    PRIMARY KEY REFERENCES destinations (id) ON DELETE CASCADE,
    split       INTEGER NOT NULL,            -- a seq: the backlog's last
    ordinal     INTEGER NOT NULL,            -- how many ordinals are given out up to `cursor`
    cursor      INTEGER NOT NULL             -- a seq, from `split` on; never moves backwards
) STRICT, WITHOUT ROWID;

-- 1: sent later than newer events, out of a backlog.
ALTER TABLE deliveries ADD COLUMN historical INTEGER NOT NULL DEFAULT 0;
-- The event's place in the destination's count, so that a delivered event can be found again by it; null: unknown.
ALTER TABLE attempts ADD COLUMN ordinal INTEGER;

-- Samples expected or received.
CREATE TABLE registrations (
    number        INTEGER PRIMARY KEY AUTOINCREMENT, -- the integer id
    id            TEXT    NOT NULL UNIQUE,    -- the id that outsiders use
    created_at    INTEGER NOT NULL,
    awaits_lab_id INTEGER NOT NULL DEFAULT 0, -- 1: it is complete and the laboratory has given it no id
    body          TEXT    NOT NULL            -- Registration as JSON
) STRICT;
CREATE INDEX registrations_by_age ON registrations (created_at);
CREATE INDEX registrations_without_lab_id ON registrations (number) WHERE awaits_lab_id = 1;

-- Which sample ids lead to a registration; the newest registration of a sample id counts.
CREATE TABLE registration_samples (
    sample_id    TEXT    NOT NULL,
    registration INTEGER NOT NULL REFERENCES registrations (number) ON DELETE CASCADE,
    PRIMARY KEY (sample_id, registration)
) STRICT, WITHOUT ROWID;

-- Requests that may be repeated (`Idempotency-Key`) and what they changed, so that the same key with another body is refused.
CREATE TABLE requests (
    id           BLOB    PRIMARY KEY,        -- 16 bytes, from the operation, the client and its key
    body         BLOB    NOT NULL,           -- SHA-256 of the id and what was asked
    registration INTEGER NOT NULL REFERENCES registrations (number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_registration ON requests (registration);

-- What each destination was sent, a row a day. The hash chains the days and the events.
CREATE TABLE manifests (
    destination   TEXT    NOT NULL REFERENCES destinations (id) ON DELETE CASCADE,
    day           TEXT    NOT NULL,           -- 2026-11-21, in UTC
    first_seq     INTEGER NOT NULL,           -- the part of the log that it covers
    last_seq      INTEGER NOT NULL,
    first_ordinal INTEGER NOT NULL,           -- the first and the last ordinal of its events
    last_ordinal  INTEGER NOT NULL,           -- one less than first_ordinal: the day had none
    count         INTEGER NOT NULL,
    hash          BLOB    NOT NULL,           -- the chain's value after its last event
    PRIMARY KEY (destination, day)
) STRICT, WITHOUT ROWID;

-- Who read or did what. Ids only, never what was read.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    client  TEXT    NOT NULL,                 -- a token's id, 'socket', 'mqtt', 'source:<id>', 'gateway'
    action  TEXT    NOT NULL,                 -- 'read', 'redrive', 'erase' ...
    object  TEXT    NOT NULL,                 -- 'registration/1234-5678', 'webhook/lims' ...
    outcome TEXT    NOT NULL                  -- 'ok', or why it was refused
) STRICT;

-- Erasures that were asked for. Whose data it is stands here only until it is done.
CREATE TABLE erasures (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    id       BLOB    NOT NULL UNIQUE,         -- 16 bytes: the id of its DATA_ERASED
    asked_at INTEGER NOT NULL,
    client   TEXT    NOT NULL,                -- who asked, as in `audit`
    subject  TEXT,                            -- whose data, as JSON; null: it is done
    found    TEXT,                            -- tests and sample ids that are theirs, as JSON
    events   INTEGER NOT NULL DEFAULT 0,      -- changed so far
    captures INTEGER NOT NULL DEFAULT 0,      -- messages emptied so far
    outcome  TEXT                             -- what was erased, as JSON; ids only
) STRICT;

-- Clients that may use the API, made by `token add`; those of the settings are not here.
CREATE TABLE tokens (
    id       TEXT    PRIMARY KEY,
    hash     TEXT    NOT NULL UNIQUE,         -- SHA-256 in hexadecimal
    scope    TEXT    NOT NULL,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
