-- Sessions that any worker may take, until they are over. One that waits has no owner.
CREATE TABLE submissions (
    session_id TEXT PRIMARY KEY REFERENCES sessions (id),
    -- Waiting sessions of different tags take turns; '' is that of requests without one.
    tag TEXT NOT NULL,
    priority INTEGER NOT NULL,
    submitted_at REAL NOT NULL,
    -- 1 once it was put into the queue of the workers, if they have one.
    queued INTEGER NOT NULL DEFAULT 0 CHECK (queued IN (0, 1)),
    -- It waits until then after it could not be begun.
    not_before REAL NOT NULL DEFAULT 0,
    -- How often its worker died, or could not begin it.
    failures INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- When a session of a tag was last begun: the tag that has waited for longest is next.
CREATE TABLE submission_turns (
    tag TEXT PRIMARY KEY,
    begun_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
