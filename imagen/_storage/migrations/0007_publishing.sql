-- How images look (pHash), by the number of the image. Images that differ in at most seven of 64 bits differ in at most one
-- in some quarter of them, so each quarter has an index.
CREATE TABLE image_hashes (
    number INTEGER PRIMARY KEY REFERENCES images (number) ON DELETE CASCADE,
    phash INTEGER NOT NULL
) STRICT;

CREATE INDEX image_hashes_band_0 ON image_hashes (phash >> 0 & 65535, phash);
CREATE INDEX image_hashes_band_1 ON image_hashes (phash >> 16 & 65535, phash);
CREATE INDEX image_hashes_band_2 ON image_hashes (phash >> 32 & 65535, phash);
CREATE INDEX image_hashes_band_3 ON image_hashes (phash >> 48 & 65535, phash);

-- Images that nobody has hashed yet: they are hashed when somebody looks for similar ones.
CREATE TABLE images_unhashed (
    number INTEGER PRIMARY KEY REFERENCES images (number) ON DELETE CASCADE
) STRICT;

INSERT INTO images_unhashed SELECT number FROM images;

CREATE TRIGGER images_to_hash AFTER INSERT ON images BEGIN
    INSERT INTO images_unhashed (number) VALUES (NEW.number);
END;

-- What is in an object store, or is to be put there or taken away. An object is named by the hash of its bytes. A claim moves
-- next_try_at to when its lease ends, and counts up `tries`; it stays where somebody changes his mind meanwhile, so that nobody
-- puts what another one is just deleting. NULL where nothing is to be done any more.
CREATE TABLE publications (
    sha256 TEXT NOT NULL,
    store TEXT NOT NULL,
    media_type TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'published', 'failed', 'removing', 'removed')),
    tries INTEGER NOT NULL DEFAULT 0,
    next_try_at REAL,
    last_error TEXT,
    queued_at REAL NOT NULL,
    published_at REAL,
    PRIMARY KEY (sha256, store)
) STRICT, WITHOUT ROWID;

CREATE INDEX publications_due ON publications (store, next_try_at) WHERE state IN ('queued', 'removing');
CREATE INDEX publications_by_state ON publications (store, state, queued_at);

-- What is deleted for good goes from the stores too, unless another image has the same bytes.
CREATE TRIGGER images_to_unpublish AFTER DELETE ON images
WHEN NOT EXISTS (SELECT 1 FROM images WHERE sha256 = OLD.sha256) BEGIN
    UPDATE publications SET
        state = 'removing',
        tries = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0 ELSE tries END,
        next_try_at = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0.0 ELSE next_try_at END,
        last_error = NULL
    WHERE sha256 = OLD.sha256 AND state IN ('queued', 'published', 'failed');
END;
