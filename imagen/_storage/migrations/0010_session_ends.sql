-- Processes share their background batches: one sees how a batch of another stands, and asks for its end.

CREATE INDEX sessions_by_touch ON sessions (touched_at);

-- Sessions that no process works on any more; one that is resumed leaves this table.
CREATE TABLE session_ends (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id),
    state TEXT NOT NULL,
    -- What broke the batch itself.
    message TEXT
) STRICT, WITHOUT ROWID;

-- Sessions that a process other than their owner wants cancelled.
CREATE TABLE session_stops (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id)
) STRICT, WITHOUT ROWID;
