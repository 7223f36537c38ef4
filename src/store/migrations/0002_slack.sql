-- What Slack told us, stored before it is acked. `acted` is null until it was acted on.
CREATE TABLE slack_envelope (
    seq      INTEGER PRIMARY KEY,
    event_id TEXT   NOT NULL UNIQUE,
    payload  TEXT   NOT NULL,
    received BIGINT NOT NULL,
    acted    BIGINT
);
CREATE INDEX slack_envelope_acted ON slack_envelope (acted);

-- The threads that are an agent's: those we opened (their lane is the turn's id, `ts` is null until the root is posted) and
-- those that a person's message opened (their lane is `<channel>/<ts>`). No agent: a place where only an answer is due.
CREATE TABLE slack_thread (
    lane    TEXT NOT NULL PRIMARY KEY,
    agent   TEXT,
    channel TEXT NOT NULL,
    ts      TEXT
);
CREATE INDEX slack_thread_place ON slack_thread (channel, ts);

-- What is to be said in Slack. Rows of one lane go out in order, one at a time.
CREATE TABLE slack_outbox (
    seq       INTEGER PRIMARY KEY,
    id        TEXT   NOT NULL UNIQUE,
    dedup_key TEXT   NOT NULL UNIQUE,
    lane      TEXT   NOT NULL,
    channel   TEXT   NOT NULL,
    action    TEXT   NOT NULL,
    state     TEXT   NOT NULL,
    since     BIGINT NOT NULL,
    ts        TEXT,
    reason    TEXT
);
CREATE INDEX slack_outbox_state ON slack_outbox (state, lane);

-- The id of each channel that agents.yaml names.
CREATE TABLE slack_channel (
    name TEXT NOT NULL PRIMARY KEY,
    id   TEXT NOT NULL
);
