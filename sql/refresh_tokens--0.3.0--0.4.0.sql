\echo Use "ALTER EXTENSION refresh_tokens UPDATE" to load this file. \quit

-- Everything that 0.4.0 changes in 0.3.0; no row of a token or session is touched. The texts are those of the install script.

-- In every standard a replay is the thief's act (RFC 9700, section 4.14.2); this is the client's honest retry.
-- Events that were recorded before keep their old name.
ALTER TYPE auth.refresh_token_status RENAME VALUE 'replayed' TO 'retried';

COMMENT ON COLUMN auth.refresh_token_grant.refresh_token IS 'The token to use from now on; NULL unless the status is issued, rotated, retried or unchanged.';
COMMENT ON COLUMN auth.refresh_token_grant.reason IS 'concurrent or lost_response for retried; not_after, session_lifetime or idle_timeout for expired.';
COMMENT ON COLUMN auth.sessions.refresh_token_hmac_key IS 'The derivation key, base64url. Alone it can mint nothing.';

-- ---- Ended is a state: all versions have ended sessions so that not_after is updated_at ----
COMMENT ON COLUMN auth.sessions.not_after IS 'When the session ends, or was ended: ended once this is not later than updated_at.';


-- ---- The endpoints: what fails is recorded, and an access token can be revoked with its session ----
-- what has to do with no token, of the last minute
CREATE INDEX refresh_token_events_no_token_idx ON auth.refresh_token_events (occurred_at) WHERE token_id IS NULL;
COMMENT ON INDEX auth.refresh_token_events_no_token_idx IS 'Finds the last events that have to do with no token.';
COMMENT ON COLUMN auth.refresh_token_events.event IS 'reuse_detected, family_revoked, sessions_revoked, session_evicted, client_mismatch, scope_exceeded or client_authentication_failed; with refresh_tokens.events = all also issued, rotated and retried.';
COMMENT ON COLUMN auth.refresh_token_events.user_id IS 'Whose session it is; NULL for client_authentication_failed and sessions_revoked.';
COMMENT ON COLUMN auth.refresh_token_events.session_id IS 'The session of the token; NULL for client_authentication_failed and sessions_revoked.';
COMMENT ON COLUMN auth.refresh_token_events.token_id IS 'The id of the token that was presented, revoked or given; NULL for client_authentication_failed and sessions_revoked.';
COMMENT ON COLUMN auth.refresh_token_events.reason IS 'For reuse_detected: stale, parent or after_revocation. For client_authentication_failed: the client''s name, as the caller said it. For sessions_revoked: how many. For retried: concurrent or lost_response.';
COMMENT ON COLUMN auth.refresh_token_events.user_agent IS 'The user agent of the caller, if it was given.';
COMMENT ON COLUMN auth.refresh_token_events.ip IS 'The address of the caller, if it was given.';
COMMENT ON VIEW auth.refresh_token_answers IS 'Auth: How often each status was answered, and the authentication of a client failed, in all databases; no row unless the library is preloaded.';


-- ---- The doctor ----
CREATE FUNCTION auth.check_refresh_token_setting(
    name pg_catalog.text,
    value pg_catalog.text
) RETURNS pg_catalog.text
STABLE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'check_refresh_token_setting_wrapper';

-- What is set up in a way that will hurt, a row each: how bad it is (error: a session is lost, a secret is open, or calls
-- fail; warning: something does not do what it is thought to do; notice: worth a thought), what it is, and what to do.
-- Nothing on a healthy database.
--
-- Takes nothing. Reads the catalog, the settings, and the tables as far as indexes tell. Works on a standby.
CREATE FUNCTION auth.check_refresh_tokens()
RETURNS TABLE (severity pg_catalog.text, finding pg_catalog.text, advice pg_catalog.text)
LANGUAGE plpgsql
STABLE STRICT
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    database_name CONSTANT pg_catalog.name := pg_catalog.current_database();
    schema_id CONSTANT pg_catalog.oid := 'auth'::pg_catalog.regnamespace;
    owner_id CONSTANT pg_catalog.oid := (
        SELECT p.proowner FROM pg_catalog.pg_proc AS p
         WHERE p.oid OPERATOR(pg_catalog.=) 'auth.rotate_refresh_token(text, text, text, inet)'::pg_catalog.regprocedure);
    -- The counters of answers are there if the library was preloaded. To call the function loads it, and its settings.
    is_preloaded CONSTANT pg_catalog.bool := EXISTS (SELECT FROM auth.read_refresh_token_answers());
    retention pg_catalog.interval;
    free_workers pg_catalog.int4;
