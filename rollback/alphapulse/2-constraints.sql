-- Plan alphapulse: this script undoes phase constraints, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: set public.agent_signals.tenant_id NOT NULL
ALTER TABLE public.agent_signals ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.agent_signals
BEGIN;
ALTER TABLE public.agent_signals DROP CONSTRAINT IF EXISTS agent_signals_tenant_id_tenantmig_not_null;
ALTER TABLE public.agent_signals ADD CONSTRAINT agent_signals_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.agent_signals, not validated
ALTER TABLE public.agent_signals DROP CONSTRAINT IF EXISTS agent_signals_tenant_id_tenantmig_not_null;

-- undo: set public.risk_metrics.tenant_id NOT NULL
ALTER TABLE public.risk_metrics ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.risk_metrics
BEGIN;
ALTER TABLE public.risk_metrics DROP CONSTRAINT IF EXISTS risk_metrics_tenant_id_tenantmig_not_null;
ALTER TABLE public.risk_metrics ADD CONSTRAINT risk_metrics_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.risk_metrics, not validated
ALTER TABLE public.risk_metrics DROP CONSTRAINT IF EXISTS risk_metrics_tenant_id_tenantmig_not_null;

-- undo: set public.portfolio_snapshots.tenant_id NOT NULL
ALTER TABLE public.portfolio_snapshots ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.portfolio_snapshots
BEGIN;
ALTER TABLE public.portfolio_snapshots DROP CONSTRAINT IF EXISTS portfolio_snapshots_tenant_id_tenantmig_not_null;
ALTER TABLE public.portfolio_snapshots ADD CONSTRAINT portfolio_snapshots_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.portfolio_snapshots, not validated
ALTER TABLE public.portfolio_snapshots DROP CONSTRAINT IF EXISTS portfolio_snapshots_tenant_id_tenantmig_not_null;

-- undo: set public.orders.tenant_id NOT NULL
ALTER TABLE public.orders ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.orders
BEGIN;
ALTER TABLE public.orders DROP CONSTRAINT IF EXISTS orders_tenant_id_tenantmig_not_null;
ALTER TABLE public.orders ADD CONSTRAINT orders_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.orders, not validated
ALTER TABLE public.orders DROP CONSTRAINT IF EXISTS orders_tenant_id_tenantmig_not_null;

-- undo: set public.positions.tenant_id NOT NULL
ALTER TABLE public.positions ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.positions
BEGIN;
ALTER TABLE public.positions DROP CONSTRAINT IF EXISTS positions_tenant_id_tenantmig_not_null;
ALTER TABLE public.positions ADD CONSTRAINT positions_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.positions, not validated
ALTER TABLE public.positions DROP CONSTRAINT IF EXISTS positions_tenant_id_tenantmig_not_null;

-- undo: set public.trades.tenant_id NOT NULL
ALTER TABLE public.trades ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.trades
BEGIN;
ALTER TABLE public.trades DROP CONSTRAINT IF EXISTS trades_tenant_id_tenantmig_not_null;
ALTER TABLE public.trades ADD CONSTRAINT trades_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.trades, not validated
ALTER TABLE public.trades DROP CONSTRAINT IF EXISTS trades_tenant_id_tenantmig_not_null;

-- undo: set public.users.tenant_id NOT NULL
ALTER TABLE public.users ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.users
BEGIN;
ALTER TABLE public.users DROP CONSTRAINT IF EXISTS users_tenant_id_tenantmig_not_null;
ALTER TABLE public.users ADD CONSTRAINT users_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.users, not validated
ALTER TABLE public.users DROP CONSTRAINT IF EXISTS users_tenant_id_tenantmig_not_null;

