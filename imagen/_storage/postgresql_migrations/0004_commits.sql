-- The last commit of each client. One whose answer was lost is looked up here: the number of a transaction does not
-- tell, as after a crash the server gives it to another one.
CREATE TABLE commits (
    client text PRIMARY KEY,
    number bigint NOT NULL,
    made_at timestamptz NOT NULL
);
