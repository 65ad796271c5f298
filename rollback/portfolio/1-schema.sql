-- Plan portfolio: this script undoes phase schema, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: keep the values of public.investments.organization_id for the next apply
-- not done by a script: the values of public.investments.organization_id are kept by the tool alone; copy them first, if they matter

-- undo: add column organization_id uuid to public.investments
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_organization_id ON public.investments;
ALTER TABLE public.investments DROP COLUMN IF EXISTS organization_id;
COMMIT;

-- undo: keep the values of public.portfoliocompanies.organization_id for the next apply
-- not done by a script: the values of public.portfoliocompanies.organization_id are kept by the tool alone; copy them first, if they matter

-- undo: add column organization_id uuid to public.portfoliocompanies
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_organization_id ON public.portfoliocompanies;
ALTER TABLE public.portfoliocompanies DROP COLUMN IF EXISTS organization_id;
COMMIT;

-- undo: keep the values of public.funds.organization_id for the next apply
-- not done by a script: the values of public.funds.organization_id are kept by the tool alone; copy them first, if they matter

-- undo: add column organization_id uuid to public.funds
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_organization_id ON public.funds;
ALTER TABLE public.funds DROP COLUMN IF EXISTS organization_id;
COMMIT;

-- undo: create function current_org_id
DROP FUNCTION IF EXISTS public.current_org_id();