-- undo: validate foreign key fk_agent_signals_tenant of public.agent_signals
BEGIN;
ALTER TABLE public.agent_signals DROP CONSTRAINT IF EXISTS fk_agent_signals_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.agent_signals'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.agent_signals') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_agent_signals_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_agent_signals_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.agent_signals ADD CONSTRAINT fk_agent_signals_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_agent_signals_tenant from public.agent_signals (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.agent_signals DROP CONSTRAINT IF EXISTS fk_agent_signals_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.agent_signals') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_agent_signals_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_risk_metrics_tenant of public.risk_metrics
BEGIN;
ALTER TABLE public.risk_metrics DROP CONSTRAINT IF EXISTS fk_risk_metrics_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.risk_metrics'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.risk_metrics') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_risk_metrics_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_risk_metrics_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.risk_metrics ADD CONSTRAINT fk_risk_metrics_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_risk_metrics_tenant from public.risk_metrics (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.risk_metrics DROP CONSTRAINT IF EXISTS fk_risk_metrics_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.risk_metrics') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_risk_metrics_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_portfolio_snapshots_tenant of public.portfolio_snapshots
BEGIN;
ALTER TABLE public.portfolio_snapshots DROP CONSTRAINT IF EXISTS fk_portfolio_snapshots_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.portfolio_snapshots'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.portfolio_snapshots') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_portfolio_snapshots_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_portfolio_snapshots_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.portfolio_snapshots ADD CONSTRAINT fk_portfolio_snapshots_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_portfolio_snapshots_tenant from public.portfolio_snapshots (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.portfolio_snapshots DROP CONSTRAINT IF EXISTS fk_portfolio_snapshots_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.portfolio_snapshots') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_portfolio_snapshots_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_orders_tenant of public.orders
BEGIN;
ALTER TABLE public.orders DROP CONSTRAINT IF EXISTS fk_orders_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.orders'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.orders') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_orders_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_orders_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.orders ADD CONSTRAINT fk_orders_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_orders_tenant from public.orders (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.orders DROP CONSTRAINT IF EXISTS fk_orders_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.orders') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_orders_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_positions_tenant of public.positions
BEGIN;
ALTER TABLE public.positions DROP CONSTRAINT IF EXISTS fk_positions_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.positions'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.positions') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_positions_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_positions_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.positions ADD CONSTRAINT fk_positions_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_positions_tenant from public.positions (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.positions DROP CONSTRAINT IF EXISTS fk_positions_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.positions') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_positions_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_trades_tenant of public.trades
BEGIN;
ALTER TABLE public.trades DROP CONSTRAINT IF EXISTS fk_trades_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.trades'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.trades') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_trades_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_trades_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.trades ADD CONSTRAINT fk_trades_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_trades_tenant from public.trades (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.trades DROP CONSTRAINT IF EXISTS fk_trades_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.trades') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_trades_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_users_tenant of public.users
BEGIN;
ALTER TABLE public.users DROP CONSTRAINT IF EXISTS fk_users_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.users'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.users') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_users_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_users_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.users ADD CONSTRAINT fk_users_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE CASCADE NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_users_tenant from public.users (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.users DROP CONSTRAINT IF EXISTS fk_users_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.users') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_users_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: create unique index users_tenant_email_key on public.users (tenant_id, (lower(email))) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.users') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.users_tenant_email_key;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.users_tenant_email_key;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_agent_signals_tenant_created on public.agent_signals (tenant_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.agent_signals') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_agent_signals_tenant_created;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_agent_signals_tenant_created;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_risk_metrics_tenant_created on public.risk_metrics (tenant_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.risk_metrics') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_risk_metrics_tenant_created;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_risk_metrics_tenant_created;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_portfolio_snapshots_tenant_created on public.portfolio_snapshots (tenant_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.portfolio_snapshots') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_portfolio_snapshots_tenant_created;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_portfolio_snapshots_tenant_created;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_orders_tenant_created on public.orders (tenant_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.orders') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_orders_tenant_created;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_orders_tenant_created;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_positions_tenant_created on public.positions (tenant_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.positions') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_positions_tenant_created;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_positions_tenant_created;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_trades_tenant_created on public.trades (tenant_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.trades') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_trades_tenant_created;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_trades_tenant_created;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_agent_signals_tenant_id on public.agent_signals (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.agent_signals') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_agent_signals_tenant_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_agent_signals_tenant_id;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_risk_metrics_tenant_id on public.risk_metrics (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.risk_metrics') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_risk_metrics_tenant_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_risk_metrics_tenant_id;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_portfolio_snapshots_tenant_id on public.portfolio_snapshots (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.portfolio_snapshots') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_portfolio_snapshots_tenant_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_portfolio_snapshots_tenant_id;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_orders_tenant_id on public.orders (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.orders') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_orders_tenant_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_orders_tenant_id;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_positions_tenant_id on public.positions (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.positions') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_positions_tenant_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_positions_tenant_id;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_trades_tenant_id on public.trades (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.trades') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_trades_tenant_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_trades_tenant_id;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_users_tenant_id on public.users (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.users') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_users_tenant_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_users_tenant_id;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_tenants_status on public.tenants (status) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.tenants') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_tenants_status;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_tenants_status;
SET lock_timeout = '500ms';
\endif
