-- What an arrival tells, so that a socket and the history tell it once: `<channel>/<ts>` of a post, with `/edited/<ts>` or
-- `/deleted` behind it of what became of the post. Null where only the event's own id names it.
ALTER TABLE slack_envelope ADD COLUMN about TEXT;
CREATE UNIQUE INDEX slack_envelope_about ON slack_envelope (about);

-- Up to which message everything that was said is stored: of a channel's own messages (thread '') and of each thread.
CREATE TABLE slack_watermark (
    channel TEXT NOT NULL,
    thread  TEXT NOT NULL,
    ts      TEXT NOT NULL,
    PRIMARY KEY (channel, thread)
);

-- Since when the agent's posts in a thread are silenced.
ALTER TABLE slack_thread ADD COLUMN muted BIGINT;

-- Channels in which the app can neither hear nor speak, until it can again.
CREATE TABLE slack_away (
    channel TEXT   NOT NULL PRIMARY KEY,
    why     TEXT   NOT NULL,
    since   BIGINT NOT NULL
);

CREATE INDEX inbox_place ON inbox (channel, thread);
