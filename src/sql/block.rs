//! Blocks of PL/pgSQL: for what depends on the catalogue and is to be one statement.

use super::{Literal, QName, Stmt};
use crate::sql;

/// A block's quotes.
const TAG: &str = "$tenantmig$";

/// A block; where something in it looks like its quotes, as a literal.
pub fn block(body: &Stmt) -> Stmt {
    if body.as_str().contains(TAG) {
        return sql!("DO {}", Literal::new(body.as_str()));
    }
    sql!("DO {}{}{}", Stmt::raw(TAG), body, Stmt::raw(TAG))
}

/// A name inside a string that `format` of the server reads.
pub fn percent(name: &QName) -> Stmt {
    Stmt::raw(name.to_string().replace('\'', "''").replace('%', "%%"))
}

/// An SQL expression for the text of a statement that does `said` (an expression of text, as the rest) where `table`, as SQL writes it,
/// still has a column of this name: a partition may be dropped, or another table by then.
pub fn where_column(table: &Stmt, column: &Stmt, said: &Stmt) -> Stmt {
    sql!(
        "format('DO %L', format('BEGIN IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%L) AND attname = %L AND NOT attisdropped) THEN EXECUTE %L; END IF; END', {}, {}, {}))",
        table,
        column,
        said
    )
}

/// Takes every privilege on a table from everybody but its owner, whatever the default privileges of its schema gave.
pub fn private(table: &QName) -> Stmt {
    block(&sql!(
        "
DECLARE grantee text;
BEGIN
    FOR grantee IN SELECT DISTINCT CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(x.grantee)) END
        FROM pg_class c, aclexplode(c.relacl) x WHERE c.oid = {}::regclass AND x.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE ALL ON {} FROM %s', grantee);
    END LOOP;
END ",
        Literal::new(table.to_string()),
        percent(table)
    ))
}
