-- Plan portfolio: this script undoes phase rls, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: protect public.investments and all below it by row-level security: tenant_isolation and tenant_floor, forced on the owner
DO $tenantmig$
DECLARE
    waits CONSTANT bigint := (SELECT s.setting::bigint FROM pg_settings s WHERE s.name = 'lock_timeout');
    till CONSTANT timestamptz := clock_timestamp() + waits * interval '1 ms';
    family oid[] := ARRAY['public.investments'::regclass::oid];
    place int := 1;
    rel regclass;
BEGIN
    WHILE place <= cardinality(family) LOOP
        rel := family[place];
        IF waits > 0 THEN
            PERFORM set_config('lock_timeout', greatest(1, extract(epoch FROM till - clock_timestamp()) * 1000)::bigint || 'ms', true);
        END IF;
        EXECUTE 'LOCK TABLE ONLY ' || rel || ' IN ACCESS EXCLUSIVE MODE';
        family := family || ARRAY(SELECT h.inhrelid FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
                                   WHERE h.inhparent = rel AND h.inhrelid <> ALL (family) AND c.relkind IN ('r', 'p')
                                     AND c.relpersistence <> 't' ORDER BY h.inhrelid);
        place := place + 1;
    END LOOP;
    PERFORM set_config('lock_timeout', waits || 'ms', true);
    FOREACH rel IN ARRAY family LOOP
        EXECUTE 'ALTER TABLE ' || rel || ' DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY';
        EXECUTE 'DROP POLICY IF EXISTS tenant_isolation ON ' || rel;
        EXECUTE 'DROP POLICY IF EXISTS tenant_floor ON ' || rel;
        EXECUTE 'DROP POLICY IF EXISTS tenant_shadow ON ' || rel;
    END LOOP;
END
$tenantmig$;

-- undo: protect public.portfoliocompanies and all below it by row-level security: tenant_isolation and tenant_floor, forced on the owner
DO $tenantmig$
DECLARE
    waits CONSTANT bigint := (SELECT s.setting::bigint FROM pg_settings s WHERE s.name = 'lock_timeout');
    till CONSTANT timestamptz := clock_timestamp() + waits * interval '1 ms';
    family oid[] := ARRAY['public.portfoliocompanies'::regclass::oid];
    place int := 1;
    rel regclass;
BEGIN
    WHILE place <= cardinality(family) LOOP
        rel := family[place];
        IF waits > 0 THEN
            PERFORM set_config('lock_timeout', greatest(1, extract(epoch FROM till - clock_timestamp()) * 1000)::bigint || 'ms', true);
        END IF;
        EXECUTE 'LOCK TABLE ONLY ' || rel || ' IN ACCESS EXCLUSIVE MODE';
        family := family || ARRAY(SELECT h.inhrelid FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
                                   WHERE h.inhparent = rel AND h.inhrelid <> ALL (family) AND c.relkind IN ('r', 'p')
                                     AND c.relpersistence <> 't' ORDER BY h.inhrelid);
        place := place + 1;
    END LOOP;
    PERFORM set_config('lock_timeout', waits || 'ms', true);
    FOREACH rel IN ARRAY family LOOP
        EXECUTE 'ALTER TABLE ' || rel || ' DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY';
        EXECUTE 'DROP POLICY IF EXISTS tenant_isolation ON ' || rel;
        EXECUTE 'DROP POLICY IF EXISTS tenant_floor ON ' || rel;
        EXECUTE 'DROP POLICY IF EXISTS tenant_shadow ON ' || rel;
    END LOOP;
END
$tenantmig$;

-- undo: protect public.funds and all below it by row-level security: tenant_isolation and tenant_floor, forced on the owner
DO $tenantmig$
DECLARE
    waits CONSTANT bigint := (SELECT s.setting::bigint FROM pg_settings s WHERE s.name = 'lock_timeout');
    till CONSTANT timestamptz := clock_timestamp() + waits * interval '1 ms';
    family oid[] := ARRAY['public.funds'::regclass::oid];
    place int := 1;
    rel regclass;
BEGIN
    WHILE place <= cardinality(family) LOOP
        rel := family[place];
        IF waits > 0 THEN
            PERFORM set_config('lock_timeout', greatest(1, extract(epoch FROM till - clock_timestamp()) * 1000)::bigint || 'ms', true);
        END IF;
        EXECUTE 'LOCK TABLE ONLY ' || rel || ' IN ACCESS EXCLUSIVE MODE';
        family := family || ARRAY(SELECT h.inhrelid FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
                                   WHERE h.inhparent = rel AND h.inhrelid <> ALL (family) AND c.relkind IN ('r', 'p')
                                     AND c.relpersistence <> 't' ORDER BY h.inhrelid);
        place := place + 1;
    END LOOP;
    PERFORM set_config('lock_timeout', waits || 'ms', true);
    FOREACH rel IN ARRAY family LOOP
        EXECUTE 'ALTER TABLE ' || rel || ' DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY';
        EXECUTE 'DROP POLICY IF EXISTS tenant_isolation ON ' || rel;
        EXECUTE 'DROP POLICY IF EXISTS tenant_floor ON ' || rel;
        EXECUTE 'DROP POLICY IF EXISTS tenant_shadow ON ' || rel;
    END LOOP;
END
$tenantmig$;
