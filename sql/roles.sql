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
CREATE FUNCTION auth.grant_refresh_token_role(role pg_catalog.name, tier pg_catalog.text)
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
