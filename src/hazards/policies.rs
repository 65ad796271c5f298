//! Row-level security that stands already, and settings by which sessions get a tenant or lose an error.

use super::kind::{Kind, Needs, Query, Severity};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0435",
        severity: Severity::Critical,
        title: "a policy of before opens a table",
        why: "permissive policies are joined by OR: what one of them shows is shown, whatever the tenant's policy says",
        fix: "drop it, or make it restrictive; the restrictive floor of enforce_rls keeps it from opening anything",
        needs: Needs::Catalog,
        query: Query::Text(PERMISSIVE),
    },
    Kind {
        code: "TM0436",
        severity: Severity::High,
        title: "row-level security is half there",
        why: "policies on a table without row-level security do nothing; row-level security without FORCE does not bind the \
              owner, and without a policy hides every row; and a backfill sees only what it is shown",
        fix: "know what stands there before the plan adds to it",
        needs: Needs::Catalog,
        query: Query::Text(HALF),
    },
    Kind {
        code: "TM0437",
        severity: Severity::Critical,
        title: "a setting gives a session its tenant, or takes it from it",
        why: "sessions of a role or database for which the tenant is set are that tenant's without asking, and an error for a \
              missing context becomes another tenant's rows; row_security = off raises errors in place of hiding rows",
        fix: "reset it",
        needs: Needs::Catalog,
        query: Query::Text(SETTINGS),
    },
];

/// One that compares with the session's tenant is the tenancy's own, or will do no harm: whether its text is right is another question.
const PERMISSIVE: &str = r#"
SELECT c.oid::regclass || '.' || quote_ident(p.polname),
       format('is permissive for %s, %s', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                                          ELSE 'every command' END,
              CASE WHEN p.polroles = '{0}' THEN 'to PUBLIC' ELSE 'to ' || (SELECT string_agg(quote_ident(pg_get_userbyid(r)), ', ') FROM unnest(p.polroles) r WHERE r <> 0) END),
       concat_ws(' ', 'USING ' || x.qual, 'WITH CHECK ' || x.checked),
       format('DROP POLICY %I ON %s', p.polname, c.oid::regclass)
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
  CROSS JOIN LATERAL (SELECT pg_get_expr(p.polqual, p.polrelid) AS qual, pg_get_expr(p.polwithcheck, p.polrelid) AS checked) x
 WHERE c.oid = ANY ($1) AND p.polpermissive
   AND NOT coalesce(position('current_setting(''' || $8 || '''' IN concat(x.qual, x.checked)) > 0, false)
   AND NOT coalesce(position(replace($10, 'public.', '') || '()' IN concat(x.qual, x.checked)) > 0, false)
 ORDER BY 1"#;

const HALF: &str = r#"
SELECT c.oid::regclass::text,
       CASE WHEN NOT c.relrowsecurity THEN 'has policies, and no row-level security'
            WHEN n.policies = 0 THEN 'has row-level security and no policy: nobody but its owner sees a row'
            ELSE 'has row-level security that does not bind its owner' END,
       coalesce('policies ' || n.names, 'no policy'), NULL::text
  FROM pg_class c
  CROSS JOIN LATERAL (SELECT count(*) AS policies, string_agg(quote_ident(p.polname), ', ') AS names FROM pg_policy p WHERE p.polrelid = c.oid) n
 WHERE c.oid = ANY ($1) AND (c.relrowsecurity OR n.policies > 0) AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND n.policies > 0)
 ORDER BY 1"#;

/// Settings of roles and databases, and of functions, which set them while they run.
const SETTINGS: &str = r#"
SELECT concat_ws(' in ', CASE WHEN s.setrole <> 0 THEN 'role ' || quote_ident(pg_get_userbyid(s.setrole)) END,
                 CASE WHEN s.setdatabase <> 0 THEN 'database ' || quote_ident(current_database()) END),
       'sets ' || x.setting || ' for every session', NULL::text,
       CASE WHEN s.setrole = 0 THEN format('ALTER DATABASE %I RESET %s', current_database(), split_part(x.setting, '=', 1))
            WHEN s.setdatabase = 0 THEN format('ALTER ROLE %I RESET %s', pg_get_userbyid(s.setrole), split_part(x.setting, '=', 1))
            ELSE format('ALTER ROLE %I IN DATABASE %I RESET %s', pg_get_userbyid(s.setrole), current_database(), split_part(x.setting, '=', 1)) END
  FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) x (setting)
 WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
   AND (lower(split_part(x.setting, '=', 1)) = lower($8) OR split_part(x.setting, '=', 1) IN ('row_security', 'role'))
UNION ALL
SELECT p.oid::regprocedure::text, 'sets ' || x.setting || ' while it runs', NULL::text,
       format('ALTER FUNCTION %s RESET %s', p.oid::regprocedure, split_part(x.setting, '=', 1))
  FROM pg_proc p CROSS JOIN unnest(p.proconfig) x (setting)
 WHERE lower(split_part(x.setting, '=', 1)) = lower($8) OR split_part(x.setting, '=', 1) IN ('row_security', 'role')
 ORDER BY 1"#;
