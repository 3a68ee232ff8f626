-- Sessions: who is logged in where, and how a session ends.
\set SHOW_CONTEXT never
\pset null '(null)'
CREATE EXTENSION refresh_tokens;

-- ---- what an application sees -----------------------------------------------------------------------------------------

SELECT session_id AS web FROM auth.issue_refresh_token('alice', user_agent => 'browser', ip => '192.0.2.1', tag => 'web', scopes => 'read') \gset
SELECT session_id AS phone FROM auth.issue_refresh_token('alice', client_id => 'app', user_agent => 'phone', aal => 'aal2', tag => 'app') \gset
SELECT session_id AS other FROM auth.issue_refresh_token('bob') \gset

-- The live sessions of a user, the last used first, without a secret.
SELECT * FROM auth.list_sessions('alice') LIMIT 0;
SELECT user_agent, ip, client_id, aal, tag, rotations FROM auth.list_sessions('alice');
SELECT count(*) FROM auth.list_sessions('nobody');
SELECT count(*) FROM auth.list_sessions(NULL);
\echo :SQLSTATE

-- For a policy of row level security, and for a check at each request.
SELECT auth.is_session_live(:'web') AS web, auth.is_session_live('00000000-0000-4000-8000-000000000001') AS unknown,
       auth.is_session_live(NULL) AS none;

-- ---- how a session ends -----------------------------------------------------------------------------------------------

-- A logout on one device. The answer is how many tokens were live till then.
SELECT auth.revoke_session(:'web'), auth.revoke_session(:'web') AS again, auth.revoke_session(NULL) AS none;
SELECT auth.is_session_live(:'web') AS web, auth.is_session_live(:'phone') AS phone;

-- A logout everywhere else, and one everywhere.
SELECT session_id AS web FROM auth.issue_refresh_token('alice') \gset
SELECT auth.revoke_user_sessions('alice', :'phone') AS others;
SELECT auth.is_session_live(:'web') AS web, auth.is_session_live(:'phone') AS phone;
SELECT auth.revoke_user_sessions('alice') AS all_of_them, auth.revoke_user_sessions('nobody') AS nobodys;
SELECT auth.revoke_user_sessions(NULL);
\echo :SQLSTATE
SELECT auth.is_session_live(:'other') AS bobs;

-- A session ends when it was told to, when it is too old, and when it was not refreshed for too long.
SELECT session_id AS old FROM auth.issue_refresh_token('carol') \gset
UPDATE auth.sessions SET created_at = created_at - interval '31 d' WHERE id = :'old';
SELECT auth.is_session_live(:'old');
SET refresh_tokens.session_lifetime = 0;
SET refresh_tokens.idle_timeout = 0;
SELECT auth.is_session_live(:'old');
RESET refresh_tokens.session_lifetime;
RESET refresh_tokens.idle_timeout;

-- The cap: a login over it ends the sessions that were refreshed longest ago, of the same tag alone.
SET refresh_tokens.max_sessions_per_user = 2;
SELECT session_id AS first FROM auth.issue_refresh_token('dave', tag => 'web') \gset
SELECT session_id AS second FROM auth.issue_refresh_token('dave', tag => 'web') \gset
SELECT session_id AS third FROM auth.issue_refresh_token('dave', tag => 'web') \gset
SELECT session_id AS app FROM auth.issue_refresh_token('dave', tag => 'app') \gset
SELECT auth.is_session_live(:'first') AS first, auth.is_session_live(:'second') AS second, auth.is_session_live(:'third') AS third,
       auth.is_session_live(:'app') AS app;
SELECT event, user_id, reason FROM auth.refresh_token_events WHERE event = 'session_evicted';
RESET refresh_tokens.max_sessions_per_user;

-- ---- what a user sees -------------------------------------------------------------------------------------------------

-- A user's own sessions, by the claims of an access token that a gateway has verified.
SELECT session_id AS mine FROM auth.issue_refresh_token('erin', user_agent => 'browser') \gset
SELECT session_id AS also_mine FROM auth.issue_refresh_token('erin', user_agent => 'phone') \gset
SELECT set_config('request.jwt.claims', json_build_object('sub', 'erin', 'session_id', :'mine')::text, false) IS NOT NULL AS set;
SELECT * FROM auth.my_sessions LIMIT 0;
SELECT user_agent, session_id = :'mine' AS is_this_one FROM auth.my_sessions ORDER BY 1;
SELECT count(*) FROM auth.list_my_sessions();
SELECT auth.revoke_my_session(:'other') AS somebody_elses, auth.revoke_my_session(NULL) AS none;
SELECT auth.revoke_my_other_sessions() AS others;
SELECT auth.is_session_live(:'mine') AS mine, auth.is_session_live(:'also_mine') AS also_mine, auth.is_session_live(:'other') AS somebody_elses;
SELECT auth.revoke_my_session(:'mine') AS mine;

-- Claims that name nobody show nothing and end nothing.
SET request.jwt.claims = '';
SELECT count(*) FROM auth.my_sessions;
SELECT auth.revoke_my_session(:'other');
SELECT auth.revoke_my_other_sessions();
SET request.jwt.claims = 'no JSON';
SELECT count(*) FROM auth.my_sessions;
SET request.jwt.claims = '{"sub": "bob"}';
SELECT auth.revoke_my_other_sessions();
\echo :SQLSTATE
SELECT auth.is_session_live(:'other') AS bobs;
RESET request.jwt.claims;

-- A gateway that keeps the claims elsewhere.
SET refresh_tokens.claims_setting = 'app.claims';
SET app.claims = '{"sub": "bob"}';
SELECT count(*) FROM auth.my_sessions;
RESET refresh_tokens.claims_setting;

DROP EXTENSION refresh_tokens;
DROP SCHEMA auth;
