-- Plan alphapulse: this script undoes phase rls, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: assert: the application's role neither bypasses row-level security nor owns the tables
-- nothing to run: it only asked

-- undo: assert: every table with a tenant_id is under FORCE ROW LEVEL SECURITY and has a policy
-- nothing to run: it only asked

-- undo: force row-level security on the owner of public.agent_signals
ALTER TABLE public.agent_signals NO FORCE ROW LEVEL SECURITY;

-- undo: force row-level security on the owner of public.risk_metrics
ALTER TABLE public.risk_metrics NO FORCE ROW LEVEL SECURITY;

-- undo: force row-level security on the owner of public.portfolio_snapshots
ALTER TABLE public.portfolio_snapshots NO FORCE ROW LEVEL SECURITY;

-- undo: force row-level security on the owner of public.orders
ALTER TABLE public.orders NO FORCE ROW LEVEL SECURITY;

-- undo: force row-level security on the owner of public.positions
ALTER TABLE public.positions NO FORCE ROW LEVEL SECURITY;

-- undo: force row-level security on the owner of public.trades
ALTER TABLE public.trades NO FORCE ROW LEVEL SECURITY;

-- undo: force row-level security on the owner of public.users
ALTER TABLE public.users NO FORCE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.agent_signals
ALTER TABLE public.agent_signals DISABLE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.risk_metrics
ALTER TABLE public.risk_metrics DISABLE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.portfolio_snapshots
ALTER TABLE public.portfolio_snapshots DISABLE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.orders
ALTER TABLE public.orders DISABLE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.positions
ALTER TABLE public.positions DISABLE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.trades
ALTER TABLE public.trades DISABLE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.users
ALTER TABLE public.users DISABLE ROW LEVEL SECURITY;

-- undo: create policy tenant_isolation_policy on public.agent_signals
DROP POLICY IF EXISTS tenant_isolation_policy ON public.agent_signals;

-- undo: create policy tenant_isolation_policy on public.risk_metrics
DROP POLICY IF EXISTS tenant_isolation_policy ON public.risk_metrics;

-- undo: create policy tenant_isolation_policy on public.portfolio_snapshots
DROP POLICY IF EXISTS tenant_isolation_policy ON public.portfolio_snapshots;

-- undo: create policy tenant_isolation_policy on public.orders
DROP POLICY IF EXISTS tenant_isolation_policy ON public.orders;

-- undo: create policy tenant_isolation_policy on public.positions
DROP POLICY IF EXISTS tenant_isolation_policy ON public.positions;

-- undo: create policy tenant_isolation_policy on public.trades
DROP POLICY IF EXISTS tenant_isolation_policy ON public.trades;

-- undo: create policy tenant_isolation_policy on public.users
DROP POLICY IF EXISTS tenant_isolation_policy ON public.users;
