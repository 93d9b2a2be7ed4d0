-- The place of the first image in its batch, and the word that the caller books it under.
ALTER TABLE attempts ADD COLUMN first_index INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN tag TEXT NOT NULL DEFAULT '';
-- What the answer to the submission said that the job costs.
ALTER TABLE attempts ADD COLUMN accepted_nanousd INTEGER;
-- What came of it, as JSON, written before the files are: it tells a later process which file belongs to which attempt.
ALTER TABLE attempts ADD COLUMN receipt TEXT;
-- Sent together with others, by a batch API; they share the remote id.
ALTER TABLE attempts ADD COLUMN economy INTEGER NOT NULL DEFAULT 0;

-- Each row costs an entry in every index, so what is in flight and what is unknown have one each.
DROP INDEX attempts_in_flight;
CREATE INDEX attempts_unknown ON attempts (created_at) WHERE state = 'unknown';
CREATE INDEX attempts_by_model ON attempts (model, created_at);
CREATE INDEX attempts_by_provider ON attempts (provider, created_at);
CREATE INDEX attempts_by_batch ON attempts (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX attempts_unresolved ON attempts (provider, model, owner) WHERE state IN ('reserved', 'sent', 'accepted');
CREATE INDEX attempts_together ON attempts (remote_id) WHERE economy;
CREATE INDEX images_by_attempt ON images (attempt_id);

-- The sums over attempts, kept by triggers, so that a budget is checked and spending is told without reading a million rows.
-- `day` is that of created_at in UTC, `state` is 'in_flight' until an attempt has ended, and `open_nanousd` is what is
-- reserved for those that have not been settled: in flight, or unknown.
CREATE TABLE totals (
    day TEXT NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    tag TEXT NOT NULL,
    state TEXT NOT NULL,
    cost_source TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    images INTEGER NOT NULL,
    settled_nanousd INTEGER NOT NULL,
    open_nanousd INTEGER NOT NULL,
    PRIMARY KEY (day, provider, model, tag, state, cost_source)
) STRICT, WITHOUT ROWID;

CREATE VIEW attempt_totals AS
SELECT
    id,
    batch_id,
    created_at,
    date(created_at, 'unixepoch') AS day,
    provider,
    model,
    tag,
    CASE WHEN state IN ('reserved', 'sent', 'accepted') THEN 'in_flight' ELSE state END AS state,
    coalesce(cost_source, '') AS cost_source,
    images,
    coalesce(settled_nanousd, 0) AS settled_nanousd,
    CASE WHEN settled_nanousd IS NULL THEN coalesce(reserved_nanousd, 0) ELSE 0 END AS open_nanousd
FROM attempts;

INSERT INTO totals
SELECT day, provider, model, tag, state, cost_source, count(*), sum(images), sum(settled_nanousd), sum(open_nanousd)
FROM attempt_totals GROUP BY day, provider, model, tag, state, cost_source;

CREATE TRIGGER attempts_added AFTER INSERT ON attempts BEGIN
    INSERT INTO totals
    SELECT day, provider, model, tag, state, cost_source, 1, images, settled_nanousd, open_nanousd
    FROM attempt_totals WHERE id = NEW.id
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        images = images + excluded.images,
        settled_nanousd = settled_nanousd + excluded.settled_nanousd,
        open_nanousd = open_nanousd + excluded.open_nanousd;
END;

-- From sent to accepted nothing changes here, so neither does it cost anything.
CREATE TRIGGER attempts_settling BEFORE UPDATE OF state, settled_nanousd, reserved_nanousd ON attempts
WHEN NEW.state NOT IN ('reserved', 'sent', 'accepted') OR OLD.state NOT IN ('reserved', 'sent', 'accepted') BEGIN
    UPDATE totals SET
        attempts = totals.attempts - 1,
        images = totals.images - old_row.images,
        settled_nanousd = totals.settled_nanousd - old_row.settled_nanousd,
        open_nanousd = totals.open_nanousd - old_row.open_nanousd
    FROM (SELECT * FROM attempt_totals WHERE id = OLD.id) AS old_row
    WHERE totals.day = old_row.day AND totals.provider = old_row.provider AND totals.model = old_row.model
        AND totals.tag = old_row.tag AND totals.state = old_row.state AND totals.cost_source = old_row.cost_source;
END;

CREATE TRIGGER attempts_settled AFTER UPDATE OF state, settled_nanousd, reserved_nanousd ON attempts
WHEN NEW.state NOT IN ('reserved', 'sent', 'accepted') OR OLD.state NOT IN ('reserved', 'sent', 'accepted') BEGIN
    INSERT INTO totals
    SELECT day, provider, model, tag, state, cost_source, 1, images, settled_nanousd, open_nanousd
    FROM attempt_totals WHERE id = NEW.id
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        images = images + excluded.images,
        settled_nanousd = settled_nanousd + excluded.settled_nanousd,
        open_nanousd = open_nanousd + excluded.open_nanousd;
END;

-- Background batches, so that a later process knows them by the same id.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    requested INTEGER NOT NULL,
    together INTEGER NOT NULL,
    max_at_once INTEGER NOT NULL,
    budget_nanousd INTEGER,
    owner TEXT NOT NULL,
    -- When it was started, or had its last outcome.
    touched_at REAL NOT NULL
) STRICT;

CREATE TABLE session_outcomes (
    session_id TEXT NOT NULL REFERENCES sessions (id),
    number INTEGER NOT NULL,
    batch_index INTEGER NOT NULL,
    image_id TEXT,
    -- Where there is no image: what went wrong, as JSON.
    failure TEXT,
    PRIMARY KEY (session_id, number)
) STRICT, WITHOUT ROWID;
