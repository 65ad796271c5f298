-- Plan alphapulse: this script undoes phase schema, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: fill public.agent_signals.tenant_id from public.users.tenant_id
-- nothing to run: undone together with schema/agent_signals-tenant_id/column

-- undo: fill public.risk_metrics.tenant_id from public.users.tenant_id
-- nothing to run: undone together with schema/risk_metrics-tenant_id/column

-- undo: fill public.portfolio_snapshots.tenant_id from public.users.tenant_id
-- nothing to run: undone together with schema/portfolio_snapshots-tenant_id/column

-- undo: fill public.orders.tenant_id from public.users.tenant_id
-- nothing to run: undone together with schema/orders-tenant_id/column

-- undo: fill public.positions.tenant_id from public.users.tenant_id
-- nothing to run: undone together with schema/positions-tenant_id/column

-- undo: fill public.trades.tenant_id from public.users.tenant_id
-- nothing to run: undone together with schema/trades-tenant_id/column

-- undo: fill public.users.tenant_id from an expression
-- nothing to run: undone together with schema/users-tenant_id/column

-- undo: create trigger capture_tenant on agent_signals
DROP TRIGGER IF EXISTS capture_tenant ON public.agent_signals;

-- undo: create trigger capture_tenant on risk_metrics
DROP TRIGGER IF EXISTS capture_tenant ON public.risk_metrics;

-- undo: create trigger capture_tenant on portfolio_snapshots
DROP TRIGGER IF EXISTS capture_tenant ON public.portfolio_snapshots;

-- undo: create trigger capture_tenant on orders
DROP TRIGGER IF EXISTS capture_tenant ON public.orders;

-- undo: create trigger capture_tenant on positions
DROP TRIGGER IF EXISTS capture_tenant ON public.positions;

-- undo: create trigger capture_tenant on trades
DROP TRIGGER IF EXISTS capture_tenant ON public.trades;

-- undo: create trigger capture_tenant on users
DROP TRIGGER IF EXISTS capture_tenant ON public.users;

-- undo: create function capture_tenant: a row belongs to its user's tenant
DROP FUNCTION IF EXISTS public.capture_tenant();

-- undo: create function capture_user_tenant
DROP FUNCTION IF EXISTS public.capture_user_tenant();

-- undo: create function tenant_for_email
DROP FUNCTION IF EXISTS public.tenant_for_email(text);

-- undo: keep the values of public.agent_signals.tenant_id for the next apply
-- not done by a script: the values of public.agent_signals.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.agent_signals
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.agent_signals;
ALTER TABLE public.agent_signals DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: keep the values of public.risk_metrics.tenant_id for the next apply
-- not done by a script: the values of public.risk_metrics.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.risk_metrics
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.risk_metrics;
ALTER TABLE public.risk_metrics DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: keep the values of public.portfolio_snapshots.tenant_id for the next apply
-- not done by a script: the values of public.portfolio_snapshots.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.portfolio_snapshots
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.portfolio_snapshots;
ALTER TABLE public.portfolio_snapshots DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: keep the values of public.orders.tenant_id for the next apply
-- not done by a script: the values of public.orders.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.orders
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.orders;
ALTER TABLE public.orders DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: keep the values of public.positions.tenant_id for the next apply
-- not done by a script: the values of public.positions.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.positions
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.positions;
ALTER TABLE public.positions DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: keep the values of public.trades.tenant_id for the next apply
-- not done by a script: the values of public.trades.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.trades
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.trades;
ALTER TABLE public.trades DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: keep the values of public.users.tenant_id for the next apply
-- not done by a script: the values of public.users.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.users
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.users;
ALTER TABLE public.users DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: grant SELECT on public.tenants to alphapulse_app
REVOKE SELECT ON public.tenants FROM alphapulse_app;

-- undo: insert the row id = '00000000-0000-0000-0000-000000000003' into public.tenants
-- nothing to run: undone together with schema/tenants/table; where that was there before and stays: DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000003'

-- undo: insert the row id = '00000000-0000-0000-0000-000000000002' into public.tenants
-- nothing to run: undone together with schema/tenants/table; where that was there before and stays: DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000002'

-- undo: insert the row id = '00000000-0000-0000-0000-000000000001' into public.tenants
-- nothing to run: undone together with schema/tenants/table; where that was there before and stays: DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000001'

-- undo: create table public.tenants
BEGIN;
DO $tenantmig$
DECLARE
    home regclass := to_regclass('public.tenants');
    held text;
    note jsonb;
    thing record;
    filled boolean := true;
