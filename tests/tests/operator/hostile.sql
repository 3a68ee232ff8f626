-- Traps of a role that may create a schema of its own: everything in it that a careless function or
-- script would find before the built-ins and before the extension's own objects. Whatever is called
-- counts in the sequence `sprung`, which no rollback takes back.
CREATE SCHEMA evil;
SET search_path = pg_catalog;
CREATE SEQUENCE evil.sprung;
CREATE FUNCTION evil.spring() RETURNS bigint LANGUAGE plpgsql AS
    $$ BEGIN RETURN pg_catalog.nextval('evil.sprung'); END $$;

DO $traps$
DECLARE
    -- name and arguments, result
    functions text[][] := ARRAY[
        ['now()', 'timestamptz'], ['clock_timestamp()', 'timestamptz'],
        ['statement_timestamp()', 'timestamptz'], ['transaction_timestamp()', 'timestamptz'],
        ['gen_random_uuid()', 'uuid'], ['nextval(regclass)', 'bigint'], ['nextval(text)', 'bigint'],
        ['currval(regclass)', 'bigint'], ['setval(regclass, bigint)', 'bigint'],
        ['left(text, int)', 'text'], ['length(text)', 'int'], ['lower(text)', 'text'], ['upper(text)', 'text'],
        ['format(text)', 'text'], ['format(text, VARIADIC text[])', 'text'], ['quote_ident(text)', 'text'],
        ['array_to_string(anyarray, text)', 'text'], ['concat(VARIADIC text[])', 'text'],
        ['sha256(bytea)', 'bytea'], ['encode(bytea, text)', 'text'], ['convert_to(text, name)', 'bytea'],
        ['pg_has_role(oid, text)', 'boolean'], ['pg_advisory_xact_lock(bigint)', 'void'],
        ['pg_extension_config_dump(regclass, text)', 'void'], ['getdatabaseencoding()', 'name'],
        ['aclexplode(aclitem[])', 'record'], ['set_config(text, text, boolean)', 'text'],
        ['current_setting(text)', 'text'], ['pg_typeof(anyelement)', 'regtype'],
        ['text(varchar)', 'text'], ['varchar(text)', 'varchar'], ['int8(int)', 'bigint'],
        ['rotate_refresh_token(text, text, text, inet)', 'text'], ['revoke_session(uuid)', 'bigint'],
        ['count_step(bigint)', 'bigint'], ['any_step(bigint, anyelement)', 'bigint'],
        ['bool_step(boolean, boolean)', 'boolean']];
    operand text[];
    name text;
