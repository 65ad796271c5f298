//! Each privilege of each role on each object, compared with the catalogue: what is there, and what an undo takes back.

use super::target::{Privilege, Target, Way};
use crate::{
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Due, Growth, Lock, Op, Probe, Unit, UnitId},
};

impl Target<'_> {
    /// The deed, whichever way it goes, with the other way as its undo.
    pub fn unit(&self, id: UnitId, way: Way, privileges: &[Privilege], roles: &[Ident]) -> Unit {
        Unit {
            id,
            title: self.title(way, privileges, roles),
            up: Op::Tx(self.statements(way, privileges, roles)),
            down: self.undo(way, privileges, roles),
            probe: self.probe(way, privileges, roles),
            lock: Lock::none(),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    /// Compares each privilege of each role on each object with the catalogue. GRANT and REVOKE act as the owner where the session
    /// has the owner's rights, else as themselves, and on what that role granted alone: so that is what an undo is about.
    fn probe(&self, way: Way, privileges: &[Privilege], roles: &[Ident]) -> Probe {
        let (presence, restore) = match way {
            Way::Grant | Way::GrantWithOption => granted(way == Way::GrantWithOption),
            Way::Revoke => revoked(),
        };
        Probe::catalog(sql!(
            "{}SELECT {},
                    coalesce(string_agg(format('%s on %s to %s by %s', priv, what, role, others), '; ') FILTER (WHERE others IS NOT NULL),
                             string_agg(format('%s on %s to %s', priv, what, role), '; ') FILTER (WHERE has), 'no such privilege'),
                    {}
               FROM item",
            self.items(privileges, roles),
            presence,
            restore
        ))
    }

    fn items(&self, privileges: &[Privilege], roles: &[Ident]) -> Stmt {
        let words: Vec<Literal> = privileges.iter().map(|p| Literal::new(p.word())).collect();
        let roles: Vec<Literal> = roles.iter().map(|role| Literal::new(role.as_str())).collect();
        sql!(
            "WITH object (owner, acl, before, what) AS ({}),
                  item AS (
                     SELECT o.before, o.what, p.priv, format(CASE w.name WHEN 'public' THEN 'PUBLIC' ELSE '%I' END, w.name) AS role,
                            coalesce(i.has, false) AS has, coalesce(i.may, false) AS may, coalesce(i.own, false) AS own,
                            coalesce(i.own_may, false) AS own_may, i.others
                       FROM object o CROSS JOIN unnest(ARRAY[{}]::text[]) AS p (priv) CROSS JOIN unnest(ARRAY[{}]::text[]) AS w (name)
                       LEFT JOIN pg_roles g ON g.rolname = w.name
                      CROSS JOIN LATERAL (
                            SELECT CASE WHEN pg_has_role(o.owner, 'USAGE') THEN o.owner ELSE (SELECT oid FROM pg_roles WHERE rolname = current_user) END AS oid) e
                      CROSS JOIN LATERAL (
                            SELECT bool_or(true) AS has, bool_or(a.is_grantable) AS may, bool_or(a.grantor = e.oid) AS own,
                                   bool_or(a.grantor = e.oid AND a.is_grantable) AS own_may,
                                   string_agg(format('%I', pg_get_userbyid(a.grantor)), ', ') FILTER (WHERE a.grantor <> e.oid) AS others
                              FROM aclexplode(o.acl) a
                             WHERE a.privilege_type = p.priv AND a.grantee = CASE w.name WHEN 'public' THEN 0 ELSE g.oid END) i) ",
            self.objects(),
            List(&words, ", "),
            List(&roles, ", ")
        )
    }

    /// What takes it back: of what was noted before, what is still to be done, as one script. A role or an object that is gone
    /// took its privileges along.
    fn undo(&self, way: Way, privileges: &[Privilege], roles: &[Ident]) -> Down {
        let (text, due) = match way {
            Way::Grant | Way::GrantWithOption => (
                "unnest(ARRAY[format('%sREVOKE %s ON %s FROM %s', before, priv, what, role),
                              format('%sREVOKE GRANT OPTION FOR %s ON %s FROM %s', before, priv, what, role)])",
                "own",
            ),
            Way::Revoke => (
                "unnest(ARRAY[format('%sGRANT %s ON %s TO %s', before, priv, what, role),
                              format('%sGRANT %s ON %s TO %s WITH GRANT OPTION', before, priv, what, role)])",
                "NOT own",
            ),
        };
        let query = sql!(
            "{}SELECT string_agg(u.text, '; ' ORDER BY u.text) AS sql, 'none' AS kind, '{{}}'::text[] AS tables, 1::bigint AS place
                 FROM item CROSS JOIN LATERAL {} AS u (text)
                WHERE {} AND u.text = ANY ($1) AND (own_may OR u.text NOT LIKE '%REVOKE GRANT OPTION FOR %') HAVING count(*) > 0",
            self.items(privileges, roles),
            Stmt::raw(text),
            Stmt::raw(due)
        );
        let back = match way {
            Way::Grant | Way::GrantWithOption => Way::Revoke,
            Way::Revoke => Way::Grant,
        };
        let usual = self.statements(back, privileges, roles);
        let stmt = sql!("{}", List(&usual, ";\n"));
        // The tables of a grant are not locked, so any of them will do.
        let table = QName::new(Ident::derived(&["pg_catalog"]), Ident::derived(&["pg_class"]));
        Down::Op(Op::Autocommit { stmt, repair: Vec::new(), due: Some(Due { table, query, restores: true }) })
    }
}

/// Some of it there: what an undo then has to take back is told by what was not.
fn granted(option: bool) -> (Stmt, Stmt) {
    let done = Stmt::raw(if option { "may" } else { "has" });
    let lacks = Stmt::raw(if option { "NOT own_may" } else { "NOT own" });
    (
        sql!(
            "CASE WHEN count(*) = 0 THEN 'absent' WHEN bool_and({}) THEN 'present' WHEN bool_or(has) THEN 'partial' ELSE 'absent' END",
            done
        ),
        sql!(
            "array_agg(format('%sREVOKE %s%s ON %s FROM %s', before, CASE WHEN own THEN 'GRANT OPTION FOR ' ELSE '' END, priv, what, role)
                       ORDER BY what, priv, role) FILTER (WHERE {})",
            lacks
        ),
    )
}

fn revoked() -> (Stmt, Stmt) {
    (
        sql!(
            "CASE WHEN NOT coalesce(bool_or(has), false) THEN 'present' WHEN bool_or(others IS NOT NULL) THEN 'conflict'
                  WHEN bool_and(has) THEN 'absent' ELSE 'partial' END"
        ),
        sql!(
            "array_agg(format('%sGRANT %s ON %s TO %s%s', before, priv, what, role, CASE WHEN own_may THEN ' WITH GRANT OPTION' ELSE '' END)
                       ORDER BY what, priv, role) FILTER (WHERE own)"
        ),
    )
}
