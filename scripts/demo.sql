\set ON_ERROR_STOP on
\pset tuples_only on
\pset format unaligned
\pset pager off

set client_min_messages = warning;
create extension refresh_tokens;
create role refresh_tokens_owner nologin;
select from auth.set_refresh_token_owner('refresh_tokens_owner') \g /dev/null

-- The default is 10 seconds. With 2 nobody has to wait long for the thief.
set refresh_tokens.reuse_interval = '2s';

-- One line of output: a status, a token cut short for the screen, a remark.
prepare line(text, text, text) as
    select rtrim(format('     %s%s   %s', rpad($1, 17), rpad(coalesce(left($2, 18) || '…', ''), 19), $3));

\echo
\echo :bold'1. Alice logs in, and her client is given a refresh token.':plain
\echo '   select * from auth.issue_refresh_token($1)'
select * from auth.issue_refresh_token('alice') \gset a_
execute line(:'a_status', :'a_refresh_token', 'shown this once; the table holds only its digest');

\echo
\echo :bold'2. Whenever her access token runs out, the client rotates its refresh token.':plain
\echo '   select * from auth.rotate_refresh_token($1)'
select * from auth.rotate_refresh_token(:'a_refresh_token') \gset b_
execute line(:'b_status', :'b_refresh_token', 'a thief copies this one');
select * from auth.rotate_refresh_token(:'b_refresh_token') \gset c_
execute line(:'c_status', :'c_refresh_token', '');
select * from auth.rotate_refresh_token(:'c_refresh_token') \gset d_
execute line(:'d_status', :'d_refresh_token', '');

\echo
\echo :bold'3. The last answer is lost on the way, so the client asks once more with the token before it.':plain
select * from auth.rotate_refresh_token(:'c_refresh_token') \gset retry_
select case when :'retry_refresh_token' = :'d_refresh_token'
            then 'the same token as in the lost answer'
            else 'ANOTHER TOKEN: this must not happen' end as remark \gset
execute line(:'retry_status', :'retry_refresh_token', :'remark');

\echo
\echo :bold'4. The family so far: one live token.':plain
\echo '   select auth.draw_token_family($1)'
select '     ' || drawn from auth.draw_token_family(:'a_session_id') as drawn;

\echo
\echo :bold'5. The thief presents his copy, too late for an honest retry (here after 2 seconds, by default after 10).':plain
select from pg_sleep(2.5) \g /dev/null
select * from auth.rotate_refresh_token(:'b_refresh_token') \gset stolen_
execute line(:'stolen_status', null, 'no token for him, and the whole family is revoked');

\echo
\echo :bold'6. The token in Alice''s client has ended with it: she logs in again, and the thief has nothing.':plain
select * from auth.rotate_refresh_token(:'d_refresh_token') \gset honest_
execute line(:'honest_status', null, '');

\echo
\echo :bold'7. The family now: no live token, and the rows stay as evidence.':plain
select '     ' || drawn from auth.draw_token_family(:'a_session_id') as drawn;
\echo
