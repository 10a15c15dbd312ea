/* SPDX-License-Identifier: Apache-2.0 */
/* rdsloop: a script with as many arguments as it takes, first sent whole, then by its digest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admission_redis.h"
#include "rdsloop.h"

#define MANY 400

struct asking {
	uv_loop_t loop;
	uv_timer_t timer;
	struct rdsloop *redis;
	struct rdsloop_script script;
	int asked, answers;
	long long sum;
};

static void
on_answer(void *ctx, const redisReply *reply)
{
	struct asking *a = ctx;

	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
	a->sum = reply->integer;
	a->answers++;
}

static void
ask(struct asking *a)
{
	const char *argv[MANY + 1] = { "{t}:key" };

	a->asked++;
	for (int i = 0; i < MANY; i++)
		argv[i + 1] = i % 2 == 0 ? "1" : "2";
	rdsloop_script_run(a->redis, &a->script, on_answer, a, 1, MANY + 1, argv);
}

static void
on_timer(uv_timer_t *timer)
{
	struct asking *a = timer->data;

	if (rdsloop_is_ready(a->redis) && a->asked == a->answers && a->asked < 2)
		ask(a);
	if (a->answers < 2)
		return;
	rdsloop_free(a->redis);
	uv_close((uv_handle_t *)&a->timer, NULL);
}

static void
test_many_arguments(void **state)
{
	struct private_redis r;
	struct asking a = { 0 };
	struct rds_address address;
	struct err err;
	char url[96];

	(void)state;
	if (!private_redis_start(&r)) {
		print_message("# skipped: redis-server cannot be started\n");
		skip();
	}
	(void)snprintf(url, sizeof(url), "unix://%s/sock", r.dir);
	assert_int_equal(rds_address_parse(&address, url, &err), 0);
	assert_int_equal(uv_loop_init(&a.loop), 0);
	a.redis = rdsloop_new(&a.loop, &address);
	assert_non_null(a.redis);
	rdsloop_script_init(
	    &a.script, "local sum = 0 for i = 1, #ARGV do sum = sum + ARGV[i] end return sum");
	(void)uv_timer_init(&a.loop, &a.timer);
	a.timer.data = &a;
	(void)uv_timer_start(&a.timer, on_timer, 0, 10);
	(void)uv_run(&a.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&a.loop), 0);
	assert_int_equal(a.answers, 2);
	assert_int_equal(a.sum, MANY + MANY / 2);
	private_redis_stop(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_many_arguments) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
