-- The function that a setting names, with the arguments $1 in parentheses, if it returns $2.
-- $1 name and types of the arguments  $2 type of the result
SELECT p.oid::pg_catalog.regproc::pg_catalog.text, p.proowner
  FROM pg_catalog.pg_proc AS p
 WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure($1)
   AND p.prorettype OPERATOR(pg_catalog.=) $2
   AND NOT p.proretset
   AND p.prokind OPERATOR(pg_catalog.=) 'f'
