/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario: what `kairan simulate` refuses, each with a sentence that names it, and how files of domains
 * become lanes. In the texts ' stands for ".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scenario.h"

static char folder[] = "/tmp/kairan-scenario.XXXXXX";

static int
write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	if (file == NULL)
		return -1;
	for (; *text != '\0'; text++)
		(void)fputc(*text == '\'' ? '"' : *text, file);
	return fclose(file);
}

static int
make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) != NULL ? chdir(folder) : -1;
}

static int
remove_folder(void **state)
{
	static const char *const names[] = { "s.json", "d.txt", "p.tsv" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unlink(names[i]);
	return rmdir(folder);
}

static int
load(struct scenario *s, const char *text, struct err *err)
{
	assert_int_equal(write_file("s.json", text), 0);
	return scenario_load(s, "s.json", err);
}

static void
check_refused(const char *text, const char *says)
{
	struct err err = { 0 };
	struct scenario s;

	if (load(&s, text, &err) == 0)
		fail_msg("taken: %s", text);
	if (strstr(err.msg, says) == NULL)
		fail_msg("%s: %s", text, err.msg);
	scenario_release(&s);
}

/* Members beside one lane. */
static void
test_refusals(void **state)
{
	static const struct {
		const char *members, *says;
	} cases[] = {
		{ "'nam':'x'", "a scenario has no key 'nam'" },
		{ "'name':1", "name is a text" },
		{ "'start':'2026-11-24'", "write 2026-11-24T09:58:00+09:00" },
		{ "'start':'2026-11-24T09:58:00'", "needs its offset" },
		{ "'start':'2026-11-24T09:58+0900'", "needs its offset" },
		{ "'start':'2025-11-24T09:58:00Z'", "from 2026 to 2099" },
		{ "'start':'2026-13-24T09:58:00Z'", "from 2026 to 2099" },
		{ "'start':'2026-11-24T24:00:00Z'", "from 2026 to 2099" },
		{ "'start':'2026-02-29T09:58:00Z'", "from 2026 to 2099" },
		{ "'start':'2026-02-31T09:58:00Z'", "from 2026 to 2099" },
		{ "'start':'2026-04-31T09:58:00Z'", "from 2026 to 2099" },
		{ "'start':'2026-11-24T09:58:00+09:00x'", "from 2026 to 2099" },
		{ "'zone':'../../etc/passwd'", "is no time zone" },
		{ "'zone':'/etc/passwd'", "is no time zone" },
		{ "'zone':'Asia/Nowhere'", "there is no time zone" },
		{ "'account_rate':'fast'", "rate" },
		{ "'account_rate':5", "account_rate is a text" },
		{ "'quota_24h':0", "quota_24h is a number from 1" },
		{ "'quota_used':'x'", "quota_used is a number" },
		{ "'dispatchers':65", "dispatchers is a number from 1 to 64" },
		{ "'seed':-1", "seed is a number" },
		{ "'mode':'slow'", "mode is together, asap, or window" },
		{ "'mode':'window'", "with window_h in hours" },
		{ "'mode':'asap','window_h':3", "window_h is of mode window" },
		{ "'window_h':3", "window_h is of mode window" },
		{ "'domains':'d.txt'", "leave one out" },
		{ "'mode':'window','window_h':0", "window_h is a number" },
		{ "'open_hours':'8-21'", "open_hours is written as" },
		{ "'open_hours':'08:00-21:00x'", "open_hours is written as" },
		{ "'open_hours':'08:00-25:00'", "open_hours is written as" },
		{ "'open_hours':'24:59-09:00'", "open_hours is written as" },
		{ "'guard':'on'", "guard is default or off" },
		{ "'providers':'none.tsv'", "cannot read none.tsv" },
		{ "'providers':1", "providers is a text" },
		{ "'behaviour':1", "behaviour is an object" },
		{ "'behaviour':{'latency':1}", "behaviour has no key 'latency'" },
		{ "'behaviour':{'guard_lead_s':61}", "guard_lead_s is a number from 0 to 60" },
		{ "'behaviour':{'latency_ms':0}", "latency_ms is a number" },
		{ "'behaviour':{'clock_off_s':1}", "clock_off_s is an array" },
		{ "'behaviour':{'clock_off_s':[1,2]}", "one for each dispatcher" },
		{ "'behaviour':{'clock_off_s':['x']}", "from -86400 to 86400" },
		{ "'behaviour':{'clock_off_s':[86401]}", "from -86400 to 86400" },
		{ "'behaviour':{'providers':{'google':1}}",
		    "behaviour.providers.google is an object" },
		{ "'behaviour':{'providers':{'google':{'speed':1}}}", "google has no key 'speed'" },
		{ "'behaviour':{'providers':{'google':{'rate':'x'}}}", "rate" },
		{ "'behaviour':{'providers':{'google':{'too_many':'nonsense'}}}", "nonsense" },
		{ "'behaviour':{'providers':{'google':{'unknown_percent':101}}}", "from 0 to 100" },
		{ "'faults':{'what':'redis_lost'}", "faults is an array" },
		{ "'faults':[1]", "a fault's what is" },
		{ "'faults':[{'what':'fire'}]", "a fault's what is" },
		{ "'faults':[{'what':'redis_lost','at':3}]", "a fault has no key 'at'" },
		{ "'faults':[{'what':'redis_lost','at_s':-1}]", "at_s is a number" },
		{ "'faults':[{'what':'dispatcher_crash','dispatcher':1}]",
		    "dispatcher is a number" },
		{ "'faults':[{'what':'group_gone','provider':'x'}]", "there is no group 'x'" },
		{ "'faults':[{'what':'group_gone','provider':1}]", "provider is a text" },
		{ "'faults':[{'what':'reply','reply':'x'}]", "x" },
		{ "'faults':[{'what':'reply','reply':'421 no','for':1}]", "no key 'for'" },
		{ "'faults':[{'what':'reply','reply':'421 no','percent':200}]",
		    "percent is a number" },
		{ "'settings':1", "settings is an object" },
		{ "'settings':{'pace.mode':[]}", "pace.mode is a text or a number" },
		{ "'settings':{'pace.none':'x'}", "pace.none" },
		{ "'settings':{'dispatcher.batch':0}", "dispatcher.batch" },
		{ "'warmup':1", "warmup is an object" },
		{ "'warmup':{'days':1}", "warmup has no key 'days'" },
		{ "'warmup':{'day':-1}", "day is a number" },
		{ "'transport':'pigeon'", "transport is mx or relay" },
		{ "'transport':1", "transport is a text" },
		{ "'leave_out':'quota'", "leave_out is an array" },
		{ "'leave_out':['all']", "there is no rule 'all'" },
		{ "'leave_out':[1]", "there is no rule ''" },
	};
	char text[400];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		(void)snprintf(text, sizeof(text), "{'lanes':{'google':1},%s}", cases[i].members);
		check_refused(text, cases[i].says);
	}
}