BEGIN
    -- What somebody has added to our tables. CREATE EXTENSION, with which a restore begins, makes the tables without it: rows
    -- with a column more fail to load, all of them, and their tokens with them. Whatever else was added is gone.
    RETURN QUERY
    WITH known (name, columns) AS (
        VALUES ('refresh_tokens'::pg_catalog.name,
                '{instance_id,id,token,user_id,revoked,created_at,updated_at,parent,session_id}'::pg_catalog.name[]),
               ('sessions',
                '{id,user_id,created_at,updated_at,factor_id,aal,not_after,refreshed_at,user_agent,ip,tag,oauth_client_id,scopes,refresh_token_hmac_key,refresh_token_counter}'),
               ('refresh_token_events',
                '{id,occurred_at,event,user_id,session_id,token_id,reason,user_agent,ip}'),
               ('signing_keys',
                '{kid,alg,private_key,active_at,created_at}')
    ), ours AS (
        SELECT m.objid, m.identity, COALESCE(k.columns, '{}') AS columns
          FROM auth.refresh_token_members() AS m
          LEFT JOIN known AS k ON k.name OPERATOR(pg_catalog.=) m.name
         WHERE m.kind OPERATOR(pg_catalog.=) 'TABLE'
    )
    SELECT 'error',
           pg_catalog.format('%s has a column of your own, %I: no dump of this database can be restored, every session is lost',
                             o.identity, a.attname),
           'Move it into a table of your own, keyed by session_id.'
      FROM ours AS o
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) o.objid
     WHERE a.attnum OPERATOR(pg_catalog.>) 0
       AND NOT a.attisdropped
       AND a.attname OPERATOR(pg_catalog.<>) ALL (o.columns)
     ORDER BY o.identity, a.attnum;

    -- Tables and functions in different hands. The functions refuse to work on a table of somebody else's.
    RETURN QUERY
    SELECT 'error',
           pg_catalog.format('%s %s belongs to role %I, and the functions belong to role %I', pg_catalog.lower(m.kind), m.identity,
                             pg_catalog.pg_get_userbyid(m.owner), pg_catalog.pg_get_userbyid(owner_id)),
           pg_catalog.format('SELECT auth.set_refresh_token_owner(%L);', pg_catalog.pg_get_userbyid(owner_id))
      FROM auth.refresh_token_members() AS m
     WHERE m.kind OPERATOR(pg_catalog.=) ANY ('{ROUTINE,TABLE,VIEW,SEQUENCE,TYPE}'::pg_catalog.text[])
       AND m.owner OPERATOR(pg_catalog.<>) owner_id
     ORDER BY m.kind, m.identity;

    -- A schema in other hands. Whoever may create in it may plant what calls stumble over; an upgrade is refused.
    RETURN QUERY
    SELECT 'error',
           pg_catalog.format('schema auth belongs to role %I, who is no superuser: an upgrade is refused', r.rolname),
           'Give the schema to a superuser, and look what is in it.'
      FROM pg_catalog.pg_namespace AS n
      JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
     WHERE n.oid OPERATOR(pg_catalog.=) schema_id
       AND NOT r.rolsuper;
    RETURN QUERY
    SELECT 'error',
           pg_catalog.format('%s may create objects in schema auth: an upgrade is refused',
                             CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                                  ELSE pg_catalog.format('role %I', r.rolname) END),
           pg_catalog.format('REVOKE CREATE ON SCHEMA auth FROM %s; and look what is in it.',
                             CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                                  ELSE pg_catalog.quote_ident(r.rolname) END)
      FROM pg_catalog.pg_namespace AS n
     CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
      LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.grantee
     WHERE n.oid OPERATOR(pg_catalog.=) schema_id
       AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
       AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
       AND r.rolsuper IS NOT TRUE
     ORDER BY a.grantee;

    -- Row level security that is not as it was made: off, it hides no row from who was granted a table by mistake; forced, it
    -- hides all rows from the functions, unless their owner bypasses it.
    RETURN QUERY
    SELECT 'error',
           CASE WHEN c.relrowsecurity THEN pg_catalog.format('row level security is forced on auth.%I: the functions see no row of it', c.relname)
                ELSE pg_catalog.format('row level security is off on auth.%I', c.relname) END,
           CASE WHEN c.relrowsecurity THEN pg_catalog.format('ALTER TABLE auth.%I NO FORCE ROW LEVEL SECURITY;', c.relname)
                ELSE pg_catalog.format('ALTER TABLE auth.%I ENABLE ROW LEVEL SECURITY;', c.relname) END
      FROM pg_catalog.pg_class AS c
      JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) c.relowner
     WHERE c.relnamespace OPERATOR(pg_catalog.=) schema_id
       AND c.relname OPERATOR(pg_catalog.=) ANY ('{refresh_tokens,sessions,signing_keys}'::pg_catalog.name[])
       AND (NOT c.relrowsecurity OR c.relforcerowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls)
     ORDER BY c.relname;

    -- A publication that takes the signing keys along. Whoever has them can impersonate any user.
    RETURN QUERY
    SELECT 'error',
           pg_catalog.format('publication %I takes auth.signing_keys along: subscribers get the keys that sign access tokens', t.pubname),
           'Publish auth.sessions, auth.refresh_tokens and auth.refresh_token_events by name, and nothing else of the schema.'
      FROM pg_catalog.pg_publication_tables AS t
     WHERE t.schemaname OPERATOR(pg_catalog.=) 'auth'
       AND t.tablename OPERATOR(pg_catalog.=) 'signing_keys'
     ORDER BY t.pubname;

    -- The rest of what somebody has added to our tables.
    RETURN QUERY
    WITH known (name) AS (
        VALUES ('refresh_tokens_pkey'::pg_catalog.name), ('refresh_tokens_token_unique'), ('refresh_tokens_session_id_fkey'),
               ('refresh_tokens_instance_id_idx'), ('refresh_tokens_instance_id_user_id_idx'), ('refresh_tokens_parent_idx'),
               ('refresh_tokens_session_id_revoked_idx'), ('refresh_tokens_updated_at_idx'),
               ('sessions_pkey'), ('sessions_user_id_idx'), ('sessions_not_after_idx'),
               ('refresh_token_events_pkey'), ('refresh_token_events_occurred_at_idx'),
               ('refresh_token_events_token_id_idx'), ('refresh_token_events_no_token_idx'),
               ('signing_keys_pkey')
    ), ours AS (
        SELECT m.objid FROM auth.refresh_token_members() AS m WHERE m.kind OPERATOR(pg_catalog.=) 'TABLE'
    ), added (classid, objid) AS (
        SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid
          FROM pg_catalog.pg_trigger AS t
         WHERE t.tgrelid IN (SELECT o.objid FROM ours AS o) AND NOT t.tgisinternal
         UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid
          FROM pg_catalog.pg_rewrite AS r
         WHERE r.ev_class IN (SELECT o.objid FROM ours AS o)
         UNION ALL
        SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid
          FROM pg_catalog.pg_policy AS p
         WHERE p.polrelid IN (SELECT o.objid FROM ours AS o)
         UNION ALL
        SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid
          FROM pg_catalog.pg_statistic_ext AS s
         WHERE s.stxrelid IN (SELECT o.objid FROM ours AS o)
         UNION ALL
        -- Without NOT NULL, which is a constraint since PostgreSQL 18, and without triggers, which are above.
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid
          FROM pg_catalog.pg_constraint AS c
         WHERE c.conrelid IN (SELECT o.objid FROM ours AS o)
           AND c.contype OPERATOR(pg_catalog.<>) ALL ('{n,t}'::"char"[])
           AND c.conname NOT IN (SELECT k.name FROM known AS k)
         UNION ALL
        -- Without those of a constraint.
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid
          FROM pg_catalog.pg_index AS i
          JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
         WHERE i.indrelid IN (SELECT o.objid FROM ours AS o)
           AND c.relname NOT IN (SELECT k.name FROM known AS k)
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS u
                            WHERE u.conindid OPERATOR(pg_catalog.=) i.indexrelid
                              AND u.conrelid OPERATOR(pg_catalog.=) i.indrelid)
    )
    SELECT 'warning',
           pg_catalog.format('%s is your own: no dump has it', pg_catalog.pg_describe_object(a.classid, a.objid, 0)),
           'Keep the statement that makes it, and run it after each restore.'
      FROM added AS a
     ORDER BY 2;

    -- Settings that are stored and not in force. Where the library is not loaded, PostgreSQL stores any name and value; once
    -- it is loaded, a connection passes over what makes no sense, with a WARNING that nobody reads.
    RETURN QUERY
    WITH stored AS (
        SELECT CASE WHEN s.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                    THEN pg_catalog.format('DATABASE %I', database_name)
                    WHEN s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                    THEN pg_catalog.format('ROLE %s', COALESCE(pg_catalog.quote_ident(r.rolname), 'ALL'))
                    ELSE pg_catalog.format('ROLE %I IN DATABASE %I', r.rolname, database_name) END AS place,
               pg_catalog.lower(pg_catalog.split_part(c.entry, '=', 1)) AS name,
               pg_catalog.substr(c.entry, pg_catalog.strpos(c.entry, '=') OPERATOR(pg_catalog.+) 1) AS value
          FROM pg_catalog.pg_db_role_setting AS s
         CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (entry)
          LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) s.setrole
         WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) database_name))
    )
    SELECT 'warning',
           CASE f.fault
               WHEN 'unknown' THEN pg_catalog.format('%s is set for %s, and there is no such setting', s.name, s.place)
               WHEN 'file' THEN pg_catalog.format('%s is set for %s, and only postgresql.conf can set it', s.name, s.place)
               ELSE pg_catalog.format('%s = %L is set for %s, and is no value of it: another one is in force', s.name, s.value, s.place)
           END,
           CASE f.fault
               WHEN 'unknown' THEN pg_catalog.format('ALTER %s RESET %s; in a new connection.', s.place, s.name)
               WHEN 'file' THEN CASE WHEN is_preloaded THEN pg_catalog.format('ALTER %s RESET ALL; set there what else was set, and this in postgresql.conf.', s.place)
                                     ELSE pg_catalog.format('ALTER %s RESET %s; in a new connection, and set it in postgresql.conf.', s.place, s.name) END
               ELSE 'LOAD ''refresh_tokens''; and set it again: PostgreSQL looks at the value then.'
           END
      FROM stored AS s
     CROSS JOIN LATERAL auth.check_refresh_token_setting(s.name, s.value) AS f (fault)
     WHERE pg_catalog.starts_with(s.name, 'refresh_tokens.')
       AND f.fault IS NOT NULL
     ORDER BY s.name, s.place;

    -- The same in postgresql.conf, for an owner who may read the file.
    IF pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')
       AND pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT') THEN
        RETURN QUERY
        SELECT 'warning',
               pg_catalog.format(CASE WHEN c.fault OPERATOR(pg_catalog.=) 'unknown' THEN '%s is set in %s, and there is no such setting'
                                      ELSE '%s is set in %s to a value that it does not have: another one is in force' END,
                                 f.name, f.sourcefile),
               'Mend the line, and reload the configuration.'
          FROM pg_catalog.pg_file_settings AS f
         CROSS JOIN LATERAL auth.check_refresh_token_setting(pg_catalog.lower(f.name), f.setting) AS c (fault)
         WHERE pg_catalog.starts_with(pg_catalog.lower(f.name), 'refresh_tokens.')
           AND c.fault OPERATOR(pg_catalog.<>) 'file'
         ORDER BY f.name;
    END IF;

    -- Settings of a role that nobody logs in as, as anon behind PostgREST. PostgreSQL applies a role's settings at its login;
    -- PostgREST applies those of the role that it switches to, if the role that it logs in as may set them and the library is
    -- preloaded.
    RETURN QUERY
    SELECT 'warning',
           pg_catalog.format('%s is set for role %I, which does not log in: it is not applied', s.name, s.rolname),
           pg_catalog.format('Set it for the role that logs in; or GRANT SET ON PARAMETER %s to it, and preload the library.', s.name)
      FROM (SELECT DISTINCT r.oid, r.rolname, pg_catalog.lower(pg_catalog.split_part(c.entry, '=', 1)) AS name
              FROM pg_catalog.pg_db_role_setting AS d
             CROSS JOIN LATERAL pg_catalog.unnest(d.setconfig) AS c (entry)
              JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) d.setrole
             WHERE NOT r.rolcanlogin
               AND d.setdatabase IN (0, (SELECT b.oid FROM pg_catalog.pg_database AS b WHERE b.datname OPERATOR(pg_catalog.=) database_name))
           ) AS s
     WHERE pg_catalog.starts_with(s.name, 'refresh_tokens.')
       AND EXISTS (SELECT
                     FROM pg_catalog.pg_settings AS k
                    WHERE k.name OPERATOR(pg_catalog.=) s.name
                      AND k.context OPERATOR(pg_catalog.=) 'superuser')
       AND NOT (is_preloaded AND EXISTS (
                       SELECT
                         FROM pg_catalog.pg_roles AS l
                        WHERE l.rolcanlogin
                          AND NOT l.rolsuper
                          AND pg_catalog.pg_has_role(l.oid, s.oid, 'MEMBER')
                          AND pg_catalog.has_parameter_privilege(l.oid, s.name, 'SET')))
     ORDER BY s.rolname, s.name;

    -- A worker that is set up and not there.
    IF NOT is_preloaded AND pg_catalog.current_setting('refresh_tokens.purge_interval') OPERATOR(pg_catalog.<>) '0' THEN
        RETURN QUERY
        VALUES ('warning', 'refresh_tokens.purge_interval is set, and there is no background worker: the library is not preloaded',
                'Add refresh_tokens to shared_preload_libraries, and restart the server.');
    END IF;

    -- The rows, if they are this function's to read. First what purge should have taken a week ago: the tables grow, and each rotation writes to larger indexes.
    IF NOT EXISTS (SELECT
                     FROM auth.refresh_token_members() AS m
                    WHERE m.kind OPERATOR(pg_catalog.=) 'TABLE'
                      AND pg_catalog.pg_get_userbyid(m.owner) OPERATOR(pg_catalog.<>) CURRENT_USER) THEN
        SELECT pg_catalog.make_interval(secs => pg_catalog.max(s.setting::pg_catalog.float8))
          INTO retention
          FROM pg_catalog.pg_settings AS s
         WHERE s.name OPERATOR(pg_catalog.=) ANY ('{refresh_tokens.retention,refresh_tokens.reuse_interval}'::pg_catalog.text[])
           AND pg_catalog.current_setting('refresh_tokens.retention') OPERATOR(pg_catalog.<>) '0';
        RETURN QUERY
        SELECT 'warning',
               'nobody purges: tokens, sessions or events are there that should have been deleted more than a week ago',
               'Purge in one of the three ways of docs/operations.md. If one is set up, look in the log why it fails; a foreign key of your own to auth.sessions keeps sessions, unless it is ON DELETE CASCADE.'
         WHERE EXISTS (SELECT
                         FROM auth.sessions AS s
                        WHERE s.not_after OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) retention OPERATOR(pg_catalog.-) '7 d'::pg_catalog.interval))
            -- A live token's parent stays, however old it is.
            OR EXISTS (SELECT
                         FROM auth.refresh_tokens AS t
                         JOIN auth.refresh_tokens AS c ON c.parent OPERATOR(pg_catalog.=) t.token
                        WHERE t.updated_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) retention OPERATOR(pg_catalog.-) '7 d'::pg_catalog.interval)
                          AND t.revoked
                          AND c.revoked)
            OR EXISTS (SELECT
                         FROM auth.refresh_token_events AS e
                         JOIN pg_catalog.pg_settings AS s ON s.name OPERATOR(pg_catalog.=) 'refresh_tokens.event_retention'
                        WHERE s.setting OPERATOR(pg_catalog.<>) '0'
                          AND e.occurred_at OPERATOR(pg_catalog.<) (pg_catalog.now()
                              OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => s.setting::pg_catalog.float8)
                              OPERATOR(pg_catalog.-) '7 d'::pg_catalog.interval));

        -- A sequence behind its rows, as a switch-over to a subscriber leaves it: calls fail with 23505 until it has caught up.
        RETURN QUERY
        SELECT 'error',
               pg_catalog.format('sequence auth.%s_id_seq is behind the ids of auth.%s: calls fail with 23505', s.name, s.name),
               pg_catalog.format('SELECT pg_catalog.setval(''auth.%s_id_seq'', %s);', s.name, s.largest)
          FROM (SELECT 'refresh_tokens', (SELECT pg_catalog.max(t.id) FROM auth.refresh_tokens AS t), q.last_value, q.is_called
                  FROM auth.refresh_tokens_id_seq AS q
                 UNION ALL
                SELECT 'refresh_token_events', (SELECT pg_catalog.max(e.id) FROM auth.refresh_token_events AS e), q.last_value, q.is_called
                  FROM auth.refresh_token_events_id_seq AS q
               ) AS s (name, largest, last_value, is_called)
         WHERE s.largest OPERATOR(pg_catalog.>) (s.last_value OPERATOR(pg_catalog.-) (CASE WHEN s.is_called THEN 0 ELSE 1 END));

        -- A signing key in use for a year: whoever got hold of it since then can impersonate any user.
        RETURN QUERY
        SELECT 'notice',
               pg_catalog.format('access tokens are signed with a key that has not been rotated for %s days',
                                 pg_catalog.date_part('day', pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.max(k.active_at))),
               'SELECT auth.rotate_signing_key();'
          FROM auth.signing_keys AS k
         WHERE k.active_at OPERATOR(pg_catalog.<=) pg_catalog.now()
        HAVING pg_catalog.max(k.active_at) OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) '365 d'::pg_catalog.interval);

        -- Events that the planner knows nothing of.
        RETURN QUERY
        SELECT 'notice',
               'auth.refresh_token_events has no statistics',
               'ANALYZE auth.refresh_token_events; and look whether autovacuum runs.'
         WHERE pg_catalog.pg_relation_size('auth.refresh_token_events') OPERATOR(pg_catalog.>) 1000000::pg_catalog.int8
           AND NOT EXISTS (SELECT
                             FROM pg_catalog.pg_stats AS s
                            WHERE s.schemaname OPERATOR(pg_catalog.=) 'auth'
                              AND s.tablename OPERATOR(pg_catalog.=) 'refresh_token_events');
    END IF;

    -- No worker to be had where a reuse was detected: a rollback of the caller would undo the verdict. Who holds a slot for long
    -- is counted; of whom this function may not see, those that are there by the settings.
    SELECT pg_catalog.current_setting('max_worker_processes')::pg_catalog.int4
               OPERATOR(pg_catalog.-) GREATEST(
                   (SELECT pg_catalog.count(*)::pg_catalog.int4
                      FROM pg_catalog.pg_stat_activity AS a
                     WHERE a.backend_type OPERATOR(pg_catalog.<>) ALL (
                               '{autovacuum launcher,autovacuum worker,background writer,checkpointer,client backend,archiver,logger,io worker,slotsync worker,startup,standalone backend,walreceiver,walsender,walsummarizer,walwriter,parallel worker,refresh_tokens purge,refresh_tokens durable reuse}'::pg_catalog.text[])),
                   (CASE WHEN is_preloaded THEN 1 ELSE 0 END)
                       OPERATOR(pg_catalog.+)
                       (CASE WHEN pg_catalog.current_setting('max_logical_replication_workers') OPERATOR(pg_catalog.=) '0' THEN 0 ELSE 1 END))
      INTO free_workers;
    IF pg_catalog.current_setting('refresh_tokens.durable_reuse')::pg_catalog.bool AND free_workers OPERATOR(pg_catalog.<) 2 THEN
        RETURN QUERY
        VALUES ('warning', 'there are no two free slots for the workers that make verdicts durable: a rollback of the caller may undo a detected reuse',
                'Raise max_worker_processes, and restart the server.');
    END IF;

    -- Default privileges open what a superuser creates in the schema. The scripts of this extension close what they create;
    -- nothing closes the rest.
    RETURN QUERY
    SELECT 'notice',
           pg_catalog.format('default privileges grant %s on what role %I creates in schema auth: on %s',
                             CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC rights'
                                  ELSE pg_catalog.format('role %I rights', g.rolname) END,
                             c.rolname, o.kinds),
           pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I %sREVOKE ALL ON %s FROM %s;', c.rolname,
                             CASE WHEN d.defaclnamespace OPERATOR(pg_catalog.=) schema_id THEN 'IN SCHEMA auth ' ELSE '' END,
                             pg_catalog.upper(o.kinds),
                             CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC' ELSE pg_catalog.quote_ident(g.rolname) END)
      FROM pg_catalog.pg_default_acl AS d
      JOIN (VALUES ('r'::"char", 'tables'), ('S', 'sequences'), ('f', 'routines'), ('T', 'types')) AS o (type, kinds)
        ON o.type OPERATOR(pg_catalog.=) d.defaclobjtype
      JOIN pg_catalog.pg_roles AS c ON c.oid OPERATOR(pg_catalog.=) d.defaclrole
     CROSS JOIN LATERAL (SELECT DISTINCT x.grantee FROM pg_catalog.aclexplode(d.defaclacl) AS x) AS a
      LEFT JOIN pg_catalog.pg_roles AS g ON g.oid OPERATOR(pg_catalog.=) a.grantee
     WHERE d.defaclnamespace IN (0, schema_id)
       AND c.rolsuper
       AND g.rolsuper IS NOT TRUE
       -- What PostgreSQL grants PUBLIC by itself is written down where somebody else is granted something.
       AND NOT (a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                AND d.defaclnamespace OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                AND d.defaclobjtype OPERATOR(pg_catalog.=) ANY ('{f,T}'::"char"[]))
     ORDER BY 2;
