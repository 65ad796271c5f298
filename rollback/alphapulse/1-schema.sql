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

-- undo: write back the values of public.agent_signals.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.agent_signals.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.agent_signals
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.agent_signals;
ALTER TABLE public.agent_signals DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.risk_metrics.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.risk_metrics.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.risk_metrics
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.risk_metrics;
ALTER TABLE public.risk_metrics DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.portfolio_snapshots.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.portfolio_snapshots.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.portfolio_snapshots
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.portfolio_snapshots;
ALTER TABLE public.portfolio_snapshots DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.orders.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.orders.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.orders
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.orders;
ALTER TABLE public.orders DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.positions.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.positions.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.positions
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.positions;
ALTER TABLE public.positions DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.trades.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.trades.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.trades
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.trades;
ALTER TABLE public.trades DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.users.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.users.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.users
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.users;
ALTER TABLE public.users DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: grant SELECT on public.tenants to alphapulse_app
REVOKE SELECT ON public.tenants FROM alphapulse_app;

-- undo: insert the row id = '00000000-0000-0000-0000-000000000003' into public.tenants
DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000003';

-- undo: insert the row id = '00000000-0000-0000-0000-000000000002' into public.tenants
DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000002';

-- undo: insert the row id = '00000000-0000-0000-0000-000000000001' into public.tenants
DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000001';

-- undo: create table public.tenants
DROP TABLE IF EXISTS public.tenants;
