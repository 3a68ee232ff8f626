-- Refresh tokens: what each function answers, and what it leaves in the tables.
-- The tables are the owner's alone; this script is the owner, and looks into them to show what a call did. No token is
-- ever printed: \gset keeps the answer of a call in variables.
\set SHOW_CONTEXT never
\pset null '(null)'
CREATE EXTENSION refresh_tokens;
-- A retry is one however slow the machine is; the default is 10 seconds.
SET refresh_tokens.reuse_interval = '1 h';

-- ---- a login and a rotation -------------------------------------------------------------------------------------------

-- A login opens a session and answers with its first token. Unused, the token dies after idle_timeout; the session ends
-- after session_lifetime.
SELECT * FROM auth.issue_refresh_token('alice') \gset first_
SELECT :'first_status' AS status, :'first_refresh_token' ~ '^pgrt_[a-z2-7]+$' AS is_a_token, :'first_user_id' AS user_id,
       :first_token_id AS token_id, :'first_expires_at'::timestamptz - :'first_issued_at'::timestamptz AS idle_timeout,
       :'first_session_expires_at'::timestamptz - :'first_issued_at'::timestamptz AS session_lifetime;

-- The table has a digest of the token, never the token.
SELECT id, user_id, revoked, token LIKE 'pgrt%' AS is_the_token, length(token) AS length, parent IS NULL AS is_the_first
  FROM auth.refresh_tokens;

-- A rotation replaces the live token with a child of it.
SELECT * FROM auth.rotate_refresh_token(:'first_refresh_token', user_agent => 'browser', ip => '192.0.2.1') \gset second_
SELECT :'second_status' AS status, :'second_refresh_token' <> :'first_refresh_token' AS is_new, :second_token_id AS token_id,
       :'second_session_id' = :'first_session_id' AS same_session;
SELECT c.id, c.revoked, p.id AS parent, p.revoked AS parent_revoked
  FROM auth.refresh_tokens AS c JOIN auth.refresh_tokens AS p ON p.token = c.parent;
SELECT user_agent, ip, refresh_token_counter FROM auth.sessions;

-- ---- a retry ----------------------------------------------------------------------------------------------------------

-- Within reuse_interval the parent may be presented again: two tabs, a slow network. The answer is the same child.
SELECT status, reason, refresh_token = :'second_refresh_token' AS same_child FROM auth.rotate_refresh_token(:'first_refresh_token');

-- A client that never saw the answer comes back later: lost_response_interval says how much later it may.
SET refresh_tokens.reuse_interval = 0;
SET refresh_tokens.lost_response_interval = '1 d';
SELECT status, reason, refresh_token = :'second_refresh_token' AS same_child FROM auth.rotate_refresh_token(:'first_refresh_token');
RESET refresh_tokens.lost_response_interval;

-- ---- reuse ------------------------------------------------------------------------------------------------------------

-- explain_refresh_token tells the verdict of a rotation without changing a row, and shows no token.
SELECT status, refresh_token, token_id FROM auth.explain_refresh_token(:'first_refresh_token');
SELECT status, refresh_token, token_id FROM auth.explain_refresh_token(:'second_refresh_token');

-- Outside of both intervals somebody else has a copy of the token: the family is revoked, and the event recorded.
SELECT status, refresh_token, token_id, reason FROM auth.rotate_refresh_token(:'first_refresh_token', user_agent => 'thief');
SELECT count(*) AS tokens, count(*) FILTER (WHERE revoked) AS revoked FROM auth.refresh_tokens;
SELECT event, user_id, token_id, reason, user_agent FROM auth.refresh_token_events;

-- Nothing of an ended family comes back to life, not even for the holder of its last token.
SELECT status, reason FROM auth.rotate_refresh_token(:'second_refresh_token');

