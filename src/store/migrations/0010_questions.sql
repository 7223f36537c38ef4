-- What agents asked people in a dialog, by the row of the feed that tells of it. An agent has one open dialog at most.
CREATE TABLE question (
    seq     INTEGER PRIMARY KEY,
    agent   TEXT    NOT NULL,
    asked   BIGINT  NOT NULL,
    dialog  TEXT    NOT NULL,
    run     TEXT,
    state   TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    overdue INTEGER NOT NULL DEFAULT 0,
    told    TEXT    NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX question_open ON question (agent) WHERE state <> 'settled';
CREATE INDEX question_of_agent ON question (agent, seq);
CREATE INDEX question_untold ON question (seq) WHERE told <> state;

-- A question's message is found by its key alone.
CREATE INDEX slack_outbox_by_key ON slack_outbox (key) WHERE key IS NOT NULL;

-- What people think of how a turn went, by the message that they reacted to.
CREATE TABLE verdict (
    channel       TEXT   NOT NULL,
    ts            TEXT   NOT NULL,
    person        TEXT   NOT NULL,
    emoji         TEXT   NOT NULL,
    good          BOOLEAN NOT NULL,
    agent         TEXT   NOT NULL,
    turn          TEXT   NOT NULL,
    pull_requests TEXT   NOT NULL,
    since         BIGINT NOT NULL,
    withdrawn     BIGINT,
    PRIMARY KEY (channel, ts, person, emoji)
);
CREATE INDEX verdict_of_turn ON verdict (turn);
CREATE INDEX verdict_of_agent ON verdict (agent, since) WHERE withdrawn IS NULL;
-- A reaction names the message alone.
CREATE INDEX slack_outbox_ts ON slack_outbox (channel, ts) WHERE ts IS NOT NULL;
