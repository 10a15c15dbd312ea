/* SPDX-License-Identifier: Apache-2.0 */
/* Runs against providers that refuse, in virtual time: every rule that a scenario is about is looked at
 * and holds, and is broken when its part is left out. Forecasts against what came. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "rehearsal.h"
#include "run_forecast.h"

#define START "\"start\":\"2026-11-24T09:11:00+09:00\","
#define ALL(...)                                                                                   \
	(const int[])                                                                              \
	{                                                                                          \
		__VA_ARGS__, 0                                                                     \
	}

struct trial {
	const char *name;
	const char *members;   /* of the scenario */
	const int *rules;      /* that must have been looked at; ends with 0 */
	const char *leave_out; /* NULL: nothing to break it with */
	int broken;	       /* the rule that breaks then */
};

static const char of_canaries[] =
    "\"transport\":\"relay\",\"account_rate\":\"9/s\",\"providers\":\"unlimited\","
    "\"dispatchers\":2,\"campaigns\":[{\"canary\":500,\"canary_wait_s\":900,\"lanes\":{"
    "\"google\":3000,\"yahoo-jp\":2000}},{\"canary\":400,\"canary_wait_s\":900,\"lanes\":{"
    "\"tail-00\":3000}},{\"canary\":300,\"canary_wait_s\":60,\"lanes\":{\"apple\":"
    "2000}}],\"behaviour\":{\"providers\":{\"tail-00\":{\"unknown_percent\":12},"
    "\"apple\":{\"greylist_s\":4000}}}";

