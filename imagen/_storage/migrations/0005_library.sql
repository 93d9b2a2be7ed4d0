-- An image's `number` is its place in time: when it was made, in microseconds since 1970, moved on where that is taken. So the
-- newest come first without an index, and a span of time is a span of numbers. Imported images have no attempt.
CREATE TABLE numbered_images (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    attempt_id TEXT REFERENCES attempts (id),
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
    created_at REAL NOT NULL,
    parent_id TEXT,
    provider_id TEXT,
    -- A hash of what was asked for; the same one is the same request. See fingerprint_of.
    fingerprint TEXT,
    -- A JSON array, sorted.
    tags TEXT NOT NULL DEFAULT '[]',
    rating INTEGER NOT NULL DEFAULT 0 CHECK (rating BETWEEN 0 AND 5),
    notes TEXT NOT NULL DEFAULT '',
    trashed_at REAL
) STRICT;

INSERT INTO numbered_images (
    number, id, attempt_id, batch_index, sha256, media_type, width, height, size_bytes, provider, model, request,
    revised_prompt, seed, cost_nanousd, cost_source, adjustments, seconds, created_at, parent_id, provider_id
)
SELECT
    CAST(created_at * 1000000 AS INTEGER) + row_number() OVER (ORDER BY created_at, number),
    id, attempt_id, batch_index, sha256, media_type, width, height, size_bytes, provider, model, request,
    revised_prompt, seed, cost_nanousd, cost_source, adjustments, seconds, created_at, parent_id, provider_id
FROM images;

DROP TABLE images;
ALTER TABLE numbered_images RENAME TO images;

CREATE INDEX images_kept ON images (number) WHERE trashed_at IS NULL;
CREATE INDEX images_trashed ON images (trashed_at) WHERE trashed_at IS NOT NULL;
CREATE INDEX images_by_sha256 ON images (sha256);
CREATE INDEX images_by_parent ON images (parent_id, number) WHERE parent_id IS NOT NULL;
CREATE INDEX images_by_attempt ON images (attempt_id) WHERE attempt_id IS NOT NULL;
-- What images can be put in order by, beside their time.
CREATE INDEX images_by_cost ON images (cost_nanousd, number) WHERE cost_nanousd IS NOT NULL;
CREATE INDEX images_by_pixels ON images (width * height, number);

