-- What is needed to send a run. $1 run. columns: names of the customer relation's columns.
SELECT c.name, st.name, t.subject, t.html, t.body, r.snapshot ->> 'from_name', r.snapshot ->> 'from_address',
    r.snapshot ->> 'reply_to', coalesce(nullif(r.snapshot ->> 'list', ''), st.name), r.snapshot ->> 'headers',
    r.snapshot ->> 'missing_field', r.snapshot ->> 'bad_field', st.unsubscribe_base, st.return_path_domain,
    ARRAY['all', 'stream:' || st.name, 'list:' || coalesce(nullif(r.snapshot ->> 'list', ''), st.name)]::text,
    extract(epoch FROM r.started_at)::bigint,
    (SELECT string_agg(attname, E'\n') FROM pg_attribute
	WHERE attrelid = 'kairan.customer'::regclass AND attnum > 0 AND NOT attisdropped)
FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id JOIN kairan.stream st ON st.id = c.stream_id
JOIN kairan.template t ON t.id = r.template_id
WHERE r.id = $1