static const struct trial trials[] = {
	{ "a dispatcher dies twice, Redis loses its clocks",
	    "\"account_rate\":\"50/"
	    "s\",\"providers\":\"unlimited\",\"dispatchers\":2,\"campaigns\":["
	    "{\"lanes\":{\"google\":15000,\"yahoo-jp\":4000}}],\"behaviour\":{\"latency_ms\":400},"
	    "\"faults\":[{\"what\":\"dispatcher_crash\",\"at_s\":100,\"for_s\":60,\"dispatcher\":1}"
	    ","
	    "{\"what\":\"redis_lost\",\"at_s\":150},"
	    "{\"what\":\"dispatcher_crash\",\"at_s\":300,\"for_s\":60}]",
	    ALL(1, 2, 16), "once", 1 },
	{ "a provider that takes three connections",
	    "\"dispatchers\":2,\"campaigns\":[{\"lanes\":{\"google\":8000}}],\"behaviour\":{"
	    "\"providers\":{\"google\":{\"connections\":3,\"latency_ms\":400,"
	    "\"messages_per_connection\":30}}}",
	    ALL(3), "window", 3 },
	{ "connections that three dispatchers share, one of which dies, while Redis forgets",
	    "\"dispatchers\":3,\"campaigns\":[{\"lanes\":{\"google\":5000}}],\"behaviour\":{"
	    "\"latency_ms\":1000},\"faults\":[{\"what\":\"dispatcher_crash\",\"at_s\":300,"
	    "\"for_s\":60,\"dispatcher\":1},{\"what\":\"redis_lost\",\"at_s\":600}]",
	    ALL(1, 3), "lease", 3 },
	{ "a canary that fares well, one of dead addresses, one that is put off", of_canaries,
	    ALL(2, 21), "canary", 21 },
	{ "a quota smaller than the run, with single mails",
	    "\"quota_24h\":3000,\"quota_used\":500,\"campaigns\":[{\"lanes\":{\"google\":3000,"
	    "\"yahoo-jp\":2000}},{\"name\":\"single\",\"class\":\"transactional\",\"arrive\":\"4/"
	    "h\","
	    "\"lanes\":{\"default\":60}}],\"settings\":{\"dispatcher.expire_after_s\":\"604800\"}",
	    ALL(4, 10), "quota", 4 },
	{ "strict groups over the hour, one with greylisting",
	    "\"dispatchers\":2,\"account_rate\":\"10/"
	    "s\",\"campaigns\":[{\"lanes\":{\"docomo\":4000,"
	    "\"softbank\":4000,\"google\":16000}}],\"behaviour\":{\"providers\":{\"softbank\":{"
	    "\"greylist_s\":400}}}",
	    ALL(5, 15), "guard", 5 },
	{ "single mails beside bulk that wants everything",
	    "\"transport\":\"relay\",\"dispatchers\":3,\"account_rate\":\"50/"
	    "s\",\"providers\":\"unlimited\",\"guard\":\"off\","
	    "\"campaigns\":[{\"weight\":100,\"lanes\":{\"google\":90000,\"yahoo-jp\":40000}},{"
	    "\"name\":\"single\",\"class\":\"transactional\",\"arrive\":\"1/s\",\"lanes\":{"
	    "\"default\":1500}}]",
	    ALL(2, 10), "urgent", 10 },
	{ "three campaigns of weights 3, 1 and 1",
	    "\"dispatchers\":2,\"account_rate\":\"40/"
	    "s\",\"providers\":\"unlimited\",\"guard\":\"off\","
	    "\"campaigns\":[{\"weight\":3,\"lanes\":{\"google\":40000,\"yahoo-jp\":20000}},{"
	    "\"lanes\":{\"google\":20000,\"tail-00\":20000}},{\"at_s\":600,\"lanes\":{\"apple\":"
	    "9000}}]",
	    ALL(2, 11), "weights", 11 },
	{ "a warm-up with quiet hours",
	    "\"warmup\":{\"schedule\":\"growth\"},\"providers\":\"unlimited\",\"campaigns\":[{"
	    "\"quiet_hours\":\"21:00-08:00\",\"lanes\":{\"google\":1800,\"yahoo-jp\":600}}],"
	    "\"settings\":{\"dispatcher.expire_after_s\":\"1209600\"}",
	    ALL(12), NULL, 0 },
	{ "a hidden rate below ours",
	    "\"dispatchers\":3,\"campaigns\":[{\"lanes\":{\"google\":40000,\"tail-00\":3000}}],"
	    "\"behaviour\":{\"providers\":{\"google\":{\"rate\":\"7/s\"}}}",
	    ALL(2, 13, 15), "cut", 13 },
	{ "providers that ask for silence",
	    "\"dispatchers\":3,\"campaigns\":[{\"lanes\":{\"google\":20000,\"apple\":9000}}],"
	    "\"faults\":[{\"what\":\"reply\",\"provider\":\"apple\",\"at_s\":300,\"for_s\":900,"
	    "\"reply\":\"451 4.7.1 too "
	    "busy\"},{\"what\":\"reply\",\"provider\":\"google\",\"at_s\":"
	    "600,\"for_s\":5000,\"reply\":\"550 5.7.28 unusual rate\"}]",
	    ALL(13, 14), "hold", 14 },
	{ "a relay whose account is throttled, then used up",
	    "\"transport\":\"relay\",\"account_rate\":\"50/s\",\"dispatchers\":2,\"providers\":"
	    "\"unlimited\",\"campaigns\":[{\"lanes\":{\"google\":60000}}],\"faults\":[{\"what\":"
	    "\"reply\",\"at_s\":300,\"for_s\":30,\"percent\":30,\"reply\":\"454 4.7.0 Throttling "
	    "failure: Maximum sending rate "
	    "exceeded.\"},{\"what\":\"reply\",\"at_s\":900,\"for_s\":30,"
	    "\"reply\":\"454 4.7.0 Throttling failure: Daily message quota exceeded.\"}]",
	    ALL(13, 14), "cut", 13 },
	{ "greylisting of a whole list, full mailboxes",
	    "\"dispatchers\":2,\"campaigns\":[{\"lanes\":{\"google\":30000,\"tail-00\":2000}}],"
	    "\"behaviour\":{\"providers\":{\"google\":{\"greylist_s\":200}}},\"faults\":[{\"what\":"
	    "\"reply\",\"for_s\":200000,\"provider\":\"tail-00\",\"percent\":50,\"reply\":\"452 "
	    "4.2.2 "
	    "mailbox full\"}],\"settings\":{\"dispatcher.expire_after_s\":7200,"
	    "\"producer.expire_unsent_s\":7200}",
	    ALL(15), "budget", 15 },
	{ "retries before their time", NULL, ALL(15), "ladder", 15 },
	{ "nobody looks who is too old", NULL, ALL(15), "expiry", 15 },
	{ "quiet hours in four zones",
	    "\"account_rate\":\"2/"
	    "s\",\"dispatchers\":2,\"providers\":\"unlimited\",\"campaigns\":[{"
	    "\"quiet_hours\":\"21:00-08:00\",\"lanes\":{\"google\":30000,\"ny\":{\"count\":20000,"
	    "\"group\":\"yahoo\",\"zone\":\"America/New_York\"},\"docomo\":9000,\"pa\":{\"count\":"
	    "10000,\"zone\":\"Europe/Paris\"}}}],\"settings\":{\"dispatcher.expire_after_s\":"
	    "\"604800\"}",
	    ALL(5, 17), NULL, 0 },
	{ "a planner that is away for an hour",
	    "\"account_rate\":\"20/"
	    "s\",\"campaigns\":[{\"lanes\":{\"google\":30000}}],\"providers\":"
	    "\"unlimited\",\"faults\":[{\"what\":\"planner_down\",\"at_s\":600,\"for_s\":3600}]",
	    ALL(16), NULL, 0 },
	{ "strict groups over the hour, while Redis loses its clocks",
	    "\"account_rate\":\"4/s\",\"dispatchers\":2,\"campaigns\":[{\"lanes\":{"
	    "\"docomo\":5000,\"softbank\":2500,\"google\":9500,\"tail-00\":1000}}],\"faults\":[{"
	    "\"what\":\"redis_lost\",\"at_s\":3100}]",
	    ALL(2, 5, 6, 7, 8, 20), "guard_plan", 6 },
	{ "others take what a guard leaves free", NULL, ALL(7), "closed_share", 7 },
	{ "hosts whose clocks are a minute off",
	    "\"account_rate\":\"3/s\",\"dispatchers\":3,\"campaigns\":[{\"lanes\":{"
	    "\"docomo\":1500,\"softbank\":1500,\"au\":1000,\"ymobile\":1000,\"google\":5000}}],"
	    "\"behaviour\":{\"clock_off_s\":[60,-180]}",
	    ALL(2, 5), "clock", 5 },
	{ "a planner that was replaced and does not know it",
	    "\"account_rate\":\"20/s\",\"dispatchers\":2,\"campaigns\":[{\"lanes\":{"
	    "\"google\":9000,\"apple\":3000}}],\"faults\":[{\"what\":\"old_planner\",\"at_s\":330}"
	    "]",
	    ALL(2, 8), "generation", 2 },
	{ "a group that the table does not have any more",
	    "\"account_rate\":\"5/s\",\"campaigns\":[{\"lanes\":{\"google\":3000,"
	    "\"apple\":1000}}],\"faults\":[{\"what\":\"group_gone\",\"provider\":\"google\","
	    "\"at_s\":300}]",
	    ALL(1, 2), NULL, 0 },
	{ "three campaigns and single mails",
	    "\"dispatchers\":2,\"account_rate\":\"40/"
	    "s\",\"providers\":\"unlimited\",\"guard\":\"off\","
	    "\"campaigns\":[{\"weight\":5,\"lanes\":{\"google\":30000,\"yahoo-jp\":15000}},{"
	    "\"weight\":3,\"lanes\":{\"google\":27000}},{\"weight\":2,\"lanes\":{\"apple\":18000}},"
	    "{"
	    "\"name\":\"single\",\"class\":\"transactional\",\"arrive\":\"1/s\",\"lanes\":{"
	    "\"default\":1500}}]",
	    ALL(2, 10, 11), "weights", 11 },
	{ "a quota that was used up before the start",
	    "\"quota_24h\":2000,\"quota_used\":2500,\"campaigns\":[{\"lanes\":{\"google\":900,"
	    "\"docomo\":600}}],\"settings\":{\"dispatcher.expire_after_s\":\"604800\"}",
	    ALL(4), "quota", 4 },
};

