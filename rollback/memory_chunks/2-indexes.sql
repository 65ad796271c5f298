-- Plan memory_chunks: this script undoes phase indexes, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: create index idx_memory_chunks_user_embedding on public.memory_chunks (user_hash, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.memory_chunks') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_memory_chunks_user_embedding;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_memory_chunks_user_embedding;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_memory_chunks_embedding_ivfflat on public.memory_chunks (embedding) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.memory_chunks') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_memory_chunks_embedding_ivfflat;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_memory_chunks_embedding_ivfflat;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_memory_chunks_embedding_hnsw on public.memory_chunks (embedding) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.memory_chunks') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_memory_chunks_embedding_hnsw;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_memory_chunks_embedding_hnsw;
SET lock_timeout = '500ms';
\endif