END
$body$;

COMMENT ON FUNCTION auth.check_refresh_tokens()
    IS 'What is set up in a way that will hurt: how bad it is, what it is, and what to do. No row on a healthy database.';
COMMENT ON FUNCTION auth.check_refresh_token_setting(pg_catalog.text, pg_catalog.text)
    IS 'What is wrong with a value of a setting: unknown, invalid or file; NULL if it is in force.';
-- ---- The worst day, and what keeps sessions from a purge ----
CREATE FUNCTION auth.begin_batches(procedure pg_catalog.text) RETURNS pg_catalog.void
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'begin_batches_wrapper';

CREATE FUNCTION auth.read_unpurgeable_sessions()
RETURNS TABLE (referring_table pg_catalog.text, referring_constraint pg_catalog.text, sessions pg_catalog.int8)
STRICT VOLATILE SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'read_unpurgeable_sessions_wrapper';

CREATE FUNCTION auth.revoke_session_batch(after pg_catalog.uuid, batch_size pg_catalog.int4 DEFAULT 1000)
RETURNS TABLE (last_session pg_catalog.uuid, sessions pg_catalog.int8)
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'revoke_session_batch_wrapper';

CREATE FUNCTION auth.revoke_orphan_batch(after pg_catalog.int8, batch_size pg_catalog.int4 DEFAULT 1000)
RETURNS TABLE (last_token pg_catalog.int8, tokens pg_catalog.int8)
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'revoke_orphan_batch_wrapper';

