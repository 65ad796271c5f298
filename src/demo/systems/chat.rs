//! Chat: messages and their versions become one table while the old server goes on writing both, and then every table gets
//! its tenant. Isolation means that a firm sees its own people and what they say.

use super::{System, Write};

pub const SYSTEM: System = System {
    name: "chat",
    title: "Chat: two tables become one, and then a tenant for every row",
    meaning: "a firm sees its own people, their conversations and what they say",
    plan: include_str!("../../../plans/chat.toml"),
    schema: include_str!("chat.sql"),
    owner: "xfchat",
    app: "xfchat_app",
    setting: "app.tenant_id",
    column: "tenant_id",
    tenants: [
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000002",
        "00000000-0000-0000-0000-000000000003",
    ],
    kept: &["users", "conversations", "conversation_participants", "friend_requests", "messages", "version_history"],
    isolated: &["users", "conversations", "conversation_participants", "friend_requests", "chat_messages"],
    old: &[
        Write {
            table: "messages",
            key: "id",
            sql: "INSERT INTO messages (id, conversation_id, sender_id, content)
                  SELECT $1, c.id, c.created_by, 'of today ' || $2 FROM conversations c WHERE c.number = $2 % 30",
        },
        Write {
            table: "messages",
            key: "id",
            sql: "WITH m AS (INSERT INTO messages (id, conversation_id, sender_id, content)
                      SELECT $1, c.id, c.created_by, 'edited ' || $2 FROM conversations c WHERE c.number = $2 % 30 RETURNING id)
                  UPDATE messages SET content = content || '!' WHERE id = md5('message' || $2 % 30 || '/3')::uuid",
        },
        Write {
            table: "friend_requests",
            key: "id",
            sql: "INSERT INTO friend_requests (id, sender_id, receiver_id)
                  SELECT $1, u.id, u.id FROM users u WHERE u.number = $2 % 30",
        },
    ],
    new: &[Write {
        table: "chat_messages",
        key: "id",
        sql: "INSERT INTO chat_messages (id, conversation_id, sender_id, content)
              SELECT $1, c.id, c.created_by, 'of tomorrow ' || $2 FROM conversations c WHERE c.number = $2 % 30",
    }],
};
