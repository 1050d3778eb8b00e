-- Version 4: who may use the page.
-- The rules and conventions of schema.sql hold; what is here only adds to it.

-- People who sign in at the page. Programs have tokens.
CREATE TABLE people (
    key        TEXT    PRIMARY KEY,           -- the name in small letters: nobody signs in under a twin of a name
    name       TEXT    NOT NULL,              -- as it was typed
    role       TEXT    NOT NULL,              -- 'view', 'operate', 'administer'
    passphrase TEXT    NOT NULL,              -- its Argon2id hash with salt and parameters, a PHC string
    added_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
