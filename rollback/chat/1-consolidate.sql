-- Plan chat: this script undoes phase consolidate, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: assert: chat_messages has as many rows as the old tables together
-- nothing to run: it only asked

-- undo: create index idx_chat_messages_conversation on public.chat_messages (conversation_id, created_at DESC) concurrently
SELECT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.chat_messages') AND relkind = 'p') AS partitioned \gset
\if :partitioned
DROP INDEX IF EXISTS public.idx_chat_messages_conversation;
\else
SET lock_timeout = '10min';
DROP INDEX CONCURRENTLY IF EXISTS public.idx_chat_messages_conversation;
SET lock_timeout = '500ms';
\endif

-- undo: copy the rows of public.version_history into public.chat_messages
-- nothing to run: undone together with consolidate/chat_messages/table

-- undo: create trigger version_history_chat_messages_copy on public.version_history: what is written there is copied to public.chat_messages
BEGIN;
DROP TRIGGER IF EXISTS version_history_chat_messages_copy ON public.version_history;
DROP TRIGGER IF EXISTS version_history_chat_messages_copy_all ON public.version_history;
DROP FUNCTION IF EXISTS public.version_history_chat_messages_copy();
COMMIT;

-- undo: create table public.version_history_chat_messages_copied, the record of what is copied
DROP TABLE IF EXISTS public.version_history_chat_messages_copied;

-- undo: copy the rows of public.messages into public.chat_messages
-- nothing to run: undone together with consolidate/chat_messages/table

-- undo: create trigger messages_chat_messages_copy on public.messages: what is written there is copied to public.chat_messages
BEGIN;
DROP TRIGGER IF EXISTS messages_chat_messages_copy ON public.messages;
DROP TRIGGER IF EXISTS messages_chat_messages_copy_all ON public.messages;
DROP FUNCTION IF EXISTS public.messages_chat_messages_copy();
COMMIT;

-- undo: create table public.messages_chat_messages_copied, the record of what is copied
DROP TABLE IF EXISTS public.messages_chat_messages_copied;

-- undo: validate foreign key fk_chat_messages_sender of public.chat_messages
BEGIN;
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS fk_chat_messages_sender;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.chat_messages'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.chat_messages') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_chat_messages_sender') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_chat_messages_sender FOREIGN KEY (sender_id) REFERENCES public.users (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.chat_messages ADD CONSTRAINT fk_chat_messages_sender FOREIGN KEY (sender_id) REFERENCES public.users (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_chat_messages_sender from public.chat_messages (sender_id) to public.users, not validated
BEGIN;
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS fk_chat_messages_sender;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.chat_messages') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_chat_messages_sender';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: validate foreign key fk_chat_messages_conversation of public.chat_messages
BEGIN;
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS fk_chat_messages_conversation;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    IF (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = 'public.chat_messages'::regclass) THEN
        FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.chat_messages') t WHERE t.isleaf LOOP
            IF NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = leaf AND c.conname = 'fk_chat_messages_conversation') THEN
                EXECUTE 'ALTER TABLE ' || leaf || ' ADD CONSTRAINT fk_chat_messages_conversation FOREIGN KEY (conversation_id) REFERENCES public.conversations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID';
            END IF;
        END LOOP;
    ELSE
        ALTER TABLE public.chat_messages ADD CONSTRAINT fk_chat_messages_conversation FOREIGN KEY (conversation_id) REFERENCES public.conversations (id) ON UPDATE NO ACTION ON DELETE NO ACTION NOT VALID;
    END IF;
END
$tenantmig$;
COMMIT;

-- undo: add foreign key fk_chat_messages_conversation from public.chat_messages (conversation_id) to public.conversations, not validated
BEGIN;
ALTER TABLE public.chat_messages DROP CONSTRAINT IF EXISTS fk_chat_messages_conversation;
DO $tenantmig$
DECLARE leaf regclass;
BEGIN
    FOR leaf IN SELECT t.relid FROM pg_partition_tree('public.chat_messages') t WHERE t.isleaf LOOP
        EXECUTE 'ALTER TABLE ' || leaf || ' DROP CONSTRAINT IF EXISTS fk_chat_messages_conversation';
    END LOOP;
END
$tenantmig$;
COMMIT;

-- undo: grant DELETE on public.chat_messages to xfchat_app
REVOKE DELETE ON public.chat_messages FROM xfchat_app;

-- undo: grant UPDATE on public.chat_messages to xfchat_app
REVOKE UPDATE ON public.chat_messages FROM xfchat_app;

-- undo: grant INSERT on public.chat_messages to xfchat_app
REVOKE INSERT ON public.chat_messages FROM xfchat_app;

-- undo: grant SELECT on public.chat_messages to xfchat_app
REVOKE SELECT ON public.chat_messages FROM xfchat_app;

-- undo: create table public.chat_messages
DROP TABLE IF EXISTS public.chat_messages;
