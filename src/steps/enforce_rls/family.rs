//! A table with its partitions and children at every level, and what protects them: made, taken back and recognised as one.
//!
//! A query that names a partition is bound by the partition's policies and flags and not by the parent's. Which partitions
//! there are is known to the server alone, so the deed is a block that looks, parent first, and takes the lock of each before it
//! looks for those below it: after that none can be added. It waits for all of these locks together no longer than for one.

use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt, policy},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Twin, Unit, UnitId},
};

/// How the title of a unit that reaches a whole family says it.
pub const ALL_BELOW: &str = "and all below it";

/// What every table of a family is given.
#[derive(Debug)]
pub(in crate::steps) struct Family<'a> {
    pub table: &'a QName,
    pub policies: Vec<Policy>,
    pub enable: bool,
    pub force: bool,
    /// A policy of that name with another text gives way; otherwise it is a conflict.
    pub replace: bool,
    /// The application's roles, which must not own what nothing can protect.
    pub roles: Vec<Ident>,
    pub shadow: Shadow,
}

/// How it stands to the policy of `shadow_rls`, which hides nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::steps) enum Shadow {
    /// It is no concern of it.
    Apart,
    /// Takes it away in the same transaction; the undo brings it back.
    Ends,
    /// Is it. It must not stand where rows are hidden already: a permissive policy would show them.
    Is,
}

/// The name of that policy.
pub(in crate::steps) const SHADOW: &str = "tenant_shadow";

/// A policy without its table.
#[derive(Debug)]
pub(in crate::steps) struct Policy {
    pub name: Ident,
    /// Everything behind the table's name.
    pub rest: Stmt,
}

/// The name that a policy has while it is compared with the one that it is to replace.
const NEW: &str = "tenantmig_new";

impl Policy {
    /// CREATE POLICY on the table that `rel` names in a block, under another name where one is given.
    fn create(&self, name: &Stmt) -> Stmt {
        let (head, rest) = (sql!("CREATE POLICY {} ON ", name), sql!(" {}", self.rest));
        sql!("EXECUTE {} || rel || {};", Literal::new(head.as_str()), Literal::new(rest.as_str()))
    }

    fn drop(&self) -> Stmt {
        sql!("EXECUTE {} || rel;", Literal::new(sql!("DROP POLICY IF EXISTS {} ON ", self.name).as_str()))
    }

    /// Creates it where it is not; what stands there is what the probe found to be the same.
    fn ensure(&self) -> Stmt {
        sql!(
            "IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = rel AND p.polname = {}) THEN
            {}
        END IF;",
            Literal::new(self.name.as_str()),
            self.create(&sql!("{}", self.name))
        )
    }

    /// The same, but what stands there with another text gives way. An equal one stays, with its comment.
    fn replace(&self) -> Stmt {
        let rename = sql!(" RENAME TO {}", self.name);
        sql!(
            "{0}
        IF EXISTS (SELECT FROM pg_policy w JOIN pg_policy p ON p.polrelid = w.polrelid AND p.polname = {1}
                    WHERE w.polrelid = rel AND w.polname = {2} AND {3}) THEN
            EXECUTE {4} || rel;
        ELSE
            {5}
            EXECUTE {6} || rel || {7};
        END IF;",
            self.create(&Stmt::raw(NEW)),
            Literal::new(self.name.as_str()),
            Literal::new(NEW),
            policy::same(),
            Literal::new(sql!("DROP POLICY {} ON ", Stmt::raw(NEW)).as_str()),
            self.drop(),
            Literal::new(sql!("ALTER POLICY {} ON ", Stmt::raw(NEW)).as_str()),
            Literal::new(rename.as_str())
        )
    }
}

