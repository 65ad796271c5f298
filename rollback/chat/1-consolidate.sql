-- Plan chat: this script undoes phase consolidate, for a database in which nothing of it stood before. Phases after it go first.
-- Run it with: psql -X -v ON_ERROR_STOP=1 -f THIS_FILE
-- It changes the database and not tenantmig's ledger: break-glass, for when the tool cannot be used.
\set ON_ERROR_STOP on
SET row_security = off;
SET lock_timeout = '500ms';
SET statement_timeout = '6h';

-- undo: assert: chat_messages has as many rows as the old tables together, and those that a rollback kept
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
-- nothing to run: undone together with consolidate/version_history-to-chat_messages/sync

-- undo: create trigger version_history_chat_messages_copy on public.version_history: what is written there is copied to public.chat_messages
DO $tenantmig$
BEGIN
  IF to_regclass('public.version_history_chat_messages_copied') IS NOT NULL THEN
    WITH gone AS (DELETE FROM public.version_history_chat_messages_copied AS c RETURNING c.id) DELETE FROM public.chat_messages AS t USING gone AS g WHERE t.id = g.id;
  END IF;
END
$tenantmig$;
DROP TRIGGER IF EXISTS version_history_chat_messages_copy ON public.version_history;
DROP TRIGGER IF EXISTS version_history_chat_messages_copy_all ON public.version_history;
DROP FUNCTION IF EXISTS public.version_history_chat_messages_copy();;

-- undo: create table public.version_history_chat_messages_copied, the record of what is copied
DROP TABLE IF EXISTS public.version_history_chat_messages_copied;

-- undo: copy the rows of public.messages into public.chat_messages
-- nothing to run: undone together with consolidate/messages-to-chat_messages/sync

-- undo: create trigger messages_chat_messages_copy on public.messages: what is written there is copied to public.chat_messages
DO $tenantmig$
BEGIN
  IF to_regclass('public.messages_chat_messages_copied') IS NOT NULL THEN
    WITH gone AS (DELETE FROM public.messages_chat_messages_copied AS c RETURNING c.id) DELETE FROM public.chat_messages AS t USING gone AS g WHERE t.id = g.id;
  END IF;
END
$tenantmig$;
DROP TRIGGER IF EXISTS messages_chat_messages_copy ON public.messages;
DROP TRIGGER IF EXISTS messages_chat_messages_copy_all ON public.messages;
DROP FUNCTION IF EXISTS public.messages_chat_messages_copy();;

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
BEGIN;
DO $tenantmig$
DECLARE
    home regclass := to_regclass('public.chat_messages');
    held text;
    note jsonb;
    thing record;
    filled boolean := true;