BEGIN
    FOR at IN 1 .. array_length(functions, 1) LOOP
        EXECUTE format('CREATE FUNCTION evil.%s RETURNS %s LANGUAGE plpgsql AS $trap$ BEGIN PERFORM evil.spring(); %s END $trap$',
                       functions[at][1], functions[at][2],
                       CASE functions[at][2] WHEN 'void' THEN '' ELSE 'RETURN NULL;' END);
    END LOOP;
    CREATE AGGREGATE evil.count(*) (SFUNC = evil.count_step, STYPE = bigint, INITCOND = '7');
    CREATE AGGREGATE evil.count(anyelement) (SFUNC = evil.any_step, STYPE = bigint, INITCOND = '7');
    CREATE AGGREGATE evil.array_agg(anyelement) (SFUNC = evil.any_step, STYPE = bigint, INITCOND = '7');
    CREATE AGGREGATE evil.bool_or(boolean) (SFUNC = evil.bool_step, STYPE = boolean, INITCOND = 'f');

    FOREACH operand SLICE 1 IN ARRAY ARRAY[
        ['text', 'text'], ['varchar', 'varchar'], ['varchar', 'text'], ['text', 'varchar'], ['uuid', 'uuid'],
        ['bigint', 'bigint'], ['bigint', 'int'], ['int', 'bigint'], ['int', 'int'], ['timestamptz', 'timestamptz'],
        ['boolean', 'boolean'], ['name', 'name'], ['name', 'text'], ['text', 'name'], ['oid', 'oid'], ['oid', 'int'],
        ['anyelement', 'anyelement'], ['anyarray', 'anyarray'], ['timestamptz', 'interval']]
    LOOP
        EXECUTE format('CREATE FUNCTION evil.compared(%s, %s) RETURNS boolean LANGUAGE plpgsql AS $trap$ BEGIN PERFORM evil.spring(); RETURN false; END $trap$',
                       operand[1], operand[2]);
        EXECUTE format('CREATE FUNCTION evil.added(%s, %s) RETURNS %s LANGUAGE plpgsql AS $trap$ BEGIN PERFORM evil.spring(); RETURN NULL; END $trap$',
                       operand[1], operand[2], operand[1]);
        FOREACH name IN ARRAY '{=,<>,<,>,<=,>=}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.compared)',
                           name, operand[1], operand[2]);
        END LOOP;
        FOREACH name IN ARRAY '{+,-,||}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.added)',
                           name, operand[1], operand[2]);
        END LOOP;
    END LOOP;

    -- types, each with a check that is a trap
    CREATE FUNCTION evil.checked(anyelement) RETURNS boolean LANGUAGE plpgsql AS
        $trap$ BEGIN PERFORM evil.spring(); RETURN true; END $trap$;
    FOREACH name IN ARRAY '{uuid,text,varchar,timestamptz,inet,bool,int8,name,regclass,regnamespace,regprocedure,oid}'::text[] LOOP
        EXECUTE format('CREATE DOMAIN evil.%1$I AS pg_catalog.%1$I CHECK (evil.checked(VALUE))', name);
    END LOOP;
    CREATE TYPE evil.aal_level AS ENUM ('aal1', 'aal2', 'aal3');
    CREATE TYPE evil.refresh_token_status AS ENUM ('issued');
    CREATE TYPE evil.refresh_token_grant AS (status text);
    CREATE TYPE evil.token AS (value text);
    CREATE FUNCTION evil.text(evil.token) RETURNS text LANGUAGE plpgsql AS
        $trap$ BEGIN PERFORM evil.spring(); RETURN 'x'; END $trap$;
    CREATE CAST (evil.token AS text) WITH FUNCTION evil.text(evil.token) AS IMPLICIT;
    CREATE FUNCTION evil.aal(auth_level evil.aal_level) RETURNS text LANGUAGE plpgsql AS
        $trap$ BEGIN PERFORM evil.spring(); RETURN 'x'; END $trap$;
    CREATE CAST (evil.aal_level AS text) WITH FUNCTION evil.aal(evil.aal_level) AS IMPLICIT;

    -- tables and views named like the extension's and like the catalog's
    CREATE FUNCTION evil.triggered() RETURNS trigger LANGUAGE plpgsql AS
        $trap$ BEGIN PERFORM evil.spring(); RETURN NULL; END $trap$;
    CREATE SEQUENCE evil.refresh_tokens_id_seq;
    FOREACH name IN ARRAY '{sessions,refresh_tokens}'::text[] LOOP
        EXECUTE format('CREATE TABLE evil.%1$I (id pg_catalog.text, token pg_catalog.text, revoked pg_catalog.bool)', name);
        EXECUTE format('CREATE TRIGGER trap AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON evil.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION evil.triggered()', name);
    END LOOP;
    FOREACH name IN ARRAY '{pg_roles,pg_proc,pg_namespace,pg_class,pg_type}'::text[] LOOP
        EXECUTE format('CREATE VIEW evil.%1$I AS SELECT *, evil.spring() FROM pg_catalog.%1$I', name);
    END LOOP;

    -- the same once more where a search_path that forgets pg_temp looks first
    CREATE TEMP TABLE sessions (id pg_catalog.text);
    CREATE TEMP TABLE refresh_tokens (id pg_catalog.text);
    CREATE TEMP VIEW pg_roles AS SELECT *, evil.spring() FROM pg_catalog.pg_roles;
    CREATE TEMP SEQUENCE refresh_tokens_id_seq;
    CREATE TYPE pg_temp.aal_level AS ENUM ('aal1');
    CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (evil.checked(VALUE));
    CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE plpgsql AS
        $trap$ BEGIN PERFORM evil.spring(); RETURN NULL; END $trap$;
END
$traps$;
