//! Columns that the application's own triggers set on every UPDATE (`updated_at`), kept as they are while a backfill writes.
//!
//! Nothing short of a superuser's `session_replication_role` turns triggers off for one session, and DISABLE TRIGGER would turn
//! them off for the application too. So a trigger of ours comes last (triggers of one kind fire in the order of their names) and
//! puts the columns back, in the sessions of a backfill and for its writes only. All other triggers fire as for any UPDATE; what
//! an AFTER trigger writes by an UPDATE of its own is not put back. It is created before the first batch and dropped after the last.

use crate::{
    plan::Lowering,
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// `~` is the last of the characters that names are made of.
const TRIGGER: &str = "\"~~tenantmig_keep\"";

/// What is kept of which table while which column is filled.
pub(super) struct Keep<'a> {
    pub table: &'a QName,
    pub column: &'a Ident,
    pub columns: &'a [Ident],
}

impl Keep<'_> {
    /// The unit in front of the backfill, and the one behind it. The ledger alone knows of both: after the backfill nothing of
    /// them is to be found.
    pub fn around(&self, cx: &Lowering<'_>) -> (Unit, Unit) {
        let names: Vec<&str> = self.columns.iter().map(Ident::as_str).collect();
        let names = names.join(", ");
        let unit = |part: &str, title: String, up: Vec<Stmt>, down: Down| Unit {
            id: cx.unit(part),
            title,
            up: Op::Tx(up),
            down,
            probe: Probe::Ledger,
            lock: Lock::on(LockLevel::AccessExclusive, self.table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        };
        let gone = [self.each(false), sql!("DROP FUNCTION IF EXISTS {}()", self.function())];
        let made = [gone.to_vec(), vec![self.create(), self.each(true)]].concat();
        let keep = format!("keep {names} of {} while it is filled, by a trigger that comes last", self.table);
        let release = format!("drop the trigger that keeps {names} of {}", self.table);
        (
            unit("keep", keep, made, Down::tx(gone.clone())),
            unit("release", release, gone.to_vec(), Down::nothing("the trigger is gone, and is not needed to go back")),
        )
    }

    fn function(&self) -> QName {
        self.table.sibling(Ident::derived(&["tenantmig", "keep", self.table.name.as_str()]))
    }

    fn create(&self) -> Stmt {
        let back: Vec<Stmt> = self.columns.iter().map(|c| sql!("NEW.{0} := OLD.{0};", c)).collect();
        let body = sql!("BEGIN {} RETURN NEW; END", List(&back, " "));
        sql!(
            "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}",
            self.function(),
            Literal::new(body.as_str())
        )
    }

    /// The trigger of a partitioned table stands on its partitions too, that of a table with children on itself only.
    fn each(&self, made: bool) -> Stmt {
        let (head, tail) = if made {
            (
                sql!("CREATE TRIGGER {} BEFORE UPDATE ON ", Stmt::raw(TRIGGER)),
                sql!(
                    " FOR EACH ROW WHEN (OLD.{0} IS NULL AND NEW.{0} IS NOT NULL AND starts_with(current_setting('application_name'), 'tenantmig ')) EXECUTE FUNCTION {1}()",
                    self.column,
                    self.function()
                ),
            )
        } else {
            (sql!("DROP TRIGGER IF EXISTS {} ON ", Stmt::raw(TRIGGER)), Stmt::raw(""))
        };
        Stmt::block(&sql!(
            "DECLARE rel regclass;
BEGIN
    FOR rel IN WITH RECURSIVE family AS (
                   SELECT {0}::regclass::oid AS oid
                   UNION SELECT h.inhrelid FROM family f JOIN pg_inherits h ON h.inhparent = f.oid)
               SELECT f.oid FROM family f JOIN pg_class c USING (oid) WHERE c.relkind IN ('r', 'p') AND NOT (c.relispartition AND f.oid <> {0}::regclass) LOOP
        EXECUTE {1} || rel || {2};
    END LOOP;
END",
            Literal::new(self.table.to_string()),
            Literal::new(head.as_str()),
            Literal::new(tail.as_str())
        ))
    }
}
