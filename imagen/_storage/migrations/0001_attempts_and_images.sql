-- Money is in nanodollars (1e-9 US dollars), so that sums are exact; NULL means unknown.
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    batch_id TEXT,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    operation TEXT NOT NULL,
    images INTEGER NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('reserved', 'sent', 'accepted', 'succeeded', 'failed', 'refused', 'unknown')),
    reserved_nanousd INTEGER,
    settled_nanousd INTEGER,
    cost_source TEXT,
    remote_id TEXT,
    poll_url TEXT,
    error_code TEXT,
    error_message TEXT,
    owner TEXT NOT NULL,
    created_at REAL NOT NULL,
    sent_at REAL,
    ended_at REAL
) STRICT;

CREATE INDEX attempts_by_time ON attempts (created_at);
CREATE INDEX attempts_in_flight ON attempts (state) WHERE state IN ('reserved', 'sent', 'accepted', 'unknown');

CREATE TABLE images (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    attempt_id TEXT NOT NULL REFERENCES attempts (id),
    batch_index INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    media_type TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    request TEXT NOT NULL,
    revised_prompt TEXT,
    seed INTEGER,
    cost_nanousd INTEGER,
    cost_source TEXT NOT NULL,
    adjustments TEXT NOT NULL,
    seconds REAL NOT NULL,
    created_at REAL NOT NULL
) STRICT;

CREATE INDEX images_by_time ON images (created_at);
CREATE INDEX images_by_sha256 ON images (sha256);