-- Purges till nothing is due, a transaction for each batch, and says how far it is: in application_name while a
-- batch is under way, and in a NOTICE at the end; and which tables of the application's keep sessions from being purged. Runs
-- with the caller's rights and path: with SECURITY DEFINER or a SET of its own, a procedure may not commit. So everything
-- in it is qualified.
--
-- Takes how many rows a batch has at the most. Errors: 2D000 inside of a transaction block and in a function, before
-- anything is purged; those of auth.purge_refresh_tokens, and what was purged before stays so.
CREATE OR REPLACE PROCEDURE auth.purge_all(batch_size pg_catalog.int4 DEFAULT 1000)
LANGUAGE plpgsql
AS $body$
DECLARE
    batch pg_catalog.int8;
    total pg_catalog.int8 := 0;
    kept record;
BEGIN
    PERFORM auth.begin_batches('purge_all');
    COMMIT;
    LOOP
        -- Till the transaction ends, however it does.
        PERFORM pg_catalog.set_config('application_name', pg_catalog.format('purge_all: %s rows', total), true);
        batch := auth.purge_refresh_tokens(batch_size);
        total := total OPERATOR(pg_catalog.+) batch;
        COMMIT;
        EXIT WHEN batch OPERATOR(pg_catalog.<) batch_size;
    END LOOP;
    RAISE NOTICE 'purge_all: % rows deleted', total;
    FOR kept IN
        SELECT u.referring_table, u.referring_constraint, u.sessions FROM auth.read_unpurgeable_sessions() AS u
    LOOP
        RAISE NOTICE 'purge_all: % keeps % sessions by foreign key "%"',
            kept.referring_table, kept.sessions, kept.referring_constraint
            USING HINT = 'Delete these rows, or give the foreign key ON DELETE CASCADE or SET NULL.';
    END LOOP;