static void
test_refused_lanes(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "", "s.json, line 1" },
		{ "[]", "a scenario is a JSON object" },
		{ "{'name':'a','name':'b'}", "duplicate" },
		{ "{}", "a scenario needs domains" },
		{ "{'lanes':1}", "a scenario needs domains" },
		{ "{'lanes':{}}", "no recipients" },
		{ "{'lanes':{'google':0}}", "no recipients" },
		{ "{'lanes':{'google':-1}}", "the count is a number from 0" },
		{ "{'lanes':{'google':{}}}", "the count is a number from 0" },
		{ "{'lanes':{'x':{'count':1,'sort':2}}}", "a lane has no key 'sort'" },
		{ "{'lanes':{'x':{'count':1,'group':'gmail'}}}", "there is no group 'gmail'" },
		{ "{'lanes':{'x':{'count':1,'group':1}}}", "group is a text" },
		{ "{'lanes':{'x':{'count':1,'zone':1}}}", "zone is a text" },
		{ "{'lanes':{'x':{'count':1,'zone':'No/where'}}}", "there is no time zone" },
		{ "{'lanes':{'a b':1}}", "a lane's name is a word" },
		{ "{'lanes':{'x':99999999999}}", "more than" },
		{ "{'lanes':{'x':20000001},'warmup':{}}", "more than 20000000 recipients" },
		{ "{'domains':'none.txt'}", "cannot read none.txt" },
		{ "{'domains':'d.txt','campaigns':[]}", "leave out domains" },
		{ "{'lanes':{'x':1},'campaigns':[]}", "leave out lanes" },
		{ "{'campaigns':{}}", "campaigns is an array" },
		{ "{'campaigns':[]}", "no recipients" },
		{ "{'campaigns':[{}]}", "campaign campaign-1 needs lanes" },
		{ "{'campaigns':[{'lanes':{'x':-1}}]}", "the count is a number" },
		{ "{'campaigns':[{'lane':{}}]}", "a campaign has no key 'lane'" },
		{ "{'campaigns':[{'class':'urgent'}]}", "class is transactional" },
		{ "{'campaigns':[{'quiet_hours':'9-5'}]}", "quiet_hours is written as" },
		{ "{'campaigns':[{'quiet_hours':'21:00-08:00.'}]}", "quiet_hours is written as" },
		{ "{'campaigns':[{'stream_rate':'x'}]}", "rate" },
		{ "{'campaigns':[{'arrive':'x'}]}", "rate" },
		{ "{'campaigns':[{'weight':0}]}", "weight is a number from 1 to 100" },
		{ "{'campaigns':[{'zone':'No/where'}]}", "there is no time zone" },
		{ "{'campaigns':[{'name':1}]}", "name is a text" },
		{ "{'campaigns':[{'arrive':'1/s','canary':5}]}", "what arrives has no canary" },
		{ "{'campaigns':[{'arrive':'1/s'}]}", "arrive is of class transactional" },
	};

	(void)state;
	assert_int_equal(write_file("d.txt", "gmail.com 5\n"), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_refused(cases[i].text, cases[i].says);
}

