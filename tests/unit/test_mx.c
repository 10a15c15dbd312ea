/* SPDX-License-Identifier: Apache-2.0 */
/* test_mx: common/mx.c, mx_source.c and mta_sts.c, common/strmap.c and common/dns_answer.c. */
#include "mx.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mta_sts.h"
#include "mx_site.h"
#include "strmap.h"

#define RECORDS_MAX 20

/* An answer of "10 mx.example, 20 mx2.example"; NULL: no record. */
static struct dns_answer
answer_of(struct dns_record records[RECORDS_MAX], const char *text)
{
	struct dns_answer a = { .status = DNS_NONE, .records = records };

	while (text != NULL && *text != '\0') {
		char *name;
		size_t n;

		records[a.count].preference = (unsigned)strtoul(text, &name, 10);
		name += *name == ' ';
		n = strcspn(name, ",");
		records[a.count++].text = slice_make(name, n);
		text = name + n + (name[n] == ',');
		a.status = DNS_FOUND;
	}
	return a;
}

static void
print(const struct mx_plan *plan, char dst[MX_KEY_MAX])
{
	static const char *const verdicts[] = { "", "null", "no domain", "loop", "broken",
		"later" };

	if (plan->verdict == MX_HOSTS)
		mx_key(plan, plan->implicit, dst);
	else
		(void)snprintf(dst, MX_KEY_MAX, "%s", verdicts[plan->verdict]);
}

static void
test_decide(void **state)
{
	static const struct {
		const char *records, *expected; /* "s": no MX, the domain itself */
	} cases[] = {
		{ "10 mx.example", "o 0mx.example" },
		{ "20 b.example,10 a.example", "o 0a.example 1b.example" },
		{ "10 b.example,10 a.example,30 c.example", "o 0a.example 0b.example 1c.example" },
		{ "10 MX.Example.", "o 0mx.example" },
		{ "10 a.example,20 a.example", "o 0a.example" },
		{ NULL, "s 0d.example" },
		{ "0 ", "null" },
		{ "0 .", "null" },
		{ "0 .,10 a.example", "o 0a.example" },
		{ "10 192.0.2.1", "broken" },
		{ "10 192.0.2.1,20 a.example", "o 0a.example" },
		{ "10 bad name.example", "broken" },
		{ "10 a..example", "broken" },
		{ "10 own.example,10 a.example", "loop" },
		{ "5 a.example,10 OWN.example,10 b.example,20 c.example", "o 0a.example" },
	};
	static const char *const own[] = { "other.example", "own.example" };
	struct dns_record records[RECORDS_MAX];
	struct mx_plan plan;
	char text[MX_KEY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dns_answer a = answer_of(records, cases[i].records);

		mx_decide(&plan, "d.example", &a, own, 2);
		print(&plan, text);
		assert_string_equal(text, cases[i].expected);
	}
}

static void
test_no_answer(void **state)
{
	struct dns_answer none = { .status = DNS_NONE, .no_such_name = true },
			  failed = { .status = DNS_FAILED };
	struct mx_plan plan;

	(void)state;
	mx_decide(&plan, "d.example", &none, NULL, 0);
	assert_int_equal(plan.verdict, MX_NO_DOMAIN);
	mx_decide(&plan, "d.example", &failed, NULL, 0);
	assert_int_equal(plan.verdict, MX_LATER);
	/* nobody's own host, but no name either */
	none.no_such_name = false;
	mx_decide(&plan, "192.0.2.1", &none, NULL, 0);
	assert_int_equal(plan.verdict, MX_BROKEN);
}

static void
test_too_many(void **state)
{
	struct dns_record records[RECORDS_MAX];
	char names[RECORDS_MAX][24];
	struct dns_answer a = { .status = DNS_FOUND, .records = records, .count = RECORDS_MAX };
	struct mx_plan plan;

	(void)state;
	for (unsigned i = 0; i < RECORDS_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "mx%u.example", i);
		records[i] = (struct dns_record){ slice_str(names[i]), i };
	}
	mx_decide(&plan, "d.example", &a, NULL, 0);
	assert_int_equal(plan.count, MX_HOSTS_MAX);
	assert_string_equal(plan.hosts[MX_HOSTS_MAX - 1].name, "mx9.example");
}

