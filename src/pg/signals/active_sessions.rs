//! Sessions that are running a statement, on the whole server: they share its processors. Ours and the server's own background
//! processes are left out, and so are transactions that are open and idle.

pub(super) const QUERY: &str = "SELECT to_json(count(*)) FROM s WHERE client AND NOT ours AND state = 'active'";
