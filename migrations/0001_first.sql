-- The first form of the database. A file of this folder is never edited once it was released: what changes, changes in
-- the next one. Times are Unix milliseconds, sizes bytes. Tables are STRICT: a text never hides in an integer's column.

-- What exists. `config` is what was asked, as JSON, without what has a column or a table of its own (name, image, limits).
CREATE TABLE containers (
    id                  TEXT    PRIMARY KEY NOT NULL CHECK (length(id) = 64),
    name                TEXT    NOT NULL UNIQUE,
    image               TEXT    NOT NULL,
    config              TEXT    NOT NULL CHECK (json_valid(config)),
    state               TEXT    NOT NULL CHECK (state IN ('creating', 'created', 'running', 'paused', 'stopped')),
    wanted              TEXT    NOT NULL CHECK (wanted IN ('running', 'stopped', 'deleted')),
    -- No two containers may share ids of the host: who breaks out of one would be the root of the other.
    uid_base            INTEGER UNIQUE,
    created_at_ms       INTEGER NOT NULL,
    started_at_ms       INTEGER,
    -- A pid alone may be reused; pid and start time together are not.
    init_pid            INTEGER,
    init_start_ticks    INTEGER,
    monitor_pid         INTEGER,
    monitor_start_ticks INTEGER,
    exit                TEXT    CHECK (exit IS NULL OR json_valid(exit)),
    restarts            INTEGER NOT NULL DEFAULT 0,
    CHECK ((init_pid IS NULL) = (init_start_ticks IS NULL)),
    CHECK ((monitor_pid IS NULL) = (monitor_start_ticks IS NULL)),
    -- Nothing is called running that has no process.
    CHECK ((state IN ('running', 'paused')) = (init_pid IS NOT NULL))
) STRICT, WITHOUT ROWID; -- one tree fewer to write at each change

-- What each may use; NULL is not limited.
CREATE TABLE limits (
    container_id      TEXT    PRIMARY KEY NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    memory_bytes      INTEGER,
    memory_swap_bytes INTEGER,
    cpus              REAL,
    pids              INTEGER
) STRICT, WITHOUT ROWID;

-- What happened. No reference to containers: the diary outlives what it is about.
CREATE TABLE events (
    id           INTEGER PRIMARY KEY NOT NULL,
    at_ms        INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    container_id TEXT,
    subject      TEXT    NOT NULL,
    message      TEXT    NOT NULL
) STRICT;

CREATE INDEX events_container ON events (container_id, id) WHERE container_id IS NOT NULL;

-- What was imported. The image `host` is made anew at each start and has no row.
CREATE TABLE images (
    name          TEXT    PRIMARY KEY NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('host', 'rootfs')),
    digest        TEXT    NOT NULL,
    size_bytes    INTEGER NOT NULL,
    entries       INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- Who may come in. Secrets are never here, only their hashes: argon2id of passwords, SHA-256 of what is long and random.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY NOT NULL,
    name          TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    secret_sha256 BLOB    PRIMARY KEY NOT NULL CHECK (length(secret_sha256) = 32),
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE tokens (
    name            TEXT    PRIMARY KEY NOT NULL,
    secret_sha256   BLOB    NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
    created_at_ms   INTEGER NOT NULL,
    last_used_at_ms INTEGER
) STRICT;