impl Family<'_> {
    /// The whole of it. Its undo shows rows where it takes a flag away.
    pub fn unit(&self, id: UnitId, title: String) -> Unit {
        Unit {
            id,
            title,
            up: Op::Tx(self.up()),
            down: Down::tx(self.down()),
            probe: self.probe(),
            lock: Lock::on(LockLevel::AccessExclusive, self.table, Hold::Moment),
            loses: None,
            guards_rows: (self.enable || self.force) && self.shadow != Shadow::Is,
            grows: Growth::Little,
        }
    }

    /// Policies first and ENABLE last, in one transaction: no session sees a table that shows all or nothing.
    fn up(&self) -> Vec<Stmt> {
        let make = |policy: &Policy| if self.replace { policy.replace() } else { policy.ensure() };
        let mut deeds: Vec<Stmt> = self.policies.iter().map(make).collect();
        deeds.extend(self.alter("ENABLE ROW LEVEL SECURITY", "FORCE ROW LEVEL SECURITY"));
        let mut up = vec![self.each(&deeds)];
        up.extend((self.shadow == Shadow::Ends).then(|| self.unshadow()));
        up
    }

    /// Drops the policy that hides nothing. The undo of `shadow_rls` ends with it, by which `verify` knows that a later step ended it.
    fn unshadow(&self) -> Stmt {
        self.each(&[drop_shadow()])
    }

    /// DISABLE and DROP POLICY in one transaction: alone, either would hide or show every row for a moment.
    fn down(&self) -> Vec<Stmt> {
        let mut deeds: Vec<Stmt> =
            self.alter("DISABLE ROW LEVEL SECURITY", "NO FORCE ROW LEVEL SECURITY").into_iter().collect();
        if self.shadow == Shadow::Is {
            return vec![self.each(&deeds), self.unshadow()];
        }
        deeds.extend(self.policies.iter().map(Policy::drop));
        // What the probe found of it comes back behind this, also where the undo runs a second time.
        deeds.extend((self.shadow == Shadow::Ends).then(drop_shadow));
        vec![self.each(&deeds)]
    }

    fn alter(&self, enable: &str, force: &str) -> Option<Stmt> {
        let flags = [(self.enable, enable), (self.force, force)];
        let flags: Vec<Stmt> = flags.iter().filter(|(asked, _)| *asked).map(|(_, sql)| Stmt::raw(*sql)).collect();
        let all = Literal::new(sql!(" {}", List(&flags, ", ")).as_str());
        (!flags.is_empty()).then(|| sql!("EXECUTE 'ALTER TABLE ' || rel || {};", all))
    }

    /// A block that does `deeds` to each table, which is called `rel` in them. Temporary children are their session's own.
    fn each(&self, deeds: &[Stmt]) -> Stmt {
        Stmt::block(&sql!(
            "DECLARE
    waits CONSTANT bigint := (SELECT s.setting::bigint FROM pg_settings s WHERE s.name = 'lock_timeout');
    till CONSTANT timestamptz := clock_timestamp() + waits * interval '1 ms';
    family oid[] := ARRAY[{}::regclass::oid];
    place int := 1;
    rel regclass;
BEGIN
    WHILE place <= cardinality(family) LOOP
        rel := family[place];
        IF waits > 0 THEN
            PERFORM set_config('lock_timeout', greatest(1, extract(epoch FROM till - clock_timestamp()) * 1000)::bigint || 'ms', true);
        END IF;
        EXECUTE 'LOCK TABLE ONLY ' || rel || ' IN ACCESS EXCLUSIVE MODE';
        family := family || ARRAY(SELECT h.inhrelid FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
                                   WHERE h.inhparent = rel AND h.inhrelid <> ALL (family) AND c.relkind IN ('r', 'p')
                                     AND c.relpersistence <> 't' ORDER BY h.inhrelid);
        place := place + 1;
    END LOOP;
    PERFORM set_config('lock_timeout', waits || 'ms', true);
    FOREACH rel IN ARRAY family LOOP
        {}
    END LOOP;
END",
            Literal::new(self.table.to_string()),
            List(deeds, "\n        ")
        ))
    }

    /// Present when every table has what the deed gives, the policies as the server itself writes them.
    fn probe(&self) -> Probe {
        let twin = sql!("pg_temp.{}", self.table.name);
        let mut setup = vec![sql!("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP", self.table.name, self.table)];
        setup.extend(self.policies.iter().map(|p| sql!("CREATE POLICY {} ON {} {}", p.name, twin, p.rest)));
        let as_twin = sql!(
            "EXISTS (SELECT FROM pg_policy w WHERE w.polrelid = to_regclass({}) AND w.polname = p.polname AND {})",
            Literal::new(twin.as_str()),
            policy::same()
        );
        let compare = !self.policies.is_empty();
        let asks = Stmt::raw(if compare { "WHEN a.policies > 0 THEN 'compare'" } else { "" });
        Probe::Catalog {
            query: self.state(&asks, &Stmt::raw("false")),
            twin: compare.then(|| Twin { setup, query: self.state(&Stmt::raw(""), &as_twin) }),
        }
    }

    /// The probe's query. `asks`: when the twin is needed; `same`: whether the policy `p` is as the deed makes it. An expression
    /// is deparsed with the names that the search path makes visible, so what restores it sets that path first.
    fn state(&self, asks: &Stmt, same: &Stmt) -> Stmt {
        let flag = |asked: bool| Stmt::raw(if asked { "true" } else { "false" });
        let mut names: Vec<Literal> = self.policies.iter().map(|p| Literal::new(p.name.as_str())).collect();
        let own = names.len();
        names.extend((self.shadow == Shadow::Ends).then(|| Literal::new(SHADOW)));
        let gone = Stmt::raw(if self.shadow == Shadow::Ends { "s.name = 'tenant_shadow'" } else { "false" });
        let tab = sql!("m.tab");
        sql!(
            "WITH RECURSIVE family AS (
                 SELECT to_regclass({0})::oid AS rel
                 UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.rel),
             member AS (
                 SELECT c.oid AS rel, c.oid = to_regclass({0}) AS is_root, format('%I.%I', n.nspname, c.relname) AS tab, c.relkind AS kind,
                        c.relowner AS owner, c.relacl AS acl, c.relrowsecurity AS was_on, c.relrowsecurity AND {1} AS secured, c.relforcerowsecurity AND {2} AS forced
                   FROM family f JOIN pg_class c ON c.oid = f.rel JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relpersistence <> 't'),
             standing AS (
                 SELECT m.rel, m.tab, p.polname AS name, {3} AS same, {4} AS definition, {5} AS note
                   FROM member m JOIN pg_policy p ON p.polrelid = m.rel AND p.polname = ANY (ARRAY[{6}]::name[])),
             have AS (
                 SELECT m.tab, m.secured, m.forced, count(s.rel) FILTER (WHERE NOT {11}) AS policies,
                        count(s.rel) FILTER (WHERE s.same AND NOT {11}) AS same, count(s.rel) FILTER (WHERE {11}) AS shadows
                   FROM member m LEFT JOIN standing s ON s.rel = m.rel WHERE m.kind IN ('r', 'p')
                  GROUP BY m.rel, m.tab, m.secured, m.forced),
             a AS (
                 SELECT bool_and(NOT h.secured AND NOT h.forced AND h.policies + h.shadows = 0) AS nothing, sum(h.policies) AS policies,
                        bool_and(f.whole) AS whole, bool_or(h.policies > h.same) AS other,
                        string_agg(h.tab, ', ' ORDER BY h.tab) FILTER (WHERE NOT f.whole) AS without
                   FROM have h CROSS JOIN LATERAL (SELECT h.same = {7} AND h.secured = {1} AND h.forced = {2} AND h.shadows = 0 AS whole) f),
             before AS (
                 SELECT 1 AS rank, m.tab, m.is_root, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', m.tab) AS sql FROM member m WHERE m.secured
                 UNION ALL SELECT 2, m.tab, m.is_root, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', m.tab) FROM member m WHERE m.forced
                 UNION ALL SELECT 3, m.tab, m.is_root, s.definition FROM standing s JOIN member m USING (rel)
                 UNION ALL SELECT 4, m.tab, m.is_root, s.note FROM standing s JOIN member m USING (rel) WHERE s.note IS NOT NULL)
             SELECT p.presence,
                    CASE p.presence WHEN 'conflict' THEN coalesce(u.why, (SELECT string_agg(s.definition, '; ' ORDER BY s.tab) FROM standing s WHERE NOT s.same AND NOT {11}))
                                    WHEN 'partial' THEN concat_ws('; ', 'not yet whole: ' || a.without, (SELECT string_agg(b.sql, '; ' ORDER BY b.tab, b.rank) FROM before b))
                                    WHEN 'present' THEN (SELECT string_agg(h.tab, ', ' ORDER BY h.tab) FROM have h) END AS found,
                    CASE p.presence WHEN 'partial' THEN ARRAY['SELECT pg_catalog.set_config(''search_path'', ' || quote_literal(current_setting('search_path')) || ', true)']
                         || (SELECT array_agg(CASE WHEN b.is_root THEN b.sql
                                              ELSE format('DO %L', format('BEGIN IF to_regclass(%L) IS NOT NULL THEN EXECUTE %L; END IF; END', b.tab, b.sql)) END
                                              ORDER BY b.rank, b.tab) FROM before b) END AS restore
               FROM a CROSS JOIN LATERAL ({8}) u
              CROSS JOIN LATERAL (SELECT CASE WHEN u.why IS NOT NULL THEN 'conflict' WHEN a.nothing IS NOT FALSE THEN 'absent' {9}
                                              WHEN a.other AND NOT {10} THEN 'conflict' WHEN a.whole THEN 'present' ELSE 'partial' END AS presence) p",
            Literal::new(self.table.to_string()),
            flag(self.enable),
            flag(self.force),
            same,
            policy::definition(&tab),
            policy::note(&tab),
            List(&names, ", "),
            own,
            self.unfit(),
            asks,
            flag(self.replace),
            gone
        )
    }

    /// What no policy can protect, and what one that hides nothing must not stand on.
    fn unfit(&self) -> Stmt {
        match self.shadow {
            Shadow::Apart | Shadow::Ends => self.unprotectable(),
            Shadow::Is => sql!(
                "SELECT nullif(concat_ws('; ', (SELECT w.why FROM ({0}) w), (
                     SELECT string_agg(format('%s has row-level security already, and a policy that hides nothing would open it', m.tab), '; ' ORDER BY m.tab)
                       FROM member m WHERE m.kind IN ('r', 'p') AND m.was_on
                        AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = m.rel AND p.polname = {1})), (
                     SELECT string_agg(format('%s has the restrictive policy %I, which would begin to hide rows', m.tab, p.polname), '; ' ORDER BY m.tab, p.polname)
                       FROM member m JOIN pg_policy p ON p.polrelid = m.rel WHERE NOT p.polpermissive)), '') AS why",
                self.unprotectable(),
                Literal::new(SHADOW)
            ),
        }
    }

    /// What no policy can protect: something that is no table, and foreign tables below it that others than their owner may use.
    fn unprotectable(&self) -> Stmt {
        let roles: Vec<Literal> = self.roles.iter().map(|role| Literal::new(role.as_str())).collect();
        sql!(
            "SELECT string_agg(CASE
                        WHEN m.is_root THEN format('%s is a %s, and row-level security stands on tables', m.tab,
                             CASE m.kind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialised view' WHEN 'f' THEN 'foreign table' ELSE 'relation of another kind' END)
                        ELSE format('the foreign table %1$s cannot have row-level security, and %2$s may use it by its name: '
                             || 'REVOKE ALL ON %1$s FROM %2$s, or take it out of %3$s', m.tab, g.who, {0}) END, '; ' ORDER BY m.tab) AS why
               FROM member m CROSS JOIN LATERAL (
                    SELECT string_agg(DISTINCT CASE t.role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(t.role)) END, ', ') AS who
                      FROM (SELECT e.grantee AS role FROM aclexplode(m.acl) e WHERE e.grantee <> m.owner
                            UNION ALL SELECT e.grantee FROM pg_attribute c CROSS JOIN LATERAL aclexplode(c.attacl) e WHERE c.attrelid = m.rel AND e.grantee <> m.owner
                            UNION ALL SELECT r.oid FROM pg_roles r WHERE r.rolname = ANY (ARRAY[{1}]::name[]) AND pg_has_role(r.oid, m.owner, 'USAGE')) t) g
              WHERE m.kind NOT IN ('r', 'p') AND (m.is_root OR g.who IS NOT NULL)",
            Literal::new(self.table.to_string()),
            List(&roles, ", ")
        )
    }
}

fn drop_shadow() -> Stmt {
    sql!("EXECUTE {} || rel;", Literal::new(sql!("DROP POLICY IF EXISTS {} ON ", Stmt::raw(SHADOW)).as_str()))
}
