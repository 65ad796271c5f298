-- The database that the examples of the step kinds work on.
CREATE SCHEMA app;

CREATE TABLE app.accounts (
    id        bigint PRIMARY KEY,
    name      text NOT NULL,
    tenant_id uuid NOT NULL
);
INSERT INTO app.accounts
SELECT n, 'account ' || n, ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid FROM generate_series(1, 20) n;

CREATE TABLE app.users (
    id         bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES app.accounts (id),
    email      text,
    created_at timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00'
);
INSERT INTO app.users (id, account_id, email)
SELECT n, 1 + n % 20, 'user' || n || '@example.org' FROM generate_series(1, 500) n;

-- A table that is half way: the column is there, and filled.
CREATE TABLE app.trades (
    id        bigint PRIMARY KEY,
    user_id   bigint NOT NULL,
    tenant_id uuid,
    symbol    text NOT NULL,
    amount    numeric(12, 2) NOT NULL
);
INSERT INTO app.trades
SELECT n, 1 + n % 500, ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid, 'SYM' || n % 7, n
FROM generate_series(1, 1000) n;

-- The same, with the column still empty.
CREATE TABLE app.orders (
    id         bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    tenant_id  uuid
);
INSERT INTO app.orders SELECT n, 1 + n % 20, NULL FROM generate_series(1, 1000) n;

-- Names that need their quotes.
CREATE TABLE app."Mixed Case" (
    "order"     bigint PRIMARY KEY,
    "größe"     integer,
    "tenant_ID" uuid
);
INSERT INTO app."Mixed Case" SELECT n, n, '00000000-0000-0000-0000-000000000001' FROM generate_series(1, 50) n;

-- Captures note here who writes without a tenant, since long ago.
CREATE TABLE app.writes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), minute timestamptz NOT NULL DEFAULT date_trunc('minute', clock_timestamp()),
    pid integer NOT NULL DEFAULT pg_backend_pid(), relation text NOT NULL DEFAULT '', application text NOT NULL DEFAULT '',
    username name NOT NULL DEFAULT session_user, transactions bigint NOT NULL DEFAULT 0,
    first_at timestamptz NOT NULL DEFAULT clock_timestamp(), last_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO app.writes (id, minute, pid, username, first_at, last_at)
VALUES ('00000000-0000-0000-0000-000000000001', '2026-01-01', 0, 'somebody', '2026-01-01', '2026-01-01');
CREATE FUNCTION app.writes_note(text, boolean) RETURNS void LANGUAGE sql AS 'SELECT';

-- What row-level security would change is noted here, since long ago.
CREATE TABLE app.shadow (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slot timestamptz NOT NULL DEFAULT clock_timestamp(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(), pid integer NOT NULL DEFAULT pg_backend_pid(), relation text NOT NULL DEFAULT '',
    command text NOT NULL DEFAULT '', tenant text NOT NULL DEFAULT '', application text NOT NULL DEFAULT '',
    username name NOT NULL DEFAULT session_user, statement text NOT NULL DEFAULT ''
);
INSERT INTO app.shadow (id, slot, at, pid, username)
VALUES ('00000000-0000-0000-0000-000000000001', '2026-01-01', '2026-01-01', 0, 'somebody');
CREATE FUNCTION app.shadow_tenant(text, anyelement, text) RETURNS anyelement LANGUAGE sql AS 'SELECT $2';
CREATE FUNCTION app.shadow_note(text, text, text, boolean) RETURNS boolean LANGUAGE sql AS 'SELECT true';

-- Who goes on as the tenant of the fallback is noted here, since long ago.
CREATE TABLE app.fallen (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slot timestamptz NOT NULL DEFAULT clock_timestamp(),
    at timestamptz NOT NULL DEFAULT clock_timestamp(), pid integer NOT NULL DEFAULT pg_backend_pid(), application text NOT NULL DEFAULT '',
    username name NOT NULL DEFAULT session_user, address inet DEFAULT inet_client_addr(), statement text NOT NULL DEFAULT ''
);
INSERT INTO app.fallen (id, slot, at, pid, username)
VALUES ('00000000-0000-0000-0000-000000000001', '2026-01-01', '2026-01-01', 0, 'somebody');

-- A table whose rows get their tenant by triggers, and follow their parent.
CREATE TABLE app.notes (id bigint PRIMARY KEY, user_id bigint, tenant_id uuid);
CREATE FUNCTION app.notes_tenant_id_tenantmig_capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER "~tenantmig_capture_insert_tenant_id" BEFORE INSERT ON app.notes
    FOR EACH ROW EXECUTE FUNCTION app.notes_tenant_id_tenantmig_capture();
CREATE FUNCTION app.notes_tenant_id_tenantmig_follow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER "~tenantmig_follow_app_notes_tenant_id" AFTER UPDATE ON app.accounts
    FOR EACH ROW EXECUTE FUNCTION app.notes_tenant_id_tenantmig_follow();
-- Unique over all tenants, and pointed at without the tenant.
CREATE TABLE app.members (
    id        bigint PRIMARY KEY,
    tenant_id uuid NOT NULL,
    email     text UNIQUE
);
COMMENT ON CONSTRAINT members_email_key ON app.members IS 'one account each';
INSERT INTO app.members
SELECT n, ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid, 'member' || n || '@example.org' FROM generate_series(1, 60) n;

CREATE TABLE app.badges (
    id        bigint PRIMARY KEY,
    tenant_id uuid NOT NULL,
    member_id bigint REFERENCES app.members (id) ON DELETE CASCADE
);
INSERT INTO app.badges SELECT m.id, m.tenant_id, m.id FROM app.members m;
-- Two tables that shall be one.
CREATE TABLE app.old_messages (id bigint PRIMARY KEY, author bigint NOT NULL, body text NOT NULL);
INSERT INTO app.old_messages SELECT n, 1 + n % 500, 'said ' || n FROM generate_series(1, 1000) n;
CREATE TABLE app.messages (
    id        bigint PRIMARY KEY,
    sender_id bigint NOT NULL,
    body      varchar(200) NOT NULL,
    kind      text NOT NULL DEFAULT 'text'
);
INSERT INTO app.messages SELECT 10000 + n, 1 + n % 500, 'new ' || n FROM generate_series(1, 50) n;

GRANT SELECT, TRUNCATE, REFERENCES ON app.members TO PUBLIC;
