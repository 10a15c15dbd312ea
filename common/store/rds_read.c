/* SPDX-License-Identifier: Apache-2.0 */
/* rds_read: see rds_read.h. */
#include "rds_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"

#define FIGURE_MAX 1e15	 /* above every count, rate and time that can be */
#define SECONDS_MAX 1e10 /* since 1970 */

/* NULL: not a text. */
static const char *
text_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? reply->str : NULL;
}

static const redisReply *
element(const redisReply *reply, size_t i)
{
	return reply->type == REDIS_REPLY_ARRAY && i < reply->elements ? reply->element[i] : NULL;
}

/* A number from -FIGURE_MAX to FIGURE_MAX with nothing behind it. */
static bool
read_figure(const redisReply *reply, double *figure)
{
	const char *text = reply != NULL ? text_of(reply) : NULL;
	char *end;

	if (text == NULL || text[0] == '\0')
		return false;
	*figure = strtod(text, &end);
	return *end == '\0' && isfinite(*figure) && fabs(*figure) <= FIGURE_MAX;
}

int
rds_read_id(const redisReply *reply)
{
	const char *text = text_of(reply);
	char *end;
	long id;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	id = strtol(text, &end, 10);
	return *end == '\0' && id <= INT32_MAX ? (int)id : 0;
}

bool
rds_read_time(const redisReply *reply, double *now)
{
	double s, us;

	if (!read_figure(element(reply, 0), &s) || !read_figure(element(reply, 1), &us) || s < 0 ||
	    s > SECONDS_MAX || us < 0 || us >= 1e6)
		return false;
	*now = (s - ADMISSION_EPOCH_S) * 1e6 + us;
	return true;
}

void
rds_read_quota(const redisReply *fields, struct quota *q, double now)
{
	uint64_t others = 0;

	*q = (struct quota){ 0 };
	for (int turn = 0; turn < 2; turn++) /* without the limit nothing is put in */
		for (size_t i = 0; element(fields, i + 1) != NULL; i += 2) {
			const char *field = text_of(fields->element[i]);
			double n;

			if (field == NULL || !read_figure(fields->element[i + 1], &n) || n < 0)
				continue;
			if (turn == 0 && strcmp(field, "limit") == 0)
				q->limit = (uint64_t)n;
			else if (turn == 0 && strcmp(field, "others") == 0)
				others = (uint64_t)n;
			else if (turn == 1 && field[0] >= '0' && field[0] <= '9')
				quota_put(q, strtoll(field, NULL, 10), (uint64_t)n, now);
		}
	quota_counted(q, q->sum + others, now);
}

void
rds_read_account(const redisReply *values, struct rds_account *a)
{
	double *const to[] = { &a->max_24h, &a->max_rate, &a->sent_24h, &a->paused, &a->at };
	struct rds_account none = { .max_24h = -1 };

	*a = none;
	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++)
		if (!read_figure(element(values, i), to[i])) {
			*a = none;
			return;
		}
}
