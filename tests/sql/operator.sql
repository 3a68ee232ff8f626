-- What an operator has: the objects that the extension makes, its settings, its figures, its events, and purge.
\set SHOW_CONTEXT never
\pset null '(null)'
CREATE EXTENSION refresh_tokens;

-- ---- what is installed ------------------------------------------------------------------------------------------------

-- Tables, views, sequences, indexes and types. Row security without a policy: the owner alone sees a row.
SELECT c.relname AS name, CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence'
       WHEN 'i' THEN 'index' WHEN 'c' THEN 'composite type' END AS kind, c.relrowsecurity AS row_security, obj_description(c.oid, 'pg_class') AS comment
  FROM pg_class AS c WHERE c.relnamespace = 'auth'::regnamespace ORDER BY kind, c.relname COLLATE "C";
SELECT t.typname AS enum, string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) AS labels
  FROM pg_type AS t JOIN pg_enum AS e ON e.enumtypid = t.oid WHERE t.typnamespace = 'auth'::regnamespace GROUP BY 1 ORDER BY 1;
\d auth.refresh_token_grant
\d auth.my_sessions
\d auth.refresh_token_stats
\d auth.refresh_token_answers

-- Functions: those that touch a table run as their owner, and all of them with a search_path of their own.
SELECT p.proname AS function, CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
       CASE p.provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END AS volatility,
       p.prosecdef AS as_owner, array_to_string(p.proconfig, ' ') AS settings
  FROM pg_proc AS p WHERE p.pronamespace = 'auth'::regnamespace ORDER BY p.proname COLLATE "C", p.pronargs DESC;
-- Their parameters, and what they return.
\t on
\pset format unaligned
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ')' || coalesce(' -> ' || pg_get_function_result(p.oid), '')
  FROM pg_proc AS p WHERE p.pronamespace = 'auth'::regnamespace ORDER BY p.proname COLLATE "C", p.pronargs DESC;
\pset format aligned
\t off

-- ---- settings ---------------------------------------------------------------------------------------------------------

-- A superuser sets them, for a session, a role or a database; two are postgresql.conf's.
SELECT name, setting, unit, context, vartype, min_val, max_val, enumvals
  FROM pg_settings WHERE name LIKE 'refresh\_tokens.%' ORDER BY name COLLATE "C";
SHOW refresh_tokens.reuse_interval;
SET refresh_tokens.reuse_interval = '90 s';
SHOW refresh_tokens.reuse_interval;
RESET refresh_tokens.reuse_interval;
SHOW refresh_tokens.idle_timeout;
SHOW refresh_tokens.session_lifetime;
-- The message has units from PostgreSQL 17 on.
\set VERBOSITY sqlstate
SET refresh_tokens.reuse_interval = -1;
\set VERBOSITY default
SET refresh_tokens.reuse_action = 'forgive';
\echo :SQLSTATE
SET refresh_tokens.purge_interval = 60;
\echo :SQLSTATE
SET refresh_tokens.no_such_setting = 1;
\echo :SQLSTATE

-- ---- events -----------------------------------------------------------------------------------------------------------

-- The security set is recorded by default: no login and no rotation, but what somebody should look at.
SELECT session_id, refresh_token AS first FROM auth.issue_refresh_token('alice', client_id => 'app') \gset
SELECT refresh_token AS second FROM auth.rotate_refresh_token(:'first', 'app') \gset
SELECT status FROM auth.rotate_refresh_token(:'second', 'another');
SELECT auth.revoke_session(:'session_id');
SELECT id, event, user_id, session_id = :'session_id' AS of_the_session, token_id, reason FROM auth.refresh_token_events ORDER BY id;

-- All of them, or none. (A retry is one however slow the machine is.)
SET refresh_tokens.reuse_interval = '1 h';
SET refresh_tokens.events = 'all';
SELECT refresh_token AS first FROM auth.issue_refresh_token('bob') \gset
SELECT refresh_token AS second FROM auth.rotate_refresh_token(:'first') \gset
SELECT status FROM auth.rotate_refresh_token(:'first');
SET refresh_tokens.events = 'none';
SELECT auth.revoke_user_sessions('bob');
RESET refresh_tokens.events;
SELECT event, reason FROM auth.refresh_token_events WHERE user_id = 'bob' ORDER BY id;

-- ---- figures ----------------------------------------------------------------------------------------------------------

SELECT session_id AS live FROM auth.issue_refresh_token('carol') \gset
SELECT live_sessions, live_tokens, purgeable_tokens, oldest_purgeable_seconds FROM auth.refresh_token_stats;
-- Answers are counted in auth.refresh_token_answers, where the library is preloaded.
SELECT auth.reset_refresh_token_stats();

-- A family as a tree, without a secret.
SELECT count(*) AS lines, bool_or(line LIKE '%pgrt\_%') AS shows_a_token FROM auth.draw_token_family(:'session_id') AS line;
SELECT count(*) FROM auth.draw_token_family(NULL);

-- ---- purge ------------------------------------------------------------------------------------------------------------

-- What ended is kept as evidence for 30 days, and then taken: a batch a call, which counts the rows.
SELECT auth.purge_refresh_tokens();
UPDATE auth.refresh_tokens SET created_at = created_at - interval '40 d', updated_at = updated_at - interval '40 d' WHERE session_id <> :'live';
UPDATE auth.sessions SET created_at = created_at - interval '40 d', updated_at = updated_at - interval '40 d',
       refreshed_at = refreshed_at - interval '40 d', not_after = not_after - interval '40 d' WHERE id <> :'live';
SELECT live_tokens, purgeable_tokens FROM auth.refresh_token_stats;
SELECT auth.purge_refresh_tokens(1);
CALL auth.purge_all();
SELECT (SELECT count(*) FROM auth.sessions) AS sessions, (SELECT count(*) FROM auth.refresh_tokens) AS tokens;
SELECT auth.purge_refresh_tokens(0);
\echo :SQLSTATE
SELECT auth.purge_refresh_tokens(NULL);
\echo :SQLSTATE
BEGIN;
CALL auth.purge_all();
\echo :SQLSTATE
ROLLBACK;

-- ---- what gets in the way of CREATE EXTENSION, and what DROP EXTENSION leaves --------------------------------------

DROP EXTENSION refresh_tokens;
SELECT count(*) AS left FROM pg_class WHERE relnamespace = 'auth'::regnamespace;
CREATE TABLE auth.sessions (id int);
CREATE EXTENSION refresh_tokens;
\echo :SQLSTATE
DROP TABLE auth.sessions;
GRANT CREATE ON SCHEMA auth TO PUBLIC;
CREATE EXTENSION refresh_tokens;
\echo :SQLSTATE
DROP SCHEMA auth;
