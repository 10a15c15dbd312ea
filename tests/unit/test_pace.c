/* SPDX-License-Identifier: Apache-2.0 */
/* pace: the order's bounds, provider table and its lints, rates, time zones, the hour guard. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "calendar.h"
#include "embed.h"
#include "interleave.h"
#include "providers.h"
#include "rate.h"
#include "zone.h"

static uint64_t
random_next(uint64_t *state)
{
	uint64_t x = (*state += 0x9e3779b97f4a7c15u);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* Recomputes the deviation of every lane at every prefix, and the longest run. */
static void
check_order(const uint64_t *counts, size_t lanes)
{
	struct lane_order *o = lane_order_new(counts, lanes);
	uint64_t given[64] = { 0 }, total = 0;
	double worst[64] = { 0 };
	int lane;

	assert_non_null(o);
	for (size_t i = 0; i < lanes; i++)
		total += counts[i];
	for (uint64_t t = 1; (lane = lane_order_next(o)) >= 0; t++) {
		given[lane]++;
		for (size_t i = 0; i < lanes; i++)
			worst[i] = fmax(worst[i],
			    fabs((double)given[i] - (double)t * (double)counts[i] / (double)total));
	}
	for (size_t i = 0; i < lanes; i++) {
		assert_true(given[i] == counts[i]);
		assert_true(worst[i] <= 1);
		assert_true(worst[i] <= lane_order_deviation(o, i) + 1e-9);
	}
	lane_order_free(o);
}

static void
test_every_lane_within_one_message(void **state)
{
	static const uint64_t equal[10] = { 7, 7, 7, 7, 7, 7, 7, 7, 7, 7 };
	static const uint64_t odd[] = { 1, 0, 1000, 1 }, two[] = { 3, 5 }, one[] = { 9 };
	uint64_t random = 1, counts[64];

	(void)state;
	check_order(equal, 10);
	check_order(odd, 4);
	check_order(two, 2);
	check_order(one, 1);
	for (int round = 0; round < 60; round++) {
		size_t lanes = random_next(&random) % 40 + 1;

		for (size_t i = 0; i < lanes; i++)
			counts[i] = random_next(&random) % (i % 4 == 0 ? 2000 : 60);
		counts[0]++;
		check_order(counts, lanes);
	}
}

static void
test_domains_are_spread(void **state)
{
	enum { DOMAINS = 3000 };
	struct interleave_domain *d = calloc(DOMAINS, sizeof(*d)), *r = calloc(DOMAINS, sizeof(*r));
	char(*names)[12] = calloc(DOMAINS, sizeof(*names));
	uint32_t lane, domain, which, lane2, domain2, which2, *next = calloc(DOMAINS, 4);
	size_t total = 0, n = 0, singles[10] = { 0 }, all = 0;
	struct interleave *a, *b;

	(void)state;
	assert_true(d != NULL && r != NULL && names != NULL && next != NULL);
	for (uint32_t i = 0; i < DOMAINS; i++) {
		(void)snprintf(names[i], 12, "d%05u", i * 7919 % DOMAINS);
		d[i] = (struct interleave_domain){ i % 3, i % 50 == 0 ? 100 : 1, names[i] };
		total += d[i].count;
	}
	for (uint32_t i = 0; i < DOMAINS; i++)
		r[i] = d[DOMAINS - 1 - i];
	a = interleave_new(d, DOMAINS, 3);
	b = interleave_new(r, DOMAINS, 3);
	while (interleave_next(a, &lane, &domain, &which)) {
		/* the order of the input changes nothing */
		assert_true(interleave_next(b, &lane2, &domain2, &which2));
		assert_int_equal(lane, lane2);
		assert_string_equal(d[domain].name, r[domain2].name);
		assert_int_equal(lane, d[domain].lane);
		assert_int_equal(which, next[domain]);
		next[domain]++;
		if (d[domain].count == 1) {
			singles[n * 10 / total]++;
			all++;
		}
		n++;
	}
	assert_int_equal(n, total);
	assert_false(interleave_next(b, &lane2, &domain2, &which2));
	for (int i = 0; i < 10; i++) /* domains of one recipient do not meet anywhere */
		assert_in_range(singles[i], all / 10 - all / 50, all / 10 + all / 50);
	interleave_free(a);
	interleave_free(b);
	free(d);
	free(r);
	free(names);
	free(next);
}

