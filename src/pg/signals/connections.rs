//! Client connections, ours included, and how many there can be. What is reserved for superusers, and from PostgreSQL 16 on for
//! members of pg_use_reserved_connections, is not counted among the latter: an application cannot have it. Walsenders have
//! slots of their own.

pub(super) const QUERY: &str = "SELECT json_build_object(
    'used', (SELECT count(*) FROM s WHERE client),
    'of', greatest(1, current_setting('max_connections')::integer
                      - current_setting('superuser_reserved_connections')::integer
                      - coalesce(current_setting('reserved_connections', true)::integer, 0)))";