-- reuse_action = reject refuses the token and leaves the family alone.
SET refresh_tokens.reuse_action = 'reject';
SELECT * FROM auth.issue_refresh_token('bob') \gset first_
SELECT * FROM auth.rotate_refresh_token(:'first_refresh_token') \gset second_
SELECT status FROM auth.rotate_refresh_token(:'first_refresh_token');
SELECT status FROM auth.rotate_refresh_token(:'second_refresh_token');
RESET refresh_tokens.reuse_action;
SET refresh_tokens.reuse_interval = '1 h';

-- rotation = off: the token stays as it is, and its use is recorded.
SET refresh_tokens.rotation = off;
SELECT * FROM auth.issue_refresh_token('carol') \gset
SELECT status, refresh_token = :'refresh_token' AS same_token FROM auth.rotate_refresh_token(:'refresh_token');
RESET refresh_tokens.rotation;

-- ---- tokens that are refused ------------------------------------------------------------------------------------------

-- Not a token of ours: no table is read. A digest from the table is none either.
SELECT presented, (auth.rotate_refresh_token(presented)).status
  FROM (VALUES (NULL), (''), ('pgrt_'), ('a password'), (repeat('x', 100000))) AS v (token), left(token, 20) AS presented;
SELECT DISTINCT (auth.rotate_refresh_token(token)).status FROM auth.refresh_tokens;

-- A well-formed token of which no row knows: its login was rolled back.
BEGIN;
SELECT * FROM auth.issue_refresh_token('dave') \gset
ROLLBACK;
SELECT * FROM auth.rotate_refresh_token(:'refresh_token');

-- A session is bound to the client that it was opened for.
SELECT * FROM auth.issue_refresh_token('erin', client_id => 'app') \gset
SELECT status, user_id FROM auth.rotate_refresh_token(:'refresh_token');
SELECT status, user_id FROM auth.rotate_refresh_token(:'refresh_token', 'another');
SELECT status, user_id FROM auth.rotate_refresh_token(:'refresh_token', 'app');

-- Three ways to expire. Time passes here by moving a session's times back.
SELECT * FROM auth.issue_refresh_token('frank', not_after => now() + interval '1 h') \gset
UPDATE auth.sessions SET created_at = created_at - interval '2 h', updated_at = updated_at - interval '2 h',
       not_after = not_after - interval '2 h' WHERE id = :'session_id';
SELECT status, reason FROM auth.rotate_refresh_token(:'refresh_token');
SELECT * FROM auth.issue_refresh_token('frank') \gset
UPDATE auth.sessions SET created_at = created_at - interval '31 d' WHERE id = :'session_id';
SELECT status, reason FROM auth.rotate_refresh_token(:'refresh_token');
SELECT * FROM auth.issue_refresh_token('frank') \gset
UPDATE auth.refresh_tokens SET created_at = created_at - interval '16 d', updated_at = updated_at - interval '16 d'
 WHERE session_id = :'session_id';
UPDATE auth.sessions SET created_at = created_at - interval '16 d', updated_at = updated_at - interval '16 d' WHERE id = :'session_id';
SELECT status, reason FROM auth.rotate_refresh_token(:'refresh_token');

-- ---- issuing ----------------------------------------------------------------------------------------------------------

-- Into a session that is there: its live token is revoked, and is the parent of the new one.
SELECT * FROM auth.issue_refresh_token('gina', scopes => 'read') \gset first_
SELECT status, token_id > :first_token_id AS is_newer FROM auth.issue_refresh_token('gina', :'first_session_id', scopes => 'read write');
SELECT s.scopes, count(*) AS tokens, count(*) FILTER (WHERE NOT t.revoked) AS live
  FROM auth.sessions AS s JOIN auth.refresh_tokens AS t ON t.session_id = s.id WHERE s.id = :'first_session_id' GROUP BY s.id;

-- What is stored with a session.
SELECT session_id FROM auth.issue_refresh_token('gina', instance_id => '00000000-0000-4000-8000-000000000001', client_id => 'app',
       scopes => 'read', aal => 'aal2', tag => 'web', user_agent => 'browser', ip => '2001:db8::1') \gset