static const char *
group_of(const struct providers *p, const char *domain)
{
	int g = providers_of_domain(p, slice_str(domain));

	return g >= 0 ? providers_group(p, g)->name : "-";
}

static enum reaction
reaction_to(
    const struct providers *p, const char *group, int code, const char *enhanced, const char *text)
{
	return providers_reaction(
	    p, providers_find(p, slice_str(group)), code, slice_str(enhanced), slice_str(text))
	    .reaction;
}

static void
test_provider_table(void **state)
{
	struct err err = { 0 };
	struct providers *p =
	    providers_new(slice_str(embed_common_data_providers_tsv), slice_make(NULL, 0), &err);
	struct slice mx[] = { SLICE("ASPMX.L.google.com."), SLICE("alt1.aspmx.l.google.com") };

	(void)state;
	if (p == NULL)
		fail_msg("line %zu: %s", err.offset, err.msg);
	assert_string_equal(group_of(p, "Gmail.COM."), "google");
	assert_string_equal(group_of(p, "yahoo.co.jp"), "yahoo-jp");
	assert_string_equal(group_of(p, "yahoo.co.uk"), "yahoo");
	assert_string_equal(group_of(p, "yahoo.de"), "yahoo");
	assert_string_equal(group_of(p, "x.yahoo.a.b.c"), "-");
	assert_string_equal(group_of(p, "aa.so-net.ne.jp"), "so-net");
	assert_string_equal(group_of(p, "notso-net.ne.jp"), "-");
	assert_string_equal(group_of(p, "c.vodafone.ne.jp"), "softbank");
	assert_string_equal(group_of(p, ""), "-");
	assert_int_equal(providers_of_mx(p, mx, 2), providers_find(p, SLICE("google")));
	assert_int_equal(providers_filed(p, SLICE("google")), providers_find(p, SLICE("google")));
	assert_int_equal(providers_filed(p, SLICE("gone")), providers_unknown(p));
	assert_string_equal(providers_group(p, providers_unknown(p))->name, PROVIDERS_UNKNOWN);
	/* the lower of two; sites of no group keep what is configured */
	assert_int_equal(providers_connections(p, providers_find(p, SLICE("docomo")), 4), 2);
	assert_int_equal(providers_connections(p, providers_find(p, SLICE("docomo")), 1), 1);
	assert_int_equal(providers_messages(p, providers_find(p, SLICE("apple")), 50), 5);
	assert_int_equal(providers_connections(p, PROVIDERS_NONE, 4), 4);
	assert_int_equal(providers_messages(p, providers_unknown(p), 50), 50);
	mx[1] = SLICE("mx.example.jp");
	assert_int_equal(providers_of_mx(p, mx, 2), PROVIDERS_NONE);
	mx[0] = SLICE("ymx1.softbank.ne.jp");
	assert_int_equal(providers_of_mx(p, mx, 1), providers_find(p, SLICE("ymobile")));
	assert_int_equal(
	    providers_group(p, providers_find(p, SLICE("docomo")))->guard, GUARD_STRICT);
	/* 4xx that mean stop, 5xx that mean slow down, one mailbox only, our account */
	assert_int_equal(reaction_to(p, "yahoo", 421, "", "4.7.0 [TSS09] deferred"), REACTION_STOP);
	assert_int_equal(reaction_to(p, "qq", 550, "", "Ip frequency limited"), REACTION_HOLD);
	assert_int_equal(
	    reaction_to(p, "google", 450, "4.2.1", "receiving mail at a rate"), REACTION_RCPT);
	assert_int_equal(reaction_to(p, "google", 421, "4.7.28", "unusual rate"), REACTION_RATE);
	assert_int_equal(reaction_to(p, "ymobile", 421, "", ""), REACTION_CONN);
	assert_int_equal(reaction_to(p, "default", 454, "",
			     "Throttling failure: Maximum sending rate exceeded."),
	    REACTION_ACCOUNT_RATE);
	assert_int_equal(reaction_to(p, "default", 250, "", "ok"), REACTION_NONE);
	providers_free(p);
}