static void
assert_refusal(enum mx_verdict verdict, bool tried, enum outcome_kind kind, enum outcome_class cls,
    const char *enhanced)
{
	struct outcome o = mx_refusal(verdict, tried);
	char text[12];

	assert_int_equal(o.kind, kind);
	assert_int_equal(o.cls, cls);
	assert_string_equal(outcome_enhanced_str(&o, text), enhanced);
	assert_int_equal(o.scope, OUTCOME_SCOPE_DOMAIN);
	assert_true(o.text.len > 0);
}

static void
test_refusals(void **state)
{
	(void)state;
	assert_refusal(MX_NULL, false, OUTCOME_FAILED, OUTCOME_HARD, "5.1.10");
	assert_refusal(MX_NO_DOMAIN, false, OUTCOME_DEFERRED, OUTCOME_SOFT, "4.1.2");
	assert_refusal(MX_NO_DOMAIN, true, OUTCOME_FAILED, OUTCOME_HARD, "5.1.2");
	assert_refusal(MX_LOOP, false, OUTCOME_FAILED, OUTCOME_CONFIG, "5.4.6");
	assert_refusal(MX_BROKEN, true, OUTCOME_DEFERRED, OUTCOME_SOFT, "4.4.4");
	assert_refusal(MX_LATER, true, OUTCOME_DEFERRED, OUTCOME_SOFT, "4.4.3");
}

