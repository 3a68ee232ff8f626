-- The last thing that the script does. What it has created is known to the catalog by now, so that nothing here is a list
-- to be kept.
DO $closing$
DECLARE
    in_the_way pg_catalog.text;
    member record;
    grantees pg_catalog.text;
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
    -- Nothing is anybody's but the owner's: neither by PostgreSQL's defaults (functions and types are PUBLIC's) nor by default
    -- privileges that somebody has set.
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
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s', member.kind, member.identity,
                                  pg_catalog.concat_ws(', ', 'PUBLIC', member.grantees));
        EXECUTE pg_catalog.format('GRANT ALL ON %s %s TO %I', member.kind, member.identity,
                                  pg_catalog.pg_get_userbyid(member.owner));
    END LOOP;
    -- Nor do default privileges open the schema, if it was made for the extension. One that was there before keeps its grants.
    SELECT pg_catalog.string_agg(DISTINCT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END, ', ')
      INTO grantees
      FROM pg_catalog.pg_namespace AS n
      JOIN pg_catalog.pg_extension AS e ON e.xmin OPERATOR(pg_catalog.=) n.xmin
      JOIN pg_catalog.pg_default_acl AS s
        ON s.defaclrole OPERATOR(pg_catalog.=) n.nspowner
       AND s.defaclnamespace OPERATOR(pg_catalog.=) 0::pg_catalog.oid
       AND s.defaclobjtype OPERATOR(pg_catalog.=) 'n'
       AND s.defaclacl OPERATOR(pg_catalog.@>) n.nspacl
       AND s.defaclacl OPERATOR(pg_catalog.<@) n.nspacl
     CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
      LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.grantee
     WHERE n.nspname OPERATOR(pg_catalog.=) 'auth'
       AND e.extname OPERATOR(pg_catalog.=) 'refresh_tokens'
       AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner;
    IF grantees IS NOT NULL THEN
        EXECUTE pg_catalog.format('REVOKE ALL ON SCHEMA auth FROM %s', grantees);
    END IF;
END
$closing$;