static void
test_provider_lints(void **state)
{
	static const char base[] = "group\tdefault\t2\t20\t1/s\tsoft\tUTC\tours\n"
				   "group\tg\t2\t20\t1/s\tsoft\tUTC\tours\n"
				   "domain\tg.example\tg\tours\n";
	static const char *const bad[] = { "group\tg\t2\t20\t1/s\tsoft\tUTC\tours\n",
		"domain\tg.example\tg\tours\n", "domain\tx.example\tnone\tours\n",
		"mx\t.example.com.\tg\tours\n", "mx\texample\tg\tours\n",
		"mx\tUpper.example\tg\tours\n", "domain\tx.example\tg\t \n",
		"rule\tnone\t421\twords\trate\t0\tours\n", "rule\tg\t421\tWORDS\trate\t0\tours\n",
		"rule\tg\t21\twords\trate\t0\tours\n", "rule\tg\t421\twords\tsleep\t0\tours\n",
		"rule\tg\t-\t-\trate\t0\tours\n", "group\th\t0\t20\t1/s\tsoft\tUTC\tours\n",
		"group\th\t2\t20\t0/s\tsoft\tUTC\tours\n",
		"group\th\t2\t20\t1/s\thard\tUTC\tours\n",
		"group\th\t2\t20\t-1/s\tsoft\tUTC\tours\n", "hello\n" };
	struct err err = { 0 };
	struct providers *p;
	char text[600];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text), "%s%s", base, bad[i]);
		assert_null(providers_new(slice_str(text), slice_make(NULL, 0), &err));
		assert_true(err.msg[0] != '\0');
	}
	/* another text may say otherwise */
	p = providers_new(slice_str(base),
	    SLICE("group\tg\t9\t20\t7/min\tstrict\tUTC\tme\ndomain\tg.example\tdefault\tme\n"),
	    &err);
	assert_non_null(p);
	assert_int_equal(providers_group(p, providers_find(p, SLICE("g")))->connections, 9);
	assert_string_equal(group_of(p, "g.example"), "default");
	providers_free(p);
}

