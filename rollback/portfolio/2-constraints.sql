-- Plan portfolio: this script undoes phase constraints, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: set public.investments.organization_id NOT NULL
ALTER TABLE public.investments ALTER COLUMN organization_id DROP NOT NULL;

-- undo: validate CHECK (organization_id IS NOT NULL) of public.investments
BEGIN;
ALTER TABLE public.investments DROP CONSTRAINT IF EXISTS investments_organization_id_tenantmig_not_null;
ALTER TABLE public.investments ADD CONSTRAINT investments_organization_id_tenantmig_not_null CHECK (organization_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (organization_id IS NOT NULL) to public.investments, not validated
ALTER TABLE public.investments DROP CONSTRAINT IF EXISTS investments_organization_id_tenantmig_not_null;

-- undo: set public.portfoliocompanies.organization_id NOT NULL
ALTER TABLE public.portfoliocompanies ALTER COLUMN organization_id DROP NOT NULL;

-- undo: validate CHECK (organization_id IS NOT NULL) of public.portfoliocompanies
BEGIN;
ALTER TABLE public.portfoliocompanies DROP CONSTRAINT IF EXISTS portfoliocompanies_organization_id_tenantmig_not_null;
ALTER TABLE public.portfoliocompanies ADD CONSTRAINT portfoliocompanies_organization_id_tenantmig_not_null CHECK (organization_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (organization_id IS NOT NULL) to public.portfoliocompanies, not validated
ALTER TABLE public.portfoliocompanies DROP CONSTRAINT IF EXISTS portfoliocompanies_organization_id_tenantmig_not_null;

-- undo: set public.funds.organization_id NOT NULL
ALTER TABLE public.funds ALTER COLUMN organization_id DROP NOT NULL;

-- undo: validate CHECK (organization_id IS NOT NULL) of public.funds
BEGIN;
ALTER TABLE public.funds DROP CONSTRAINT IF EXISTS funds_organization_id_tenantmig_not_null;
ALTER TABLE public.funds ADD CONSTRAINT funds_organization_id_tenantmig_not_null CHECK (organization_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (organization_id IS NOT NULL) to public.funds, not validated
ALTER TABLE public.funds DROP CONSTRAINT IF EXISTS funds_organization_id_tenantmig_not_null;

-- undo: validate foreign key fk_investments_org of public.investments
BEGIN;
ALTER TABLE public.investments DROP CONSTRAINT IF EXISTS fk_investments_org;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.investments'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.investments') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_investments_org') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_investments_org FOREIGN KEY (organization_id) REFERENCES public.organizations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.investments ADD CONSTRAINT fk_investments_org FOREIGN KEY (organization_id) REFERENCES public.organizations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_investments_org from public.investments (organization_id) to public.organizations, not validated
BEGIN;
ALTER TABLE public.investments DROP CONSTRAINT IF EXISTS fk_investments_org;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.investments') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_investments_org';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_portfoliocompanies_org of public.portfoliocompanies
BEGIN;
ALTER TABLE public.portfoliocompanies DROP CONSTRAINT IF EXISTS fk_portfoliocompanies_org;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.portfoliocompanies'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.portfoliocompanies') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_portfoliocompanies_org') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_portfoliocompanies_org FOREIGN KEY (organization_id) REFERENCES public.organizations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.portfoliocompanies ADD CONSTRAINT fk_portfoliocompanies_org FOREIGN KEY (organization_id) REFERENCES public.organizations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_portfoliocompanies_org from public.portfoliocompanies (organization_id) to public.organizations, not validated
BEGIN;
ALTER TABLE public.portfoliocompanies DROP CONSTRAINT IF EXISTS fk_portfoliocompanies_org;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.portfoliocompanies') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_portfoliocompanies_org';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_funds_org of public.funds
BEGIN;
ALTER TABLE public.funds DROP CONSTRAINT IF EXISTS fk_funds_org;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.funds'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.funds') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_funds_org') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_funds_org FOREIGN KEY (organization_id) REFERENCES public.organizations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.funds ADD CONSTRAINT fk_funds_org FOREIGN KEY (organization_id) REFERENCES public.organizations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_funds_org from public.funds (organization_id) to public.organizations, not validated
BEGIN;
ALTER TABLE public.funds DROP CONSTRAINT IF EXISTS fk_funds_org;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.funds') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_funds_org';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: create index idx_investments_org_fund on public.investments (organization_id, fund_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.investments') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_investments_org_fund;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_investments_org_fund;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_portfoliocompanies_org_fund on public.portfoliocompanies (organization_id, fund_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.portfoliocompanies') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_portfoliocompanies_org_fund;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_portfoliocompanies_org_fund;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_portfoliocompanies_org_status on public.portfoliocompanies (organization_id, status) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.portfoliocompanies') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_portfoliocompanies_org_status;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_portfoliocompanies_org_status;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_funds_org_created on public.funds (organization_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.funds') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_funds_org_created;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_funds_org_created;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_funds_org_id on public.funds (organization_id, id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.funds') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_funds_org_id;
\else
SET lock_timeout = '5min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_funds_org_id;
SET lock_timeout = '500ms';
\endif