static void
play(const char *members, const char *leave_out, struct rehearsal *result)
{
	struct rehearsal_hooks hooks = { 0 };
	struct scenario s;
	struct err err = { 0 };
	char path[] = "/tmp/kairan-rehearsal.XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	int loaded;

	assert_non_null(f);
	fprintf(f, "{\"name\":\"trial\",%s%s", strstr(members, "\"start\"") != NULL ? "" : START,
	    members);
	if (leave_out != NULL)
		fprintf(f, ",\"leave_out\":[\"%s\"]", leave_out);
	fputs("}", f);
	assert_int_equal(fclose(f), 0);
	loaded = scenario_load(&s, path, &err);
	(void)unlink(path);
	if (loaded < 0 || rehearsal_play(&s, &hooks, result, &err) < 0)
		fail_msg("%s", err.msg);
	rehearsal_release(result);
	scenario_release(&s);
}

static void
test_every_rule_holds(void **state)
{
	struct rehearsal *r = calloc(1, sizeof(*r));

	(void)state;
	assert_non_null(r);
	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
		const struct trial *t = &trials[i];

		if (t->members == NULL)
			continue;
		play(t->members, NULL, r);
		for (int k = 0; k < REFEREE_RULES; k++)
			if (r->rules[k].broken > 0)
				fail_msg("%s: rule %d: %s", t->name, k + 1, r->rules[k].first);
		for (const int *rule = t->rules; *rule > 0; rule++)
			if (r->rules[*rule - 1].checked == 0)
				fail_msg("%s: rule %d was not looked at", t->name, *rule);
		for (size_t k = 0; k < r->run_count; k++) {
			bool paused = r->runs[k].canary != NULL &&
			    strcmp(r->runs[k].canary, "fared well") != 0;

			assert_int_equal(r->runs[k].open > 0, paused);
		}
	}
	free(r);
}