static void
test_rates(void **state)
{
	static const char *const bad[] = { "", "5", "/s", "0/s", "-1/s", "1e9/s", "5/week", "0x5/s",
		"nan/s", "inf/s", "5//s", "0.0000001/d" };
	double r;
	struct err err;

	(void)state;
	assert_int_equal(rate_parse(&r, SLICE("20/s"), &err), 0);
	assert_true(r == 20);
	assert_int_equal(rate_parse(&r, SLICE("90/min"), &err), 0);
	assert_true(r == 1.5);
	assert_int_equal(rate_parse(&r, SLICE("10000/h"), &err), 0);
	assert_true(fabs(r - 2.7777777) < 1e-6);
	assert_int_equal(rate_parse(&r, SLICE("200/d"), &err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(rate_parse(&r, slice_str(bad[i]), &err), -1);
}

static bool
read_zone(struct zone *z, const char *name)
{
	static char bytes[ZONE_FILE_MAX];
	static struct zone damaged;
	char path[128];
	struct err err = { 0 };
	FILE *f;
	size_t n;

	(void)snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
	f = fopen(path, "rb");
	if (f == NULL)
		return false;
	n = fread(bytes, 1, sizeof(bytes), f);
	(void)fclose(f);
	if (zone_parse(z, slice_make(bytes, n), &err) < 0)
		fail_msg("%s: %s", name, err.msg);
	for (size_t cut = 0; cut < n; cut += 7) /* damaged files are refused or read, never more */
		assert_true(zone_parse(&damaged, slice_make(bytes, cut), &err) <= 0);
	return true;
}

static void
test_zones(void **state)
{
	static struct zone z;

	(void)state;
	if (!read_zone(&z, "Asia/Tokyo")) {
		print_message("# skipped: no tzdata\n");
		skip();
	}
	assert_int_equal(zone_offset(&z, 1795480680), 9 * 3600);
	assert_true(zone_next_change(&z, 1795480680) == INT64_MAX);
	assert_true(read_zone(&z, "Asia/Kathmandu"));
	assert_int_equal(zone_offset(&z, 1795480680), 5 * 3600 + 45 * 60);
	assert_true(read_zone(&z, "Europe/Berlin"));
	/* 2026-10-25T01:00Z back to winter, 2027-03-28T01:00Z to summer; as date(1) has them */
	assert_int_equal(zone_offset(&z, 1792889999), 7200);
	assert_int_equal(zone_offset(&z, 1792890000), 3600);
	assert_true(zone_next_change(&z, 1792890000) == 1806195600);
	/* 2050-07-01 and 2050-12-01: behind the table of transitions, by the rule at its end */
	assert_int_equal(zone_offset(&z, 2540246400), 7200);
	assert_int_equal(zone_offset(&z, 2553465600), 3600);
	assert_true(
	    read_zone(&z, "Australia/Lord_Howe")); /* half an hour of summer, in the south */
	assert_int_equal(zone_offset(&z, 2540246400), 10 * 3600 + 1800);
	assert_int_equal(zone_offset(&z, 2555020800), 11 * 3600);
}

static void
test_strict_guard(void **state)
{
	static struct zone z;
	struct shape s = { 0 };
	double start = 28000080e6 - fmod(28000080e6, HOUR_US), day = 86400e6, open = 0;
	uint64_t seed = hash_name("pool", "softbank");

	(void)state;
	zone_utc(&z);
	shape_guard(&s, GUARD_STRICT, &z, seed, 0, 1, start + 120e6, start + day);
	assert_false(s.failed);
	assert_true(s.pieces[0].from == start + 120e6 && s.pieces[s.count - 1].till == start + day);
	for (size_t i = 0; i < s.count; i++) {
		const struct shape_piece *p = &s.pieces[i];
		double minute = fmod(p->from - start, HOUR_US) / MINUTE_US;
		double minutes = (p->till - p->from) / MINUTE_US;

		assert_true(i == 0 || p->from == s.pieces[i - 1].till);
		if (p->open > 0) { /* never within 4 minutes of the hour */
			assert_true(minute >= 4 && minute + minutes <= 56 + 1e-6);
			assert_true(p->open == 1 || minutes <= 0.25 + 1e-6);
		}
		open += p->open * (p->till - p->from);
	}
	/* 45 effective minutes of 60 */
	assert_true(fabs(open / day - 0.75) < 0.005);
	/* the same edges for the same name, others for another */
	assert_true(guard_start(GUARD_STRICT, &z, seed, start) !=
	    guard_start(GUARD_STRICT, &z, hash_name("pool", "au"), start));
	assert_true(guard_start(GUARD_STRICT, &z, seed, start) > start + 6 * MINUTE_US);
	assert_true(
	    guard_start(GUARD_STRICT, &z, seed, start + 30 * MINUTE_US) == start + 30 * MINUTE_US);
	assert_true(
	    guard_start(GUARD_SOFT, &z, seed, start + 29 * MINUTE_US) == start + 34 * MINUTE_US);
	assert_true(guard_start(GUARD_OFF, &z, seed, start) == start);
	shape_release(&s);
}

static void
test_hours_of_the_day_over_a_change_of_offset(void **state)
{
	static struct zone z;
	struct shape s = { 0 };
	double day = 86400e6, change = (1792890000.0 - ADMISSION_EPOCH_S) * 1e6;
	double open;

	(void)state;
	if (!read_zone(&z, "Europe/Berlin")) {
		print_message("# skipped: no tzdata\n");
		skip();
	}
	/* 08:00 to 20:00 local: 06:00Z before the change, 07:00Z behind it */
	shape_day(&s, &z, 8 * 60, 20 * 60, change - day, change + day);
	open = shape_integral(&s, change - day, change + day);
	assert_true(fabs(open - 2 * (12 * HOUR_US - QUIET_RAMP_US)) < 1e3);
	assert_true(
	    shape_integral(&s, change - 19.001 * HOUR_US - day, change - 19 * HOUR_US) == 0);
	assert_true(shape_integral(&s, change, change + 6 * HOUR_US) == 0);
	assert_true(shape_integral(&s, change + 6 * HOUR_US, change + 7 * HOUR_US) > 0);
	shape_release(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_lane_within_one_message),
		cmocka_unit_test(test_domains_are_spread),
		cmocka_unit_test(test_provider_table),
		cmocka_unit_test(test_provider_lints),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_zones),
		cmocka_unit_test(test_strict_guard),
		cmocka_unit_test(test_hours_of_the_day_over_a_change_of_offset),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
