/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim: when permits are asked for, what becomes of flights that missed their time, and how ids go back to
 * their lists. What is around the claimer is FAKE and says what the test wants.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "claim.h"
#include "claimer.h"
#include "failing.h"
#include "pipeline.h"
#include "route.h"
#include "runs.h"
#include "settle.h"
#include "stats.h"

/* ---- FAKE neighbours ---- */

static bool claims_ready, redis_ready, held, behind;
static const struct live_run *wanted; /* NULL: none */
static int started, released[8], released_count;
static struct live_run *first_run;
static char commands[8][200];
static int command_count, command_ids[8];

bool __wrap_pgloop_is_ready(const struct pgloop *pg);
bool
__wrap_pgloop_is_ready(const struct pgloop *pg)
{
	(void)pg;
	return claims_ready;
}

bool __wrap_rdsloop_is_ready(const struct rdsloop *r);
bool
__wrap_rdsloop_is_ready(const struct rdsloop *r)
{
	(void)r;
	return redis_ready;
}

bool __wrap_route_is_held(const struct route *r);
bool
__wrap_route_is_held(const struct route *r)
{
	(void)r;
	return held;
}

bool __wrap_settle_is_behind(const struct settler *s);
bool
__wrap_settle_is_behind(const struct settler *s)
{
	(void)s;
	return behind;
}

void __wrap_settle_release(struct settler *s, struct flight *f);
void
__wrap_settle_release(struct settler *s, struct flight *f)
{
	(void)s;
	released[released_count++] = f->id;
}

struct live_run *__wrap_runs_first(const struct runs *r);
struct live_run *
__wrap_runs_first(const struct runs *r)
{
	(void)r;
	return first_run;
}

bool __wrap_pipeline_is_wanted(
    const struct claimer *c, const struct live_run *run, uint64_t now_ms);
bool
__wrap_pipeline_is_wanted(const struct claimer *c, const struct live_run *run, uint64_t now_ms)
{
	(void)c;
	(void)now_ms;
	return run == wanted;
}

void __wrap_pipeline_start(struct claimer *c);
void
__wrap_pipeline_start(struct claimer *c)
{
	(void)c;
	started++;
	wanted = NULL;
}

void __wrap_rdsloop_command(
    struct rdsloop *r, rdsloop_done *done, void *ctx, int argc, const char *const *argv);
void
__wrap_rdsloop_command(
    struct rdsloop *r, rdsloop_done *done, void *ctx, int argc, const char *const *argv)
{
	char *text = commands[command_count];

	(void)r;
	*text = '\0';
	for (int i = 0; i < argc && i < 6; i++) {
		(void)strcat(text, i > 0 ? " " : "");
		(void)strcat(text, argv[i]);
	}
	command_ids[command_count++] = argc - 2;
	done(ctx, NULL); /* lost: the producer finds them again */
}

/* ---- one claimer ---- */

static struct config config = { .dispatcher_batch = 64 };
static struct stats stats;
static struct dispatcher d;
static struct live_run run, other;
static struct batch batch, other_batch;
static struct claimer *c;

static int
begin(void **state)
{
	(void)state;
	stats = (struct stats){ 0 };
	d = (struct dispatcher){ .config = &config, .stats = &stats };
	run = (struct live_run){ .id = 3, .running = true, .loaded = true };
	other = (struct live_run){ .id = 4, .running = true, .loaded = true };
	batch = (struct batch){ .run = &run };
	other_batch = (struct batch){ .run = &other };
	claims_ready = redis_ready = true;
	held = behind = false;
	wanted = NULL;
	first_run = &run;
	run.next = &other;
	started = released_count = command_count = 0;
	if (uv_loop_init(&d.loop) != 0)
		return -1;
	c = claimer_new(&d);
	return c != NULL ? 0 : -1;
}

static int
end(void **state)
{
	(void)state;
	claim_stop(c);
	claim_stop(c); /* a second SIGTERM */
	(void)uv_run(&d.loop, UV_RUN_DEFAULT);
	claimer_free(c);
	return uv_loop_close(&d.loop);
}

