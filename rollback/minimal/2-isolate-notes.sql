-- Plan minimal: this script undoes phase isolate-notes, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '2s';
SET statement_timeout = '6h';

-- undo: force row-level security on the owner of public.notes
ALTER TABLE public.notes NO FORCE ROW LEVEL SECURITY;

-- undo: enable row-level security on public.notes
ALTER TABLE public.notes DISABLE ROW LEVEL SECURITY;

-- undo: create policy own_account on public.notes
DROP POLICY IF EXISTS own_account ON public.notes;
