/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of the configuration and of commands that have a form of their own: lists of relays, waits
 * of the retry ladder, rates, listeners, addresses of Redis, times. Each text is refused with a reason or
 * gives what is within its limits.
 */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "ladder.h"
#include "listen_address.h"
#include "rate.h"
#include "rds.h"
#include "relay.h"
#include "routes.h"
#include "scenario.h"
#include "source_limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_relays(const char *text)
{
	struct relay list[RELAYS_MAX];
	struct err err = { 0 };
	size_t count = 0;

	if (relay_parse_list(list, &count, text, 25, &err) < 0) {
		assert(err.msg[0] != '\0');
		return;
	}
	assert(count > 0 && count <= RELAYS_MAX);
	for (size_t i = 0; i < count; i++) {
		assert(list[i].name[0] != '\0' && list[i].weight >= 1 && list[i].weight <= 100);
		assert(list[i].local || (list[i].port >= 1 && list[i].port <= 65535));
	}
}

static void
read_ladder(const char *text)
{
	static const struct outcome kinds[] = { { .reason = "rate" }, { .reason = "greylisted" },
		{ .reason = "mailbox_full" }, { .reason = "domain_unknown" } };
	struct ladder ladder;
	struct err err = { 0 };

	if (ladder_parse(&ladder, text, &err) < 0) {
		assert(err.msg[0] != '\0');
		return;
	}
	assert(ladder.of[LADDER_ANY].count >= 1);
	for (int tries = 0; tries < LADDER_MAX + 2; tries++)
		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
			assert(ladder_wait_s(
				   &ladder, &kinds[i], tries, (uint32_t)tries * 2654435769U) >= 0);
}

static void
read_others(const char *text)
{
	struct sockaddr_storage address;
	struct rds_address redis;
	struct routes routes;
	struct source_limits limits;
	struct err err = { 0 };
	double per_s, at;
	int32_t offset_s;

	if (rate_parse(&per_s, slice_str(text), &err) == 0)
		assert(per_s > 0 && per_s <= RATE_MAX);
	else
		assert(err.msg[0] != '\0');
	err.msg[0] = '\0';
	if (listen_address_parse(text, "http.listen", &address, &err) == 0)
		assert(address.ss_family == AF_INET || address.ss_family == AF_INET6);
	else
		assert(err.msg[0] != '\0');
	err.msg[0] = '\0';
	if (rds_address_parse(&redis, text, &err) == 0)
		assert((redis.host[0] != '\0') != (redis.path[0] != '\0'));
	else
		assert(err.msg[0] != '\0');
	err.msg[0] = '\0';
	if (routes_parse(&routes, text, "", &err) == 0)
		assert(routes.way_count <= ROUTES_MAX && routes.group_count <= ROUTES_GROUPS_MAX);
	else
		assert(err.msg[0] != '\0');
	err.msg[0] = '\0';
	if (source_limits_parse(&limits, text, slice_str(embed_common_data_warmup_tsv), &err) == 0)
		assert(limits.count <= SOURCE_LIMITS_MAX);
	else
		assert(err.msg[0] != '\0');
	if (scenario_time(&at, &offset_s, text, &err) == 0)
		assert(isfinite(at) && labs(offset_s) <= 86400);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[2048];

	if (size >= sizeof(text))
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	read_relays(text);
	read_ladder(text);
	read_others(text);
	return 0;
}
