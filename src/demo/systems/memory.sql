-- A relay with conversations, before it remembers anything of them. Run by a superuser; `demo.scale` says how many users.
CREATE TABLE public.users (user_hash varchar(64) PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
INSERT INTO public.users (user_hash)
SELECT CASE n WHEN 1 THEN 'alice' WHEN 2 THEN 'bob' WHEN 3 THEN 'carol' ELSE md5(n::text) END
  FROM generate_series(1, current_setting('demo.scale')::bigint) n;
CREATE TABLE public.conversations (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_hash  varchar(64) NOT NULL REFERENCES public.users (user_hash),
    title      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO public.conversations (user_hash, title)
SELECT u.user_hash, 'talk ' || n FROM public.users u, generate_series(1, 5) n;
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO public.alembic_version VALUES ('20251012_conversations');
GRANT SELECT ON public.users TO relay_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.conversations TO relay_app;
