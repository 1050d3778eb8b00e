-- Version 3: who the analyzers are. It only adds.

-- The serial number that each analyzer is known by: the first one that it has reported.
CREATE TABLE identities (
    analyzer      TEXT PRIMARY KEY,
    serial_number TEXT NOT NULL
) STRICT, WITHOUT ROWID;