/* ---- when ---- */

static void
test_nothing_is_claimed_while_something_keeps_it(void **state)
{
	struct pipeline *under_way = (struct pipeline *)&run;

	(void)state;
	wanted = &run;
#define KEEPS(set, reset)                                                                          \
	set;                                                                                       \
	claim_kick(c);                                                                             \
	assert_int_equal(started, 0);                                                              \
	reset
	KEEPS(d.stopping = true, d.stopping = false);
	KEEPS(d.fenced = true, d.fenced = false);
	KEEPS(d.quarantine[0] = 'x', d.quarantine[0] = '\0');
	KEEPS(d.claims_from_ms = UINT64_MAX, d.claims_from_ms = 0);
	KEEPS(c->pipeline = under_way, c->pipeline = NULL);
	KEEPS(c->takings = 1, c->takings = 0);
	KEEPS(claims_ready = false, claims_ready = true);
	KEEPS(redis_ready = false, redis_ready = true);
	KEEPS(held = true, held = false);
	KEEPS(behind = true, behind = false);
	KEEPS(first_run = NULL, first_run = &run);
#undef KEEPS
	claim_kick(c);
	assert_int_equal(started, 1);
}

/* Nobody is wanted yet: the claimer looks again when the first of them is. */
static void
test_it_comes_back_when_a_run_may_be_asked_for_again(void **state)
{
	uint64_t now = uv_now(&d.loop);

	(void)state;
	run.again_ms = now + 60000;
	other.again_ms = now + 90000;
	claim_kick(c);
	assert_int_equal(uv_timer_get_due_in(&c->timer), 60000);
	other.again_ms = now + 20;
	claim_kick(c);
	assert_int_equal(uv_timer_get_due_in(&c->timer), 20);
	c->again_ms = now + 40; /* all of them wait so long, but those that are urgent */
	claim_kick(c);
	assert_int_equal(uv_timer_get_due_in(&c->timer), 40);
	other.urgent = true;
	claim_kick(c);
	assert_int_equal(uv_timer_get_due_in(&c->timer), 20);
	other.again_ms = now; /* its time is there and it has no room: not for the timer */
	other.urgent = false;
	c->again_ms = 0;
	claim_kick(c);
	assert_in_range(uv_timer_get_due_in(&c->timer), 59000, 60000);
	run.again_ms = now + 1;
	claim_kick(c);
	wanted = &other;
	while (started == 0)
		(void)uv_run(&d.loop, UV_RUN_ONCE);
	assert_int_equal(started, 1);
}

static void
test_no_timer_for_who_cannot_be_sent(void **state)
{
	(void)state;
	run.again_ms = other.again_ms = uv_now(&d.loop) + 1000;
	run.running = other.loaded = false;
	claim_kick(c);
	assert_false(uv_is_active((uv_handle_t *)&c->timer));
	other.loaded = true;
	claim_stop(c); /* nor behind its end */
	claim_kick(c);
	assert_false(uv_is_active((uv_handle_t *)&c->timer));
	(void)uv_run(&d.loop, UV_RUN_DEFAULT);
}

static void
test_idle(void **state)
{
	struct flight f = { .batch = &batch };

	(void)state;
	assert_true(claim_is_idle(c));
	c->takings = 1;
	assert_false(claim_is_idle(c));
	c->takings = 0;
	c->pipeline = (struct pipeline *)&run;
	assert_false(claim_is_idle(c));
	c->pipeline = NULL;
	c->late = &f;
	assert_false(claim_is_idle(c));
}

/* ---- late flights ---- */

