-- SPDX-License-Identifier: Apache-2.0
-- Routes: provider groups that leave by dispatchers of their own (carriers by the own mail servers, the rest by Amazon
-- SES). The route of a lane is written when its run is planned and never changes, so that a change of configuration
-- moves nobody who may have been claimed; CLAIM asks for it, whatever stands in Redis.

ALTER TABLE run_lane ADD route text NOT NULL DEFAULT '' CHECK (route ~ '^[A-Za-z0-9_-]{0,32}$');
COMMENT ON COLUMN run_lane.route IS 'Only dispatchers of this route (dispatcher.route) claim its recipients; empty: those without one';
ALTER TABLE dispatcher ADD route text NOT NULL DEFAULT '';
COMMENT ON COLUMN dispatcher.route IS 'Whose lanes it claims (run_lane.route); empty: all that have no route';
GRANT UPDATE (route) ON dispatcher TO kairan_dispatcher;
CREATE INDEX run_lane_routed ON run_lane (run_id) WHERE route <> '';

CREATE VIEW route_idle AS
SELECT w.route, count(*) AS runs FROM (
	SELECT '' AS route, id FROM run r WHERE state = 'running' AND (NOT EXISTS (SELECT FROM run_lane WHERE run_id = r.id)
		OR EXISTS (SELECT FROM run_lane WHERE run_id = r.id AND route = ''))
	UNION
	SELECT l.route, l.run_id FROM run_lane l JOIN run r ON r.id = l.run_id AND r.state = 'running' WHERE l.route <> '') AS w
WHERE NOT EXISTS (SELECT FROM dispatcher d WHERE d.route = w.route AND d.stopped_at IS NULL AND d.fenced_at IS NULL
    AND d.heartbeat_at > now() - interval '1 minute')
GROUP BY w.route;
COMMENT ON VIEW route_idle IS 'Routes of running runs that no dispatcher serves';
COMMENT ON COLUMN route_idle.route IS 'Route; empty: what has none';
COMMENT ON COLUMN route_idle.runs IS 'Running runs with mail for it, sent or not';
GRANT SELECT ON route_idle TO kairan_operator, kairan_monitor;
