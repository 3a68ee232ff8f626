-- What is set for roles: for each one, and for everybody else, the values that hold in this database, or in all. Of a setting
-- that stands there twice, what is for this database holds.
-- $1 this database  $2 the role of this connection
SELECT DISTINCT ON (r.setrole, s.name)
       s.name, s.value,
       r.setrole OPERATOR(pg_catalog.=) 0 AS is_everybodys,
       r.setrole OPERATOR(pg_catalog.=) $2 AS is_own
  FROM pg_catalog.pg_db_role_setting AS r
 CROSS JOIN LATERAL pg_catalog.unnest(r.setconfig) AS c (entry)
 CROSS JOIN LATERAL (
       SELECT pg_catalog.split_part(pg_catalog.lower(pg_catalog.split_part(c.entry, '=', 1)), 'refresh_tokens.', 2) AS name,
              pg_catalog.substr(c.entry, pg_catalog.strpos(c.entry, '=') OPERATOR(pg_catalog.+) 1) AS value
       ) AS s
 WHERE r.setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0, $1]::pg_catalog.oid[])
   AND s.name OPERATOR(pg_catalog.<>) ''
 ORDER BY r.setrole, s.name, r.setdatabase DESC
