-- News of the box itself, in order; `key` keeps the same news from being told twice. The status channel reads it by a note.
CREATE TABLE notice (
    seq    INTEGER PRIMARY KEY,
    at     BIGINT  NOT NULL,
    key    TEXT    NOT NULL UNIQUE,
    notice TEXT    NOT NULL
);

-- Agents that agents.yaml does not name any more, until their session has ended or they are named again.
CREATE TABLE retired_agent (
    agent TEXT   NOT NULL PRIMARY KEY,
    since BIGINT NOT NULL
);
