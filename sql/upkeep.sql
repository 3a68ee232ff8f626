-- Purges till nothing is due, a transaction for each batch, and says how far it is: in application_name while a
-- batch is under way, and in a NOTICE at the end. Runs with the caller's rights and path: with SECURITY DEFINER or
-- a SET of its own, a procedure may not commit. So everything in it is qualified.
--
-- Takes how many rows a batch has at the most. Errors: 2D000 inside of a transaction block and in a function, before
-- anything is purged; those of auth.purge_refresh_tokens, and what was purged before stays so.
CREATE PROCEDURE auth.purge_all(batch_size pg_catalog.int4 DEFAULT 1000)
LANGUAGE plpgsql
AS $body$
DECLARE
    batch pg_catalog.int8;
    total pg_catalog.int8 := 0;
BEGIN
    -- Fails here where it would fail after the first batch.
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
END
$body$;

COMMENT ON PROCEDURE auth.purge_all(pg_catalog.int4) IS 'Purges till nothing is due, a transaction for each batch.';

CREATE VIEW auth.refresh_token_stats AS
SELECT live_sessions, live_tokens, purgeable_tokens, oldest_purgeable_seconds,
       sessions_table_bytes, sessions_index_bytes, tokens_table_bytes, tokens_index_bytes,
       sessions_dead_rows, tokens_dead_rows, sessions_hot_update_ratio
  FROM auth.read_refresh_token_stats();

COMMENT ON VIEW auth.refresh_token_stats IS 'Auth: Figures about the tables of sessions and tokens, one row.';
COMMENT ON COLUMN auth.refresh_token_stats.live_sessions IS 'Sessions that have not ended.';
COMMENT ON COLUMN auth.refresh_token_stats.live_tokens IS 'Tokens that can be used.';
COMMENT ON COLUMN auth.refresh_token_stats.purgeable_tokens IS 'Tokens revoked longer ago than refresh_tokens.retention.';
COMMENT ON COLUMN auth.refresh_token_stats.oldest_purgeable_seconds IS 'For how long the oldest of them has been revoked, in seconds.';
COMMENT ON COLUMN auth.refresh_token_stats.sessions_hot_update_ratio IS 'How many of the updates of auth.sessions were HOT, from 0 to 1; NULL: there was none.';

CREATE VIEW auth.refresh_token_answers AS
SELECT status, answers, stats_reset
  FROM auth.read_refresh_token_answers();

COMMENT ON VIEW auth.refresh_token_answers IS 'Auth: How often each status was answered, and the authentication of a client failed, in all databases; no row unless the library is preloaded.';
COMMENT ON COLUMN auth.refresh_token_answers.stats_reset IS 'Since when the answers are counted.';
