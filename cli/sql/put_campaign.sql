-- What `kairan campaign create` writes: a campaign as its file says, new or over the one of that name.
-- $1 name, $2 stream, $3 template, $4 and $5 sender, $6 reply-to, $7 list, $8 headers (JSON), $9 segment, $10 and
-- $11 exclusions, $12 and $13 what a missing and a bad field do, $14 to $17 schedule, $18 and $19 hooks, $20 the file,
-- $21 whether an existing schedule stays, $22 spread, $23 weight, $24 to $27 quiet hours, $28 and $29 canary, $30 origin.
-- Returns whether it is new, and when it is due.
INSERT INTO kairan.campaign AS c (name, stream_id, template_id, from_name, from_address, reply_to, list, headers,
    segment, exclude_campaigns, exclude_segments, missing_field, bad_field, start_at, not_after, window_s, recurrence,
    hook_command, hook_url, source, spread_s, weight, quiet_from, quiet_till, time_zone, zone_field, canary,
    canary_wait_s, origin_field)
SELECT $1, s.id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $22, $23, $24,
    $25, $26, $27, $28, $29, $30
FROM kairan.stream s WHERE s.name = $2
ON CONFLICT (name) DO UPDATE SET stream_id = excluded.stream_id, template_id = excluded.template_id,
    from_name = excluded.from_name, from_address = excluded.from_address, reply_to = excluded.reply_to,
    list = excluded.list, headers = excluded.headers, segment = excluded.segment,
    exclude_campaigns = excluded.exclude_campaigns, exclude_segments = excluded.exclude_segments,
    missing_field = excluded.missing_field, bad_field = excluded.bad_field,
    start_at = CASE WHEN $21 THEN c.start_at ELSE excluded.start_at END,
    not_after = CASE WHEN $21 THEN c.not_after ELSE excluded.not_after END,
    window_s = CASE WHEN $21 THEN c.window_s ELSE excluded.window_s END,
    recurrence = CASE WHEN $21 THEN c.recurrence ELSE excluded.recurrence END,
    hook_command = excluded.hook_command, hook_url = excluded.hook_url, source = excluded.source,
    spread_s = excluded.spread_s, weight = excluded.weight, quiet_from = excluded.quiet_from,
    quiet_till = excluded.quiet_till, time_zone = excluded.time_zone, zone_field = excluded.zone_field,
    canary = excluded.canary, canary_wait_s = excluded.canary_wait_s,
    origin_field = excluded.origin_field, updated_at = now()
RETURNING xmax = 0, to_char(c.start_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), recurrence
