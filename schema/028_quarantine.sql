-- SPDX-License-Identifier: Apache-2.0
-- What could not be read or was refused, as a whole, so that it can be fed again when it can be.

CREATE TABLE kept_notice (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	semantic_key text COLLATE "C" NOT NULL UNIQUE,
	kept_at timestamptz NOT NULL DEFAULT now(),
	source text NOT NULL,
	reason text NOT NULL,
	why text NOT NULL,
	form text NOT NULL CHECK (form IN ('mail', 'notice', 'event')),
	believed boolean NOT NULL,
	recipients text NOT NULL,
	content bytea NOT NULL,
	replayed_at timestamptz
);
COMMENT ON TABLE kept_notice IS 'Notices that could not be read or were refused, whole: kairan feedback quarantine';
COMMENT ON COLUMN kept_notice.id IS 'Number in order of arrival';
COMMENT ON COLUMN kept_notice.semantic_key IS 'Key of its feedback_event, of kind other';
COMMENT ON COLUMN kept_notice.kept_at IS 'When it was kept';
COMMENT ON COLUMN kept_notice.source IS 'Source of its event: mail, sns, sqs, dsn, …';
COMMENT ON COLUMN kept_notice.reason IS 'Why it was kept: unreadable, refused, poison, object_missing, …';
COMMENT ON COLUMN kept_notice.why IS 'What the parser or PostgreSQL said';
COMMENT ON COLUMN kept_notice.form IS 'mail; notice: JSON of SNS or SES; event: parameters of ingest() that were refused';
COMMENT ON COLUMN kept_notice.believed IS 'A notice that was verified, or came where unsigned ones are believed; another one needs its signature when it is replayed';
COMMENT ON COLUMN kept_notice.recipients IS 'Envelope recipients of a mail, one a line';
COMMENT ON COLUMN kept_notice.content IS 'The whole, as far as its source takes any';
COMMENT ON COLUMN kept_notice.replayed_at IS 'Last replay, which did not understand it either';
CREATE INDEX kept_notice_at ON kept_notice (kept_at);

-- Called in the statement of ingest(), so that the event and the whole are committed together. Past the
-- limit the event alone is kept. A repeat does nothing.
CREATE FUNCTION notice_keep(p_key text[], p_source text[], p_reason text[], p_why text[], p_form text[],
    p_believed boolean[], p_recipients text[], p_content text[])
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	room bigint := 256 * 1024 * 1024 - (SELECT coalesce(sum(1024 + octet_length(content)), 0) FROM kept_notice);
	n int;
BEGIN
	INSERT INTO kept_notice (semantic_key, source, reason, why, form, believed, recipients, content)
	SELECT k.key, k.source, k.reason, coalesce(k.why, ''), k.form, k.believed, coalesce(k.recipients, ''), k.content
	FROM (SELECT i.*, sum(1024 + octet_length(i.content)) OVER (ORDER BY i.place) AS bytes
		FROM (SELECT place, p_key[place] AS key, p_source[place] AS source, p_reason[place] AS reason, p_why[place] AS why, p_form[place] AS form,
			p_believed[place] AS believed, p_recipients[place] AS recipients, decode(p_content[place], 'base64') AS content
			FROM generate_series(1, cardinality(p_key)) AS place) AS i) AS k
	WHERE k.bytes <= room
	ON CONFLICT (semantic_key) DO NOTHING;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END
$$;
COMMENT ON FUNCTION notice_keep(text[], text[], text[], text[], text[], boolean[], text[], text[]) IS 'Keeps notices whole, 256 MB of them; returns how many';

CREATE FUNCTION notice_replayed(the_id bigint, is_understood boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
BEGIN
	IF is_understood THEN
		DELETE FROM kept_notice k WHERE k.id = the_id;
	ELSE
		UPDATE kept_notice k SET replayed_at = now() WHERE k.id = the_id;
	END IF;
END
$$;
COMMENT ON FUNCTION notice_replayed(bigint, boolean) IS 'Ends the keeping of a notice that was understood; notes the replay of another';

CREATE FUNCTION notice_drop(ids bigint[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	n int;
BEGIN
	DELETE FROM kept_notice k WHERE ids IS NULL OR k.id = ANY (ids);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n > 0 THEN
		INSERT INTO audit (action, object, detail) VALUES ('feedback.drop', n || ' notices', coalesce(array_to_string(ids, ' '), 'all'));
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION notice_drop(bigint[]) IS 'Drops kept notices, NULL: all; returns how many';

CREATE FUNCTION notice_forget(days int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kairan, pg_temp
AS $$
DECLARE
	n int;
BEGIN
	DELETE FROM kept_notice k WHERE days > 0 AND k.kept_at < now() - make_interval(days => days);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n > 0 THEN
		INSERT INTO audit (action, object, detail) VALUES ('retention.kept', n || ' notices', 'older than ' || days || ' days');
	END IF;
	RETURN n;
END
$$;
COMMENT ON FUNCTION notice_forget(int) IS 'Drops what was kept longer than so many days ago, 0: nothing; returns how many';

REVOKE ALL ON FUNCTION notice_keep(text[], text[], text[], text[], text[], boolean[], text[], text[]),
    notice_replayed(bigint, boolean), notice_drop(bigint[]), notice_forget(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION notice_keep(text[], text[], text[], text[], text[], boolean[], text[], text[]),
    notice_replayed(bigint, boolean), notice_forget(int) TO kairan_feedback;
GRANT EXECUTE ON FUNCTION notice_drop(bigint[]) TO kairan_operator;
GRANT SELECT ON kept_notice TO kairan_feedback, kairan_operator;