END
$body$;


-- Ends every session, a transaction for each batch: the worst day. In the order of their ids, after the tokens that have no
-- session, since one of these that is rotated meanwhile gets one. Says how far it is as purge_all does, and has its caller's
-- rights and path for the same reason. A user who logs in meanwhile may have to do so once more.
--
-- Takes how many sessions a batch has at the most: for so long others wait. Errors: 2D000 inside of a transaction block and
-- in a function, before any is ended; those of auth.revoke_session_batch, and what was ended before stays so.
CREATE PROCEDURE auth.revoke_all_sessions(batch_size pg_catalog.int4 DEFAULT 1000)
LANGUAGE plpgsql
AS $body$
DECLARE
    last_token pg_catalog.int8;
    last_session pg_catalog.uuid;
    batch pg_catalog.int8;
    orphans pg_catalog.int8 := 0;
    total pg_catalog.int8 := 0;
BEGIN
    PERFORM auth.begin_batches('revoke_all_sessions');
    COMMIT;
    LOOP
        PERFORM pg_catalog.set_config('application_name', pg_catalog.format('revoke_all_sessions: %s tokens', orphans), true);
        SELECT b.last_token, b.tokens INTO last_token, batch FROM auth.revoke_orphan_batch(last_token, batch_size) AS b;
        orphans := orphans OPERATOR(pg_catalog.+) batch;
        COMMIT;
        EXIT WHEN batch OPERATOR(pg_catalog.=) 0;
    END LOOP;
    LOOP
        -- Till the transaction ends, however it does.
        PERFORM pg_catalog.set_config('application_name', pg_catalog.format('revoke_all_sessions: %s sessions', total), true);
        SELECT b.last_session, b.sessions INTO last_session, batch FROM auth.revoke_session_batch(last_session, batch_size) AS b;
        total := total OPERATOR(pg_catalog.+) batch;
        COMMIT;
        EXIT WHEN batch OPERATOR(pg_catalog.=) 0;
    END LOOP;
    RAISE NOTICE 'revoke_all_sessions: % sessions ended, and % tokens without a session revoked', total, orphans;
END
$body$;

COMMENT ON PROCEDURE auth.revoke_all_sessions(pg_catalog.int4) IS 'Ends every session, a transaction for each batch.';

COMMENT ON FUNCTION auth.begin_batches(pg_catalog.text)
    IS 'What a procedure begins with that commits each batch: refuses where it could not.';
COMMENT ON FUNCTION auth.read_unpurgeable_sessions()
    IS 'Which foreign keys of the application''s keep sessions that are due from being purged, and how many.';
COMMENT ON FUNCTION auth.revoke_session_batch(pg_catalog.uuid, pg_catalog.int4)
    IS 'Ends one batch of sessions, in the order of their ids.';
COMMENT ON FUNCTION auth.revoke_orphan_batch(pg_catalog.int8, pg_catalog.int4)
    IS 'Revokes one batch of the live tokens that have no session, in the order of their ids.';

-- ---- What a policy asks for each row ----
CREATE FUNCTION auth.plan_is_session_live(request internal) RETURNS internal
SECURITY DEFINER
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'plan_is_session_live_wrapper';

COMMENT ON FUNCTION auth.plan_is_session_live(internal)
    IS 'What PostgreSQL calls when it plans a call of is_session_live.';

-- What was measured (docs/performance.md#a-policy-that-asks-for-each-row), in the planner's units.
ALTER FUNCTION auth.is_session_live(pg_catalog.uuid) PARALLEL SAFE COST 700 SUPPORT auth.plan_is_session_live;


-- ---- Figures ----
COMMENT ON COLUMN auth.refresh_token_stats.purgeable_tokens IS 'Tokens that a purge would delete now.';
COMMENT ON COLUMN auth.refresh_token_stats.oldest_purgeable_seconds IS 'For how long a purge could have deleted the one that is due longest, in seconds; 0: none is due.';


-- ---- Words ----
COMMENT ON FUNCTION auth.rotate_refresh_token(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.inet)
    IS 'Rotates a live refresh token: mints its child; answers a retry with the same child; detects reuse. Commit whatever the status is.';

-- ---- who may do what ------------------------------------------------------------------------------------------------
-- This section stays the last one: it closes what the others create.

-- As for a new installation, nobody but superusers may be able to plant objects in the schema.
DO $guard$
DECLARE
    owner pg_catalog.name;
    creator pg_catalog.text;
BEGIN
    SELECT r.rolname
      INTO owner
      FROM pg_catalog.pg_namespace AS n
      JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
     WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
       AND NOT r.rolsuper;
    IF owner IS NOT NULL THEN
        RAISE EXCEPTION 'schema "auth" is in the way of extension "refresh_tokens": it belongs to role "%", who is no superuser', owner
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER SCHEMA auth OWNER TO CURRENT_USER; and look what is in it.';
    END IF;
    SELECT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.format('role "%s"', r.rolname) END
      INTO creator
      FROM pg_catalog.pg_namespace AS n
     CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
      LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.grantee
     WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
       AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
       AND r.rolsuper IS NOT TRUE
     ORDER BY a.grantee
     LIMIT 1;
    IF creator IS NOT NULL THEN
        RAISE EXCEPTION 'schema "auth" is in the way of extension "refresh_tokens": % may create objects in it', creator
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'REVOKE CREATE ON SCHEMA auth (or the default privileges that grant it); and look what is in it.';
    END IF;
END
$guard$;

-- What belongs to the extension, as the catalog says: so nothing that goes through all of it is a list to be kept. Nobody is
-- granted this function.
--
-- Takes nothing. Returns for each object its kind (ROUTINE, TABLE, VIEW, SEQUENCE, TYPE, ROW TYPE of a table or view, ARRAY),
-- name, owner and privileges; its identity, as GRANT and ALTER name it; its place in the catalog; and the transaction that
-- made it a member.
CREATE FUNCTION auth.refresh_token_members()
RETURNS TABLE (kind pg_catalog.text, name pg_catalog.name, identity pg_catalog.text, owner pg_catalog.oid,
               acl pg_catalog.aclitem[], classid pg_catalog.oid, objid pg_catalog.oid, joined pg_catalog.xid)
LANGUAGE sql
STABLE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT CASE WHEN p.oid IS NOT NULL THEN 'ROUTINE'
                WHEN c.relkind OPERATOR(pg_catalog.=) 'S' THEN 'SEQUENCE'
                WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'VIEW'
                WHEN c.oid IS NOT NULL THEN 'TABLE'
                WHEN t.typcategory OPERATOR(pg_catalog.=) 'A' THEN 'ARRAY'
                WHEN r.oid IS NOT NULL THEN 'ROW TYPE'
                ELSE 'TYPE' END,
           COALESCE(p.proname, c.relname, t.typname),
           i.identity,
           COALESCE(p.proowner, c.relowner, t.typowner),
           COALESCE(p.proacl, c.relacl, t.typacl),
           d.classid, d.objid, d.xmin
      FROM pg_catalog.pg_depend AS d
      JOIN pg_catalog.pg_extension AS e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
      LEFT JOIN pg_catalog.pg_proc AS p
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
       AND p.oid OPERATOR(pg_catalog.=) d.objid
      LEFT JOIN pg_catalog.pg_class AS c
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
       AND c.oid OPERATOR(pg_catalog.=) d.objid
      LEFT JOIN pg_catalog.pg_type AS t
        ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
       AND t.oid OPERATOR(pg_catalog.=) d.objid
      LEFT JOIN pg_catalog.pg_class AS r
        ON r.oid OPERATOR(pg_catalog.=) t.typrelid
       AND r.relkind OPERATOR(pg_catalog.<>) 'c'
     CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) AS i
     WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
       AND e.extname OPERATOR(pg_catalog.=) 'refresh_tokens'
       AND d.deptype OPERATOR(pg_catalog.=) 'e'
       AND COALESCE(p.oid, c.oid, t.oid) IS NOT NULL
