-- SPDX-License-Identifier: Apache-2.0
-- Where domains have their mail, as far as runs asked DNS for it.

CREATE TABLE domain_mx (
	domain text PRIMARY KEY,
	hosts text NOT NULL,
	resolved_at timestamptz NOT NULL DEFAULT now(),
	expires_at timestamptz NOT NULL
);
COMMENT ON TABLE domain_mx IS 'Mail servers of the larger domains that the table of providers does not name; asked for when a run is planned (pace.mx_groups)';
COMMENT ON COLUMN domain_mx.domain IS 'Domain, lower case';
COMMENT ON COLUMN domain_mx.hosts IS 'Its mail servers of the lowest preference by name, a blank between; empty: it has no MX record that names one';
COMMENT ON COLUMN domain_mx.resolved_at IS 'When DNS said so';
COMMENT ON COLUMN domain_mx.expires_at IS 'Asked for again after; it still counts while DNS does not answer, and goes 30 days later';
GRANT SELECT, INSERT, UPDATE, DELETE ON domain_mx TO kairan_producer;
GRANT SELECT ON domain_mx TO kairan_operator;

ALTER TABLE run_lane ADD by_mx bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN run_lane.by_mx IS 'Of those planned, how many have a domain that was found by its mail servers';
COMMENT ON COLUMN run_lane.name IS 'Provider, domain of a large site, mx: and the mail server of a site of several domains, or tail-NN';
GRANT UPDATE (by_mx) ON run_lane TO kairan_producer;