BEGIN
    IF home IS NULL THEN RETURN; END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', home);
    BEGIN
        SELECT EXISTS (SELECT FROM public.tenants AS present WHERE NOT ((SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(to_jsonb(present.*) - ARRAY['created_at', 'updated_at']::text[]) e WHERE e.value <> 'null')
               IS NOT DISTINCT FROM (SELECT jsonb_object_agg(v.key, v.value) FROM (VALUES ('id', to_jsonb(CAST('00000000-0000-0000-0000-000000000001' AS uuid))), ('name', to_jsonb(CAST('Default Tenant' AS varchar(255)))), ('slug', to_jsonb(CAST('default' AS varchar(100)))), ('subscription_tier', to_jsonb(CAST('pro' AS varchar(50)))), ('status', to_jsonb(CAST(('active') AS varchar(50))))) v (key, value) WHERE v.value IS NOT NULL) OR (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(to_jsonb(present.*) - ARRAY['created_at', 'updated_at']::text[]) e WHERE e.value <> 'null')
               IS NOT DISTINCT FROM (SELECT jsonb_object_agg(v.key, v.value) FROM (VALUES ('id', to_jsonb(CAST('00000000-0000-0000-0000-000000000002' AS uuid))), ('name', to_jsonb(CAST('Northwind Capital' AS varchar(255)))), ('slug', to_jsonb(CAST('northwind' AS varchar(100)))), ('subscription_tier', to_jsonb(CAST('pro' AS varchar(50)))), ('status', to_jsonb(CAST(('active') AS varchar(50))))) v (key, value) WHERE v.value IS NOT NULL) OR (SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(to_jsonb(present.*) - ARRAY['created_at', 'updated_at']::text[]) e WHERE e.value <> 'null')
               IS NOT DISTINCT FROM (SELECT jsonb_object_agg(v.key, v.value) FROM (VALUES ('id', to_jsonb(CAST('00000000-0000-0000-0000-000000000003' AS uuid))), ('name', to_jsonb(CAST('Borealis Partners' AS varchar(255)))), ('slug', to_jsonb(CAST('borealis' AS varchar(100)))), ('subscription_tier', to_jsonb(CAST('enterprise' AS varchar(50)))), ('status', to_jsonb(CAST(('active') AS varchar(50))))) v (key, value) WHERE v.value IS NOT NULL))) INTO filled;
    EXCEPTION WHEN insufficient_privilege THEN filled := true;
    END;
    IF NOT filled THEN RETURN; END IF;
    SELECT (WITH RECURSIVE family AS (
            SELECT to_regclass('public.tenants')::oid AS oid
            UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid JOIN pg_class c ON c.oid = h.inhrelid AND c.relispartition),
     things AS (SELECT 'pg_class'::regclass::oid AS class, oid FROM family
                UNION ALL SELECT 'pg_class'::regclass::oid, s.oid FROM family f
                            JOIN pg_depend o ON (o.refclassid, o.refobjid, o.classid) = ('pg_class'::regclass, f.oid, 'pg_class'::regclass) AND o.deptype IN ('a', 'i')
                            JOIN pg_class s ON s.oid = o.objid AND s.relkind = 'S'
                UNION ALL SELECT 'pg_type'::regclass::oid, y.oid FROM family f JOIN pg_class c ON c.oid = f.oid
                            JOIN pg_type r ON r.oid = c.reltype JOIN pg_type y ON y.oid IN (r.oid, r.typarray)),
     found AS (
        SELECT CASE WHEN w.oid IS NOT NULL THEN pg_describe_object('pg_class'::regclass, w.ev_class, 0)
                    ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END || ' rests on it' AS what
          FROM things JOIN pg_depend d ON (d.refclassid, d.refobjid) = (things.class, things.oid) AND d.deptype = 'n'
          LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
          LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
          LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
          LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
          LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
          LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
         WHERE d.classid <> 'pg_publication_rel'::regclass AND NOT coalesce(w.ev_class, nullif(k.conrelid, 0), p.polrelid, a.adrelid, g.tgrelid, i.indrelid,
                            CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END, 0) IN (SELECT oid FROM family)
        UNION SELECT format('it is a partition or child of %s', h.inhparent::regclass)
          FROM family f JOIN pg_inherits h ON h.inhrelid = f.oid WHERE h.inhparent NOT IN (SELECT oid FROM family)
        UNION SELECT format('%s of its partitions or their indexes have the name %I, and would come into one schema', count(*), c.relname)
          FROM (SELECT oid FROM family UNION ALL SELECT i.indexrelid FROM family f JOIN pg_index i ON i.indrelid = f.oid) s JOIN pg_class c USING (oid)
         GROUP BY c.relname HAVING count(*) > 1
        UNION SELECT format('it belongs to the extension %I', e.extname)
          FROM things JOIN pg_depend d ON (d.classid, d.objid) = (things.class, things.oid) AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid
        UNION SELECT format('the role %I may not make tables in the schema %s, so that it could not come back', current_user, c.relnamespace::regnamespace)
          FROM family f JOIN pg_class c USING (oid) WHERE NOT has_schema_privilege(c.relnamespace, 'CREATE'))
     SELECT string_agg(what, '; ' ORDER BY what) FROM found) INTO held;
    IF held IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be put aside: %', home, held USING ERRCODE = 'dependent_objects_still_exist';
    END IF;
    WITH RECURSIVE family AS (
            SELECT to_regclass('public.tenants')::oid AS oid
            UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid JOIN pg_class c ON c.oid = h.inhrelid AND c.relispartition),
     keys AS (
        SELECT k.conname AS name, t.child, k.oid,
               CASE WHEN t.late THEN t.whole || ' NOT VALID' ELSE coalesce(l.add, t.whole) END AS add,
               CASE WHEN t.late OR l.add IS NULL THEN t.said END AS said,
               CASE WHEN NOT t.late THEN m.made WHEN k.convalidated THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', t.child, k.conname) END AS valid
          FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_constraint k ON k.conrelid = f.oid AND k.contype = 'f' AND k.conparentid = 0
         CROSS JOIN LATERAL (SELECT format('%s.%I', c.relnamespace::regnamespace, c.relname) AS child, regexp_replace((SELECT replace(pg_get_constraintdef(k.oid), format(' REFERENCES %s(', k.confrelid::regclass),
                         format(' REFERENCES %s.%I(', there.relnamespace::regnamespace, there.relname))
            FROM pg_class there WHERE there.oid = k.confrelid), ' NOT VALID$', '') AS def) d
         CROSS JOIN LATERAL (SELECT d.child, format('ALTER TABLE %s ADD CONSTRAINT %I %s', d.child, k.conname, d.def) AS whole,
               format('COMMENT ON CONSTRAINT %I ON %s IS ', k.conname, d.child) || quote_literal(obj_description(k.oid, 'pg_constraint')) AS said,
               c.relkind = 'r' OR current_setting('server_version_num')::int >= 180000 AS late) t
         CROSS JOIN LATERAL (SELECT format('DO %L', format('
DECLARE leaf regclass;
BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = %1$L::regclass AND conname = %2$L) THEN RETURN; END IF;
    FOR leaf IN SELECT t.relid FROM pg_partition_tree(%1$L) t WHERE t.isleaf LOOP
        IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = leaf AND conname = %2$L) THEN
            EXECUTE format(''ALTER TABLE %%s ADD CONSTRAINT %%I %%s NOT VALID'', leaf, %2$L, %3$L);
        END IF;
        EXECUTE format(''ALTER TABLE %%s VALIDATE CONSTRAINT %%I'', leaf, %2$L);
        EXECUTE format(''COMMENT ON CONSTRAINT %%I ON %%s IS NULL'', %2$L, leaf);
    END LOOP;
    EXECUTE %4$L;
END', t.child, k.conname, d.def, concat_ws('; ', t.whole, t.said))) AS made) m
         CROSS JOIN LATERAL (
               SELECT string_agg(format('ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s NOT VALID; COMMENT ON CONSTRAINT %2$I ON %1$s IS %4$L',
                                        format('%s.%I', h.relnamespace::regnamespace, h.relname), k.conname, d.def, 'tenantmig: ' || m.made), '; ') AS add
                 FROM pg_partition_tree(f.oid) p JOIN pg_class h ON h.oid = p.relid WHERE p.isleaf) l
         WHERE k.confrelid NOT IN (SELECT oid FROM family))
    SELECT jsonb_build_object('table', 'public.tenants'::text, 'by', 'the undo of create_table'::text, 'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'things',
               (SELECT jsonb_agg(jsonb_build_object('kind', t.kind, 'name', t.name, 'home', t.home)) FROM (
                    SELECT 'TABLE' AS kind, c.relname AS name, n.nspname AS home FROM family f JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
                    UNION ALL SELECT 'STATISTICS', s.stxname, n.nspname FROM family f JOIN pg_statistic_ext s ON s.stxrelid = f.oid JOIN pg_namespace n ON n.oid = s.stxnamespace) t),
               'keys', coalesce((SELECT jsonb_agg(jsonb_build_object('child', k.child, 'name', k.name, 'add', k.add, 'said', k.said) ORDER BY k.name) FROM keys k), '[]'))
      INTO note;
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'keys') AS k (child text, name text) LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', thing.child, thing.name);
    END LOOP;
    CREATE SCHEMA tenantmig_aside_undone_public_tenants;
    FOR thing IN SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END AS grantee
        FROM pg_namespace n, aclexplode(n.nspacl) x WHERE n.nspname = 'tenantmig_aside_undone_public_tenants' AND x.grantee <> n.nspowner LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s', 'tenantmig_aside_undone_public_tenants', thing.grantee);
    END LOOP;
    EXECUTE format('COMMENT ON SCHEMA %I IS %L', 'tenantmig_aside_undone_public_tenants', note);
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'things') AS t (kind text, name text, home text) LOOP
        EXECUTE format('ALTER %s %I.%I SET SCHEMA %I', thing.kind, thing.home, thing.name, 'tenantmig_aside_undone_public_tenants');
    END LOOP;
END $tenantmig$;
DROP TABLE IF EXISTS public.tenants;
COMMIT;
