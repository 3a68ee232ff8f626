-- The function $1.$2 with arguments of the types $3, if it returns $4.
-- $1 schema  $2 name  $3 types of the arguments  $4 type of the result
SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) AS name, p.proowner AS owner
  FROM pg_catalog.pg_namespace AS n
  JOIN pg_catalog.pg_proc AS p ON p.pronamespace OPERATOR(pg_catalog.=) n.oid
 WHERE n.nspname OPERATOR(pg_catalog.=) $1::pg_catalog.name
   AND p.proname OPERATOR(pg_catalog.=) $2::pg_catalog.name
   AND p.proargtypes OPERATOR(pg_catalog.=) $3::pg_catalog.oidvector
   AND p.prorettype OPERATOR(pg_catalog.=) $4
   AND NOT p.proretset
   AND p.prokind OPERATOR(pg_catalog.=) 'f'
