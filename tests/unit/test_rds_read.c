/* SPDX-License-Identifier: Apache-2.0 */
/* rds_read: replies as they come over the wire: figures that cannot be are not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rds_read.h"

#define S_2026 "1767225600"
#define NOW (86400 * 10e6 + 30e6) /* ten days and half a minute into 2026 */
#define MINUTE_NOW "14400"

/* Owned: freeReplyObject(). */
static redisReply *
reply_of(const char *wire)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	assert_non_null(reader);
	assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	redisReaderFree(reader);
	return reply;
}

static void
test_ids(void **state)
{
	static const struct {
		const char *wire;
		int id;
	} cases[] = {
		{ "$1\r\n7\r\n", 7 },
		{ "$10\r\n2147483647\r\n", INT32_MAX },
		{ "$10\r\n2147483648\r\n", 0 },
		{ "$30\r\n999999999999999999999999999999\r\n", 0 },
		{ "$1\r\n0\r\n", 0 },
		{ "$2\r\n-7\r\n", 0 },
		{ "$2\r\n+7\r\n", 0 },
		{ "$2\r\n 7\r\n", 0 },
		{ "$2\r\n7x\r\n", 0 },
		{ "$0\r\n\r\n", 0 },
		{ "$-1\r\n", 0 },
		{ ":7\r\n", 0 },
		{ "*1\r\n$1\r\n7\r\n", 0 },
		{ "-ERR no\r\n", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		redisReply *reply = reply_of(cases[i].wire);

		if (rds_read_id(reply) != cases[i].id)
			fail_msg("%s gives %d", cases[i].wire, rds_read_id(reply));
		freeReplyObject(reply);
	}
}

static void
test_times(void **state)
{
	static const char *const bad[] = {
		"-LOADING\r\n",
		"*0\r\n",
		"*1\r\n$10\r\n" S_2026 "\r\n",
		"*2\r\n:1767225600\r\n:0\r\n",
		"*2\r\n$10\r\n" S_2026 "\r\n:0\r\n",
		"*2\r\n$3\r\nnow\r\n$1\r\n0\r\n",
		"*2\r\n$-1\r\n$1\r\n0\r\n",
		"*2\r\n$2\r\n-1\r\n$1\r\n0\r\n",
		"*2\r\n$4\r\n1e14\r\n$1\r\n0\r\n",
		"*2\r\n$3\r\nnan\r\n$1\r\n0\r\n",
		"*2\r\n$10\r\n" S_2026 "\r\n$2\r\n-1\r\n",
		"*2\r\n$10\r\n" S_2026 "\r\n$7\r\n1000000\r\n",
	};
	redisReply *reply = reply_of("*2\r\n$10\r\n1767225601\r\n$6\r\n250000\r\n");
	double now;

	(void)state;
	assert_true(rds_read_time(reply, &now));
	assert_true(now == 1250000);
	freeReplyObject(reply);
	/* a clock that was never set is one all the same */
	reply = reply_of("*2\r\n$1\r\n0\r\n$1\r\n0\r\n");
	assert_true(rds_read_time(reply, &now));
	assert_true(now == -1767225600e6);
	freeReplyObject(reply);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reply = reply_of(bad[i]);
		assert_false(rds_read_time(reply, &now));
		freeReplyObject(reply);
	}
}

static void
test_quota(void **state)
{
	redisReply *reply =
	    reply_of("*14\r\n$2\r\n-1\r\n$1\r\n9\r\n$5\r\n" MINUTE_NOW
		     "\r\n$2\r\n30\r\n$5\r\nlimit\r\n$3\r\n100\r\n"
		     "$6\r\nothers\r\n$1\r\n5\r\n$4\r\nnone\r\n$1\r\n9\r\n"
		     "$19\r\n9000000000000000000\r\n$1\r\n1\r\n$5\r\n14399\r\n$2\r\n-4\r\n");
	static struct quota q;

	(void)state;
	rds_read_quota(reply, &q, NOW);
	assert_int_equal(q.limit, 100);
	assert_int_equal(quota_left(&q, NOW), 65);
	freeReplyObject(reply);
	/* figures that are none, a field without one, and what is no hash */
	reply = reply_of("*5\r\n$5\r\nlimit\r\n$4\r\n1e99\r\n:1\r\n$1\r\n1\r\n$6\r\nothers\r\n");
	rds_read_quota(reply, &q, NOW);
	assert_int_equal(quota_left(&q, NOW), UINT64_MAX);
	freeReplyObject(reply);
	reply = reply_of("-WRONGTYPE\r\n");
	rds_read_quota(reply, &q, NOW);
	assert_int_equal(q.limit, 0);
	freeReplyObject(reply);
}

static void
test_accounts(void **state)
{
	static const char *const bad[] = {
		"*5\r\n$5\r\n50000\r\n$2\r\n14\r\n$1\r\n0\r\n$1\r\n0\r\n$-1\r\n",
		"*3\r\n$5\r\n50000\r\n$2\r\n14\r\n$1\r\n0\r\n",
		"*5\r\n$5\r\n50000\r\n$3\r\ninf\r\n$1\r\n0\r\n$1\r\n0\r\n$10\r\n1767225600\r\n",
		"*5\r\n$5\r\n50000\r\n$3\r\n14/\r\n$1\r\n0\r\n$1\r\n0\r\n$10\r\n1767225600\r\n",
		"*5\r\n$5\r\n50000\r\n$0\r\n\r\n$1\r\n0\r\n$1\r\n0\r\n$10\r\n1767225600\r\n",
	};
	redisReply *reply = reply_of(
	    "*5\r\n$5\r\n50000\r\n$4\r\n14.5\r\n$3\r\n120\r\n$1\r\n1\r\n$10\r\n" S_2026 "\r\n");
	struct rds_account a;

	(void)state;
	rds_read_account(reply, &a);
	freeReplyObject(reply);
	assert_true(a.max_24h == 50000 && a.max_rate == 14.5 && a.sent_24h == 120 && a.paused == 1);
	assert_true(a.at == 1767225600);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		reply = reply_of(bad[i]);
		rds_read_account(reply, &a);
		freeReplyObject(reply);
		assert_true(a.max_24h == -1 && a.max_rate == 0 && a.sent_24h == 0 && a.at == 0);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_accounts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
