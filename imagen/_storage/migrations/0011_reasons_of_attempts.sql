-- Why an attempt was made: first, retry, fallback or hedge. Empty for those of earlier versions.
ALTER TABLE attempts ADD COLUMN why TEXT NOT NULL DEFAULT '';

-- Attempts whose time says how fast a model is. One that went through a batch API does not.
CREATE VIEW attempt_times AS
SELECT id, provider, model, operation, tag, created_at, ended_at - sent_at AS seconds
FROM attempts
WHERE state = 'succeeded' AND NOT economy AND ended_at >= sent_at;