static void
test_canaries_are_judged(void **state)
{
	struct rehearsal *r = calloc(1, sizeof(*r));

	(void)state;
	assert_non_null(r);
	play(of_canaries, NULL, r);
	assert_string_equal(r->runs[0].canary, "fared well");
	assert_string_equal(r->runs[1].canary, "dead addresses");
	assert_string_equal(r->runs[2].canary, "refused, deferred or left in doubt");
	assert_int_equal(r->runs[0].open, 0);
	assert_int_equal(r->runs[1].sent + r->runs[1].failed, 400);
	assert_int_equal(r->runs[2].open, 2000);
	free(r);
}

static void
test_what_is_left_out_is_noticed(void **state)
{
	struct rehearsal *r = calloc(1, sizeof(*r));
	const char *members = NULL;

	(void)state;
	assert_non_null(r);
	for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
		const struct trial *t = &trials[i];

		members = t->members != NULL ? t->members : members; /* as the one before */
		if (t->leave_out == NULL)
			continue;
		play(members, t->leave_out, r);
		if (r->rules[t->broken - 1].broken == 0)
			fail_msg(
			    "%s: rule %d holds without '%s'", t->name, t->broken, t->leave_out);
	}
	free(r);
}

/* Who is refused for good stops everything, until an operator acts. */
static void
test_stop_ends_it(void **state)
{
	struct rehearsal *r = calloc(1, sizeof(*r));

	(void)state;
	assert_non_null(r);
	play("\"dispatchers\":2,\"campaigns\":[{\"lanes\":{\"yahoo\":3000}}],\"faults\":[{\"what\":"
	     "\"reply\",\"provider\":\"yahoo\",\"at_s\":60,\"for_s\":900,\"reply\":\"553 5.7.1 "
	     "[TS03] "
	     "deferred permanently\"}]",
	    NULL, r);
	assert_in_range(r->sent, 400, 700);
	assert_int_equal(r->sent + r->open, 3000);
	assert_true(r->rules[13].checked > 0 && r->rules[13].broken == 0);
	free(r);
}

