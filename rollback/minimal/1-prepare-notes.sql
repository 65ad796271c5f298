-- Plan minimal: this script undoes phase prepare-notes, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '2s';
SET statement_timeout = '6h';

-- undo: set public.notes.account_id NOT NULL
ALTER TABLE public.notes ALTER COLUMN account_id DROP NOT NULL;

-- undo: validate CHECK (account_id IS NOT NULL) of public.notes
BEGIN;
ALTER TABLE public.notes DROP CONSTRAINT IF EXISTS notes_account_id_tenantmig_not_null;
ALTER TABLE public.notes ADD CONSTRAINT notes_account_id_tenantmig_not_null CHECK (account_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (account_id IS NOT NULL) to public.notes, not validated
ALTER TABLE public.notes DROP CONSTRAINT IF EXISTS notes_account_id_tenantmig_not_null;

-- undo: create index notes_account_id_id_idx on public.notes (account_id, id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.notes') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.notes_account_id_id_idx;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.notes_account_id_id_idx;
SET lock_timeout = '2s';
\endif

-- undo: fill public.notes.account_id from public.members.account_id
-- nothing to run: undone together with prepare-notes/notes-account_id/column

-- undo: keep the values of public.notes.account_id for the next apply
-- not done by a script: the values of public.notes.account_id are kept by the tool alone; copy them first, if they matter

-- undo: add column account_id bigint to public.notes
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_account_id ON public.notes;
ALTER TABLE public.notes DROP COLUMN IF EXISTS account_id;
COMMIT;