$body$;

COMMENT ON FUNCTION auth.refresh_token_members()
    IS 'What belongs to the extension.';

DO $comments$
DECLARE
    endpoint record;
BEGIN
    FOR endpoint IN
        SELECT m.identity, c.comment
          FROM auth.refresh_token_members() AS m
          JOIN (VALUES ('token', 'OAuth 2 token endpoint: rotates a refresh token, and answers with an access token and the next refresh token (RFC 6749).'),
                       ('revoke', 'OAuth 2 revocation endpoint: ends the session of a refresh or access token (RFC 7009).'),
                       ('introspect', 'OAuth 2 introspection endpoint: tells what a token is good for (RFC 7662).')
               ) AS c (name, comment)
            ON c.name OPERATOR(pg_catalog.=) m.name
         WHERE m.kind OPERATOR(pg_catalog.=) 'ROUTINE'
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', endpoint.identity, endpoint.comment);
    END LOOP;
END
$comments$;

-- Whose the extension is, and which roles may do what with it (docs/design.md#roles). These functions run with the
-- caller's rights: they give nobody more than the caller's own GRANT and ALTER would.

-- Which tiers need what: objects as GRANT names them. Nobody is granted this function.
CREATE FUNCTION auth.refresh_token_tiers()
RETURNS TABLE (kind pg_catalog.text, object pg_catalog.text, tiers pg_catalog.text[])
LANGUAGE sql
STABLE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
    VALUES
        -- To find the functions in, and to declare wrappers of one's own with.
        ('SCHEMA', 'auth', '{gateway,client,user,server,operator}'::pg_catalog.text[]),
        ('TYPE', 'auth.aal_level', '{client,user,server,operator}'),
        ('TYPE', 'auth.refresh_token_status', '{client,user,server,operator}'),
        ('TYPE', 'auth.refresh_token_grant', '{client,user,server,operator}'),

        ('ROUTINE', 'auth.jwks()', '{gateway}'),
        ('ROUTINE', 'auth.check_session()', '{gateway,user}'),

        ('ROUTINE', 'auth.rotate_refresh_token(text, text, text, inet)', '{client,server}'),
        ('ROUTINE', 'auth.revoke_refresh_token(text)', '{client,server}'),

        ('ROUTINE', 'auth.issue_refresh_token(text, uuid, uuid, text, text, auth.aal_level, text, timestamptz, text, inet)', '{server}'),
        ('ROUTINE', 'auth.sign_in_response(text, text, text, uuid, auth.aal_level, text, timestamptz)', '{server}'),
        ('ROUTINE', 'auth.revoke_token_family(text)', '{server}'),
        ('ROUTINE', 'auth.revoke_session(uuid)', '{server}'),
        ('ROUTINE', 'auth.revoke_user_sessions(text, uuid)', '{server}'),
        ('ROUTINE', 'auth.revoke_all_sessions(int)', '{server}'),
        ('ROUTINE', 'auth.revoke_session_batch(uuid, int)', '{server}'),
        ('ROUTINE', 'auth.revoke_orphan_batch(bigint, int)', '{server}'),
        ('ROUTINE', 'auth.is_session_live(uuid)', '{server}'),
        ('ROUTINE', 'auth.introspect_refresh_token(text)', '{server}'),
        ('ROUTINE', 'auth.list_sessions(text)', '{server}'),

        -- For a role whose claims a gateway has verified: with SQL of its own, it could set any.
        ('ROUTINE', 'auth.list_my_sessions()', '{user}'),
        ('ROUTINE', 'auth.revoke_my_session(uuid)', '{user}'),
        ('ROUTINE', 'auth.revoke_my_other_sessions()', '{user}'),
        ('TABLE', 'auth.my_sessions', '{user}'),

        ('ROUTINE', 'auth.explain_refresh_token(text)', '{operator}'),
        ('ROUTINE', 'auth.draw_token_family(uuid)', '{operator}'),
        ('ROUTINE', 'auth.purge_refresh_tokens(int)', '{operator}'),
        ('ROUTINE', 'auth.purge_all(int)', '{operator}'),
        ('ROUTINE', 'auth.begin_batches(text)', '{server,operator}'),
        ('ROUTINE', 'auth.read_unpurgeable_sessions()', '{operator}'),
        ('ROUTINE', 'auth.read_refresh_token_stats()', '{operator}'),
        ('ROUTINE', 'auth.read_refresh_token_answers()', '{operator}'),
        ('ROUTINE', 'auth.reset_refresh_token_stats()', '{operator}'),
        ('ROUTINE', 'auth.check_refresh_tokens()', '{operator}'),
        ('TABLE', 'auth.refresh_token_events', '{operator}'),
        ('TABLE', 'auth.refresh_token_stats', '{operator}'),
        ('TABLE', 'auth.refresh_token_answers', '{operator}')
    UNION ALL
    -- With all the parameters that a client may send.
    SELECT m.kind, m.identity, '{gateway}'
      FROM auth.refresh_token_members() AS m
     WHERE m.kind OPERATOR(pg_catalog.=) 'ROUTINE'
       AND m.name OPERATOR(pg_catalog.=) ANY ('{token,revoke,introspect}'::pg_catalog.name[])
$body$;

-- What grant_refresh_token_role and revoke_refresh_token_role begin with: refuses arguments that make no sense and
-- callers who can't do it, and waits for other calls of theirs, since PostgreSQL refuses two that change the privileges of
-- one object at once. The lock is on a view, which only its owner can lock so, and keeps nobody from reading it.
--
-- Takes the role and the tier; returns the role's id. Errors: those of the two.
CREATE FUNCTION auth.begin_refresh_token_grant(role pg_catalog.name, tier pg_catalog.text)
RETURNS pg_catalog.oid
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    grantee pg_catalog.oid;
    owner CONSTANT pg_catalog.oid := (
        SELECT p.proowner
          FROM pg_catalog.pg_proc AS p
         WHERE p.oid OPERATOR(pg_catalog.=) 'auth.rotate_refresh_token(text, text, text, inet)'::pg_catalog.regprocedure);
BEGIN
    IF role IS NULL OR tier IS NULL THEN
        RAISE EXCEPTION 'role and tier must not be NULL'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF NOT EXISTS (SELECT FROM auth.refresh_token_tiers() AS t WHERE tier OPERATOR(pg_catalog.=) ANY (t.tiers)) THEN
        RAISE EXCEPTION 'there is no tier "%"', tier
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The tiers are gateway, client, user, server and operator.';
    END IF;
    SELECT r.oid INTO grantee FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) role;
    IF grantee IS NULL THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object',
                  HINT = 'CREATE ROLE first. Nothing of this extension is meant for PUBLIC.';
    END IF;
    -- Somebody else's GRANT would only be a warning.
    IF NOT pg_catalog.pg_has_role(owner, 'USAGE') OR NOT pg_catalog.pg_has_role(
           (SELECT n.nspowner FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'), 'USAGE') THEN
        RAISE EXCEPTION 'must be owner of the functions of extension "refresh_tokens" and of schema "auth"'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    LOCK TABLE auth.my_sessions IN SHARE UPDATE EXCLUSIVE MODE;
    RETURN grantee;
END
$body$;

-- Grants a role what its tier needs.
--
-- Takes the role and one of the tiers gateway, client, user, server, operator. Errors: 22004 for a NULL, 42704 for a
-- role that does not exist (PUBLIC is none), 22023 for another tier, 42501 for a caller who does not
-- own the functions and the schema.
CREATE OR REPLACE FUNCTION auth.grant_refresh_token_role(role pg_catalog.name, tier pg_catalog.text)
RETURNS pg_catalog.void
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    item record;
BEGIN
    PERFORM auth.begin_refresh_token_grant(role, tier);
    FOR item IN
        SELECT t.kind, t.object FROM auth.refresh_token_tiers() AS t WHERE tier OPERATOR(pg_catalog.=) ANY (t.tiers)
    LOOP
        EXECUTE pg_catalog.format('GRANT %s ON %s %s TO %I',
            CASE WHEN item.kind OPERATOR(pg_catalog.=) 'ROUTINE' THEN 'EXECUTE'
                 WHEN item.kind OPERATOR(pg_catalog.=) 'TABLE' THEN 'SELECT'
                 ELSE 'USAGE' END,
            item.kind, item.object, role);
    END LOOP;
END
$body$;

-- Takes a tier from a role: everything that the tier needs, but for what another tier needs that the role has in full.
-- A tier that is a part of this one, as client is of server, goes with it. USAGE on the schema stays where the role owns,
-- or was granted, anything else in it.
--
-- Takes the role and the tier, which the role need not have. Errors: those of auth.grant_refresh_token_role; 22023 for the
-- owner of the functions, who needs them all.
CREATE FUNCTION auth.revoke_refresh_token_role(role pg_catalog.name, tier pg_catalog.text)
RETURNS pg_catalog.void
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    id CONSTANT pg_catalog.oid := auth.begin_refresh_token_grant(role, tier);
    kept pg_catalog.text[];
    item record;
BEGIN
    IF EXISTS (SELECT
                 FROM pg_catalog.pg_proc AS p
                WHERE p.oid OPERATOR(pg_catalog.=) 'auth.rotate_refresh_token(text, text, text, inet)'::pg_catalog.regprocedure
                  AND p.proowner OPERATOR(pg_catalog.=) id) THEN
        RAISE EXCEPTION 'role "%" owns the functions of extension "refresh_tokens"', role
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT pg_catalog.array_agg(whole.name)
      INTO kept
      FROM (SELECT other.name
              FROM auth.refresh_token_tiers() AS t
             CROSS JOIN LATERAL pg_catalog.unnest(t.tiers) AS other (name)
             GROUP BY other.name
            HAVING pg_catalog.bool_or(tier OPERATOR(pg_catalog.<>) ALL (t.tiers))
               AND pg_catalog.bool_and(EXISTS (
                   SELECT
                     FROM pg_catalog.aclexplode(CASE
                              WHEN t.kind OPERATOR(pg_catalog.=) 'ROUTINE' THEN (
                                  SELECT p.proacl FROM pg_catalog.pg_proc AS p
                                   WHERE p.oid OPERATOR(pg_catalog.=) t.object::pg_catalog.regprocedure)
                              WHEN t.kind OPERATOR(pg_catalog.=) 'TABLE' THEN (
                                  SELECT c.relacl FROM pg_catalog.pg_class AS c
                                   WHERE c.oid OPERATOR(pg_catalog.=) t.object::pg_catalog.regclass)
                              WHEN t.kind OPERATOR(pg_catalog.=) 'TYPE' THEN (
                                  SELECT y.typacl FROM pg_catalog.pg_type AS y
                                   WHERE y.oid OPERATOR(pg_catalog.=) t.object::pg_catalog.regtype)
                              ELSE (
                                  SELECT n.nspacl FROM pg_catalog.pg_namespace AS n
                                   WHERE n.oid OPERATOR(pg_catalog.=) t.object::pg_catalog.regnamespace)
                              END) AS a
                    WHERE a.grantee OPERATOR(pg_catalog.=) id))
           ) AS whole;
    FOR item IN
        SELECT t.kind, t.object
          FROM auth.refresh_token_tiers() AS t
         WHERE tier OPERATOR(pg_catalog.=) ANY (t.tiers)
           AND NOT t.tiers OPERATOR(pg_catalog.&&) COALESCE(kept, '{}')
         ORDER BY t.kind OPERATOR(pg_catalog.=) 'SCHEMA'
    LOOP
        -- What the role has in the schema: the last item is the schema itself.
        CONTINUE WHEN item.kind OPERATOR(pg_catalog.=) 'SCHEMA' AND EXISTS (
            SELECT
              FROM pg_catalog.pg_shdepend AS d
             WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass
               AND d.refobjid OPERATOR(pg_catalog.=) id
               AND d.dbid OPERATOR(pg_catalog.=) (
                   SELECT b.oid FROM pg_catalog.pg_database AS b
                    WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
               AND 'auth'::pg_catalog.regnamespace OPERATOR(pg_catalog.=) CASE
                   WHEN d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass THEN (
                       SELECT p.pronamespace FROM pg_catalog.pg_proc AS p WHERE p.oid OPERATOR(pg_catalog.=) d.objid)
                   WHEN d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass THEN (
                       SELECT c.relnamespace FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) d.objid)
                   WHEN d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass THEN (
                       SELECT y.typnamespace FROM pg_catalog.pg_type AS y WHERE y.oid OPERATOR(pg_catalog.=) d.objid)
                   END);
        EXECUTE pg_catalog.format('REVOKE %s ON %s %s FROM %I',
            CASE WHEN item.kind OPERATOR(pg_catalog.=) 'ROUTINE' THEN 'EXECUTE'
                 WHEN item.kind OPERATOR(pg_catalog.=) 'TABLE' THEN 'SELECT'
                 ELSE 'USAGE' END,
            item.kind, item.object, role);
    END LOOP;
END
$body$;

-- Gives every object of the extension to a role, which the functions run as from then on: it need be no superuser and need
-- not log in. The role gets USAGE on the schema, which stays its owner's, as a restored dump has to find it. What was
-- granted to others stays granted. Locks the tables, so that it waits for open transactions, and calls wait for it.
--
-- Takes the role. Errors: 22004 for NULL, 42704 for a role that does not exist, 55000 where a trigger or the like on a table
-- calls a function of another role that is no superuser, 42501 for a caller who may not do it: a superuser may.
CREATE FUNCTION auth.set_refresh_token_owner(role pg_catalog.name)
RETURNS pg_catalog.void
LANGUAGE plpgsql
VOLATILE
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    member record;
    strange pg_catalog.text;
BEGIN
    IF role IS NULL THEN
        RAISE EXCEPTION 'role must not be NULL'
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role
            USING ERRCODE = 'undefined_object',
                  HINT = 'CREATE ROLE first: NOLOGIN will do.';
    END IF;
    -- In the order of a rotation.
    LOCK TABLE auth.my_sessions IN SHARE UPDATE EXCLUSIVE MODE;
    LOCK TABLE auth.refresh_tokens, auth.sessions IN ACCESS EXCLUSIVE MODE;
    -- What is defined on a table runs with the rights of whoever uses the table. So the functions of somebody who is
    -- no superuser have to go before the new owner comes.
    SELECT pg_catalog.format('%s calls function %s of role "%s"',
                             pg_catalog.pg_describe_object(d.classid, d.objid, 0), p.oid::pg_catalog.regprocedure, r.rolname)
      INTO strange
      FROM pg_catalog.pg_depend AS d
      JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) d.refobjid
      JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) p.proowner
     WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
       AND NOT r.rolsuper
       AND r.rolname OPERATOR(pg_catalog.<>) role
       AND EXISTS (
           SELECT
             FROM pg_catalog.pg_depend AS o
             JOIN auth.refresh_token_members() AS m
               ON m.classid OPERATOR(pg_catalog.=) o.refclassid
              AND m.objid OPERATOR(pg_catalog.=) o.refobjid
            WHERE o.classid OPERATOR(pg_catalog.=) d.classid
              AND o.objid OPERATOR(pg_catalog.=) d.objid
              AND m.kind OPERATOR(pg_catalog.=) 'TABLE')
     ORDER BY 1
     LIMIT 1;
    IF strange IS NOT NULL THEN
        RAISE EXCEPTION '%', strange
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'It would run with the rights of the owner of extension "refresh_tokens".',
                  HINT = 'Drop it, or give its function to that role or to a superuser.';
    END IF;
    -- Row types, arrays and the sequences that belong to a column follow.
    FOR member IN
        SELECT pg_catalog.format('%s %s', m.kind, m.identity) AS object
          FROM auth.refresh_token_members() AS m
          JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) m.owner
         WHERE r.rolname OPERATOR(pg_catalog.<>) role
           AND (m.kind OPERATOR(pg_catalog.=) ANY ('{ROUTINE,TABLE,VIEW,TYPE}')
                OR m.kind OPERATOR(pg_catalog.=) 'SEQUENCE' AND NOT EXISTS (
                   SELECT
                     FROM pg_catalog.pg_depend AS o
                    WHERE o.classid OPERATOR(pg_catalog.=) m.classid
                      AND o.objid OPERATOR(pg_catalog.=) m.objid
                      AND o.refclassid OPERATOR(pg_catalog.=) m.classid
                      AND o.deptype OPERATOR(pg_catalog.=) ANY ('{a,i}'::pg_catalog."char"[])))
         ORDER BY m.kind, m.identity
    LOOP
        EXECUTE pg_catalog.format('ALTER %s OWNER TO %I', member.object, role);
    END LOOP;
    EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA auth TO %I', role);