/* ---- the referee by itself: limits that no scenario can break ---- */

static void
test_referee_sees(void **state)
{
	const struct referee_run run = { .class = SHARE_BULK, .weight = 1, .plain = true };
	const struct referee_destination destinations[] = { { .name = "d", .cap_per_s = 1 },
		{ .name = "account", .is_account = true } };
	uint64_t waiting = 0;
	struct referee_terms t = { .start = 86400e6 * 100,
		.account_per_s = 2,
		.recipients = 9,
		.runs = 1,
		.destinations = 2,
		.dispatchers = 1,
		.run = &run,
		.destination = destinations,
		.waiting = &waiting,
		.active_s = 86400 };
	struct referee *f = referee_new(&t, 1);
	struct referee_leave l = { .now = t.start, .permit = t.start, .began = t.start };

	(void)state;
	assert_non_null(f);
	referee_leave(f, &l);
	assert_int_equal(referee_rule(f, 2)->broken, 0);
	l.recipient = 1;
	l.now = l.permit = t.start + 0.6e6; /* the account lets it, the destination does not */
	referee_leave(f, &l);
	assert_int_equal(referee_rule(f, 2)->broken, 1);
	l.recipient = 2;
	l.now = l.permit = t.start + 0.7e6;
	referee_leave(f, &l);
	assert_int_equal(referee_rule(f, 2)->broken, 3);
	/* behind the last calendar */
	l.recipient = 3;
	l.now = l.permit = t.start + 902e6;
	referee_leave(f, &l);
	assert_int_equal(referee_rule(f, 16)->broken, 1);
	/* a day of a warm-up that goes out at once */
	referee_warmup(f, 300, l.now);
	for (int i = 0; i < 301; i++)
		referee_leave(f, &l);
	referee_warmup(f, 1000, l.now + 86400e6);
	assert_true(referee_rule(f, 12)->broken >= 2);
	/* two cuts of one minute, and a recovery above the limit */
	referee_limit(f, 0, 0.9, l.now);
	referee_limit(f, 0, 0.5, l.now + 30e6);
	referee_limit(f, 0, 1.5, l.now + 300e6);
	assert_int_equal(referee_rule(f, 13)->broken, 2);
	/* a forecast that is six per cent off */
	t.account_per_s = 0;
	referee_free(f);
	f = referee_new(&t, 1);
	referee_finish(f, 9, t.start + 106e6, t.start + 100e6);
	assert_int_equal(referee_rule(f, 17)->broken, 1);
	referee_free(f);
}

/* ---- the referee by itself: how even it is, and what that costs ---- */

static void
leave_at(struct referee *f, size_t destination, double at)
{
	referee_leave(f,
	    &(struct referee_leave){
		.now = at, .permit = at, .destination = destination, .began = at });
}

/* So many to a destination within a minute. */
static void
minute_of(struct referee *f, size_t destination, double at, int n)
{
	for (int i = 0; i < n; i++)
		leave_at(f, destination, at + i * 60e6 / n);
}

