//! The text of the functions that the triggers call.

use sha2::{Digest, Sha256};

use super::{Capture, Parent};
use crate::{
    sql,
    sql::{Ident, List, Literal, Stmt, mask},
    steps::capture_log,
};

/// Bytes of the hash by which the setting of a table is told from another's.
const TAG_BYTES: usize = 4;

/// Whether an UPDATE changed the column.
pub(super) fn differs(column: &Ident) -> Stmt {
    sql!("OLD.{} IS DISTINCT FROM NEW.{}", column, column)
}

/// Whether an UPDATE changed one of the columns that decide which tenant the row has; `None` where none does.
pub(super) fn moved(of: &Capture) -> Option<Stmt> {
    let columns: Vec<Ident> = match (&of.from, &of.sql) {
        (Some(from), _) => from.r#match.keys().cloned().collect(),
        (None, Some(expr)) => match columns_of_row(expr.as_str()) {
            Some(columns) => columns,
            // The expression takes the row as a whole.
            None => return Some(sql!("true")),
        },
        (None, None) => Vec::new(),
    };
    let all: Vec<Stmt> = columns.iter().map(differs).collect();
    (!all.is_empty()).then(|| sql!("{}", List(&all, " OR ")))
}

/// The columns that an expression takes from `row`; `None` where it takes the row in another way.
fn columns_of_row(text: &str) -> Option<Vec<Ident>> {
    let (masked, mut columns) = (mask(text).to_ascii_lowercase(), Vec::new());
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    for (at, word) in masked.match_indices("row") {
        let end = at + word.len();
        let inside = masked[..at].ends_with(|c: char| is_part(c) || c == '.') || masked[end..].starts_with(is_part);
        if inside {
            continue;
        }
        let name = text[end..].strip_prefix('.')?;
        let length = match name.strip_prefix('"') {
            // The quote that closes is followed by no other.
            Some(quoted) => quoted.replace("\"\"", "__").find('"')? + 2,
            None => name.find(|c| !is_part(c)).unwrap_or(name.len()),
        };
        let column = Ident::parse(&name[..length]).ok()?;
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    Some(columns)
}

/// Fills the column, and notes who left that to it. A row that is detached from its parent (a NULL in its key) keeps what it has.
pub(super) fn capture(of: &Capture) -> Stmt {
    let column = &of.column;
    let fill = match (&of.from, &of.sql, &of.value) {
        (Some(from), ..) => {
            let nulls: Vec<Stmt> = from.r#match.keys().map(|key| sql!("NEW.{} IS NULL", key)).collect();
            sql!(
                "  IF NEW.{} IS NOT NULL AND ({}) THEN\n    RETURN NEW;\n  END IF;\n  NEW.{} := (SELECT parent.{} FROM {} AS parent WHERE {} LIMIT 1);\n",
                column,
                List(&nulls, " OR "),
                column,
                of.theirs(from),
                from.table,
                equal(from, "NEW")
            )
        }
        (None, Some(expr), _) => sql!(
            "  BEGIN\n    NEW.{} := (SELECT ({}) FROM (SELECT NEW.*) AS row);\n  EXCEPTION WHEN OTHERS THEN\n    NEW.{} := NULL;\n    RAISE LOG 'no tenant for a row of %: % (%)', TG_RELID::regclass, SQLERRM, SQLSTATE;\n  END;\n",
            column,
            expr,
            column
        ),
        (None, None, Some(value)) => sql!("  NEW.{} := {};\n", column, Literal::new(value.clone())),
        (None, None, None) => Stmt::raw(""),
    };
    let Some(log) = &of.log else {
        return sql!("\n#variable_conflict use_column\nBEGIN\n{}  RETURN NEW;\nEND\n", fill);
    };
    let name = of.table.to_string();
    let tag: String = Sha256::digest(name.as_bytes()).iter().take(TAG_BYTES).map(|b| format!("{b:02x}")).collect();
    let setting = Literal::new(format!("tenantmig.noted_{tag}"));
    // The setting goes with the transaction, and with a savepoint that is taken back: a transaction is counted once,
    // and noted again each second that it goes on, so that a load of a million rows does not write a million versions.
    sql!(
        "
#variable_conflict use_column
DECLARE
  unsaid boolean := NEW.{} IS NULL AND (TG_OP = 'INSERT' OR OLD.{} IS NOT NULL);
  noted text;
  second text;
BEGIN
{}  IF unsaid OR TG_OP = 'UPDATE' AND OLD.{} IS NOT NULL AND OLD.{} IS DISTINCT FROM NEW.{} THEN
    noted := coalesce(current_setting({}, true), '');
    second := date_trunc('second', clock_timestamp())::text;
    IF noted <> second THEN
      PERFORM set_config({}, second, true);
      PERFORM {}({}, noted = '');
    END IF;
  END IF;
  RETURN NEW;
END
",
        column,
        column,
        fill,
        column,
        column,
        column,
        setting,
        setting,
        capture_log::note(log),
        Literal::new(name)
    )
}

/// Gives the children their parent's new tenant. Their own followers do the same, one level further down.
pub(super) fn follow(of: &Capture, from: &Parent) -> Stmt {
    let (column, theirs) = (&of.column, of.theirs(from));
    let keys: Vec<Stmt> = from.r#match.iter().map(|(child, up)| sql!("child.{} = NEW.{}", child, up)).collect();
    sql!(
        "
#variable_conflict use_column
BEGIN
  UPDATE {} AS child SET {} = NEW.{}
   WHERE {} AND child.{} IS DISTINCT FROM NEW.{};
  RETURN NULL;
END
",
        of.table,
        column,
        theirs,
        List(&keys, " AND "),
        column,
        theirs
    )
}

/// The parent's columns equal those of `row`.
pub(super) fn equal(from: &Parent, row: &'static str) -> Stmt {
    let row = Stmt::raw(row);
    let pairs: Vec<Stmt> = from.r#match.iter().map(|(child, up)| sql!("parent.{} = {}.{}", up, row, child)).collect();
    sql!("{}", List(&pairs, " AND "))
}

#[cfg(test)]
mod tests {
    use super::columns_of_row;

    #[track_caller]
    fn check(text: &str, expect: Option<&[&str]>) {
        let found = columns_of_row(text);
        let names: Option<Vec<&str>> = found.as_ref().map(|all| all.iter().map(|c| c.as_str()).collect());
        assert_eq!(names.as_deref(), expect, "{text}");
    }

    #[test]
    fn the_columns_of_an_expression_are_found() {
        check(
            "SELECT t.tenant_id FROM app.t WHERE t.id = row.last_id AND row.a > row.last_id",
            Some(&["last_id", "a"]),
        );
        check("row.\"größe \"\"x\"\"\" || 'row.text'", Some(&["größe \"x\""]));
        check("ROW.a + arrow.b + t.row", Some(&["a"]));
        check("f(row)", None);
        check("row.*", None);
        check("'x'", Some(&[]));
    }
}