END
$body$;

COMMENT ON FUNCTION auth.refresh_token_tiers()
    IS 'Which tiers need what.';
COMMENT ON FUNCTION auth.begin_refresh_token_grant(pg_catalog.name, pg_catalog.text)
    IS 'What granting and revoking a tier begin with.';
COMMENT ON FUNCTION auth.grant_refresh_token_role(pg_catalog.name, pg_catalog.text)
    IS 'Grants a role what a tier needs: gateway, client, user, server or operator.';
COMMENT ON FUNCTION auth.revoke_refresh_token_role(pg_catalog.name, pg_catalog.text)
    IS 'Takes a tier from a role.';
COMMENT ON FUNCTION auth.set_refresh_token_owner(pg_catalog.name)
    IS 'Gives every object of the extension to a role, which need be no superuser.';

-- What this upgrade has created: that was recorded by the same transaction as the function above.
DO $closing$
DECLARE
    now CONSTANT pg_catalog.xid := (
        SELECT p.xmin FROM pg_catalog.pg_proc AS p
         WHERE p.oid OPERATOR(pg_catalog.=) 'auth.set_refresh_token_owner(name)'::pg_catalog.regprocedure);
    owner CONSTANT pg_catalog.name := (
        SELECT pg_catalog.pg_get_userbyid(p.proowner) FROM pg_catalog.pg_proc AS p
         WHERE p.oid OPERATOR(pg_catalog.=) 'auth.rotate_refresh_token(text, text, text, inet)'::pg_catalog.regprocedure);
    in_the_way pg_catalog.text;
    member record;
