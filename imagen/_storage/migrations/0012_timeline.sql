-- How many images a day (UTC) has, in days since 1970, so that a time line costs nothing at any size. `number` is the time in
-- microseconds.
CREATE TABLE timeline (
    day INTEGER NOT NULL,
    trashed INTEGER NOT NULL CHECK (trashed IN (0, 1)),
    images INTEGER NOT NULL,
    PRIMARY KEY (day, trashed)
) STRICT, WITHOUT ROWID;

INSERT INTO timeline SELECT number / 86400000000, trashed_at IS NOT NULL, count(*) FROM images GROUP BY 1, 2;

CREATE TRIGGER timeline_grows AFTER INSERT ON images BEGIN
    INSERT INTO timeline VALUES (NEW.number / 86400000000, NEW.trashed_at IS NOT NULL, 1)
    ON CONFLICT DO UPDATE SET images = images + 1;
END;

CREATE TRIGGER timeline_moves AFTER UPDATE OF trashed_at ON images
WHEN (NEW.trashed_at IS NULL) <> (OLD.trashed_at IS NULL) BEGIN
    UPDATE timeline SET images = images - 1
    WHERE day = OLD.number / 86400000000 AND trashed = (OLD.trashed_at IS NOT NULL);
    INSERT INTO timeline VALUES (NEW.number / 86400000000, NEW.trashed_at IS NOT NULL, 1)
    ON CONFLICT DO UPDATE SET images = images + 1;
END;

CREATE TRIGGER timeline_shrinks AFTER DELETE ON images BEGIN
    UPDATE timeline SET images = images - 1
    WHERE day = OLD.number / 86400000000 AND trashed = (OLD.trashed_at IS NOT NULL);
END;
