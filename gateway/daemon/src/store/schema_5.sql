-- Version 5: results are found by the moment at which they were received.
-- The rules and conventions of schema.sql hold; what is here only adds to it.

CREATE INDEX IF NOT EXISTS results_by_age ON events (received_at, seq) WHERE name = 'TEST_FINISHED';
