-- Events that a server of the user's is told of. The body holds no prompts. `receiver` is the SHA-256 of the server's URL, which
-- may hold a secret. A claim moves next_try_at to when its lease ends; NULL where nothing is to be sent any more.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    receiver TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL,
    last_error TEXT,
    created_at REAL NOT NULL,
    ended_at REAL
) STRICT;

CREATE INDEX webhooks_by_time ON webhooks (created_at);
CREATE INDEX webhooks_pending ON webhooks (receiver, next_try_at) WHERE state = 'pending';
