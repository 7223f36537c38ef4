-- Times are microseconds since 1970 in UTC. `BIGINT` and `TEXT` throughout, so that the queries serve PostgreSQL as they stand.

-- Every prompt that anybody ever meant for an agent.
CREATE TABLE inbox (
    seq       INTEGER PRIMARY KEY,
    id        TEXT   NOT NULL UNIQUE,
    dedup_key TEXT   NOT NULL UNIQUE,
    agent     TEXT   NOT NULL,
    source    TEXT   NOT NULL,
    who       TEXT   NOT NULL,
    body      TEXT   NOT NULL,
    channel   TEXT,
    thread    TEXT,
    created   BIGINT NOT NULL,
    state     TEXT   NOT NULL,
    detail    TEXT   NOT NULL,
    since     BIGINT NOT NULL,
    typed     TEXT
);
CREATE INDEX inbox_agent_state ON inbox (agent, state);

-- A prompt's life, one row a step.
CREATE TABLE transition (
    seq    INTEGER PRIMARY KEY,
    prompt TEXT   NOT NULL,
    at     BIGINT NOT NULL,
    detail TEXT   NOT NULL,
    cause  TEXT   NOT NULL
);
CREATE INDEX transition_prompt ON transition (prompt);

-- Where an agent's own record held a prompt, and whether the text was exactly the one typed.
CREATE TABLE evidence (
    prompt TEXT   NOT NULL,
    kind   TEXT   NOT NULL,
    exact  BIGINT NOT NULL,
    at     BIGINT NOT NULL,
    PRIMARY KEY (prompt, kind)
);

-- What the agents did.
CREATE TABLE feed (
    seq   INTEGER PRIMARY KEY,
    at    BIGINT NOT NULL,
    agent TEXT   NOT NULL,
    turn  TEXT,
    fact  TEXT   NOT NULL
);
CREATE INDEX feed_turn ON feed (turn);
CREATE INDEX feed_agent ON feed (agent, at);

-- How far each reader of the feed has come.
CREATE TABLE feed_cursor (
    reader TEXT   NOT NULL PRIMARY KEY,
    seq    BIGINT NOT NULL
);

-- How far each record file of an agent was read, in bytes, always at the start of a line.
CREATE TABLE record_offset (
    agent TEXT   NOT NULL,
    path  TEXT   NOT NULL,
    inode BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (agent, path)
);

-- What the mirror must remember of the turn that runs, as JSON.
CREATE TABLE open_turn (
    agent TEXT NOT NULL PRIMARY KEY,
    turn  TEXT NOT NULL
);

-- The conversation each agent is, and how often it was started.
CREATE TABLE conversation (
    agent    TEXT   NOT NULL PRIMARY KEY,
    id       TEXT   NOT NULL,
    launches BIGINT NOT NULL,
    since    BIGINT NOT NULL
);

-- Nudges that were skipped, so that each is told once.
CREATE TABLE skipped_nudge (
    agent TEXT   NOT NULL,
    day   TEXT   NOT NULL,
    due   BIGINT NOT NULL,
    PRIMARY KEY (agent, day)
);

-- Single values.
CREATE TABLE note (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