SELECT user_id, aal, tag, oauth_client_id, scopes, user_agent, ip, refreshed_at FROM auth.sessions WHERE id = :'session_id';
SELECT instance_id FROM auth.refresh_tokens WHERE session_id = :'session_id';

-- A call that makes no sense is an error, and changes nothing.
SELECT auth.issue_refresh_token(NULL);
\echo :SQLSTATE
SELECT auth.issue_refresh_token('');
\echo :SQLSTATE
SELECT auth.issue_refresh_token(repeat('x', 256));
\echo :SQLSTATE
SELECT auth.issue_refresh_token('gina', client_id => repeat('x', 256));
\echo :SQLSTATE
SELECT auth.issue_refresh_token('gina', not_after => now() - interval '1 s');
\echo :SQLSTATE
SELECT auth.issue_refresh_token('gina', '00000000-0000-4000-8000-000000000002');
\echo :SQLSTATE
SELECT auth.issue_refresh_token('alice', :'first_session_id');
\echo :SQLSTATE
SELECT auth.issue_refresh_token('gina', :'session_id', client_id => 'another');
\echo :SQLSTATE
SELECT auth.revoke_session(:'session_id');
SELECT auth.issue_refresh_token('gina', :'session_id', client_id => 'app');
\echo :SQLSTATE

-- ---- revoking ---------------------------------------------------------------------------------------------------------

-- By a token, live or not: the family ends. The answer is how many tokens were live till then.
SELECT * FROM auth.issue_refresh_token('heidi') \gset first_
SELECT * FROM auth.rotate_refresh_token(:'first_refresh_token') \gset second_
SELECT auth.revoke_refresh_token(:'first_refresh_token'), auth.revoke_refresh_token(:'first_refresh_token') AS again;
SELECT status FROM auth.rotate_refresh_token(:'second_refresh_token');
SELECT auth.revoke_refresh_token('unknown'), auth.revoke_refresh_token(NULL);

-- By a token, or by what the columns token and parent show.
SELECT * FROM auth.issue_refresh_token('heidi') \gset first_
SELECT * FROM auth.rotate_refresh_token(:'first_refresh_token') \gset second_
SELECT auth.revoke_token_family(parent) FROM auth.refresh_tokens WHERE id = :second_token_id;
SELECT * FROM auth.issue_refresh_token('heidi') \gset
SELECT auth.revoke_token_family(:'refresh_token'), auth.revoke_token_family('unknown') AS unknown, auth.revoke_token_family(NULL) AS none;

-- ---- looking ----------------------------------------------------------------------------------------------------------

-- RFC 7662: what a live token is good for, and no more than {"active": false} of any other.
SELECT * FROM auth.issue_refresh_token('ivan', client_id => 'app', scopes => 'read') \gset
SELECT jsonb_pretty(auth.introspect_refresh_token(:'refresh_token') - 'session_id' - 'iat' - 'exp');
SELECT auth.introspect_refresh_token(:'second_refresh_token') AS revoked, auth.introspect_refresh_token('unknown') AS unknown,
       auth.introspect_refresh_token(NULL) AS none;

-- Where nothing can be written, what looks works, and what changes says so.
BEGIN READ ONLY;
SELECT auth.introspect_refresh_token(:'refresh_token') ->> 'active' AS active, (auth.explain_refresh_token(:'refresh_token')).status;
SAVEPOINT before;
SELECT auth.rotate_refresh_token(:'refresh_token', 'app');
\echo :SQLSTATE
ROLLBACK TO before;
SELECT auth.revoke_refresh_token(:'refresh_token');
\echo :SQLSTATE
ROLLBACK;

-- A rotation that is rolled back has not happened: the token is live still.
BEGIN;
SELECT status FROM auth.rotate_refresh_token(:'refresh_token', 'app');
ROLLBACK;
SELECT status FROM auth.rotate_refresh_token(:'refresh_token', 'app');

DROP EXTENSION refresh_tokens;
DROP SCHEMA auth;
