-- What is needed to send a run. $1 run, $2 our route, whose lanes with a list of their own are told. columns: names of the customer relation's columns. One row for
-- each file of the template, or one without a file; the texts are in the first.
SELECT c.name, st.name, t.subject, CASE WHEN coalesce(f.position, 1) = 1 THEN t.html END,
    CASE WHEN coalesce(f.position, 1) = 1 THEN t.body END, r.snapshot ->> 'from_name', r.snapshot ->> 'from_address',
    r.snapshot ->> 'reply_to', coalesce(nullif(r.snapshot ->> 'list', ''), st.name), r.snapshot ->> 'headers',
    r.snapshot ->> 'missing_field', r.snapshot ->> 'bad_field', st.unsubscribe_base, st.return_path_domain,
    ARRAY['all', 'stream:' || st.name, 'list:' || coalesce(nullif(r.snapshot ->> 'list', ''), st.name)]::text,
    extract(epoch FROM r.started_at)::bigint,
    (SELECT string_agg(attname, E'\n') FROM pg_attribute
	WHERE attrelid = 'kairan.customer'::regclass AND attnum > 0 AND NOT attisdropped),
    t.options, st.auto_submitted, st.track_opens, st.track_clicks, r.snapshot ? 'mail', f.name, f.type, f.content_id, encode(b.bytes, 'base64'),
    (SELECT string_agg(lane::text, ' ' ORDER BY lane) FROM kairan.run_lane WHERE run_id = r.id AND paced AND route = $2),
    st.ses_content, EXISTS (SELECT FROM kairan.run_origin WHERE run_id = r.id)
FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id JOIN kairan.stream st ON st.id = c.stream_id
JOIN kairan.template t ON t.id = r.template_id
LEFT JOIN kairan.template_file f ON f.template_id = t.id
LEFT JOIN kairan.blob b ON b.digest = f.digest
WHERE r.id = $1
ORDER BY f.position
LIMIT 20