BEGIN
    -- Somebody else's function of one of our names may be the better match for a call, and so may a type: to call
    -- auth.f('x') is to cast, where f is a type. It is named as it is found, whatever its arguments and its kind are.
    SELECT pg_catalog.format('%s %s', i.type, i.identity)
      INTO in_the_way
      FROM (SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid AS classid, p.oid, p.proname AS name
              FROM pg_catalog.pg_proc AS p
             WHERE p.pronamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
             UNION ALL
            SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relname
              FROM pg_catalog.pg_class AS c
             WHERE c.relnamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
               AND c.relkind OPERATOR(pg_catalog.<>) 'c'
             UNION ALL
            SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typname
              FROM pg_catalog.pg_type AS t
             WHERE t.typnamespace OPERATOR(pg_catalog.=) 'auth'::pg_catalog.regnamespace
               AND NOT EXISTS (SELECT
                                 FROM pg_catalog.pg_class AS r
                                WHERE r.oid OPERATOR(pg_catalog.=) t.typrelid
                                  AND r.relkind OPERATOR(pg_catalog.<>) 'c')
           ) AS o
     CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.classid, o.oid, 0) AS i
     WHERE o.name OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT m.name FROM auth.refresh_token_members() AS m))
       AND NOT EXISTS (SELECT
                         FROM auth.refresh_token_members() AS m
                        WHERE m.classid OPERATOR(pg_catalog.=) o.classid
                          AND m.objid OPERATOR(pg_catalog.=) o.oid)
     ORDER BY 1
     LIMIT 1;
    IF in_the_way IS NOT NULL THEN
        RAISE EXCEPTION '% is in the way of extension "refresh_tokens"', in_the_way
            USING ERRCODE = 'duplicate_object',
                  DETAIL = 'The extension has an object of this name, and calls might be led astray.',
                  HINT = 'Rename or drop it, or install the extension in another database.';
    END IF;
    -- What is new is nobody's but the owner's, whatever default privileges say; what was granted before stays granted. The
    -- types of rows, which no version has closed before, are closed as well.
    FOR member IN
        SELECT CASE WHEN m.kind OPERATOR(pg_catalog.=) 'ROW TYPE' THEN 'TYPE'
                    WHEN m.kind OPERATOR(pg_catalog.=) 'VIEW' THEN 'TABLE'
                    ELSE m.kind END AS kind,
               m.identity, m.owner,
               (SELECT pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(r.rolname), ', ')
                  FROM pg_catalog.aclexplode(m.acl) AS a
                  JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.grantee) AS grantees
          FROM auth.refresh_token_members() AS m
         WHERE m.kind OPERATOR(pg_catalog.<>) 'ARRAY'
           AND (m.joined OPERATOR(pg_catalog.=) now OR m.kind OPERATOR(pg_catalog.=) 'ROW TYPE' AND m.acl IS NULL)
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s', member.kind, member.identity,
                                  pg_catalog.concat_ws(', ', 'PUBLIC', member.grantees));
        EXECUTE pg_catalog.format('GRANT ALL ON %s %s TO %I', member.kind, member.identity,
                                  pg_catalog.pg_get_userbyid(member.owner));
    END LOOP;
    -- It belongs to whom the functions have been given.
    IF owner OPERATOR(pg_catalog.<>) CURRENT_USER THEN
        PERFORM auth.set_refresh_token_owner(owner);
    END IF;
END
$closing$;
