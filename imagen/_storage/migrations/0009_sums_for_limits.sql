-- Limits are checked for each request, so none of them may read what grows with history.

-- What is in flight is counted by provider and by model; those of a batch API do not count.
DROP INDEX attempts_unresolved;
CREATE INDEX attempts_unresolved ON attempts (provider, economy, owner) WHERE state IN ('reserved', 'sent', 'accepted');
CREATE INDEX attempts_unresolved_by_model ON attempts (model, economy) WHERE state IN ('reserved', 'sent', 'accepted');

-- Attempts that count in a rate, in each second, minute and hour: `number` is created_at / seconds, and `kind` says whether
-- `name` is a model or a provider. Whole hours, minutes and seconds make up a window, but for the parts of a second at its ends.
CREATE TABLE rate_sums (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    seconds INTEGER NOT NULL,
    number INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (kind, name, seconds, number)
) STRICT, WITHOUT ROWID;

-- The six sums of each attempt. One that was dropped before it was sent does not count.
CREATE VIEW attempt_rates AS
SELECT
    id, kind, CASE kind WHEN 'model' THEN model ELSE provider END AS name, seconds,
    CAST(created_at AS INTEGER) / seconds AS number, images, sent_at IS NOT NULL OR state = 'reserved' AS counts
FROM attempts
CROSS JOIN (SELECT 'model' AS kind UNION ALL SELECT 'provider')
CROSS JOIN (SELECT 1 AS seconds UNION ALL SELECT 60 UNION ALL SELECT 3600)
WHERE NOT economy;

INSERT INTO rate_sums
SELECT kind, name, seconds, number, count(*), sum(images) FROM attempt_rates WHERE counts
GROUP BY kind, name, seconds, number;

-- Written out, not read from the view, as this is done for each request: it takes a quarter of the time.
CREATE TRIGGER attempts_rated AFTER INSERT ON attempts
WHEN NOT NEW.economy AND (NEW.sent_at IS NOT NULL OR NEW.state = 'reserved') BEGIN
    INSERT INTO rate_sums VALUES
        ('model', NEW.model, 1, CAST(NEW.created_at AS INTEGER), 1, NEW.images),
        ('model', NEW.model, 60, CAST(NEW.created_at AS INTEGER) / 60, 1, NEW.images),
        ('model', NEW.model, 3600, CAST(NEW.created_at AS INTEGER) / 3600, 1, NEW.images),
        ('provider', NEW.provider, 1, CAST(NEW.created_at AS INTEGER), 1, NEW.images),
        ('provider', NEW.provider, 60, CAST(NEW.created_at AS INTEGER) / 60, 1, NEW.images),
        ('provider', NEW.provider, 3600, CAST(NEW.created_at AS INTEGER) / 3600, 1, NEW.images)
    ON CONFLICT DO UPDATE SET requests = requests + 1, images = images + excluded.images;
END;

CREATE TRIGGER attempts_unrated AFTER UPDATE OF state, sent_at ON attempts
WHEN NEW.sent_at IS NULL AND NEW.state <> 'reserved' AND (OLD.sent_at IS NOT NULL OR OLD.state = 'reserved') BEGIN
    UPDATE rate_sums SET requests = rate_sums.requests - 1, images = rate_sums.images - dropped.images
    FROM (SELECT * FROM attempt_rates WHERE id = OLD.id) AS dropped
    WHERE rate_sums.kind = dropped.kind AND rate_sums.name = dropped.name
        AND rate_sums.seconds = dropped.seconds AND rate_sums.number = dropped.number;
END;

-- Sent although it was not reserved: the id of its job was noted before.
CREATE TRIGGER attempts_rated_late AFTER UPDATE OF state, sent_at ON attempts
WHEN OLD.sent_at IS NULL AND OLD.state <> 'reserved' AND (NEW.sent_at IS NOT NULL OR NEW.state = 'reserved') BEGIN
    INSERT INTO rate_sums SELECT kind, name, seconds, number, 1, images FROM attempt_rates WHERE id = NEW.id
    ON CONFLICT DO UPDATE SET requests = requests + 1, images = images + excluded.images;
END;

-- The totals of all days, for budgets without an end. They follow the totals of the days.
CREATE TABLE totals_ever (
    tag TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    state TEXT NOT NULL,
    images INTEGER NOT NULL,
    settled_nanousd INTEGER NOT NULL,
    open_nanousd INTEGER NOT NULL,
    PRIMARY KEY (tag, model, provider, state)
) STRICT, WITHOUT ROWID;

INSERT INTO totals_ever
SELECT tag, model, provider, state, sum(images), sum(settled_nanousd), sum(open_nanousd)
FROM totals GROUP BY tag, model, provider, state;

CREATE TRIGGER totals_begun AFTER INSERT ON totals BEGIN
    INSERT INTO totals_ever
    VALUES (NEW.tag, NEW.model, NEW.provider, NEW.state, NEW.images, NEW.settled_nanousd, NEW.open_nanousd)
    ON CONFLICT DO UPDATE SET
        images = images + excluded.images,
        settled_nanousd = settled_nanousd + excluded.settled_nanousd,
        open_nanousd = open_nanousd + excluded.open_nanousd;
END;

CREATE TRIGGER totals_changed AFTER UPDATE ON totals BEGIN
    UPDATE totals_ever SET
        images = images + NEW.images - OLD.images,
        settled_nanousd = settled_nanousd + NEW.settled_nanousd - OLD.settled_nanousd,
        open_nanousd = open_nanousd + NEW.open_nanousd - OLD.open_nanousd
    WHERE tag = NEW.tag AND model = NEW.model AND provider = NEW.provider AND state = NEW.state;
END;
