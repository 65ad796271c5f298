-- Plan chat: this script undoes phase tenants, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: fill public.chat_messages.tenant_id from public.users.tenant_id
-- nothing to run: undone together with tenants/chat_messages-tenant_id/column

-- undo: fill public.friend_requests.tenant_id from public.users.tenant_id
-- nothing to run: undone together with tenants/friend_requests-tenant_id/column

-- undo: fill public.conversation_participants.tenant_id from public.users.tenant_id
-- nothing to run: undone together with tenants/conversation_participants-tenant_id/column

-- undo: fill public.conversations.tenant_id from public.users.tenant_id
-- nothing to run: undone together with tenants/conversations-tenant_id/column

-- undo: fill public.users.tenant_id from an expression
-- nothing to run: undone together with tenants/users-tenant_id/column

-- undo: create trigger capture_tenant on chat_messages
DROP TRIGGER IF EXISTS capture_tenant ON public.chat_messages;

-- undo: create trigger capture_tenant on friend_requests
DROP TRIGGER IF EXISTS capture_tenant ON public.friend_requests;

-- undo: create trigger capture_tenant on conversation_participants
DROP TRIGGER IF EXISTS capture_tenant ON public.conversation_participants;

-- undo: create trigger capture_tenant on conversations
DROP TRIGGER IF EXISTS capture_tenant ON public.conversations;

-- undo: create trigger capture_tenant on users
DROP TRIGGER IF EXISTS capture_tenant ON public.users;

-- undo: create function capture_tenant: a row is its user's tenant's
DROP FUNCTION IF EXISTS public.capture_tenant();

-- undo: create function capture_user_tenant
DROP FUNCTION IF EXISTS public.capture_user_tenant();

-- undo: write back the values of public.chat_messages.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.chat_messages.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.chat_messages
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.chat_messages;
ALTER TABLE public.chat_messages DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.friend_requests.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.friend_requests.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.friend_requests
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.friend_requests;
ALTER TABLE public.friend_requests DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.conversation_participants.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.conversation_participants.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.conversation_participants
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.conversation_participants;
ALTER TABLE public.conversation_participants DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.conversations.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.conversations.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.conversations
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.conversations;
ALTER TABLE public.conversations DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: write back the values of public.users.tenant_id that an earlier rollback kept
-- not done by a script: the values of public.users.tenant_id are kept by the tool alone; copy them first, if they matter

-- undo: add column tenant_id uuid to public.users
BEGIN;
DROP TRIGGER IF EXISTS tenantmig_keep_tenant_id ON public.users;
ALTER TABLE public.users DROP COLUMN IF EXISTS tenant_id;
COMMIT;

-- undo: grant SELECT on public.tenants to xfchat_app
REVOKE SELECT ON public.tenants FROM xfchat_app;

-- undo: insert the row id = '00000000-0000-0000-0000-000000000003' into public.tenants
DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000003';

-- undo: insert the row id = '00000000-0000-0000-0000-000000000002' into public.tenants
DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000002';

-- undo: insert the row id = '00000000-0000-0000-0000-000000000001' into public.tenants
DELETE FROM public.tenants WHERE id = '00000000-0000-0000-0000-000000000001';

-- undo: create table public.tenants
DROP TABLE IF EXISTS public.tenants;
