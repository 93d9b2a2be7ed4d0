-- The tables of the SQLite migrations 0001 to 0011, but for search, hashes and prompts.
-- `rowid` stands for the one that SQLite gives every table.
CREATE TABLE attempts (
    id text PRIMARY KEY,
    batch_id text,
    provider text NOT NULL,
    model text NOT NULL,
    operation text NOT NULL,
    images bigint NOT NULL,
    request text NOT NULL,
    state text NOT NULL
        CHECK (state IN ('reserved', 'sent', 'accepted', 'succeeded', 'failed', 'refused', 'unknown')),
    reserved_nanousd bigint,
    settled_nanousd bigint,
    cost_source text,
    remote_id text,
    poll_url text,
    error_code text,
    error_message text,
    owner text NOT NULL,
    created_at float8 NOT NULL,
    sent_at float8,
    ended_at float8,
    first_index bigint NOT NULL DEFAULT 0,
    tag text NOT NULL DEFAULT '',
    accepted_nanousd bigint,
    receipt text,
    economy bigint NOT NULL DEFAULT 0,
    why text NOT NULL DEFAULT '',
    rowid bigint GENERATED ALWAYS AS IDENTITY
) WITH (fillfactor = 70);

CREATE INDEX attempts_by_time ON attempts (created_at);
CREATE INDEX attempts_unknown ON attempts (created_at) WHERE state = 'unknown';
CREATE INDEX attempts_by_model ON attempts (model, created_at);
CREATE INDEX attempts_by_provider ON attempts (provider, created_at);
CREATE INDEX attempts_by_batch ON attempts (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX attempts_together ON attempts (remote_id) WHERE economy <> 0;
CREATE INDEX attempts_unresolved ON attempts (provider, economy, owner)
    WHERE state IN ('reserved', 'sent', 'accepted');
CREATE INDEX attempts_unresolved_by_model ON attempts (model, economy)
    WHERE state IN ('reserved', 'sent', 'accepted');

CREATE TABLE totals (
    day text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    tag text NOT NULL,
    state text NOT NULL,
    cost_source text NOT NULL,
    attempts bigint NOT NULL,
    images bigint NOT NULL,
    settled_nanousd bigint NOT NULL,
    open_nanousd bigint NOT NULL,
    PRIMARY KEY (day, provider, model, tag, state, cost_source)
) WITH (fillfactor = 50);

CREATE VIEW attempt_totals AS
SELECT
    id,
    batch_id,
    created_at,
    to_char(to_timestamp(created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
    provider,
    model,
    tag,
    CASE WHEN state IN ('reserved', 'sent', 'accepted') THEN 'in_flight' ELSE state END AS state,
    coalesce(cost_source, '') AS cost_source,
    images,
    coalesce(settled_nanousd, 0) AS settled_nanousd,
    CASE WHEN settled_nanousd IS NULL THEN coalesce(reserved_nanousd, 0) ELSE 0 END AS open_nanousd
FROM attempts;

CREATE FUNCTION add_to_totals(row_of attempts, sign bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO totals VALUES (
        to_char(to_timestamp(row_of.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
        row_of.provider,
        row_of.model,
        row_of.tag,
        CASE WHEN row_of.state IN ('reserved', 'sent', 'accepted') THEN 'in_flight' ELSE row_of.state END,
        coalesce(row_of.cost_source, ''),
        sign,
        sign * row_of.images,
        sign * coalesce(row_of.settled_nanousd, 0),
        sign * CASE WHEN row_of.settled_nanousd IS NULL THEN coalesce(row_of.reserved_nanousd, 0) ELSE 0 END
    )
    ON CONFLICT (day, provider, model, tag, state, cost_source) DO UPDATE SET
        attempts = totals.attempts + excluded.attempts,
        images = totals.images + excluded.images,
        settled_nanousd = totals.settled_nanousd + excluded.settled_nanousd,
        open_nanousd = totals.open_nanousd + excluded.open_nanousd
$$;

CREATE FUNCTION count_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.state IN ('reserved', 'sent', 'accepted') AND OLD.state IN ('reserved', 'sent', 'accepted') THEN
            RETURN NULL;
        END IF;
        PERFORM add_to_totals(OLD, -1);
    END IF;
    PERFORM add_to_totals(NEW, 1);
    RETURN NULL;
END
$$;

CREATE TRIGGER attempts_counted AFTER INSERT OR UPDATE OF state, settled_nanousd, reserved_nanousd ON attempts
FOR EACH ROW EXECUTE FUNCTION count_attempt();

CREATE TABLE totals_ever (
    tag text NOT NULL,
    model text NOT NULL,
    provider text NOT NULL,
    state text NOT NULL,
    images bigint NOT NULL,
    settled_nanousd bigint NOT NULL,
    open_nanousd bigint NOT NULL,
    PRIMARY KEY (tag, model, provider, state)
) WITH (fillfactor = 50);

CREATE FUNCTION count_ever() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    images_before bigint := 0;
    settled_before bigint := 0;
    open_before bigint := 0;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        images_before := OLD.images;
        settled_before := OLD.settled_nanousd;
        open_before := OLD.open_nanousd;
    END IF;
    INSERT INTO totals_ever VALUES (
        NEW.tag, NEW.model, NEW.provider, NEW.state,
        NEW.images - images_before, NEW.settled_nanousd - settled_before, NEW.open_nanousd - open_before
    )
    ON CONFLICT (tag, model, provider, state) DO UPDATE SET
        images = totals_ever.images + excluded.images,
        settled_nanousd = totals_ever.settled_nanousd + excluded.settled_nanousd,
        open_nanousd = totals_ever.open_nanousd + excluded.open_nanousd;
    RETURN NULL;
END
$$;

CREATE TRIGGER totals_counted AFTER INSERT OR UPDATE ON totals
FOR EACH ROW EXECUTE FUNCTION count_ever();

CREATE TABLE rate_sums (
    kind text NOT NULL,
    name text NOT NULL,
    seconds bigint NOT NULL,
    number bigint NOT NULL,
    requests bigint NOT NULL,
    images bigint NOT NULL,
    PRIMARY KEY (kind, name, seconds, number)
) WITH (fillfactor = 50);

CREATE FUNCTION add_to_rates(row_of attempts, sign bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO rate_sums
    SELECT kind, CASE kind WHEN 'model' THEN row_of.model ELSE row_of.provider END, size,
        trunc(row_of.created_at)::bigint / size, sign, sign * row_of.images
    FROM unnest(ARRAY['model', 'provider']) AS kinds (kind)
    CROSS JOIN unnest(ARRAY[1, 60, 3600]::bigint[]) AS sizes (size)
    ON CONFLICT (kind, name, seconds, number) DO UPDATE SET
        requests = rate_sums.requests + excluded.requests,
        images = rate_sums.images + excluded.images
$$;

CREATE FUNCTION rate_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted boolean := false;
    counts boolean := NEW.sent_at IS NOT NULL OR NEW.state = 'reserved';
BEGIN
    IF NEW.economy <> 0 THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        counted := OLD.sent_at IS NOT NULL OR OLD.state = 'reserved';
    END IF;
    IF counts AND NOT counted THEN
        PERFORM add_to_rates(NEW, 1);
    ELSIF counted AND NOT counts THEN
        PERFORM add_to_rates(NEW, -1);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER attempts_rated AFTER INSERT OR UPDATE OF state, sent_at ON attempts
FOR EACH ROW EXECUTE FUNCTION rate_attempt();

CREATE VIEW attempt_times AS
SELECT id, provider, model, operation, tag, created_at, ended_at - sent_at AS seconds
FROM attempts
WHERE state = 'succeeded' AND economy = 0 AND ended_at >= sent_at;

CREATE TABLE sessions (
    id text PRIMARY KEY,
    request text NOT NULL,
    requested bigint NOT NULL,
    together bigint NOT NULL,
    max_at_once bigint NOT NULL,
    budget_nanousd bigint,
    owner text NOT NULL,
    touched_at float8 NOT NULL,
    way text NOT NULL DEFAULT '{}'
);
CREATE INDEX sessions_by_touch ON sessions (touched_at);

CREATE TABLE session_outcomes (
    session_id text NOT NULL REFERENCES sessions (id),
    number bigint NOT NULL,
    batch_index bigint NOT NULL,
    image_id text,
    failure text,
    PRIMARY KEY (session_id, number)
);

CREATE TABLE session_ends (
    session_id text PRIMARY KEY REFERENCES sessions (id),
    state text NOT NULL,
    message text
);

CREATE TABLE session_stops (session_id text PRIMARY KEY REFERENCES sessions (id));

CREATE TABLE webhooks (
    id text PRIMARY KEY,
    receiver text NOT NULL,
    body text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts bigint NOT NULL DEFAULT 0,
    next_try_at float8,
    last_error text,
    created_at float8 NOT NULL,
    ended_at float8,
    rowid bigint GENERATED ALWAYS AS IDENTITY
);
CREATE INDEX webhooks_by_time ON webhooks (created_at);
CREATE INDEX webhooks_pending ON webhooks (receiver, next_try_at) WHERE state = 'pending';

CREATE TABLE images (
    number bigint PRIMARY KEY,
    id text NOT NULL UNIQUE,
    attempt_id text REFERENCES attempts (id),
    batch_index bigint NOT NULL,
    sha256 text NOT NULL,
    media_type text NOT NULL,
    width bigint NOT NULL,
    height bigint NOT NULL,
    size_bytes bigint NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    request text NOT NULL,
    revised_prompt text,
    seed bigint,
    cost_nanousd bigint,
    cost_source text NOT NULL,
    adjustments text NOT NULL,
    seconds float8 NOT NULL,
    created_at float8 NOT NULL,
    parent_id text,
    provider_id text,
    fingerprint text,
    tags text NOT NULL DEFAULT '[]',
    rating bigint NOT NULL DEFAULT 0 CHECK (rating BETWEEN 0 AND 5),
    notes text NOT NULL DEFAULT '',
    trashed_at float8
);
CREATE INDEX images_kept ON images (number) WHERE trashed_at IS NULL;
CREATE INDEX images_trashed ON images (trashed_at) WHERE trashed_at IS NOT NULL;
CREATE INDEX images_by_sha256 ON images (sha256);
CREATE INDEX images_by_parent ON images (parent_id, number) WHERE parent_id IS NOT NULL;
CREATE INDEX images_by_attempt ON images (attempt_id) WHERE attempt_id IS NOT NULL;

CREATE TABLE library_size (
    trashed bigint PRIMARY KEY CHECK (trashed IN (0, 1)),
    images bigint NOT NULL,
    size_bytes bigint NOT NULL
);
INSERT INTO library_size VALUES (0, 0, 0), (1, 0, 0);

CREATE FUNCTION measure_library(was_trashed boolean, images_more bigint, bytes_more bigint) RETURNS void
LANGUAGE sql AS $$
    UPDATE library_size SET images = images + images_more, size_bytes = size_bytes + bytes_more
    WHERE trashed = was_trashed::int
$$;

CREATE FUNCTION measure_image() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM measure_library(OLD.trashed_at IS NOT NULL, -1, -OLD.size_bytes);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM measure_library(NEW.trashed_at IS NOT NULL, 1, NEW.size_bytes);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER images_measured AFTER INSERT OR DELETE OR UPDATE OF trashed_at ON images
FOR EACH ROW EXECUTE FUNCTION measure_image();

CREATE TABLE removals (
    sha256 text PRIMARY KEY,
    media_type text NOT NULL,
    queued_at float8 NOT NULL
);

CREATE TABLE cache_hits (
    number bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    image_id text NOT NULL,
    batch_id text,
    batch_index bigint NOT NULL,
    model text NOT NULL,
    tag text NOT NULL,
    saved_nanousd bigint,
    created_at float8 NOT NULL
);
CREATE INDEX cache_hits_by_time ON cache_hits (created_at);
