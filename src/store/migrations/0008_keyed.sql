-- The name under which a message of ours is replaced in its thread.
ALTER TABLE slack_outbox ADD COLUMN key TEXT;
CREATE INDEX slack_outbox_key ON slack_outbox (lane, key);
-- What is not settled, lane by lane: the outbox is looked at often, and only its heads count.
CREATE INDEX slack_outbox_open ON slack_outbox (lane, key, seq) WHERE state IN ('queued', 'sending', 'ambiguous');
