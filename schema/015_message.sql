-- SPDX-License-Identifier: Apache-2.0
-- Addresses whose local part is not ASCII (RFC 6531). The same rules as common/addr.c.

CREATE OR REPLACE FUNCTION address_key(address text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE STRICT
SET search_path = kairan, pg_temp
AS $$
	SELECT CASE
		WHEN octet_length(l) > 64 OR octet_length(l) + 1 + octet_length(d) > 254
		    OR d !~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+(?![0-9]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$' THEN NULL
		WHEN l ~ '^(?!-)[a-z0-9!#$%&''*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&''*+/=?^_`{|}~-]+)*$' THEN l || '@' || d
		WHEN l ~ '^[\x01-\x7f]*$' OR getdatabaseencoding() <> 'UTF8' THEN NULL
		-- invisible characters: the table of is_invisible() in common/addr.c
		WHEN l ~ '^(?!-)[a-z0-9!#$%&''*+/=?^_`{|}~\u0080-\U0010ffff-]+(\.[a-z0-9!#$%&''*+/=?^_`{|}~\u0080-\U0010ffff-]+)*$'
		    AND l !~ ('[\u0080-\u009f\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f'
			'\u2028-\u202e\u2060-\u206f\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\ufff0-\uffff\U000e0000-\U0010ffff]')
		    AND l IS NFKC NORMALIZED THEN l || '@' || d END
	FROM (SELECT CASE WHEN local ~ '^[\x01-\x7f]*$' OR getdatabaseencoding() <> 'UTF8' THEN local ELSE normalize(local, NFC) END AS l,
		CASE WHEN domain ~ '^[\x01-\x7f]*$' THEN domain ELSE (SELECT a_label FROM idn WHERE u_label = lower(written)) END AS d
	    FROM (SELECT lower(split_part(address, '@', 1) COLLATE "C") AS local,
		substr(address, position('@' IN address) + 1) AS written,
		lower(substr(address, position('@' IN address) + 1) COLLATE "C") AS domain
		WHERE position('@' IN address) > 0) AS parts) AS t
$$;
COMMENT ON FUNCTION address_key(text) IS 'The key under which an address is suppressed and counted: local part with ASCII letters in lower case (in NFC) @ lower-case A-label domain, no dot or plus folding; NULL when it is not an address';
