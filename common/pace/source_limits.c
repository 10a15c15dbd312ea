/* SPDX-License-Identifier: Apache-2.0 */
/* source_limits: see source_limits.h. */
#include "source_limits.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "rate.h"

#define SHOWN 60 /* of what is wrong */

static int
clip(struct slice s)
{
	return (int)(s.len < SHOWN ? s.len : SHOWN);
}

static int
read_address(struct source_limit *l, struct slice text, struct err *err)
{
	unsigned char bytes[sizeof(struct in6_addr)];
	char address[64];
	int family = memchr(text.ptr, ':', text.len) != NULL ? AF_INET6 : AF_INET;

	(void)snprintf(address, sizeof(address), "%.*s", clip(text), text.ptr);
	if (strlen(address) != text.len || inet_pton(family, address, bytes) != 1 ||
	    inet_ntop(family, bytes, l->address, sizeof(l->address)) == NULL)
		return err_set(err, "mx.source_rates: '%.*s' is no address", clip(text), text.ptr);
	return 0;
}

/* "SCHEDULE@YYYY-MM-DD", at is its '@'. */
static int
read_schedule(
    struct source_limit *l, struct slice text, const char *at, struct slice table, struct err *err)
{
	struct slice day = slice_make(at + 1, text.len - (size_t)(at + 1 - text.ptr));
	char copy[16];
	struct tm tm = { 0 };
	const char *end;
	uint64_t limit;

	(void)snprintf(copy, sizeof(copy), "%.*s", clip(day), day.ptr);
	end = strptime(copy, "%Y-%m-%d", &tm);
	if (day.len != 10 || end == NULL || *end != '\0')
		return err_set(err, "mx.source_rates: %s: expected SCHEDULE@YYYY-MM-DD, not '%.*s'",
		    l->address, clip(text), text.ptr);
	if ((size_t)(at - text.ptr) > WARMUP_NAME_MAX)
		return err_set(err, "mx.source_rates: %s: there is no such schedule", l->address);
	(void)snprintf(l->schedule, sizeof(l->schedule), "%.*s", (int)(at - text.ptr), text.ptr);
	l->began_s = (int64_t)timegm(&tm);
	return warmup_limit(table, l->schedule, 0, &limit, err);
}

static int
read_one(struct source_limits *s, struct slice text, struct slice table, struct err *err)
{
	const char *equals = memchr(text.ptr, '=', text.len), *at;
	struct source_limit *l = &s->list[s->count];
	struct slice value;
	struct err why = { 0 };

	if (equals == NULL)
		return err_set(err,
		    "mx.source_rates: expected ADDRESS=RATE between commas, not '%.*s'", clip(text),
		    text.ptr);
	if (s->count == SOURCE_LIMITS_MAX)
		return err_set(err, "mx.source_rates: more than %d addresses", SOURCE_LIMITS_MAX);
	*l = (struct source_limit){ 0 };
	if (read_address(l, slice_trim(slice_make(text.ptr, (size_t)(equals - text.ptr))), err) < 0)
		return -1;
	if (source_limits_find(s, l->address) != NULL)
		return err_set(err, "mx.source_rates: %s has two rates", l->address);
	value = slice_trim(slice_make(equals + 1, text.len - (size_t)(equals + 1 - text.ptr)));
	at = memchr(value.ptr, '@', value.len);
	if (at != NULL && read_schedule(l, value, at, table, err) < 0)
		return -1;
	if (at == NULL && rate_parse(&l->per_s, value, &why) < 0)
		return err_set(err, "mx.source_rates: %s: %.300s", l->address, why.msg);
	s->count++;
	return 0;
}

int
source_limits_parse(struct source_limits *s, const char *text, struct slice table, struct err *err)
{
	s->count = 0;
	while (*text != '\0') {
		size_t n = strcspn(text, ",");

		if (read_one(s, slice_trim(slice_make(text, n)), table, err) < 0)
			return -1;
		text += n + (text[n] == ',');
	}
	return 0;
}

double
source_limit_rate(const struct source_limit *l, struct slice table, int64_t now_s)
{
	int64_t day = now_s > l->began_s ? (now_s - l->began_s) / WARMUP_DAY_S : 0;
	uint64_t limit = 0;

	if (l->per_s > 0)
		return l->per_s;
	if (warmup_limit(table, l->schedule, day < 100000 ? (int)day : 100000, &limit, NULL) < 0)
		return 0;
	return (double)limit / WARMUP_DAY_S;
}

const struct source_limit *
source_limits_find(const struct source_limits *s, const char *address)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->list[i].address, address) == 0)
			return &s->list[i];
	return NULL;
}

void
source_clock_run(struct source_clock *c, uint64_t now_us, double per_s, unsigned parts)
{
	unsigned least = parts < c->parts ? parts : c->parts;
	double passed = now_us > c->at_us ? (double)(now_us - c->at_us) / 1e6 : 0;

	if (!c->begun)
		*c = (struct source_clock){ .begun = true, .ready = 1 };
	else
		c->ready = fmin(1, c->ready + passed * per_s * least / SOURCE_LIMITS_PARTS);
	c->at_us = now_us;
	c->parts = parts;
}

uint64_t
source_clock_wait(const struct source_clock *c, double per_s)
{
	if (c->parts == 0)
		return UINT64_MAX;
	if (c->ready >= 1)
		return 0;
	return (uint64_t)((1 - c->ready) / (per_s * c->parts / SOURCE_LIMITS_PARTS) * 1e6) + 1;
}

void
source_clock_take(struct source_clock *c)
{
	c->ready -= 1;
}
