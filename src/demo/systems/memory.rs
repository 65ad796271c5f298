//! Memory chunks: a new table with row-level security and three indexes, and the way back over rows that the application has
//! written by then. A tenant is a user; isolation means that a session sees what it remembers of its own user.

use super::{System, Write};

/// With pgvector, where the server has it, the three indexes are those of the document: hnsw and ivfflat.
pub const VECTOR: &str = include_str!("../../../plans/memory_chunks_vector.toml");

pub const SYSTEM: System = System {
    name: "memory_chunks",
    title: "Memory chunks: a table with its policy and three indexes, and the way back over its rows",
    meaning: "a user sees the chunks that are remembered of it",
    plan: include_str!("../../../plans/memory_chunks.toml"),
    schema: include_str!("memory.sql"),
    owner: "relay",
    app: "relay_app",
    setting: "app.user_hash",
    column: "user_hash",
    tenants: ["alice", "bob", "carol"],
    kept: &["users", "conversations", "alembic_version"],
    isolated: &["memory_chunks"],
    old: &[Write {
        table: "conversations",
        key: "id",
        sql: "INSERT INTO conversations (id, user_hash, title) VALUES ($1, 'alice', 'talk of today ' || $2)",
    }],
    new: &[
        Write {
            table: "conversations",
            key: "id",
            sql: "INSERT INTO conversations (id, user_hash, title)
                  VALUES ($1, current_setting('app.user_hash'), 'talk of tomorrow ' || $2)",
        },
        Write {
            table: "memory_chunks",
            key: "id",
            sql: "INSERT INTO memory_chunks (id, user_hash, doc_id, text_cipher)
                  VALUES ($1, current_setting('app.user_hash'), 'doc ' || $2, sha256($2::text::bytea))",
        },
    ],
};