static void
test_limits(void **state)
{
	char *text = calloc(1, 200000), *at;

	(void)state;
	at = text + sprintf(text, "{'lanes':{'google':1},'faults':[");
	for (int i = 0; i <= SCENARIO_FAULTS_MAX; i++)
		at += sprintf(at, "%s{'what':'redis_lost'}", i > 0 ? "," : "");
	(void)sprintf(at, "]}");
	check_refused(text, "more than 64 faults");
	at = text + sprintf(text, "{'lanes':{'google':1},'faults':[");
	for (int i = 0; i <= SCENARIO_MOODS_MAX; i++)
		at += sprintf(at, "%s{'what':'reply','reply':'421 no'}", i > 0 ? "," : "");
	(void)sprintf(at, "]}");
	check_refused(text, "more than 64 faults of replies");
	at = text + sprintf(text, "{'lanes':{");
	for (int i = 0; i <= SCENARIO_LANES_MAX; i++)
		at += sprintf(at, "%s'l%d':1", i > 0 ? "," : "", i);
	(void)sprintf(at, "}}");
	check_refused(text, "more than 4096 lanes");
	free(text);
}

/* ---- files of domains ---- */

static void
test_refused_domains(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = { { "# nobody\n\n", "no recipients" },
		{ "gmail.com", "domains, line 1: expected" },
		{ "x.example 1\ngmail.com 1e3\n", "domains, line 2: the count is no number" },
		{ "gmail.com 1234567890", "domains, line 1: expected" },
		{ "gmail.com 0\n", "no recipients" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(write_file("d.txt", cases[i].text), 0);
		check_refused("{'domains':'d.txt'}", cases[i].says);
	}
}

static const struct scenario_lane *
lane_of(const struct scenario *s, const char *domain)
{
	for (size_t i = 0; i < s->domain_count; i++)
		if (strcmp(s->domains[i].name, domain) == 0)
			return &s->lanes[s->domains[i].lane];
	fail_msg("no domain %s", domain);
	return NULL;
}

/* Domains of one provider share its lane, a large one of nobody's has its own, the small ones share tails. */
static void
test_lanes_of_domains(void **state)
{
	struct err err = { 0 };
	struct scenario s;
	uint64_t sum = 0;

	(void)state;
	assert_int_equal(write_file("d.txt",
			     "# domain count\ngmail.com 500000\ngooglemail.com\t30\n"
			     "  large.example 400000\nsmall.example 3\nnone.example 0"),
	    0);
	if (load(&s, "{'domains':'d.txt'}", &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(s.domain_count, 4);
	assert_int_equal(s.messages, 900033);
	assert_ptr_equal(lane_of(&s, "gmail.com"), lane_of(&s, "googlemail.com"));
	assert_string_equal(lane_of(&s, "gmail.com")->name, "google");
	assert_int_equal(lane_of(&s, "gmail.com")->count, 500030);
	assert_string_equal(lane_of(&s, "large.example")->name, "large.example");
	assert_int_equal(strncmp(lane_of(&s, "small.example")->name, "tail-", 5), 0);
	/* the rate of one site is no limit for all of a tail */
	assert_true(lane_of(&s, "large.example")->cap_per_s > 0);
	assert_true(lane_of(&s, "small.example")->cap_per_s <= 0);
	for (size_t i = 0; i < s.lane_count; i++)
		sum += s.lanes[i].count;
	assert_int_equal(sum, s.messages);
	scenario_release(&s);
}

static void
test_what_is_taken(void **state)
{
	struct err err = { 0 };
	struct scenario s;

	(void)state;
	if (load(&s,
		"{'campaigns':[{'lanes':{'google':{'count':5,'group':'google','zone':'UTC'}},"
		"'quiet_hours':'21:00-08:00','canary':2},{'class':'transactional','arrive':'1/s',"
		"'lanes':{'x':1}}],'warmup':{},'transport':'relay','leave_out':['once'],'guard':'"
		"off',"
		"'providers':'unlimited','settings':{'dispatcher.batch':8,'pace.mode':'asap'},"
		"'behaviour':{'providers':{'google':{'rate':'5/s','connections':3}}},"
		"'faults':[{'what':'reply','reply':'421 4.7.0 "
		"no','at_s':10,'for_s':5,'percent':50}]}",
		&err) < 0)
		fail_msg("%s", err.msg);
	assert_true(s.rehearsed && s.is_relay && s.guard_off);
	assert_int_equal(s.omit, OMIT_ONCE);
	assert_int_equal(s.run_count, 2);
	assert_int_equal(s.runs[0].quiet_from, 21 * 60);
	assert_int_equal(s.runs[1].class, SHARE_URGENT);
	assert_int_equal(s.config.dispatcher_batch, 8);
	assert_int_equal(s.mood_count, 1);
	assert_true(s.moods[0].mood.till > 14.9e6 && s.moods[0].mood.till < 15.1e6);
	assert_int_equal(s.providers[0].manners.connections, 3);
	assert_int_equal(s.lanes[0].limiter, -1);
	scenario_release(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_refused_lanes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_refused_domains),
		cmocka_unit_test(test_lanes_of_domains),
		cmocka_unit_test(test_what_is_taken),
	};

	return cmocka_run_group_tests_name("scenario", tests, make_folder, remove_folder);
}
