-- The foreign keys that keep a session from being deleted: those to its id that say nothing of ON DELETE, or RESTRICT. A row
-- for each, with the referring table and column as SQL names them. Of a partitioned table there is one key.
SELECT k.conname::pg_catalog.text AS name,
       pg_catalog.format('%I.%I', n.nspname, r.relname) AS referring_table,
       pg_catalog.format('%I', a.attname) AS referring_column,
       r.relkind OPERATOR(pg_catalog.=) 'p' AS is_partitioned,
       r.relowner AS owner
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
 CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS c (referring, referred)
  JOIN pg_catalog.pg_attribute AS p
    ON p.attrelid OPERATOR(pg_catalog.=) k.confrelid
   AND p.attnum OPERATOR(pg_catalog.=) c.referred
   AND p.attname OPERATOR(pg_catalog.=) 'id'
  JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid
   AND a.attnum OPERATOR(pg_catalog.=) c.referring
 WHERE k.oid OPERATOR(pg_catalog.=) ANY (ARRAY(
           SELECT t.tgconstraint
             FROM pg_catalog.pg_trigger AS t
            WHERE t.tgrelid OPERATOR(pg_catalog.=) 'auth.sessions'::pg_catalog.regclass
              AND t.tgisinternal
              AND t.tgenabled OPERATOR(pg_catalog.=) ANY ('{O,A}'::pg_catalog."char"[])))
   AND k.contype OPERATOR(pg_catalog.=) 'f'
   AND k.confrelid OPERATOR(pg_catalog.=) 'auth.sessions'::pg_catalog.regclass
   AND k.confdeltype OPERATOR(pg_catalog.=) ANY ('{a,r}'::pg_catalog."char"[])
   AND k.conparentid OPERATOR(pg_catalog.=) 0
 ORDER BY 2, 1
