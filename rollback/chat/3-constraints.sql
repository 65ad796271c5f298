-- Plan chat: this script undoes phase constraints, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: set public.chat_messages.tenant_id NOT NULL
ALTER TABLE public.chat_messages ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.chat_messages
BEGIN;
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS chat_messages_tenant_id_tenantmig_not_null;
ALTER TABLE public.chat_messages ADD CONSTRAINT chat_messages_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.chat_messages, not validated
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS chat_messages_tenant_id_tenantmig_not_null;

-- undo: set public.friend_requests.tenant_id NOT NULL
ALTER TABLE public.friend_requests ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.friend_requests
BEGIN;
ALTER TABLE public.friend_requests DROP CONSTRAINT IF EXISTS friend_requests_tenant_id_tenantmig_not_null;
ALTER TABLE public.friend_requests ADD CONSTRAINT friend_requests_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.friend_requests, not validated
ALTER TABLE public.friend_requests DROP CONSTRAINT IF EXISTS friend_requests_tenant_id_tenantmig_not_null;

-- undo: set public.conversation_participants.tenant_id NOT NULL
ALTER TABLE public.conversation_participants ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.conversation_participants
BEGIN;
ALTER TABLE public.conversation_participants DROP CONSTRAINT IF EXISTS conversation_participants_tenant_id_tenantmig_not_null;
ALTER TABLE public.conversation_participants ADD CONSTRAINT conversation_participants_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.conversation_participants, not validated
ALTER TABLE public.conversation_participants DROP CONSTRAINT IF EXISTS conversation_participants_tenant_id_tenantmig_not_null;

-- undo: set public.conversations.tenant_id NOT NULL
ALTER TABLE public.conversations ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.conversations
BEGIN;
ALTER TABLE public.conversations DROP CONSTRAINT IF EXISTS conversations_tenant_id_tenantmig_not_null;
ALTER TABLE public.conversations ADD CONSTRAINT conversations_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.conversations, not validated
ALTER TABLE public.conversations DROP CONSTRAINT IF EXISTS conversations_tenant_id_tenantmig_not_null;

-- undo: set public.users.tenant_id NOT NULL
ALTER TABLE public.users ALTER COLUMN tenant_id DROP NOT NULL;

-- undo: validate CHECK (tenant_id IS NOT NULL) of public.users
BEGIN;
ALTER TABLE public.users DROP CONSTRAINT IF EXISTS users_tenant_id_tenantmig_not_null;
ALTER TABLE public.users ADD CONSTRAINT users_tenant_id_tenantmig_not_null CHECK (tenant_id IS NOT NULL) NOT VALID;
COMMIT;

-- undo: add CHECK (tenant_id IS NOT NULL) to public.users, not validated
ALTER TABLE public.users DROP CONSTRAINT IF EXISTS users_tenant_id_tenantmig_not_null;

-- undo: validate foreign key fk_chat_messages_tenant of public.chat_messages
BEGIN;
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS fk_chat_messages_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.chat_messages'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.chat_messages') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_chat_messages_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_chat_messages_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.chat_messages ADD CONSTRAINT fk_chat_messages_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_chat_messages_tenant from public.chat_messages (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS fk_chat_messages_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.chat_messages') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_chat_messages_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_friend_requests_tenant of public.friend_requests
BEGIN;
ALTER TABLE public.friend_requests DROP CONSTRAINT IF EXISTS fk_friend_requests_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.friend_requests'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.friend_requests') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_friend_requests_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_friend_requests_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.friend_requests ADD CONSTRAINT fk_friend_requests_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_friend_requests_tenant from public.friend_requests (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.friend_requests DROP CONSTRAINT IF EXISTS fk_friend_requests_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.friend_requests') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_friend_requests_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_conversation_participants_tenant of public.conversation_participants
BEGIN;
ALTER TABLE public.conversation_participants DROP CONSTRAINT IF EXISTS fk_conversation_participants_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.conversation_participants'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.conversation_participants') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_conversation_participants_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_conversation_participants_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.conversation_participants ADD CONSTRAINT fk_conversation_participants_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_conversation_participants_tenant from public.conversation_participants (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.conversation_participants DROP CONSTRAINT IF EXISTS fk_conversation_participants_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.conversation_participants') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_conversation_participants_tenant';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_conversations_tenant of public.conversations
BEGIN;
ALTER TABLE public.conversations DROP CONSTRAINT IF EXISTS fk_conversations_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.conversations'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.conversations') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_conversations_tenant') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_conversations_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.conversations ADD CONSTRAINT fk_conversations_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_conversations_tenant from public.conversations (tenant_id) to public.tenants, not validated
BEGIN;
ALTER TABLE public.conversations DROP CONSTRAINT IF EXISTS fk_conversations_tenant;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.conversations') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_conversations_tenant';
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
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_users_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.users ADD CONSTRAINT fk_users_tenant FOREIGN KEY (tenant_id) REFERENCES public.tenants (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
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

-- undo: create index idx_chat_messages_tenant on public.chat_messages (tenant_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.chat_messages') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_chat_messages_tenant;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_chat_messages_tenant;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_friend_requests_tenant on public.friend_requests (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.friend_requests') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_friend_requests_tenant;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_friend_requests_tenant;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_conversation_participants_tenant on public.conversation_participants (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.conversation_participants') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_conversation_participants_tenant;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_conversation_participants_tenant;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_conversations_tenant on public.conversations (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.conversations') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_conversations_tenant;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_conversations_tenant;
SET lock_timeout = '500ms';
\endif

-- undo: create index idx_users_tenant on public.users (tenant_id) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.users') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_users_tenant;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_users_tenant;
SET lock_timeout = '500ms';
\endif