static void
test_keep(void **state)
{
	static const struct {
		enum dns_status status;
		unsigned ttl_s, expected;
	} cases[] = { { DNS_FOUND, 5, 60 }, { DNS_FOUND, 600, 600 }, { DNS_FOUND, 86400, 3600 },
		{ DNS_NONE, 0, 300 }, { DNS_NONE, 600, 600 }, { DNS_NONE, 86400, 900 },
		{ DNS_FAILED, 0, 60 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dns_answer a = { .status = cases[i].status, .ttl_s = cases[i].ttl_s };

		assert_int_equal(mx_keep_s(&a), cases[i].expected);
	}
}

static void
test_choice(void **state)
{
	struct mx_choice hosts[] = { { 0, 0, false }, { 1, 2, true }, { 1, 1, true },
		{ 1, 1, true }, { 2, 0, true } };
	unsigned seen[5] = { 0 };

	(void)state;
	for (unsigned chance = 0; chance < 600; chance++)
		seen[mx_choose(hosts, 5, chance)]++;
	assert_int_equal(seen[2], 300); /* equals by chance */
	assert_int_equal(seen[3], 300);
	hosts[0].usable = true;
	assert_int_equal(mx_choose(hosts, 5, 7), 0);
	for (size_t i = 0; i < 5; i++)
		hosts[i].usable = false;
	assert_int_equal(mx_choose(hosts, 5, 7), -1);
}

static void
test_public(void **state)
{
	static const struct {
		const char *address;
		bool is_public;
	} cases[] = { { "8.8.8.8", true }, { "127.0.0.1", false }, { "10.1.2.3", false },
		{ "172.15.0.1", true }, { "172.16.0.1", false }, { "172.31.255.255", false },
		{ "172.32.0.1", true }, { "192.168.1.1", false }, { "192.169.1.1", true },
		{ "100.64.0.1", false }, { "169.254.169.254", false }, { "0.0.0.0", false },
		{ "224.0.0.1", false }, { "255.255.255.255", false }, { "::1", false },
		{ "fe80::1", false }, { "fd00::1", false }, { "::ffff:127.0.0.1", false },
		{ "64:ff9b::7f00:1", false }, { "2002:7f00:1::", false },
		{ "2a00:1450::1", true } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sockaddr_storage a = { 0 };

		if (uv_ip4_addr(cases[i].address, 25, (struct sockaddr_in *)&a) != 0)
			assert_int_equal(
			    uv_ip6_addr(cases[i].address, 25, (struct sockaddr_in6 *)&a), 0);
		if (mx_is_public((struct sockaddr *)&a) != cases[i].is_public)
			fail_msg("%s", cases[i].address);
	}
}

static void
test_rest(void **state)
{
	uint64_t rest = 0;

	(void)state;
	assert_int_equal(mx_rest_ms(&rest, 1000, 5000, 25), 1000);
	assert_int_equal(mx_rest_ms(&rest, 1000, 5000, 25), 2000);
	assert_int_equal(mx_rest_ms(&rest, 1000, 5000, 0), 3000); /* 75 % of 4000 */
	assert_int_equal(mx_rest_ms(&rest, 1000, 5000, 25), 5000);
	assert_int_equal(mx_rest_ms(&rest, 1000, 5000, 50), 6250);
}

static void
test_sources(void **state)
{
	static const char *const bad[] = { "example", "192.0.2.1 a b", "192.0.2.1,",
		"192.0.2.300" };
	struct mx_source *list = calloc(MX_SOURCES_MAX, sizeof(*list));
	struct source_limits limits;
	struct err err;
	size_t count;

	(void)state;
	assert_non_null(list);
	assert_int_equal(mx_read_sources(list, &count, "", "host.example", &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(list[0].from.ss_family, AF_UNSPEC);
	assert_string_equal(list[0].ehlo, "host.example");
	assert_int_equal(mx_read_sources(list, &count, "192.0.2.1  a.example, 2001:db8::1",
			     "host.example", &err),
	    0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].ehlo, "a.example");
	assert_int_equal(list[0].from.ss_family, AF_INET);
	assert_string_equal(list[1].ehlo, "host.example");
	assert_int_equal(list[1].from.ss_family, AF_INET6);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mx_read_sources(list, &count, bad[i], "host.example", &err), -1);
	assert_int_equal(
	    mx_read_sources(list, &count, "192.0.2.1 a, 2001:db8:0::1 b", "", &err), 0);
	assert_int_equal(
	    mx_read_source_rates(&limits, list, count, "2001:DB8::1=5/s, 192.0.2.1=20/min", &err),
	    0);
	assert_int_equal(limits.count, 2);
	assert_int_equal(mx_read_source_rates(&limits, list, count, "192.0.2.2=5/s", &err), -1);
	assert_non_null(strstr(err.msg, "192.0.2.2 is not in mx.source"));
	free(list);
}

/* ---- MTA-STS ---- */

static bool
record_id(const char *first, const char *second, char id[MTA_STS_ID_MAX + 1])
{
	struct dns_record records[] = { { slice_str(first), 0 }, { slice_str(second), 0 } };
	struct dns_answer a = {
		.status = DNS_FOUND, .records = records, .count = second != NULL ? 2 : 1
	};

	return mta_sts_read_record(&a, id);
}

static void
test_sts_record(void **state)
{
	char id[MTA_STS_ID_MAX + 1];

	(void)state;
	assert_true(record_id("v=STSv1; id=20160831085700Z;", NULL, id));
	assert_string_equal(id, "20160831085700Z");
	assert_true(record_id("v=STSv1;id=1", "v=spf1 -all", id));
	assert_false(record_id("v=STSv1; id=1;", "v=STSv1; id=2;", id));
	assert_false(record_id("v=STSv10; id=1;", NULL, id));
	assert_false(record_id("v=STSv1; id=a-b;", NULL, id));
	assert_false(record_id("v=STSv1; id=;", NULL, id));
	assert_false(record_id("v=STSv1;", NULL, id));
	assert_false(record_id("id=1; v=STSv1;", NULL, id));
	assert_false(record_id("v=STSv1; id=123456789012345678901234567890123;", NULL, id));
}

#define HEAD "version: STSv1\r\n"

static void
test_sts_policy(void **state)
{
	static const struct {
		const char *text;
		int mode; /* -1: malformed */
		unsigned age_s, hosts;
	} cases[] = {
		{ HEAD "mode: enforce\r\nmx: mail.example\r\nmx: *.example\r\nmax_age: 604800\r\n",
		    MTA_STS_ENFORCE, 604800, 2 },
		{ HEAD "mode:testing\nmx:a.example\nmax_age:1\n", MTA_STS_TESTING, 1, 1 },
		{ HEAD "mode: none\nmax_age: 86400", MTA_STS_NONE, 86400, 0 },
		{ HEAD "mode: none\nmax_age: 9999999999\n", MTA_STS_NONE, MTA_STS_AGE_MAX_S, 0 },
		{ HEAD "mode: none\nfuture: field\nmax_age: 60\nmax_age: 90\n", MTA_STS_NONE, 60,
		    0 },
		{ HEAD "mode: enforce\nmax_age: 60\n", -1, 0, 0 },
		{ HEAD "mode: strict\nmx: a.example\nmax_age: 60\n", -1, 0, 0 },
		{ HEAD "mx: a.example\nmax_age: 60\n", -1, 0, 0 },
		{ HEAD "mode: none\n", -1, 0, 0 },
		{ HEAD "mode: none\nmax_age: -1\n", -1, 0, 0 },
		{ HEAD "mode: none\nmax_age: 60\nnonsense\n", -1, 0, 0 },
		{ HEAD "mode: enforce\nmx: a.*.example\nmax_age: 60\n", -1, 0, 0 },
		{ HEAD "mode: enforce\nmx: *\nmax_age: 60\n", -1, 0, 0 },
		{ "version: STSv2\nmode: none\nmax_age: 60\n", -1, 0, 0 },
		{ "mode: none\nmax_age: 60\n", -1, 0, 0 },
		{ "", -1, 0, 0 },
	};
	struct mta_sts_policy *p = malloc(sizeof(*p));

	(void)state;
	assert_non_null(p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (mta_sts_read_policy(slice_str(cases[i].text), p) != (cases[i].mode >= 0))
			fail_msg("case %zu", i);
		if (cases[i].mode < 0)
			continue;
		assert_int_equal(p->mode, cases[i].mode);
		assert_int_equal(p->max_age_s, cases[i].age_s);
		assert_int_equal(p->host_count, cases[i].hosts);
	}
	free(p);
}

static void
test_sts_match(void **state)
{
	struct mta_sts_policy *p = malloc(sizeof(*p));

	(void)state;
	assert_non_null(p);
	assert_true(mta_sts_read_policy(
	    SLICE(HEAD "mode: enforce\nmx: Mail.example\nmx: *.mx.example.\nmax_age: 60\n"), p));
	assert_true(mta_sts_allows(p, "mail.example"));
	assert_true(mta_sts_allows(p, "a.mx.example"));
	assert_false(mta_sts_allows(p, "a.b.mx.example"));
	assert_false(mta_sts_allows(p, "mx.example"));
	assert_false(mta_sts_allows(p, ".mx.example"));
	assert_false(mta_sts_allows(p, "amail.example"));
	free(p);
}

/* ---- answers of DNS ---- */

static void
test_answer(void **state)
{
	/* one.example MX 10 mx.one.example, ttl 300 and 60 */
	static const unsigned char found[] = "\0\1\x85\x80\0\1\0\2\0\0\0\0\3one\7example\0\0\xf\0\1"
					     "\xc0\xc\0\xf\0\1\0\0\1\x2c\0\7\0\xa\2mx\xc0\xc"
					     "\xc0\xc\0\xf\0\1\0\0\0\x3c\0\7\0\5\2my\xc0\xc";
	/* no.example does not exist; SOA with ttl 3600 and MINIMUM 120 */
	static const unsigned char none[] =
	    "\0\1\x85\xa3\0\1\0\0\0\1\0\0\2no\7example\0\0\xf\0\1"
	    "\xc0\xf\0\6\0\1\0\0\xe\x10\0\x16\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\x78";
	struct dns_answer a;
	struct arena arena;

	(void)state;
	arena_init(&arena, (size_t)1 << 20);
	dns_read_answer(&arena, DNS_MX, found, sizeof(found) - 1, &a);
	assert_int_equal(a.status, DNS_FOUND);
	assert_int_equal(a.count, 2);
	assert_string_equal(a.records[0].text.ptr, "my.one.example");
	assert_int_equal(a.records[0].preference, 5);
	assert_int_equal(a.ttl_s, 60);
	assert_false(a.authenticated);
	dns_read_answer(&arena, DNS_MX, none, sizeof(none) - 1, &a);
	assert_int_equal(a.status, DNS_NONE);
	assert_true(a.no_such_name);
	assert_true(a.authenticated);
	assert_int_equal(a.ttl_s, 120);
	for (size_t n = 0; n < sizeof(found) - 1; n++) { /* cut anywhere */
		dns_read_answer(&arena, DNS_MX, found, n, &a);
		assert_int_not_equal(a.status, DNS_FOUND);
	}
	arena_release(&arena);
}

static void
test_map(void **state)
{
	enum { COUNT = 5000 };
	static char names[COUNT][16];
	struct strmap m = { 0 };

	(void)state;
	assert_null(strmap_get(&m, "a"));
	strmap_remove(&m, "a");
	for (int i = 0; i < COUNT; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "name%d", i);
		assert_true(strmap_add(&m, names[i], names[i]));
	}
	for (int i = 0; i < COUNT; i += 3)
		strmap_remove(&m, names[i]);
	strmap_remove(&m, "never there");
	for (int i = 0; i < COUNT; i++)
		assert_ptr_equal(strmap_get(&m, names[i]), i % 3 == 0 ? NULL : names[i]);
	assert_int_equal(m.count, COUNT - (COUNT + 2) / 3);
	strmap_release(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decide),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_public),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_sts_record),
		cmocka_unit_test(test_sts_policy),
		cmocka_unit_test(test_sts_match),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_map),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
