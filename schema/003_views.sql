-- SPDX-License-Identifier: Apache-2.0
-- Views are the operator's interface: \d+ explains them, \watch repeats them.

CREATE FUNCTION per_cent(part bigint, whole bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN whole > 0 THEN round(100.0 * part / whole, 3) END $$;
COMMENT ON FUNCTION per_cent(bigint, bigint) IS 'Part of whole in per cent, empty when there is no whole';

CREATE VIEW campaign_progress AS
SELECT c.name AS campaign, r.run_key, r.id AS run_id, r.state, r.reason, r.audience,
    r.audience - r.planned AS excluded, r.planned,
    r.planned - t.claimed - t.sent - t.deferred - t.failed - t.in_doubt - t.skipped - t.cancelled
	- t.expired AS queued,
    t.claimed AS sending, t.deferred, t.sent, t.failed, t.in_doubt, t.skipped, t.cancelled, t.expired,
    t.delivered, t.bounced, t.complained, t.unsubscribed,
    t.last_minute, r.due_at, r.started_at, r.finished_at
FROM run r JOIN campaign c ON c.id = r.campaign_id
CROSS JOIN LATERAL (
	SELECT coalesce(sum(claimed), 0)::bigint AS claimed, coalesce(sum(sent), 0)::bigint AS sent,
	    coalesce(sum(deferred), 0)::bigint AS deferred, coalesce(sum(failed), 0)::bigint AS failed,
	    coalesce(sum(in_doubt), 0)::bigint AS in_doubt, coalesce(sum(skipped), 0)::bigint AS skipped,
	    coalesce(sum(cancelled), 0)::bigint AS cancelled, coalesce(sum(expired), 0)::bigint AS expired,
	    coalesce(sum(delivered), 0)::bigint AS delivered, coalesce(sum(bounced), 0)::bigint AS bounced,
	    coalesce(sum(complained), 0)::bigint AS complained,
	    coalesce(sum(unsubscribed), 0)::bigint AS unsubscribed,
	    coalesce(sum(attempts) FILTER (WHERE minute >= date_trunc('minute', now()) - interval '1 minute'
		AND minute < date_trunc('minute', now())), 0)::bigint AS last_minute
	FROM tally WHERE tally.run_id = r.id) AS t;
COMMENT ON VIEW campaign_progress IS 'One line per run: planned = queued + sending + deferred + sent + failed + in_doubt + skipped + cancelled + expired; delivered, bounced, complained and unsubscribed are what was heard of those sent. Cheap whatever the size of the run';
COMMENT ON COLUMN campaign_progress.campaign IS 'Campaign';
COMMENT ON COLUMN campaign_progress.run_key IS 'Run key';
COMMENT ON COLUMN campaign_progress.run_id IS 'Run';
COMMENT ON COLUMN campaign_progress.state IS 'State of the run';
COMMENT ON COLUMN campaign_progress.reason IS 'Why it is in that state, when there is something to say';
COMMENT ON COLUMN campaign_progress.audience IS 'Customers matched by the segment';
COMMENT ON COLUMN campaign_progress.excluded IS 'Left out at planning; see the table exclusion';
COMMENT ON COLUMN campaign_progress.planned IS 'Recipients';
COMMENT ON COLUMN campaign_progress.queued IS 'Not yet claimed';
COMMENT ON COLUMN campaign_progress.sending IS 'Claimed by a dispatcher';
COMMENT ON COLUMN campaign_progress.deferred IS 'Waiting for the next try';
COMMENT ON COLUMN campaign_progress.sent IS 'Taken by the remote';
COMMENT ON COLUMN campaign_progress.failed IS 'Refused, or not composed';
COMMENT ON COLUMN campaign_progress.in_doubt IS 'Perhaps sent; see the view in_doubt';
COMMENT ON COLUMN campaign_progress.skipped IS 'Suppressed after planning';
COMMENT ON COLUMN campaign_progress.cancelled IS 'Cancelled before sending';
COMMENT ON COLUMN campaign_progress.expired IS 'Too late';
COMMENT ON COLUMN campaign_progress.delivered IS 'With evidence of delivery; 0 means no evidence, not no delivery';
COMMENT ON COLUMN campaign_progress.bounced IS 'Bounced after acceptance';
COMMENT ON COLUMN campaign_progress.complained IS 'Complained';
COMMENT ON COLUMN campaign_progress.unsubscribed IS 'Unsubscribed';
COMMENT ON COLUMN campaign_progress.last_minute IS 'Outcomes in the last full minute';
COMMENT ON COLUMN campaign_progress.due_at IS 'When it was due';
COMMENT ON COLUMN campaign_progress.started_at IS 'When planning began';
COMMENT ON COLUMN campaign_progress.finished_at IS 'When it ended';

CREATE VIEW bounce_rate AS
SELECT c.name AS campaign, r.run_key, st.name AS stream, coalesce(p.provider, 'other') AS provider,
    split_part(s.address_key, '@', 2) AS domain, date_trunc('hour', s.settled_at) AS hour,
    count(*) FILTER (WHERE s.state IN ('sent', 'failed')) AS attempted,
    count(*) FILTER (WHERE s.state = 'sent') AS sent,
    count(*) FILTER (WHERE s.delivered_at IS NOT NULL) AS delivered,
    count(*) FILTER (WHERE s.class = 'hard' AND (s.bounced_at IS NOT NULL OR s.state = 'failed')) AS hard,
    count(*) FILTER (WHERE s.class <> 'hard' AND (s.bounced_at IS NOT NULL OR s.state = 'failed')) AS other_failures,
    count(*) FILTER (WHERE s.complained_at IS NOT NULL) AS complained,
    per_cent(count(*) FILTER (WHERE s.class = 'hard' AND (s.bounced_at IS NOT NULL OR s.state = 'failed')),
	count(*) FILTER (WHERE s.state IN ('sent', 'failed'))) AS hard_per_cent,
    per_cent(count(*) FILTER (WHERE s.complained_at IS NOT NULL),
	count(*) FILTER (WHERE s.state = 'sent')) AS complained_per_cent
FROM send s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id
JOIN stream st ON st.id = c.stream_id
LEFT JOIN provider_domain p ON p.domain = split_part(s.address_key, '@', 2)
WHERE s.settled_at IS NOT NULL AND s.state IN ('sent', 'failed', 'in_doubt')
GROUP BY c.name, r.run_key, st.name, p.provider, split_part(s.address_key, '@', 2), date_trunc('hour', s.settled_at);
COMMENT ON VIEW bounce_rate IS 'Sent, bounced and complained by campaign, run, stream, provider, domain and hour; sum what you do not need apart: SELECT provider, sum(sent), sum(hard), per_cent(sum(hard)::bigint, sum(attempted)::bigint) FROM bounce_rate WHERE … GROUP BY 1';
COMMENT ON COLUMN bounce_rate.campaign IS 'Campaign';
COMMENT ON COLUMN bounce_rate.run_key IS 'Run key';
COMMENT ON COLUMN bounce_rate.stream IS 'Stream';
COMMENT ON COLUMN bounce_rate.provider IS 'Provider of the domain (provider_domain), or other';
COMMENT ON COLUMN bounce_rate.domain IS 'Recipient domain';
COMMENT ON COLUMN bounce_rate.hour IS 'Hour of the outcome';
COMMENT ON COLUMN bounce_rate.attempted IS 'Taken or refused by the remote';
COMMENT ON COLUMN bounce_rate.sent IS 'Taken by the remote';
COMMENT ON COLUMN bounce_rate.delivered IS 'With evidence of delivery';
COMMENT ON COLUMN bounce_rate.hard IS 'Dead addresses: refused in the session or bounced later';
COMMENT ON COLUMN bounce_rate.other_failures IS 'Failures that are not about the address';
COMMENT ON COLUMN bounce_rate.complained IS 'Complaints';
COMMENT ON COLUMN bounce_rate.hard_per_cent IS 'hard of attempted, in per cent';
COMMENT ON COLUMN bounce_rate.complained_per_cent IS 'complained of sent, in per cent';

CREATE VIEW reputation AS
SELECT st.name AS stream, sum(b.sent)::bigint AS sent, sum(b.hard)::bigint AS hard,
    per_cent(sum(b.hard)::bigint, sum(b.attempted)::bigint) AS bounce_per_cent,
    5 AS bounce_review_per_cent, 10 AS bounce_stop_per_cent,
    sum(b.complained)::bigint AS complained,
    per_cent(sum(b.complained)::bigint, sum(b.sent)::bigint) AS complaint_per_cent,
    0.1 AS complaint_review_per_cent, 0.5 AS complaint_stop_per_cent,
    CASE WHEN per_cent(sum(b.hard)::bigint, sum(b.attempted)::bigint) >= 10
	    OR per_cent(sum(b.complained)::bigint, sum(b.sent)::bigint) >= 0.5 THEN 'stop'
	WHEN per_cent(sum(b.hard)::bigint, sum(b.attempted)::bigint) >= 5
	    OR per_cent(sum(b.complained)::bigint, sum(b.sent)::bigint) >= 0.1 THEN 'review'
	ELSE 'fine' END AS judgement
FROM stream st JOIN bounce_rate b ON b.stream = st.name
WHERE b.hour > now() - interval '7 days'
GROUP BY st.name;
COMMENT ON VIEW reputation IS 'Bounce and complaint rates of the last 7 days by stream, beside the lines at which Amazon SES reviews (5 %, 0.1 %) and stops (10 %, 0.5 %) an account';
COMMENT ON COLUMN reputation.stream IS 'Stream';
COMMENT ON COLUMN reputation.sent IS 'Taken by the remote';
COMMENT ON COLUMN reputation.hard IS 'Dead addresses';
COMMENT ON COLUMN reputation.bounce_per_cent IS 'Bounce rate';
COMMENT ON COLUMN reputation.bounce_review_per_cent IS 'SES reviews the account from here';
COMMENT ON COLUMN reputation.bounce_stop_per_cent IS 'SES may stop the account from here';
COMMENT ON COLUMN reputation.complained IS 'Complaints';
COMMENT ON COLUMN reputation.complaint_per_cent IS 'Complaint rate';
COMMENT ON COLUMN reputation.complaint_review_per_cent IS 'SES reviews the account from here';
COMMENT ON COLUMN reputation.complaint_stop_per_cent IS 'SES may stop the account from here';
COMMENT ON COLUMN reputation.judgement IS 'fine, review or stop';

CREATE VIEW sending_statistics AS
SELECT to_timestamp(floor(extract(epoch FROM t.minute) / 900) * 900) AS quarter, st.name AS stream,
    sum(t.attempts)::bigint AS attempts, sum(t.sent)::bigint AS sent, sum(t.deferred)::bigint AS deferred,
    sum(t.failed)::bigint AS failed, sum(t.delivered)::bigint AS delivered, sum(t.bounced)::bigint AS bounced,
    sum(t.complained)::bigint AS complained
FROM tally t JOIN run r ON r.id = t.run_id JOIN campaign c ON c.id = r.campaign_id
JOIN stream st ON st.id = c.stream_id
GROUP BY 1, 2;
COMMENT ON VIEW sending_statistics IS 'What happened in each quarter of an hour, as SES GetSendStatistics counts it';
COMMENT ON COLUMN sending_statistics.quarter IS 'Start of the 15 minutes';
COMMENT ON COLUMN sending_statistics.stream IS 'Stream';
COMMENT ON COLUMN sending_statistics.attempts IS 'Transactions with an outcome';
COMMENT ON COLUMN sending_statistics.sent IS 'Became sent';
COMMENT ON COLUMN sending_statistics.deferred IS 'Change of the number deferred';
COMMENT ON COLUMN sending_statistics.failed IS 'Became failed';
COMMENT ON COLUMN sending_statistics.delivered IS 'Delivery was heard';
COMMENT ON COLUMN sending_statistics.bounced IS 'Bounce was heard';
COMMENT ON COLUMN sending_statistics.complained IS 'Complaint was heard';

CREATE VIEW top_replies AS
SELECT c.name AS campaign, r.run_key, s.state, s.class, s.reason, s.code, s.enhanced,
    regexp_replace(regexp_replace(s.reply, '<?[^<>@ ]+@[^<>@ ]+>?', '<address>', 'g'), '[0-9A-F]{8,}', '#', 'g') AS reply,
    count(*) AS recipients
FROM send s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id
WHERE s.state IN ('deferred', 'failed', 'in_doubt') OR s.bounced_at IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
COMMENT ON VIEW top_replies IS 'What remote hosts said of those that did not arrive; ORDER BY recipients DESC';
COMMENT ON COLUMN top_replies.campaign IS 'Campaign';
COMMENT ON COLUMN top_replies.run_key IS 'Run key';
COMMENT ON COLUMN top_replies.state IS 'State of the recipients';
COMMENT ON COLUMN top_replies.class IS 'hard, soft, block, message, config';
COMMENT ON COLUMN top_replies.reason IS 'Short word';
COMMENT ON COLUMN top_replies.code IS 'SMTP reply code';
COMMENT ON COLUMN top_replies.enhanced IS 'Enhanced status code';
COMMENT ON COLUMN top_replies.reply IS 'Text, with addresses and queue ids taken out';
COMMENT ON COLUMN top_replies.recipients IS 'How many';

CREATE VIEW in_doubt AS
SELECT c.name AS campaign, r.run_key, s.run_id, s.id, s.recipient_id, s.address, s.attempt, s.owner,
    d.name AS dispatcher, d.host, s.claimed_at, s.settled_at, s.reason, s.remote, s.reply
FROM send s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id
LEFT JOIN dispatcher d ON d.id = s.owner
WHERE s.state = 'in_doubt';
COMMENT ON VIEW in_doubt IS 'Recipients who may or may not have got the mail: the final dot may have been written and no complete answer was read. They are never sent to again by themselves';
COMMENT ON COLUMN in_doubt.campaign IS 'Campaign';
COMMENT ON COLUMN in_doubt.run_key IS 'Run key';
COMMENT ON COLUMN in_doubt.run_id IS 'Run';
COMMENT ON COLUMN in_doubt.id IS 'send.id';
COMMENT ON COLUMN in_doubt.recipient_id IS 'customer.id';
COMMENT ON COLUMN in_doubt.address IS 'Address';
COMMENT ON COLUMN in_doubt.attempt IS 'Attempt';
COMMENT ON COLUMN in_doubt.owner IS 'dispatcher.id';
COMMENT ON COLUMN in_doubt.dispatcher IS 'Name of the dispatcher';
COMMENT ON COLUMN in_doubt.host IS 'Its host';
COMMENT ON COLUMN in_doubt.claimed_at IS 'When it was claimed';
COMMENT ON COLUMN in_doubt.settled_at IS 'Since when it is in doubt';
COMMENT ON COLUMN in_doubt.reason IS 'Why';
COMMENT ON COLUMN in_doubt.remote IS 'Host it was sent to';
COMMENT ON COLUMN in_doubt.reply IS 'What was read, if anything';

CREATE VIEW suppression_summary AS
SELECT reason, scope, source, count(*) AS addresses,
    count(*) FILTER (WHERE expires_at <= now()) AS expired,
    min(created_at) AS first, max(created_at) AS last
FROM suppression GROUP BY reason, scope, source;
COMMENT ON VIEW suppression_summary IS 'Suppressed addresses by reason, scope and source';
COMMENT ON COLUMN suppression_summary.reason IS 'bounce, complaint, unsubscribe or manual';
COMMENT ON COLUMN suppression_summary.scope IS 'all, stream:NAME or list:NAME';
COMMENT ON COLUMN suppression_summary.source IS 'Where they came from';
COMMENT ON COLUMN suppression_summary.addresses IS 'How many';
COMMENT ON COLUMN suppression_summary.expired IS 'Of these, how many no longer count';
COMMENT ON COLUMN suppression_summary.first IS 'Oldest';
COMMENT ON COLUMN suppression_summary.last IS 'Newest';

CREATE VIEW pace AS
SELECT st.name AS stream, st.rate_per_s AS limit_per_s,
    round(coalesce(sum(t.attempts), 0) / 60.0, 2) AS last_minute_per_s,
    (SELECT count(*) FROM dispatcher d WHERE d.stopped_at IS NULL AND d.fenced_at IS NULL
	AND d.heartbeat_at > now() - interval '1 minute') AS dispatchers,
    (SELECT count(*) FROM run r2 JOIN campaign c2 ON c2.id = r2.campaign_id
	WHERE c2.stream_id = st.id AND r2.state = 'running') AS running,
    (SELECT count(*) FROM run r2 JOIN campaign c2 ON c2.id = r2.campaign_id
	WHERE c2.stream_id = st.id AND r2.state = 'paused') AS paused
FROM stream st
LEFT JOIN campaign c ON c.stream_id = st.id
LEFT JOIN run r ON r.campaign_id = c.id
LEFT JOIN tally t ON t.run_id = r.id AND t.minute >= date_trunc('minute', now()) - interval '1 minute'
    AND t.minute < date_trunc('minute', now())
GROUP BY st.id;
COMMENT ON VIEW pace IS 'Limit and actual rate of each stream';
COMMENT ON COLUMN pace.stream IS 'Stream';
COMMENT ON COLUMN pace.limit_per_s IS 'Shared limit in messages per second; empty: none';
COMMENT ON COLUMN pace.last_minute_per_s IS 'Outcomes per second in the last full minute';
COMMENT ON COLUMN pace.dispatchers IS 'Dispatchers alive';
COMMENT ON COLUMN pace.running IS 'Runs running';
COMMENT ON COLUMN pace.paused IS 'Runs paused';

-- The whole story of one address, oldest first. Clocks of reporters have no fractions of a second: within one,
-- causes come before effects.
CREATE FUNCTION why(address text) RETURNS TABLE (at timestamptz, what text, campaign text, run_key text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
	WITH k AS (SELECT coalesce(address_key(address), lower(address)) AS key)
	SELECT * FROM (
		SELECT s.created_at, 'suppressed', NULL::text, NULL::text,
		    concat_ws(' ', s.scope, s.reason, 'by ' || nullif(s.source, ''),
			CASE WHEN s.expires_at IS NOT NULL THEN 'until ' || s.expires_at END, s.evidence)
		FROM suppression s, k WHERE s.address_key = k.key
		UNION ALL
		SELECT coalesce(r.started_at, r.created_at), 'left out', c.name, r.run_key, concat_ws(': ', e.rule, nullif(e.evidence, ''))
		FROM k, exclusion e JOIN run r ON r.id = e.run_id JOIN campaign c ON c.id = r.campaign_id
		WHERE e.address_key = k.key
		UNION ALL
		SELECT coalesce(r.started_at, r.created_at), 'planned', c.name, r.run_key, 'recipient ' || s.id || ', customer ' || s.recipient_id
		FROM k, send s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id
		WHERE s.address_key = k.key
		UNION ALL
		SELECT coalesce(s.settled_at, s.claimed_at, now()), s.state::text, c.name, r.run_key,
		    concat_ws(' ', 'attempt ' || nullif(s.attempt, 0), 'by ' || d.name, s.class, s.reason, s.code, s.enhanced,
			s.reply, CASE WHEN s.remote <> '' THEN 'from ' || s.remote END,
			CASE WHEN s.not_before IS NOT NULL THEN 'next try ' || s.not_before END)
		FROM k, send s JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id
		LEFT JOIN dispatcher d ON d.id = s.owner
		WHERE s.address_key = k.key
		UNION ALL
		SELECT coalesce(f.occurred_at, f.received_at), f.kind, c.name, r.run_key,
		    concat_ws(' ', 'heard from ' || f.source || ' (event ' || f.id || ')', f.class, f.reason, f.code, f.enhanced, f.reply)
		FROM k, send s JOIN feedback_event f ON f.run_id = s.run_id AND f.send_id = s.id
		JOIN run r ON r.id = s.run_id JOIN campaign c ON c.id = r.campaign_id
		WHERE s.address_key = k.key
		UNION ALL
		SELECT coalesce(f.occurred_at, f.received_at), f.kind, NULL, NULL,
		    concat_ws(' ', 'heard from ' || f.source || ' (event ' || f.id || '), not linked to a send', f.class, f.reason, f.enhanced, f.reply)
		FROM feedback_event f, k WHERE f.address_key = k.key AND f.send_id IS NULL
	) AS story(at, what, campaign, run_key, detail)
	ORDER BY date_trunc('second', at), CASE what WHEN 'planned' THEN 0 WHEN 'sent' THEN 1 WHEN 'suppressed' THEN 3 ELSE 2 END, at
$$;
COMMENT ON FUNCTION why(text) IS 'The whole story of one address: left out and why, planned, sent, what was heard, suppressed';
