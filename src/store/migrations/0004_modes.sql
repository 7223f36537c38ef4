-- When a prompt may be typed: queue, steer, interrupt or thread.
ALTER TABLE inbox ADD COLUMN mode TEXT NOT NULL DEFAULT 'queue';

-- The prompt at whose head it was typed, where several went as one message.
ALTER TABLE inbox ADD COLUMN lead TEXT;
CREATE INDEX inbox_lead ON inbox (lead);

-- When the agent was started last.
ALTER TABLE conversation ADD COLUMN launched BIGINT;
