-- Plan memory_chunks_vector: this script undoes phase schema, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: validate foreign key fk_memory_chunks_user of public.memory_chunks
BEGIN;
ALTER TABLE public.memory_chunks DROP CONSTRAINT IF EXISTS fk_memory_chunks_user;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.memory_chunks'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.memory_chunks') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_memory_chunks_user') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_memory_chunks_user FOREIGN KEY (user_hash) REFERENCES public.users (user_hash) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.memory_chunks ADD CONSTRAINT fk_memory_chunks_user FOREIGN KEY (user_hash) REFERENCES public.users (user_hash) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_memory_chunks_user from public.memory_chunks (user_hash) to public.users, not validated
BEGIN;
ALTER TABLE public.memory_chunks DROP CONSTRAINT IF EXISTS fk_memory_chunks_user;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.memory_chunks') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_memory_chunks_user';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: grant DELETE on public.memory_chunks to relay_app
REVOKE DELETE ON public.memory_chunks FROM relay_app;

-- undo: grant UPDATE on public.memory_chunks to relay_app
REVOKE UPDATE ON public.memory_chunks FROM relay_app;

-- undo: grant INSERT on public.memory_chunks to relay_app
REVOKE INSERT ON public.memory_chunks FROM relay_app;

-- undo: grant SELECT on public.memory_chunks to relay_app
REVOKE SELECT ON public.memory_chunks FROM relay_app;

-- undo: create table public.memory_chunks
DROP TABLE IF EXISTS public.memory_chunks;
