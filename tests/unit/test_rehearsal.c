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
	    "\"dispatchers\":3,\"account_rate\":\"50/"
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
	fprintf(f, "{\"name\":\"trial\"," START "%s", members);
	if (leave_out != NULL)
		fprintf(f, ",\"leave_out\":[\"%s\"]", leave_out);
	fputs("}", f);
	assert_int_equal(fclose(f), 0);
	loaded = scenario_load(&s, path, &err);
	(void)unlink(path);
	if (loaded < 0 || rehearsal_play(&s, &hooks, result, &err) < 0)
		fail_msg("%s", err.msg);
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
		assert_int_equal(r->open, 0);
	}
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
	const struct referee_run run = { SHARE_BULK, 1, true };
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_rule_holds),
		cmocka_unit_test(test_what_is_left_out_is_noticed),
		cmocka_unit_test(test_stop_ends_it),
		cmocka_unit_test(test_referee_sees),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
