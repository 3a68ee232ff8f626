-- Roles: which tier needs what, how a role gets and loses one, and what somebody without one may do: nothing.
\set SHOW_CONTEXT never
\pset null '(null)'
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_rt_gateway, regress_rt_client, regress_rt_user, regress_rt_server, regress_rt_operator, regress_rt_owner, regress_rt_nobody;
RESET client_min_messages;
CREATE EXTENSION refresh_tokens;
-- A retry is one however slow the machine is; the default is 10 seconds.
SET refresh_tokens.reuse_interval = '1 h';
CREATE ROLE regress_rt_gateway;
CREATE ROLE regress_rt_client;
CREATE ROLE regress_rt_user;
CREATE ROLE regress_rt_server;
CREATE ROLE regress_rt_operator;
CREATE ROLE regress_rt_owner;
CREATE ROLE regress_rt_nobody;

-- ---- the tiers --------------------------------------------------------------------------------------------------------

-- What each tier needs. The long list of parameters of auth.token is cut.
SELECT kind, CASE WHEN length(object) > 150 THEN left(object, 22) || '...)' ELSE object END AS object, tiers
  FROM auth.refresh_token_tiers() AS t ORDER BY t.kind COLLATE "C", t.object COLLATE "C";

-- A role gets a tier by one call.
SELECT auth.grant_refresh_token_role('regress_rt_gateway', 'gateway'), auth.grant_refresh_token_role('regress_rt_client', 'client'),
       auth.grant_refresh_token_role('regress_rt_user', 'user'), auth.grant_refresh_token_role('regress_rt_server', 'server'),
       auth.grant_refresh_token_role('regress_rt_operator', 'operator');

-- Which functions each of them may execute now. Nobody is what PUBLIC is.
SELECT p.proname || CASE WHEN p.pronargs = 1 AND p.proargtypes[0] = 'jsonb'::regtype THEN '(jsonb)' ELSE '' END AS function,
       string_agg(r.tier, ', ' ORDER BY r.place) AS may_execute
  FROM pg_proc AS p
  LEFT JOIN unnest('{gateway,client,user,server,operator,nobody}'::text[]) WITH ORDINALITY AS r (tier, place)
         ON has_function_privilege('regress_rt_' || r.tier, p.oid, 'EXECUTE')
 WHERE p.pronamespace = 'auth'::regnamespace
 GROUP BY p.oid ORDER BY p.proname COLLATE "C", p.pronargs DESC;

-- Which tables and views each may read. Nobody may write one.
SELECT c.relname AS relation, string_agg(r.tier, ', ' ORDER BY r.place) AS may_read,
       bool_or(has_table_privilege('regress_rt_' || r.tier, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')) AS may_write
  FROM pg_class AS c
  LEFT JOIN unnest('{gateway,client,user,server,operator,nobody}'::text[]) WITH ORDINALITY AS r (tier, place)
         ON has_any_column_privilege('regress_rt_' || r.tier, c.oid, 'SELECT')
 WHERE c.relnamespace = 'auth'::regnamespace AND c.relkind IN ('r', 'v')
 GROUP BY c.oid ORDER BY c.relname COLLATE "C";

-- A role that has the tier does with it what it is for, and nothing else.
SET ROLE regress_rt_server;
SELECT refresh_token FROM auth.issue_refresh_token('alice') \gset
SET ROLE regress_rt_client;
SELECT status FROM auth.rotate_refresh_token(:'refresh_token');
SELECT auth.issue_refresh_token('alice');
\echo :SQLSTATE
TABLE auth.refresh_tokens;
\echo :SQLSTATE
SET refresh_tokens.reuse_interval = '1 d';
\echo :SQLSTATE
SET ROLE regress_rt_operator;
SELECT status FROM auth.explain_refresh_token(:'refresh_token');
SELECT live_sessions FROM auth.refresh_token_stats;
SELECT auth.revoke_refresh_token(:'refresh_token');
\echo :SQLSTATE
SET ROLE regress_rt_nobody;
SELECT auth.is_session_live(NULL);
\echo :SQLSTATE
RESET ROLE;

-- ---- tiers come and go ------------------------------------------------------------------------------------------------

-- A tier that is taken leaves nothing, but for what another tier needs that the role has.
SELECT auth.grant_refresh_token_role('regress_rt_nobody', 'server');
SELECT auth.grant_refresh_token_role('regress_rt_nobody', 'user');
SELECT auth.revoke_refresh_token_role('regress_rt_nobody', 'server');
SELECT has_schema_privilege('regress_rt_nobody', 'auth', 'USAGE') AS schema,
       has_function_privilege('regress_rt_nobody', 'auth.list_my_sessions()', 'EXECUTE') AS of_user,
       has_function_privilege('regress_rt_nobody', 'auth.list_sessions(text)', 'EXECUTE') AS of_server;
SELECT auth.revoke_refresh_token_role('regress_rt_nobody', 'user');
SELECT has_schema_privilege('regress_rt_nobody', 'auth', 'USAGE') AS schema,
       has_function_privilege('regress_rt_nobody', 'auth.list_my_sessions()', 'EXECUTE') AS of_user;
DROP ROLE regress_rt_nobody;

-- Calls that make no sense.
SELECT auth.grant_refresh_token_role(NULL, 'client');
\echo :SQLSTATE
SELECT auth.grant_refresh_token_role('regress_rt_client', NULL);
\echo :SQLSTATE
SELECT auth.grant_refresh_token_role('regress_rt_client', 'admin');
\echo :SQLSTATE
SELECT auth.grant_refresh_token_role('public', 'client');
\echo :SQLSTATE
SELECT auth.revoke_refresh_token_role('regress_rt_no_such', 'client');
\echo :SQLSTATE
SET ROLE regress_rt_server;
SELECT auth.grant_refresh_token_role('regress_rt_client', 'server');
\echo :SQLSTATE
RESET ROLE;

-- ---- the owner --------------------------------------------------------------------------------------------------------

-- Everything goes to a role that is no superuser and can't log in. The functions run as that role, and the tiers stay.
SELECT auth.set_refresh_token_owner('regress_rt_owner');
SELECT DISTINCT p.proowner::regrole AS functions, c.relowner::regrole AS tables
  FROM pg_proc AS p, pg_class AS c
 WHERE p.pronamespace = 'auth'::regnamespace AND c.relnamespace = 'auth'::regnamespace AND c.relkind IN ('r', 'v', 'S');
SET ROLE regress_rt_client;
SELECT status FROM auth.rotate_refresh_token(:'refresh_token');
RESET ROLE;
SELECT auth.revoke_refresh_token_role('regress_rt_owner', 'client');
\echo :SQLSTATE
SELECT auth.set_refresh_token_owner(NULL);
\echo :SQLSTATE
SELECT auth.set_refresh_token_owner('regress_rt_no_such');
\echo :SQLSTATE

-- A table in other hands than the functions is never touched.
ALTER TABLE auth.refresh_tokens OWNER TO regress_rt_client;
SELECT auth.rotate_refresh_token(:'refresh_token');
\echo :SQLSTATE
ALTER TABLE auth.refresh_tokens OWNER TO regress_rt_owner;

DROP EXTENSION refresh_tokens;
DROP SCHEMA auth;
DROP ROLE regress_rt_gateway, regress_rt_client, regress_rt_user, regress_rt_server, regress_rt_operator, regress_rt_owner;