static void
test_referee_sees_rises(void **state)
{
	static struct zone utc;
	const struct referee_run run = { .class = SHARE_BULK, .weight = 1, .plain = true };
	const struct referee_destination destinations[] = {
		{ .name = "closes", .guard = GUARD_STRICT, .zone = &utc, .lanes = 1 },
		{ .name = "open", .zone = &utc, .lanes = 1 },
		{ .name = "account", .is_account = true }
	};
	const uint64_t waiting[3] = { 1, 1, 0 };
	const double hour = 3600e6 * 2400;
	struct referee_terms t = { .start = hour + 11 * 60e6,
		.recipients = 9,
		.runs = 1,
		.destinations = 3,
		.dispatchers = 1,
		.run = &run,
		.destination = destinations,
		.waiting = waiting,
		.waiting_at = waiting,
		.even = true,
		.active_s = 86400 };
	struct referee *f;

	(void)state;
	zone_utc(&utc);
	for (int rush = 0; rush <= 1; rush++) {
		f = referee_new(&t, 1);
		assert_non_null(f);
		for (int minute = 11; minute < 85; minute++) {
			if (minute < 52 || minute >= 68)
				minute_of(f, 0, hour + minute * 60e6,
				    rush == 1 && minute == 69 ? 70 : 60);
			minute_of(f, 1, hour + minute * 60e6, rush == 1 && minute == 61 ? 70 : 60);
		}
		for (int rule = 6; rule <= 7; rule++) {
			assert_true(referee_rule(f, rule)->checked > 5);
			assert_int_equal(referee_rule(f, rule)->broken, rush);
		}
		referee_free(f);
	}
}

static void
test_referee_sees_lines_and_calls(void **state)
{
	const struct referee_run run = { .class = SHARE_BULK, .weight = 1, .plain = true };
	const struct referee_destination destinations[] = { { .name = "d" },
		{ .name = "account", .is_account = true } };
	const uint64_t waiting[2] = { 1, 0 };
	struct referee_terms t = { .start = 86400e6 * 100,
		.recipients = 9,
		.runs = 1,
		.destinations = 2,
		.dispatchers = 1,
		.run = &run,
		.destination = destinations,
		.waiting = waiting,
		.lines = true,
		.active_s = 86400 };
	const struct admission_row row = { t.start - 60e6, t.start + 900e6, 1e6 };
	struct referee *f = referee_new(&t, 1);

	(void)state;
	assert_non_null(f);
	referee_calendar(f, 0, 0, &row, 1, t.start);
	referee_publish(f, t.start);
	for (int i = 0; i < 100; i++)
		leave_at(f, 0, t.start + (i + 0.5) * 1e6);
	assert_int_equal(referee_rule(f, 8)->checked, 99);
	assert_int_equal(referee_rule(f, 8)->broken, 0);
	leave_at(f, 0, t.start + 102.5e6); /* two messages late */
	assert_int_equal(referee_rule(f, 8)->broken, 1);
	/* a pause draws it anew */
	referee_unused(f, 0, t.start + 103e6);
	leave_at(f, 0, t.start + 110e6);
	assert_int_equal(referee_rule(f, 8)->checked, 100);
	/* two calls a second, then ten */
	for (int i = 0; i <= 120; i++)
		referee_call(f, 1, t.start + i * 0.5e6);
	assert_true(referee_rule(f, 20)->checked == 1 && referee_rule(f, 20)->broken == 0);
	for (int i = 0; i <= 600; i++)
		referee_call(f, 1, t.start + 60e6 + i * 0.1e6);
	assert_true(referee_rule(f, 20)->checked == 2 && referee_rule(f, 20)->broken == 1);
	referee_free(f);
}

/* ---- what must not matter ---- */

/* Dispatchers ask by chance a little earlier or later. */
static bool
is_near(uint64_t x, uint64_t y)
{
	return fabs((double)x - (double)y) <= 0.02 * (double)y;
}

