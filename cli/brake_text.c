/* SPDX-License-Identifier: Apache-2.0 */
/* brake_text: see brake_text.h. */
#include "brake_text.h"

#include <stdio.h>
#include <string.h>

const char brake_text_sql[] =
    "SELECT coalesce(json_agg(json_strip_nulls(json_build_object('name', name, 'mode', mode, "
    "'why', why, 'per_s', rate_per_s, 'connections', connections, 'messages_per_connection', "
    "messages_per_connection, 'since', since, 'until', until, 'release_by', release_by)) "
    "ORDER BY name), '[]') FROM kairan.brake";

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
		    ", %lld connections a dispatcher", (long long)json_integer_value(connections));
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
