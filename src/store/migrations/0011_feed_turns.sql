-- The turns of one agent, the latest first, without a walk through all that it ever did.
CREATE INDEX feed_turns ON feed (agent, seq);
