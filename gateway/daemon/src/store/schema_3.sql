-- Version 3: who the analyzers are, and an analyzer's correction is found to be one.
-- The rules and conventions of schema.sql hold; what is here only adds to it.

-- The serial number that each analyzer is known by: the first one that it has reported.
CREATE TABLE identities (
    analyzer      TEXT PRIMARY KEY,
    serial_number TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The finished tests of a sample, so that its correction finds them. An index over the bodies instead of a column or a table:
-- an older version that goes on with the file keeps it without knowing of it, and what is erased from a body is gone here too.
CREATE INDEX finished_by_sample ON events (
    analyzer, CASE WHEN json_valid(body) THEN body ->> '$.test.sample_id' END, seq
) WHERE name = 'TEST_FINISHED';
