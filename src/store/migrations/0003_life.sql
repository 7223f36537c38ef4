-- When it is too late to give a prompt to its agent.
ALTER TABLE inbox ADD COLUMN expires BIGINT;

-- Agents that get no prompts until a person says so.
CREATE TABLE agent_hold (
    agent TEXT   NOT NULL PRIMARY KEY,
    who   TEXT   NOT NULL,
    since BIGINT NOT NULL
);