BEGIN
    IF home IS NULL THEN RETURN; END IF;
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', home);
    BEGIN
        SELECT EXISTS (SELECT FROM public.chat_messages AS present WHERE true) INTO filled;
    EXCEPTION WHEN insufficient_privilege THEN filled := true;
    END;
    IF NOT filled THEN RETURN; END IF;
    SELECT (WITH RECURSIVE family AS (
            SELECT to_regclass('public.chat_messages')::oid AS oid
            UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid JOIN pg_class c ON c.oid = h.inhrelid AND c.relispartition),
     things AS (SELECT 'pg_class'::regclass::oid AS class, oid FROM family
                UNION ALL SELECT 'pg_class'::regclass::oid, s.oid FROM family f
                            JOIN pg_depend o ON (o.refclassid, o.refobjid, o.classid) = ('pg_class'::regclass, f.oid, 'pg_class'::regclass) AND o.deptype IN ('a', 'i')
                            JOIN pg_class s ON s.oid = o.objid AND s.relkind = 'S'
                UNION ALL SELECT 'pg_type'::regclass::oid, y.oid FROM family f JOIN pg_class c ON c.oid = f.oid
                            JOIN pg_type r ON r.oid = c.reltype JOIN pg_type y ON y.oid IN (r.oid, r.typarray)),
     found AS (
        SELECT CASE WHEN w.oid IS NOT NULL THEN pg_describe_object('pg_class'::regclass, w.ev_class, 0)
                    ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END || ' rests on it' AS what
          FROM things JOIN pg_depend d ON (d.refclassid, d.refobjid) = (things.class, things.oid) AND d.deptype = 'n'
          LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
          LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
          LEFT JOIN pg_policy p ON d.classid = 'pg_policy'::regclass AND p.oid = d.objid
          LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid
          LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
          LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
         WHERE d.classid <> 'pg_publication_rel'::regclass AND NOT coalesce(w.ev_class, nullif(k.conrelid, 0), p.polrelid, a.adrelid, g.tgrelid, i.indrelid,
                            CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END, 0) IN (SELECT oid FROM family)
        UNION SELECT format('it is a partition or child of %s', h.inhparent::regclass)
          FROM family f JOIN pg_inherits h ON h.inhrelid = f.oid WHERE h.inhparent NOT IN (SELECT oid FROM family)
        UNION SELECT format('%s of its partitions or their indexes have the name %I, and would come into one schema', count(*), c.relname)
          FROM (SELECT oid FROM family UNION ALL SELECT i.indexrelid FROM family f JOIN pg_index i ON i.indrelid = f.oid) s JOIN pg_class c USING (oid)
         GROUP BY c.relname HAVING count(*) > 1
        UNION SELECT format('it belongs to the extension %I', e.extname)
          FROM things JOIN pg_depend d ON (d.classid, d.objid) = (things.class, things.oid) AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid
        UNION SELECT format('the role %I may not make tables in the schema %s, so that it could not come back', current_user, c.relnamespace::regnamespace)
          FROM family f JOIN pg_class c USING (oid) WHERE NOT has_schema_privilege(c.relnamespace, 'CREATE'))
     SELECT string_agg(what, '; ' ORDER BY what) FROM found) INTO held;
    IF held IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be put aside: %', home, held USING ERRCODE = 'dependent_objects_still_exist';
    END IF;
    WITH RECURSIVE family AS (
            SELECT to_regclass('public.chat_messages')::oid AS oid
            UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid JOIN pg_class c ON c.oid = h.inhrelid AND c.relispartition),
     keys AS (
        SELECT k.conname AS name, t.child, k.oid,
               CASE WHEN t.late THEN t.whole || ' NOT VALID' ELSE coalesce(l.add, t.whole) END AS add,
               CASE WHEN t.late OR l.add IS NULL THEN t.said END AS said,
               CASE WHEN NOT t.late THEN m.made WHEN k.convalidated THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I', t.child, k.conname) END AS valid
          FROM family f JOIN pg_class c ON c.oid = f.oid JOIN pg_constraint k ON k.conrelid = f.oid AND k.contype = 'f' AND k.conparentid = 0
         CROSS JOIN LATERAL (SELECT format('%s.%I', c.relnamespace::regnamespace, c.relname) AS child, regexp_replace((SELECT replace(pg_get_constraintdef(k.oid), format(' REFERENCES %s(', k.confrelid::regclass),
                         format(' REFERENCES %s.%I(', there.relnamespace::regnamespace, there.relname))
            FROM pg_class there WHERE there.oid = k.confrelid), ' NOT VALID$', '') AS def) d
         CROSS JOIN LATERAL (SELECT d.child, format('ALTER TABLE %s ADD CONSTRAINT %I %s', d.child, k.conname, d.def) AS whole,
               format('COMMENT ON CONSTRAINT %I ON %s IS ', k.conname, d.child) || quote_literal(obj_description(k.oid, 'pg_constraint')) AS said,
               c.relkind = 'r' OR current_setting('server_version_num')::int >= 180000 AS late) t
         CROSS JOIN LATERAL (SELECT format('DO %L', format('
DECLARE leaf regclass;
BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = %1$L::regclass AND conname = %2$L) THEN RETURN; END IF;
    FOR leaf IN SELECT t.relid FROM pg_partition_tree(%1$L) t WHERE t.isleaf LOOP
        IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = leaf AND conname = %2$L) THEN
            EXECUTE format(''ALTER TABLE %%s ADD CONSTRAINT %%I %%s NOT VALID'', leaf, %2$L, %3$L);
        END IF;
        EXECUTE format(''ALTER TABLE %%s VALIDATE CONSTRAINT %%I'', leaf, %2$L);
        EXECUTE format(''COMMENT ON CONSTRAINT %%I ON %%s IS NULL'', %2$L, leaf);
    END LOOP;
    EXECUTE %4$L;
END', t.child, k.conname, d.def, concat_ws('; ', t.whole, t.said))) AS made) m
         CROSS JOIN LATERAL (
               SELECT string_agg(format('ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s NOT VALID; COMMENT ON CONSTRAINT %2$I ON %1$s IS %4$L',
                                        format('%s.%I', h.relnamespace::regnamespace, h.relname), k.conname, d.def, 'tenantmig: ' || m.made), '; ') AS add
                 FROM pg_partition_tree(f.oid) p JOIN pg_class h ON h.oid = p.relid WHERE p.isleaf) l
         WHERE k.confrelid NOT IN (SELECT oid FROM family))
    SELECT jsonb_build_object('table', 'public.chat_messages'::text, 'by', 'the undo of create_table'::text, 'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), 'things',
               (SELECT jsonb_agg(jsonb_build_object('kind', t.kind, 'name', t.name, 'home', t.home)) FROM (
                    SELECT 'TABLE' AS kind, c.relname AS name, n.nspname AS home FROM family f JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
                    UNION ALL SELECT 'STATISTICS', s.stxname, n.nspname FROM family f JOIN pg_statistic_ext s ON s.stxrelid = f.oid JOIN pg_namespace n ON n.oid = s.stxnamespace) t),
               'keys', coalesce((SELECT jsonb_agg(jsonb_build_object('child', k.child, 'name', k.name, 'add', k.add, 'said', k.said) ORDER BY k.name) FROM keys k), '[]'))
      INTO note;
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'keys') AS k (child text, name text) LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', thing.child, thing.name);
    END LOOP;
    CREATE SCHEMA tenantmig_aside_undone_public_chat_messages;
    FOR thing IN SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END AS grantee
        FROM pg_namespace n, aclexplode(n.nspacl) x WHERE n.nspname = 'tenantmig_aside_undone_public_chat_messages' AND x.grantee <> n.nspowner LOOP
        EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %s', 'tenantmig_aside_undone_public_chat_messages', thing.grantee);
    END LOOP;
    EXECUTE format('COMMENT ON SCHEMA %I IS %L', 'tenantmig_aside_undone_public_chat_messages', note);
    FOR thing IN SELECT * FROM jsonb_to_recordset(note -> 'things') AS t (kind text, name text, home text) LOOP
        EXECUTE format('ALTER %s %I.%I SET SCHEMA %I', thing.kind, thing.home, thing.name, 'tenantmig_aside_undone_public_chat_messages');
    END LOOP;
END $tenantmig$;
DROP TABLE IF EXISTS public.chat_messages;
COMMIT;
