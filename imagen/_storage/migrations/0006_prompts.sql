-- Prompts that somebody keeps, by name. Tags, notes and favourites belong to the prompt; what is sent belongs to its versions,
-- which are numbered from 1 and never change. `version` is the newest one.
CREATE TABLE prompts (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    -- A JSON array, sorted.
    tags TEXT NOT NULL DEFAULT '[]',
    notes TEXT NOT NULL DEFAULT '',
    favourite INTEGER NOT NULL DEFAULT 0 CHECK (favourite IN (0, 1)),
    created_at REAL NOT NULL
) STRICT;

CREATE INDEX prompts_favourite ON prompts (name) WHERE favourite = 1;

CREATE TABLE prompt_versions (
    prompt INTEGER NOT NULL REFERENCES prompts (number) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    negative_prompt TEXT,
    -- A JSON array of names, and a JSON object.
    styles TEXT NOT NULL,
    parameters TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (prompt, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE prompt_tags (
    tag TEXT NOT NULL,
    prompt INTEGER NOT NULL REFERENCES prompts (number) ON DELETE CASCADE,
    PRIMARY KEY (tag, prompt)
) STRICT, WITHOUT ROWID;

CREATE INDEX tags_of_prompt ON prompt_tags (prompt);

-- The words of each prompt in its newest version.
CREATE VIRTUAL TABLE prompt_search USING fts5 (
    name, text, tags, notes,
    tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
);