static void
test_order_of_lanes_changes_nothing(void **state)
{
	static const char *const orders[] = { "\"docomo\":2500,\"google\":6000,\"site\":800,"
					      "\"apple\":2000,\"yahoo-jp\":3000,\"other\":800",
		"\"other\":800,\"yahoo-jp\":3000,\"apple\":2000,\"site\":800,\"google\":6000,"
		"\"docomo\":2500",
		"\"apple\":2000,\"other\":800,\"docomo\":2500,\"yahoo-jp\":3000,\"google\":6000,"
		"\"site\":800" };
	struct rehearsal *first = calloc(1, sizeof(*first)), *r = calloc(1, sizeof(*r));
	char members[400];

	(void)state;
	assert_non_null(first);
	assert_non_null(r);
	for (int i = 0; i < 3; i++) {
		(void)snprintf(members, sizeof(members),
		    "\"account_rate\":\"5/s\",\"dispatchers\":2,\"campaigns\":[{\"lanes\":{%s}}]",
		    orders[i]);
		play(members, NULL, i == 0 ? first : r);
		if (i == 0)
			continue;
		assert_true(r->sent == first->sent && r->tries == first->tries);
		assert_true(r->deferred == 0 && r->given_back == 0 && r->open == 0);
		assert_true(fabs(r->finish - first->finish) <=
		    0.005 * (first->finish - first->runs[0].began));
		assert_true(is_near(r->calls, first->calls));
		for (int k = 0; k < REFEREE_RULES; k++) {
			assert_int_equal(r->rules[k].broken, 0);
			assert_true(is_near(r->rules[k].checked, first->rules[k].checked));
		}
	}
	free(first);
	free(r);
}

/* ---- what `campaign plan` says of a canary that waits into the night ---- */

static struct policy *
policy_of(struct config *c, const char *rate)
{
	struct err err = { 0 };
	struct policy *p = NULL;

	assert_int_equal(config_defaults(c, &err), 0);
	if (config_set(c, "pace.account_rate", rate, &err) < 0 ||
	    config_set(c, "pace.group_limits", "no", &err) < 0 || (p = policy_new(c, &err)) == NULL)
		fail_msg("%s", err.msg);
	return p;
}

static void
test_forecast_of_a_canary_at_night(void **state)
{
	static const double canaries[] = { 500, 3000 };
	struct rehearsal *r = calloc(1, sizeof(*r));
	struct config c;
	struct err err = { 0 };
	struct policy *p = policy_of(&c, "1/s");
	const struct providers *table = policy_providers(p);
	struct forecast_list lists[] = { { .name = "google",
					     .group = providers_find(table, SLICE("google")),
					     .count = 6000,
					     .zone = policy_zone_named(p, "Asia/Tokyo", &err) },
		{ .name = "docomo",
		    .group = providers_find(table, SLICE("docomo")),
		    .count = 2000,
		    .zone = policy_zone_named(p, "Asia/Tokyo", &err) },
		{ .name = "pa",
		    .group = providers_unknown(table),
		    .count = 2000,
		    .zone = policy_zone_named(p, "Europe/Paris", &err) } };
	struct run_forecast f = { .policy = p,
		.canary_wait_s = 7200,
		.quiet_from = 21 * 60,
		.quiet_till = 8 * 60,
		.dispatchers = 2,
		.lists = lists,
		.count = 3 };
	char members[700];
	int32_t east;

	(void)state;
	assert_non_null(r);
	assert_int_equal(scenario_time(&f.start, &east, "2026-11-24T18:31:00+09:00", &err), 0);
	for (size_t i = 0; i < sizeof(canaries) / sizeof(canaries[0]); i++) {
		f.canary = canaries[i];
		if (run_forecast_make(&f, &err) < 0)
			fail_msg("%s", err.msg);
		(void)snprintf(members, sizeof(members),
		    "\"start\":\"2026-11-24T18:31:00+09:00\",\"account_rate\":\"1/s\","
		    "\"dispatchers\":2,\"providers\":\"unlimited\",\"campaigns\":[{"
		    "\"quiet_hours\":\"21:00-08:00\",\"canary\":%.0f,\"canary_wait_s\":7200,"
		    "\"lanes\":{\"google\":6000,\"docomo\":2000,\"pa\":{\"count\":2000,"
		    "\"zone\":\"Europe/Paris\"}}}],\"settings\":{"
		    "\"dispatcher.expire_after_s\":\"604800\"}",
		    f.canary);
		play(members, NULL, r);
		assert_int_equal(r->open, 0);
		for (int k = 0; k < REFEREE_RULES; k++)
			if (r->rules[k].broken > 0)
				fail_msg("rule %d: %s", k + 1, r->rules[k].first);
		assert_true(r->rules[7].checked > 0 && r->rules[16].checked > 0);
		if (fabs(f.p50 - r->finish) > 0.05 * (r->finish - f.start))
			fail_msg("a canary of %.0f: foreseen %.0f s, came %.0f s", f.canary,
			    (f.p50 - f.start) / 1e6, (r->finish - f.start) / 1e6);
		assert_true(f.others >= f.start + 7200e6 && f.p90 >= f.p50);
	}
	run_forecast_release(&f);
	policy_free(p);
	config_release(&c);
	free(r);
}