-- How much there is, so that a limit costs nothing to watch.
CREATE TABLE library_size (
    trashed INTEGER PRIMARY KEY CHECK (trashed IN (0, 1)),
    images INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT;

INSERT INTO library_size SELECT 0, count(*), coalesce(sum(size_bytes), 0) FROM images;
INSERT INTO library_size VALUES (1, 0, 0);

-- Collections are found by their name, and one may lie in another that lies in none.
CREATE TABLE collections (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    parent_id TEXT REFERENCES collections (id) ON DELETE CASCADE,
    notes TEXT NOT NULL DEFAULT '',
    -- Those that are not in the trash.
    images INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
) STRICT;

CREATE UNIQUE INDEX collections_by_name ON collections (coalesce(parent_id, ''), name);
CREATE INDEX collections_by_parent ON collections (parent_id) WHERE parent_id IS NOT NULL;

CREATE TABLE collection_images (
    collection_id TEXT NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    number INTEGER NOT NULL REFERENCES images (number) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    PRIMARY KEY (collection_id, number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX collection_images_in_order ON collection_images (collection_id, position);
CREATE INDEX collections_of_image ON collection_images (number);

-- How many images have a tag, so that the list of tags costs nothing.
CREATE TABLE tags (name TEXT PRIMARY KEY, images INTEGER NOT NULL) STRICT, WITHOUT ROWID;

-- Files whose last row is gone, until they are gone themselves.
CREATE TABLE removals (
    sha256 TEXT PRIMARY KEY,
    media_type TEXT NOT NULL,
    queued_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Links that were given away: to an image, or to a collection.
CREATE TABLE shares (
    id TEXT PRIMARY KEY,
    image_id TEXT REFERENCES images (id) ON DELETE CASCADE,
    collection_id TEXT REFERENCES collections (id) ON DELETE CASCADE,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    revoked_at REAL,
    CHECK ((image_id IS NULL) <> (collection_id IS NULL))
) STRICT;

CREATE INDEX shares_of_image ON shares (image_id) WHERE image_id IS NOT NULL;
CREATE INDEX shares_of_collection ON shares (collection_id) WHERE collection_id IS NOT NULL;
CREATE INDEX shares_by_time ON shares (created_at);

-- How its requests go, as JSON: models to fall back on, the cache, whether slots are waited for.
ALTER TABLE sessions ADD COLUMN way TEXT NOT NULL DEFAULT '{}';

-- Requests that were answered by an image of the library: `saved_nanousd` is what that one did cost.
CREATE TABLE cache_hits (
    number INTEGER PRIMARY KEY,
    image_id TEXT NOT NULL,
    batch_id TEXT,
    batch_index INTEGER NOT NULL,
    model TEXT NOT NULL,
    tag TEXT NOT NULL,
    saved_nanousd INTEGER,
    created_at REAL NOT NULL
) STRICT;

CREATE INDEX cache_hits_by_time ON cache_hits (created_at);

-- What an image is found by: its words, and its facets, which are words too, each a letter for the kind and the value in
-- digits. So words and filters of any number are one intersection of sorted lists, newest first, however many images there are.
CREATE VIEW image_documents AS
SELECT
    number,
    as_searched(json_extract(request, '$.prompt')) AS prompt,
    as_searched(revised_prompt) AS revised_prompt,
    as_searched((SELECT group_concat(value, ' ') FROM json_each(tags))) AS tags,
    as_searched(notes) AS notes,
    image_facets(
        provider, model, json_extract(request, '$.operation'), width, height, seed, rating, cost_nanousd, trashed_at,
        fingerprint, input_hashes(request), tags,
        (SELECT group_concat(collection_id, ' ') FROM collection_images WHERE collection_images.number = images.number)
    ) AS facets
FROM images;

CREATE VIRTUAL TABLE image_search USING fts5 (
    prompt, revised_prompt, tags, notes, facets,
    tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
);

-- Images come one by one, and each commit is a piece of the index: they are joined by the eight, not by the four, which is less
-- work for each, and more for a search only where there are few.
INSERT INTO image_search (image_search, rank) VALUES ('automerge', 8);

INSERT INTO image_search (rowid, prompt, revised_prompt, tags, notes, facets) SELECT * FROM image_documents;

CREATE TRIGGER images_listed AFTER INSERT ON images BEGIN
    INSERT INTO image_search (rowid, prompt, revised_prompt, tags, notes, facets)
    SELECT * FROM image_documents WHERE number = NEW.number;
    INSERT INTO tags SELECT value, 1 FROM json_each(NEW.tags) WHERE true
    ON CONFLICT DO UPDATE SET images = images + 1;
    UPDATE library_size SET images = images + 1, size_bytes = size_bytes + NEW.size_bytes
    WHERE trashed = (NEW.trashed_at IS NOT NULL);
END;

CREATE TRIGGER images_trashed_or_restored AFTER UPDATE OF trashed_at ON images
WHEN (NEW.trashed_at IS NULL) <> (OLD.trashed_at IS NULL) BEGIN
    UPDATE library_size SET images = images - 1, size_bytes = size_bytes - OLD.size_bytes
    WHERE trashed = (OLD.trashed_at IS NOT NULL);
    UPDATE library_size SET images = images + 1, size_bytes = size_bytes + NEW.size_bytes
    WHERE trashed = (NEW.trashed_at IS NOT NULL);
    UPDATE collections SET images = images + CASE WHEN NEW.trashed_at IS NULL THEN 1 ELSE -1 END
    WHERE id IN (SELECT collection_id FROM collection_images WHERE number = NEW.number);
END;

CREATE TRIGGER images_curated AFTER UPDATE OF tags, rating, notes, trashed_at ON images BEGIN
    REPLACE INTO image_search (rowid, prompt, revised_prompt, tags, notes, facets)
    SELECT * FROM image_documents WHERE number = NEW.number;
END;

CREATE TRIGGER images_tagged AFTER UPDATE OF tags ON images BEGIN
    UPDATE tags SET images = images - 1 WHERE name IN (SELECT value FROM json_each(OLD.tags));
    INSERT INTO tags SELECT value, 1 FROM json_each(NEW.tags) WHERE true
    ON CONFLICT DO UPDATE SET images = images + 1;
    DELETE FROM tags WHERE images = 0 AND name IN (SELECT value FROM json_each(OLD.tags));
END;

-- Before the row is gone, as it says whether the image counted.
CREATE TRIGGER images_leaving BEFORE DELETE ON images BEGIN
    DELETE FROM collection_images WHERE number = OLD.number;
END;

CREATE TRIGGER images_deleted AFTER DELETE ON images BEGIN
    DELETE FROM image_search WHERE rowid = OLD.number;
    UPDATE library_size SET images = images - 1, size_bytes = size_bytes - OLD.size_bytes
    WHERE trashed = (OLD.trashed_at IS NOT NULL);
    UPDATE tags SET images = images - 1 WHERE name IN (SELECT value FROM json_each(OLD.tags));
    DELETE FROM tags WHERE images = 0 AND name IN (SELECT value FROM json_each(OLD.tags));
END;

CREATE TRIGGER images_collected AFTER INSERT ON collection_images BEGIN
    UPDATE collections SET images = images + (SELECT trashed_at IS NULL FROM images WHERE number = NEW.number)
    WHERE id = NEW.collection_id;
    REPLACE INTO image_search (rowid, prompt, revised_prompt, tags, notes, facets)
    SELECT * FROM image_documents WHERE number = NEW.number;
END;

CREATE TRIGGER images_released AFTER DELETE ON collection_images BEGIN
    UPDATE collections SET images = images - (SELECT trashed_at IS NULL FROM images WHERE number = OLD.number)
    WHERE id = OLD.collection_id;
    REPLACE INTO image_search (rowid, prompt, revised_prompt, tags, notes, facets)
    SELECT * FROM image_documents WHERE number = OLD.number;
END;
