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
