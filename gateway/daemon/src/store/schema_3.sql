-- Version 3: an analyzer's correction is found to be one.
-- The rules and conventions of schema.sql hold; what is here only adds to it.

-- The finished tests of a sample, so that its correction finds them. An index over the bodies instead of a column or a table:
-- an older version that goes on with the file keeps it without knowing of it, and what is erased from a body is gone here too.
CREATE INDEX finished_by_sample ON events (
    analyzer, CASE WHEN json_valid(body) THEN body ->> '$.test.sample_id' END, seq
) WHERE name = 'TEST_FINISHED';
