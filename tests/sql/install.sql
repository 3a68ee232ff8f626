-- The extension is there, and a token lives its life.
CREATE EXTENSION refresh_tokens;
SELECT status, refresh_token AS token FROM auth.issue_refresh_token('alice') \gset first_
SELECT status, refresh_token AS token FROM auth.rotate_refresh_token(:'first_token') \gset second_
SELECT :'first_status' AS first, :'second_status' AS second;
-- An honest retry gets the same child.
SELECT status, reason, refresh_token = :'second_token' AS same FROM auth.rotate_refresh_token(:'first_token');
SELECT auth.revoke_refresh_token(:'second_token');
SELECT status FROM auth.rotate_refresh_token(:'second_token');
DROP EXTENSION refresh_tokens;
