-- A chat server of one company. Messages and their former versions lie in tables of their own. Run by a superuser;
-- `demo.scale` says how many users.
CREATE TABLE public.users (
    id         uuid PRIMARY KEY,
    number     bigint NOT NULL UNIQUE,
    email      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.conversations (
    id         uuid PRIMARY KEY,
    number     bigint NOT NULL UNIQUE,
    created_by uuid NOT NULL REFERENCES public.users (id),
    title      text NOT NULL
);
CREATE TABLE public.conversation_participants (
    conversation_id uuid NOT NULL REFERENCES public.conversations (id),
    user_id         uuid NOT NULL REFERENCES public.users (id),
    PRIMARY KEY (conversation_id, user_id)
);
CREATE TABLE public.friend_requests (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sender_id  uuid NOT NULL REFERENCES public.users (id),
    receiver_id uuid NOT NULL REFERENCES public.users (id),
    status     text NOT NULL DEFAULT 'pending'
);
CREATE TABLE public.messages (
    id              uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES public.conversations (id),
    sender_id       uuid NOT NULL REFERENCES public.users (id),
    content         text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE public.version_history (
    version    uuid PRIMARY KEY,
    message_id uuid NOT NULL REFERENCES public.messages (id),
    content    text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);

-- Of three users one is of each firm; a conversation and what is said in it stay in one firm.
INSERT INTO public.users (id, number, email)
SELECT md5('user' || n)::uuid, n, 'user' || n || (ARRAY['@xfchat.example', '@northwind.example', '@borealis.example'])[1 + n % 3]
  FROM generate_series(0, current_setting('demo.scale')::bigint - 1) n;
INSERT INTO public.conversations
SELECT md5('talk' || u.number)::uuid, u.number, u.id, 'talk ' || u.number FROM public.users u;
INSERT INTO public.conversation_participants
SELECT c.id, u.id FROM public.conversations c JOIN public.users u ON u.number IN (c.number, (c.number + 3) % (current_setting('demo.scale')::bigint / 3 * 3))
ON CONFLICT DO NOTHING;
INSERT INTO public.friend_requests (sender_id, receiver_id)
SELECT u.id, v.id FROM public.users u JOIN public.users v ON v.number = (u.number + 3) % (current_setting('demo.scale')::bigint / 3 * 3);
INSERT INTO public.messages (id, conversation_id, sender_id, content)
SELECT md5('message' || c.number || '/' || n)::uuid, c.id, c.created_by, 'said ' || n FROM public.conversations c, generate_series(1, 20) n;
INSERT INTO public.version_history (version, message_id, content)
SELECT md5('version' || m.id)::uuid, m.id, 'before: ' || m.content FROM public.messages m WHERE m.content IN ('said 1', 'said 2');
CREATE INDEX messages_conversation ON public.messages (conversation_id, created_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON public.users, public.conversations, public.conversation_participants,
    public.friend_requests, public.messages, public.version_history TO xfchat_app;
