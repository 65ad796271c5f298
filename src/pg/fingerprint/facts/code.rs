//! What runs by itself or on call: policies, triggers, rules, functions, event triggers.

use super::query::Facts;

/// `pg_get_functiondef` raises an error for aggregates, so their parts are spelt out.
pub(super) const FACTS: &[Facts] = &[
    Facts {
        about: "policies",
        since: 0,
        sql: r#"
SELECT format('policy %I.%I.%I', n.nspname, c.relname, p.polname) || f.property || ': ' || f.value
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (VALUES
    ('', concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR',
                   CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
                   'TO', (SELECT string_agg(name, ', ' ORDER BY name COLLATE "C")
                          FROM (SELECT CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END
                                FROM unnest(p.polroles) r) names (name)))),
    (' USING', pg_get_expr(p.polqual, p.polrelid)),
    (' WITH CHECK', pg_get_expr(p.polwithcheck, p.polrelid))
) f (property, value)
WHERE n.oid = ANY ($1) AND f.value IS NOT NULL
"#,
    },
    Facts {
        about: "triggers",
        since: 0,
        sql: r#"
SELECT format('trigger %I.%I.%I', n.nspname, c.relname, g.tgname) || f.property || ': ' || f.value
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (VALUES
    ('', pg_get_triggerdef(g.oid)),
    (' fires', CASE g.tgenabled WHEN 'O' THEN 'on origin' WHEN 'D' THEN 'never (disabled)' WHEN 'R' THEN 'on replica' ELSE 'always' END)
) f (property, value)
WHERE n.oid = ANY ($1) AND NOT g.tgisinternal
"#,
    },
    Facts {
        about: "rules",
        since: 0,
        sql: r#"
SELECT format('rule %I.%I.%I', n.nspname, c.relname, w.rulename) || f.property || ': ' || f.value
FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (VALUES
    ('', pg_get_ruledef(w.oid)),
    (' fires', CASE w.ev_enabled WHEN 'O' THEN 'on origin' WHEN 'D' THEN 'never (disabled)' WHEN 'R' THEN 'on replica' ELSE 'always' END)
) f (property, value)
WHERE n.oid = ANY ($1) AND w.rulename <> '_RETURN'
"#,
    },
    Facts {
        about: "functions",
        since: 0,
        sql: r#"
SELECT format('function %I.%I(%s): ', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
       || CASE WHEN p.prokind <> 'a' THEN rtrim(pg_get_functiondef(p.oid), E'\n')
               ELSE format('AGGREGATE (%s) RETURNS %s', pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)) || concat(
                    ' PARALLEL ' || p.proparallel::text,
                    ' KIND ' || g.aggkind::text,
                    ' STYPE ' || format_type(g.aggtranstype, NULL),
                    ' INITCOND ' || quote_literal(g.agginitval),
                    ' MSTYPE ' || format_type(nullif(g.aggmtranstype, 0), NULL),
                    ' MINITCOND ' || quote_literal(g.aggminitval),
                    (SELECT string_agg(format(' %s %s', v.name, v.func::regprocedure), '' ORDER BY v.name COLLATE "C")
                     FROM (VALUES ('SFUNC', g.aggtransfn), ('FINALFUNC', g.aggfinalfn), ('COMBINEFUNC', g.aggcombinefn),
                                  ('SERIALFUNC', g.aggserialfn), ('DESERIALFUNC', g.aggdeserialfn), ('MSFUNC', g.aggmtransfn),
                                  ('MINVFUNC', g.aggminvtransfn), ('MFINALFUNC', g.aggmfinalfn)) v (name, func)
                     WHERE v.func <> 0),
                    ' SORTOP ' || nullif(g.aggsortop, 0)::regoperator::text,
                    ' FINAL MODIFY ' || g.aggfinalmodify::text || CASE WHEN g.aggfinalextra THEN ' EXTRA' ELSE '' END,
                    ' MFINAL MODIFY ' || g.aggmfinalmodify::text || CASE WHEN g.aggmfinalextra THEN ' EXTRA' ELSE '' END) END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
WHERE n.oid = ANY ($1)
"#,
    },
    Facts {
        about: "event triggers",
        since: 0,
        sql: r#"
SELECT format('event trigger %I', e.evtname) || f.property || ': ' || f.value
FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
CROSS JOIN LATERAL (VALUES
    ('', concat_ws(' ', 'ON', e.evtevent, 'WHEN TAG IN (' || array_to_string(e.evttags, ', ') || ')', 'EXECUTE', e.evtfoid::regprocedure)),
    (' fires', CASE e.evtenabled WHEN 'O' THEN 'on origin' WHEN 'D' THEN 'never (disabled)' WHEN 'R' THEN 'on replica' ELSE 'always' END)
) f (property, value)
WHERE p.pronamespace = ANY ($1)
"#,
    },
];