static double
two_a_second(void *ctx, uint32_t lane, double at)
{
	const double *till = ctx;

	return lane == 0 && at < *till ? 2 : 0;
}

/* 2/s: in pairs once a second an even stream in windows of a second, in fours every other second one
 * of variance 4. */
static void
test_lane_figures(void **state)
{
	struct scenario_lane lanes[2] = { { .count = 1000 }, { .count = 1 } };
	struct scenario s = { .lanes = lanes, .lane_count = 2, .start = 100 * 24 * HOUR_US };
	double till = s.start + 240e6;

	(void)state;
	for (int together = 1; together <= 2; together++) {
		struct zone utc;
		struct lane_figures f;
		const struct lane_figure *l;

		zone_utc(&utc);
		lanes[0].zone = lanes[1].zone = &utc;
		assert_true(lane_figures_init(&f, &s));
		f.rate = two_a_second;
		f.ctx = &till;
		for (int i = 0; i < 480; i++)
			lane_figures_take(
			    &f, 0, s.start + floor(i / 2.0 / together) * together * 1e6 + 5e5);
		lane_figures_pass(&f, till + 60e6);
		lane_figures_take(&f, 1, till + 60e6);
		l = &f.lanes[0];
		assert_int_equal(l->sent, 480);
		assert_int_equal(l->run, 480);
		assert_int_equal(l->near_hour[0], 120);
		assert_int_equal(l->near_hour[3], 120);
		assert_float_equal(
		    lane_figures_burst(&l->windows[FIGURES_1S]), together == 1 ? 0 : 2, 0.02);
		assert_float_equal(lane_figures_burst(&l->windows[FIGURES_60S]), 0, 1e-9);
		assert_float_equal(
		    lane_figures_peak_to_mean(&l->windows[FIGURES_1S]), together, 0.01);
		assert_int_equal((int)l->windows[FIGURES_60S].n, 3);
		assert_int_equal(f.lanes[1].run, 1);
		assert_true(lane_figures_burst(&f.lanes[1].windows[FIGURES_1S]) == 0);
		lane_figures_release(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lane_figures),
		cmocka_unit_test(test_every_rule_holds),
		cmocka_unit_test(test_canaries_are_judged),
		cmocka_unit_test(test_what_is_left_out_is_noticed),
		cmocka_unit_test(test_stop_ends_it),
		cmocka_unit_test(test_referee_sees),
		cmocka_unit_test(test_referee_sees_rises),
		cmocka_unit_test(test_referee_sees_lines_and_calls),
		cmocka_unit_test(test_order_of_lanes_changes_nothing),
		cmocka_unit_test(test_forecast_of_a_canary_at_night),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