static void
test_who_is_late_waits_for_another_permit(void **state)
{
	struct flight a = { .batch = &batch, .id = 77, .late_us = 5 },
		      b = { .batch = &other_batch, .id = 78 };

	(void)state;
	claim_late(c, &a);
	claim_late(c, &b);
	assert_int_equal(stats.permits_missed, 2);
	assert_false(a.missed_told);
	assert_true(b.missed_told);
	assert_int_equal(released_count, 0);
	claim_release_late(c, &other); /* paused */
	assert_int_equal(released_count, 1);
	assert_int_equal(released[0], 78);
	a.missed_ms -= 2000; /* not long enough ago, for a kick */
	claim_kick(c);
	assert_int_equal(released_count, 1);
	a.missed_ms -= 2000;
	c->pipeline = (struct pipeline *)&run; /* it may be about to serve him */
	claim_kick(c);
	assert_int_equal(released_count, 1);
	c->pipeline = NULL;
	claim_kick(c);
	assert_int_equal(released[1], 77);
	assert_null(c->late);
}

static void
test_who_may_not_be_sent_waits_for_nothing(void **state)
{
	struct flight f = { .batch = &batch, .id = 77 };

	(void)state;
	run.running = false;
	claim_late(c, &f);
	run.running = d.stopping = true;
	claim_late(c, &f);
	assert_int_equal(released_count, 2);
	assert_true(claim_is_idle(c));
}

static void
test_urgent_mail_goes_before_what_was_due(void **state)
{
	uint64_t now = dispatcher_now_us();
	struct flight f = { .batch = &batch };

	(void)state;
	claimer_set_due(&f, 1, 2);
	assert_int_equal(f.due_us, 1);
	assert_int_equal(f.late_us, 2);
	assert_int_equal(f.ahead_us, 0);
	run.urgent = true;
	claimer_set_due(&f, 1, 2);
	assert_true(f.ahead_us > 0);
	claimer_set_due(&f, now + 60000000, 2); /* but not before its own time */
	assert_int_equal(f.ahead_us, 0);
}

/* ---- ids that go back ---- */

static void
test_ids_go_back_to_their_lists_first_in_front(void **state)
{
	int lists[] = { 0, 2, 7 };
	const int ids[] = { 11, 12, 13, 14 }, lanes[] = { 2, 0, 2, 5 };

	(void)state;
	run.lanes = lists;
	run.lane_count = 3;
	assert_int_equal(claimer_list_of(&run, 7), 7);
	assert_int_equal(claimer_list_of(&run, 9), 0); /* lanes without a list share one */
	claim_give_back(c, &run, ids, lanes, 4);
	assert_int_equal(command_count, 2);
	assert_string_equal(commands[0] + strlen(commands[0]) - 6, " 14 12");
	assert_string_equal(commands[1] + strlen(commands[1]) - 6, " 13 11");
	assert_string_not_equal(commands[0], commands[1]);
}

static void
test_many_ids_go_back_in_pieces(void **state)
{
	static int ids[1001], lanes[1001];
	int list = 0;

	(void)state;
	run.lanes = &list;
	run.lane_count = 1;
	for (int i = 0; i < 1001; i++)
		ids[i] = i + 1;
	claim_give_back(c, &run, ids, lanes, 1001);
	assert_int_equal(command_count, 3);
	assert_int_equal(command_ids[0], 500);
	assert_int_equal(command_ids[1], 500);
	assert_int_equal(command_ids[2], 1);
	assert_non_null(strstr(commands[0], " 1001 1000 "));
	claim_give_back(c, &run, ids, lanes, 1000); /* no empty piece behind the last */
	assert_int_equal(command_count, 5);
}

static void
test_without_memory(void **state)
{
	(void)state;
	(void)failing_from(1);
	failing_begin();
	assert_null(claimer_new(&d));
	failing_end();
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_is_claimed_while_something_keeps_it),
		TEST(test_it_comes_back_when_a_run_may_be_asked_for_again),
		TEST(test_no_timer_for_who_cannot_be_sent),
		TEST(test_idle),
		TEST(test_who_is_late_waits_for_another_permit),
		TEST(test_who_may_not_be_sent_waits_for_nothing),
		TEST(test_urgent_mail_goes_before_what_was_due),
		TEST(test_ids_go_back_to_their_lists_first_in_front),
		TEST(test_many_ids_go_back_in_pieces),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests_name("claim", tests, NULL, NULL);
}
