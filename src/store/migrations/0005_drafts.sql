-- What people had typed into an agent's input box and was set aside for a prompt, until it is given back.
CREATE TABLE draft (
    agent TEXT   NOT NULL PRIMARY KEY,
    shown TEXT   NOT NULL,
    since BIGINT NOT NULL
);
