/* SPDX-License-Identifier: Apache-2.0 */
/* brake_text: see brake_text.h. */
#include "brake_text.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"

const char brake_text_sql[] =
    "SELECT coalesce(json_agg(json_strip_nulls(json_build_object('name', name, 'mode', mode, "
    "'why', why, 'per_s', rate_per_s, 'connections', connections, 'messages_per_connection', "
    "messages_per_connection, 'since', since, 'until', until, 'release_by', release_by)) "
    "ORDER BY name), '[]') FROM kairan.brake";

const char lane_text_sql[] =
    "SELECT coalesce(json_agg(json_strip_nulls(json_build_object('campaign', c.name, "
    "'run_key', r.run_key, 'lane', b.lane, 'origin', b.origin, 'why', b.why, 'since', "
    "b.opened_at)) ORDER BY b.opened_at), '[]') "
    "FROM (SELECT k.run_id, l.name AS lane, NULL AS origin, k.why, k.opened_at "
    "FROM kairan.lane_break k "
    "JOIN kairan.run_lane l ON l.run_id = k.run_id AND l.lane = k.lane "
    "WHERE k.resumed_at IS NULL UNION ALL "
    "SELECT k.run_id, NULL, o.name, k.why, k.opened_at FROM kairan.origin_break k "
    "JOIN kairan.run_origin o ON o.run_id = k.run_id AND o.origin = k.origin "
    "WHERE k.resumed_at IS NULL) AS b JOIN kairan.run r ON r.id = b.run_id "
    "JOIN kairan.campaign c ON c.id = r.campaign_id "
    "WHERE r.state IN ('running', 'paused')";

void
brake_text_print(const json_t *brake)
{
	static const char *const words[][2] = { { "hold", "on hold" },
		{ "probe", "one message tries it" }, { "stop", "stopped until it is released" },
		{ "free", "its rate is free" } };
	const char *mode = json_string_value(json_object_get(brake, "mode"));
	const json_t *connections = json_object_get(brake, "connections");
	const json_t *messages = json_object_get(brake, "messages_per_connection");
	const char *since = json_string_value(json_object_get(brake, "since"));
	const char *until = json_string_value(json_object_get(brake, "until"));

	if (strcmp(mode, "rate") == 0)
		printf("%.3g/s", json_number_value(json_object_get(brake, "per_s")));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(mode, words[i][0]) == 0)
			fputs(words[i][1], stdout);
	if (connections != NULL)
		printf(
		    ", %lld connections a destination", (long long)json_integer_value(connections));
	if (messages != NULL)
		printf(", %lld messages a connection", (long long)json_integer_value(messages));
	printf("; by %s", json_string_value(json_object_get(brake, "why")));
	if (since != NULL)
		printf(", since %.19s", since);
	if (until != NULL)
		printf(", until %.19s", until);
	if (json_object_get(brake, "release_by") != NULL)
		fputs(", to be released", stdout);
	putchar('\n');
}

const char *
lane_text_kind(const json_t *lane)
{
	return json_object_get(lane, "lane") != NULL ? "lane" : "origin";
}

void
lane_text_print(const json_t *lane, const char *indent)
{
	const char *campaign = json_string_value(json_object_get(lane, "campaign"));
	const char *run_key = json_string_value(json_object_get(lane, "run_key"));

	printf(" of %s ", campaign);
	cli_put_text(stdout, run_key);
	printf(" is paused since %.16s: ", json_string_value(json_object_get(lane, "since")));
	cli_put_text(stdout, json_string_value(json_object_get(lane, "why")));
	printf("\n%skairan campaign resume %s --run-key ", indent, campaign);
	cli_put_text(stdout, run_key);
	printf(" --%s ", lane_text_kind(lane));
	cli_put_word(stdout, json_string_value(json_object_get(lane, lane_text_kind(lane))));
	putchar('\n');
}
