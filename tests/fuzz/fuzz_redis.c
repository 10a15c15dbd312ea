/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as Redis sends them, through hiredis: no id, time, quota or account that cannot be. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "rds.h"
#include "rds_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look(const redisReply *reply)
{
	static struct quota q;
	struct rds_account a;
	double now = 86400e6;

	if (rds_read_id(reply) < 0)
		abort();
	if (rds_read_time(reply, &now) && !(fabs(now) < 1e16))
		abort();
	rds_read_quota(reply, &q, now);
	if (q.limit != 0 && quota_left(&q, now) > q.limit)
		abort();
	if (quota_opens(&q, 1, now) < now)
		abort();
	rds_read_account(reply, &a);
	if (!isfinite(a.max_24h) || !isfinite(a.max_rate) || !isfinite(a.at))
		abort();
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
		look(reply->element[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	redisReader *reader = redisReaderCreate();
	redisContext context = { .reader = reader };
	void *reply = NULL;

	if (reader == NULL)
		return 0;
	rds_bound(&context);
	reader->maxbuf = 4096;
	if (redisReaderFeed(reader, (const char *)data, size < 4096 ? size : 4096) == REDIS_OK)
		while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
			look(reply);
			freeReplyObject(reply);
		}
	redisReaderFree(reader);
	return 0;
}
