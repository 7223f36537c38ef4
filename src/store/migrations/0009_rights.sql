-- What Slack told of people (`user/U…`: what they are in the workspace) and of user groups (`group/S…`: who is in it), as JSON,
-- and when it was asked: whoever was known a day ago is known while Slack can't be asked, also over a restart.
CREATE TABLE slack_known (
    key   TEXT   NOT NULL PRIMARY KEY,
    value TEXT   NOT NULL,
    at    BIGINT NOT NULL
);
