-- Sessions that any worker may take, as in SQLite, and what wakes those that wait for a session or for work.
CREATE TABLE submissions (
    session_id text PRIMARY KEY REFERENCES sessions (id),
    tag text NOT NULL,
    priority bigint NOT NULL,
    submitted_at float8 NOT NULL,
    queued bigint NOT NULL DEFAULT 0 CHECK (queued IN (0, 1)),
    not_before float8 NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0
);

CREATE TABLE submission_turns (tag text PRIMARY KEY, begun_at float8 NOT NULL);

CREATE FUNCTION tell_of_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('imagen_sessions', NEW.session_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER outcomes_told AFTER INSERT ON session_outcomes
FOR EACH ROW EXECUTE FUNCTION tell_of_session();
CREATE TRIGGER ends_told AFTER INSERT OR UPDATE ON session_ends
FOR EACH ROW EXECUTE FUNCTION tell_of_session();
CREATE TRIGGER stops_told AFTER INSERT ON session_stops
FOR EACH ROW EXECUTE FUNCTION tell_of_session();

-- Without an id: there may be work for a worker.
CREATE FUNCTION tell_of_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('imagen_sessions', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER submissions_told AFTER INSERT OR DELETE OR UPDATE OF not_before ON submissions
FOR EACH STATEMENT EXECUTE FUNCTION tell_of_work();
