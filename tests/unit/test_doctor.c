/* SPDX-License-Identifier: Apache-2.0 */
/* test_doctor: cli/dns.c, spf.c and doctor.c against a table of records in the place of DNS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "dkim.h"
#include "dns.h"
#include "doctor.h"
#include "doctor_host.h"
#include "spf.h"

struct row {
	const char *name;
	enum dns_type type;
	const char *text; /* NULL: DNS fails */
};

struct table {
	const struct row *rows;
	size_t count;
	unsigned asked;
};

static void
table_ask(
    void *ctx, struct arena *arena, const char *name, enum dns_type type, struct dns_answer *answer)
{
	struct table *t = ctx;

	t->asked++;
	*answer = (struct dns_answer){ .status = DNS_NONE,
		.records = arena_array(arena, DNS_RECORDS_MAX + 1, sizeof(struct dns_record)) };
	for (size_t i = 0; i < t->count; i++) {
		if (strcasecmp(t->rows[i].name, name) != 0 || t->rows[i].type != type)
			continue;
		answer->status = t->rows[i].text != NULL ? DNS_FOUND : DNS_FAILED;
		if (t->rows[i].text != NULL)
			answer->records[answer->count++].text = slice_str(t->rows[i].text);
	}
}

/* ---- records ---- */

static void
test_zone_line(void **state)
{
	char text[601];
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	dns_zone_put_txt(&out, SLICE("a.example"), 60, SLICE("say \"hi\" \\"));
	assert_string_equal(buf_str(&out), "a.example. 60 IN TXT \"say \\\"hi\\\" \\\\\"\n");
	buf_reset(&out);
	memset(text, 'x', 600);
	dns_zone_put_txt(&out, SLICE("a"), 60, slice_make(text, 600));
	/* 255, 255 and 90 octets */
	assert_non_null(strstr(buf_str(&out), "TXT (\n\t\""));
	assert_int_equal(strcspn(strchr(buf_str(&out), '"') + 1, "\""), 255);
	assert_int_equal(out.len, strlen("a. 60 IN TXT (") + 3 * 4 + 600 + strlen(" )\n"));
	buf_release(&out);
}

static void
test_reverse_name(void **state)
{
	char name[DNS_NAME_MAX + 1];

	(void)state;
	assert_true(dns_reverse_name("192.0.2.1", name));
	assert_string_equal(name, "1.2.0.192.in-addr.arpa");
	assert_true(dns_reverse_name("2001:db8::1", name));
	assert_string_equal(
	    name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
	assert_false(dns_reverse_name("example.jp", name));
}

static void
test_tags(void **state)
{
	struct slice v;

	(void)state;
	assert_true(dns_tag(SLICE("v=DMARC1; p = reject ;aspf=s"), SLICE("p"), &v));
	assert_true(slice_equal(v, SLICE("reject")));
	assert_true(dns_tag(SLICE("a=b=c;"), SLICE("a"), &v));
	assert_true(slice_equal(v, SLICE("b=c")));
	assert_true(dns_tag(SLICE("p="), SLICE("p"), &v));
	assert_int_equal(v.len, 0);
	assert_false(dns_tag(SLICE("sp=none;x"), SLICE("p"), &v));
	assert_false(dns_tag(SLICE(""), SLICE("p"), &v));
}

/* ---- SPF ---- */

static const struct row spf_rows[] = {
	{ "plain.example", DNS_TXT, "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all" },
	{ "soft.example", DNS_TXT, "v=spf1 ip4:198.51.100.7 ~all" },
	{ "open.example", DNS_TXT, "v=spf1 ?all" },
	{ "silent.example", DNS_TXT, "v=spf1 ip4:198.51.100.7" },
	{ "two.example", DNS_TXT, "v=spf1 -all" },
	{ "two.example", DNS_TXT, "v=spf1 +all" },
	{ "other.example", DNS_TXT, "google-site-verification=x" },
	{ "other.example", DNS_TXT, "v=spf10 -all" },
	{ "bad.example", DNS_TXT, "v=spf1 ip4:192.0.2.0/99 -all" },
	{ "bad2.example", DNS_TXT, "v=spf1 ipv4:192.0.2.1 -all" },
	{ "inc.example", DNS_TXT, "v=spf1 include:plain.example -all" },
	{ "incsoft.example", DNS_TXT, "v=spf1 include:soft.example -all" },
	{ "incnone.example", DNS_TXT, "v=spf1 include:nothing.example -all" },
	{ "redir.example", DNS_TXT, "v=spf1 redirect=plain.example" },
	{ "loop.example", DNS_TXT, "v=spf1 include:loop.example -all" },
	{ "host.example", DNS_TXT, "v=spf1 a -all" },
	{ "host.example", DNS_A, "192.0.2.9" },
	{ "net.example", DNS_TXT, "v=spf1 a:host.example/24//64 -all" },
	{ "mail.example", DNS_TXT, "v=spf1 mx -all" },
	{ "mail.example", DNS_MX, "host.example" },
	{ "exists.example", DNS_TXT, "v=spf1 exists:host.example -all" },
	{ "macro.example", DNS_TXT, "v=spf1 exists:%{i}.x.example ~all" },
	{ "voids.example", DNS_TXT,
	    "v=spf1 a:n1.example a:n2.example a:n3.example ip4:192.0.2.1 -all" },
	{ "down.example", DNS_TXT, NULL },
	{ "many.example", DNS_TXT,
	    "v=spf1 a:host.example a:host.example a:host.example a:host.example a:host.example "
	    "a:host.example a:host.example a:host.example a:host.example a:host.example "
	    "a:host.example ip4:192.0.2.1 -all" },
};

static void
test_spf(void **state)
{
	static const struct {
		const char *domain, *address;
		enum spf_result result;
	} cases[] = {
		{ "plain.example", "192.0.2.1", SPF_PASS },
		{ "plain.example", "192.0.3.1", SPF_FAIL },
		{ "plain.example", "2001:db8:1::1", SPF_PASS },
		{ "plain.example", "2001:db9::1", SPF_FAIL },
		{ "soft.example", "192.0.2.1", SPF_SOFTFAIL },
		{ "open.example", "192.0.2.1", SPF_NEUTRAL },
		{ "silent.example", "192.0.2.1", SPF_NEUTRAL },
		{ "two.example", "192.0.2.1", SPF_PERMERROR },
		{ "other.example", "192.0.2.1", SPF_NONE },
		{ "nothing.example", "192.0.2.1", SPF_NONE },
		{ "bad.example", "192.0.2.1", SPF_PERMERROR },
		{ "bad2.example", "192.0.2.1", SPF_PERMERROR },
		{ "inc.example", "192.0.2.1", SPF_PASS },
		{ "inc.example", "192.0.3.1", SPF_FAIL },
		{ "incsoft.example", "192.0.2.1", SPF_FAIL },
		{ "incnone.example", "192.0.2.1", SPF_PERMERROR },
		{ "redir.example", "192.0.2.1", SPF_PASS },
		{ "redir.example", "192.0.3.1", SPF_FAIL },
		{ "loop.example", "192.0.2.1", SPF_PERMERROR },
		{ "host.example", "192.0.2.9", SPF_PASS },
		{ "host.example", "192.0.2.1", SPF_FAIL },
		{ "net.example", "192.0.2.77", SPF_PASS },
		{ "net.example", "192.0.3.77", SPF_FAIL },
		{ "mail.example", "192.0.2.9", SPF_PASS },
		{ "exists.example", "203.0.113.1", SPF_PASS },
		{ "macro.example", "203.0.113.1", SPF_SOFTFAIL },
		{ "voids.example", "192.0.2.1", SPF_PERMERROR },
		{ "down.example", "192.0.2.1", SPF_TEMPERROR },
		{ "many.example", "192.0.2.1", SPF_PERMERROR },
	};
	struct table table = { spf_rows, sizeof(spf_rows) / sizeof(spf_rows[0]), 0 };
	struct dns dns = { &table, table_ask };
	struct spf_answer answer;
	struct arena arena;

	(void)state;
	arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		table.asked = 0;
		spf_check(&dns, &arena, cases[i].address, cases[i].domain, &answer);
		if (answer.result != cases[i].result)
			fail_msg("%s from %s: %s (%s)", cases[i].domain, cases[i].address,
			    spf_result_name(answer.result), answer.why);
		assert_true(table.asked <= 30);
		arena_reset(&arena);
	}
	spf_check(&dns, &arena, "203.0.113.1", "macro.example", &answer);
	assert_true(answer.not_followed);
	spf_check(&dns, &arena, "192.0.2.1", "plain.example", &answer);
	assert_string_equal(answer.why, "ip4:192.0.2.0/24");
	arena_release(&arena);
}

/* ---- the checks ---- */

#define ED_PEM                                                                                     \
	"-----BEGIN PRIVATE KEY-----\n"                                                            \
	"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"                       \
	"-----END PRIVATE KEY-----\n"
#define ED_P "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static struct dkim *
signer(const char *domain, const char *selector)
{
	struct dkim *dkim = dkim_new();
	struct dkim_key *key;
	struct err err;

	assert_non_null(dkim);
	assert_int_equal(dkim_key_parse(&key, SLICE(ED_PEM), slice_str(domain), slice_str(selector),
			     SLICE(""), &err),
	    0);
	assert_int_equal(dkim_add(dkim, key, &err), 0);
	return dkim;
}

static struct doctor_checks *
open_checks(struct table *table, struct dns *dns)
{
	struct doctor_checks *d = malloc(sizeof(*d));

	assert_non_null(d);
	doctor_checks_init(d);
	*dns = (struct dns){ table, table_ask };
	d->dns = dns;
	return d;
}

static void
close_checks(struct doctor_checks *d)
{
	doctor_checks_release(d);
	free(d);
}

static void
test_key(void **state)
{
	static const struct {
		const char *selector, *record;
		enum doctor_verdict verdict;
	} cases[] = {
		{ "good", "v=DKIM1; k=ed25519; p=" ED_P, DOCTOR_OK },
		{ "folded", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7h cvPapiMlrwIaaPcHURo=",
		    DOCTOR_OK },
		{ "noversion", "k=ed25519;p=" ED_P, DOCTOR_OK },
		{ "missing", NULL, DOCTOR_FAILED },
		{ "revoked", "v=DKIM1; k=ed25519; p=", DOCTOR_FAILED },
		{ "other", "v=DKIM1; k=ed25519; p=AAAA", DOCTOR_FAILED },
		{ "cut", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
		    DOCTOR_FAILED },
		{ "longer", "v=DKIM1; k=ed25519; p=" ED_P "A", DOCTOR_FAILED },
		{ "kind", "v=DKIM1; p=" ED_P, DOCTOR_FAILED },
		{ "version", "v=DKIM2; k=ed25519; p=" ED_P, DOCTOR_FAILED },
		{ "sha1", "v=DKIM1; h=sha1; k=ed25519; p=" ED_P, DOCTOR_FAILED },
		{ "trial", "v=DKIM1; t=s:y; k=ed25519; p=" ED_P, DOCTOR_WARNING },
		{ "empty", "hello", DOCTOR_FAILED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct row row = { "x._domainkey.example.jp", DNS_TXT, cases[i].record };
		struct table table = { &row, cases[i].record != NULL, 0 };
		struct dns dns;
		struct doctor_checks *d = open_checks(&table, &dns);
		struct dkim *dkim = signer("example.jp", "x");
		const struct doctor_check *c = doctor_check_key(d, dkim_at(dkim, 0));

		if (c->verdict != cases[i].verdict)
			fail_msg("%s: %s", cases[i].selector, c->found);
		if (c->verdict == DOCTOR_FAILED)
			assert_string_equal(c->advice,
			    "publish: x._domainkey.example.jp. 3600 IN TXT \"v=DKIM1; k=ed25519; "
			    "p=" ED_P "\"");
		dkim_free(dkim);
		close_checks(d);
	}
}

/* What one list of rows says; checked in the order in which doctor adds. */
static void
assert_verdicts(struct doctor_checks *d, const char *expected)
{
	char text[600] = "";
	size_t n = 0;

	for (size_t i = 0; i < d->count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s %s", i > 0 ? ", " : "",
		    d->list[i].id, doctor_verdict_name(d->list[i].verdict));
	assert_string_equal(text, expected);
}

static void
test_dmarc(void **state)
{
	static const struct row rows[] = {
		{ "_dmarc.example.jp", DNS_TXT, "v=DMARC1; p=quarantine; aspf=s" },
		{ "_dmarc.loose.example", DNS_TXT, "v=spf1 -all" },
		{ "_dmarc.loose.example", DNS_TXT, "v=DMARC1; p=none" },
		{ "_dmarc.wrong.example", DNS_TXT, "v=DMARC1; p=perhaps" },
		{ "_dmarc.down.example", DNS_TXT, NULL },
	};
	struct table table = { rows, sizeof(rows) / sizeof(rows[0]), 0 };
	struct dkim *dkim = signer("example.jp", "x");
	struct dns dns;
	struct doctor_checks *d = open_checks(&table, &dns);

	(void)state;
	/* strict SPF: the return path below does not count, the signature does */
	doctor_check_dmarc(d, "example.jp", "bounce.example.jp", dkim);
	assert_verdicts(d, "dmarc ok, alignment warning");
	d->count = 0;
	doctor_check_dmarc(d, "example.jp", "example.jp", dkim);
	assert_verdicts(d, "dmarc ok, alignment ok");
	d->count = 0;
	/* the policy of the domain above holds */
	doctor_check_dmarc(d, "news.loose.example", "bounce.loose.example", NULL);
	assert_verdicts(d, "dmarc ok, alignment warning");
	d->count = 0;
	doctor_check_dmarc(d, "loose.example", "other.example", dkim);
	assert_verdicts(d, "dmarc ok, alignment failed");
	d->count = 0;
	doctor_check_dmarc(d, "wrong.example", "", NULL);
	assert_verdicts(d, "dmarc failed, alignment failed");
	d->count = 0;
	doctor_check_dmarc(d, "none.example", "none.example", NULL);
	assert_verdicts(d, "dmarc failed, alignment warning");
	assert_non_null(
	    strstr(d->list[0].advice, "_dmarc.none.example. 3600 IN TXT \"v=DMARC1; p=none"));
	d->count = 0;
	doctor_check_dmarc(d, "down.example", "down.example", NULL);
	assert_verdicts(d, "dmarc skipped, alignment warning");
	close_checks(d);
	dkim_free(dkim);
}

static void
test_hosts(void **state)
{
	static const struct row rows[] = {
		{ "good.example", DNS_MX, "mx.good.example" },
		{ "mx.good.example", DNS_AAAA, "2001:db8::25" },
		{ "lost.example", DNS_MX, "mx.lost.example" },
		{ "null.example", DNS_MX, "" },
		{ "bare.example", DNS_A, "192.0.2.3" },
		{ "down.example", DNS_MX, NULL },
		{ "25.2.0.192.in-addr.arpa", DNS_PTR, "out.example" },
		{ "out.example", DNS_A, "192.0.2.25" },
		{ "26.2.0.192.in-addr.arpa", DNS_PTR, "out.example" },
		{ "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
		    DNS_PTR, "mx.good.example" },
	};
	static const struct {
		const char *domain;
		const char *expected;
	} mx[] = { { "good.example", "mx ok" }, { "lost.example", "mx failed" },
		{ "null.example", "mx failed" }, { "bare.example", "mx warning" },
		{ "none.example", "mx failed" }, { "down.example", "mx skipped" } };
	static const struct {
		const char *address;
		const char *expected;
	} ptr[] = { { "192.0.2.25", "ptr ok" }, { "192.0.2.26", "ptr failed" },
		{ "192.0.2.27", "ptr failed" }, { "2001:db8::25", "ptr ok" },
		{ "x", "ptr skipped" } };
	struct table table = { rows, sizeof(rows) / sizeof(rows[0]), 0 };
	struct dns dns;
	struct doctor_checks *d = open_checks(&table, &dns);

	(void)state;
	for (size_t i = 0; i < sizeof(mx) / sizeof(mx[0]); i++) {
		d->count = 0;
		doctor_check_mx(d, mx[i].domain);
		assert_verdicts(d, mx[i].expected);
	}
	for (size_t i = 0; i < sizeof(ptr) / sizeof(ptr[0]); i++) {
		d->count = 0;
		doctor_check_ptr(d, ptr[i].address);
		assert_verdicts(d, ptr[i].expected);
	}
	close_checks(d);
}

static void
test_spf_advice(void **state)
{
	static const struct {
		const char *record, *advice;
	} cases[] = {
		{ "v=spf1 mx ~all", "v=spf1 mx ip4:192.0.2.25 ~all\"" },
		{ "v=spf1 -all", "v=spf1 ip4:192.0.2.25 -all\"" },
		{ "v=spf1 mx:none.example", "v=spf1 mx:none.example ip4:192.0.2.25\"" },
		{ "other", "v=spf1 ip4:192.0.2.25 ~all\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct row row = { "example.jp", DNS_TXT, cases[i].record };
		struct table table = { &row, 1, 0 };
		struct dns dns;
		struct doctor_checks *d = open_checks(&table, &dns);

		doctor_check_spf(d, "example.jp", "192.0.2.25");
		assert_verdicts(d, "spf failed");
		assert_non_null(strstr(d->list[0].advice, cases[i].advice));
		close_checks(d);
	}
}

/* ---- this host ---- */

static void
test_clock(void **state)
{
	static const struct {
		double ahead_s;
		enum doctor_verdict verdict;
		const char *found;
	} cases[] = { { 0, DOCTOR_OK, "agree" }, { 29.9, DOCTOR_OK, "agree" },
		{ -29.9, DOCTOR_OK, "agree" }, { 31, DOCTOR_WARNING, "31 s ahead of it" },
		{ -300, DOCTOR_WARNING, "300 s behind it" },
		{ 301, DOCTOR_FAILED, "301 s ahead of it" },
		{ -86400, DOCTOR_FAILED, "86400 s behind it" } };
	struct doctor_checks *d = malloc(sizeof(*d));

	(void)state;
	assert_non_null(d);
	doctor_checks_init(d);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		doctor_judge_clock(d, "PostgreSQL", cases[i].ahead_s);
		assert_int_equal(d->count, i + 1);
		assert_int_equal(d->list[i].verdict, cases[i].verdict);
		assert_non_null(strstr(d->list[i].found, cases[i].found));
		assert_int_equal(d->list[i].advice[0] == '\0', cases[i].verdict == DOCTOR_OK);
	}
	doctor_checks_release(d);
	free(d);
}

static void
test_files(void **state)
{
	static const struct {
		enum doctor_file kind;
		mode_t mode;
		uid_t owner;
		const char *advice; /* NULL: nothing is wrong */
	} cases[] = { { DOCTOR_FILE_SECRET, S_IFREG | 0600, 0, NULL },
		{ DOCTOR_FILE_SECRET, S_IFREG | 0400, 7, NULL },
		{ DOCTOR_FILE_SECRET, S_IFREG | 0640, 0, "chmod 600 /p" },
		{ DOCTOR_FILE_SECRET, S_IFREG | 0604, 7, "chmod 600 /p" },
		{ DOCTOR_FILE_SECRET, S_IFREG | 0600, 8, "chown root /p" },
		{ DOCTOR_FILE_OPEN, S_IFREG | 0644, 0, NULL },
		{ DOCTOR_FILE_OPEN, S_IFREG | 0664, 0, "chmod go-w /p" },
		{ DOCTOR_FILE_OPEN, S_IFREG | 0646, 7, "chmod go-w /p" },
		{ DOCTOR_FILE_OPEN, S_IFREG | 0644, 8, "chown root /p" },
		{ DOCTOR_FILE_FOLDER, S_IFDIR | 0755, 7, NULL },
		{ DOCTOR_FILE_FOLDER, S_IFDIR | 0777, 7, "chmod go-w /p" },
		{ DOCTOR_FILE_FOLDER, S_IFDIR | S_ISVTX | 0777, 0, NULL } };
	struct doctor_checks *d = malloc(sizeof(*d));

	(void)state;
	assert_non_null(d);
	doctor_checks_init(d);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct stat st = { .st_mode = cases[i].mode, .st_uid = cases[i].owner };
		size_t before = d->count;

		assert_int_equal(
		    doctor_judge_file(d, "/p", cases[i].kind, &st, 7), cases[i].advice == NULL);
		assert_int_equal(d->count, before + (cases[i].advice != NULL));
		if (cases[i].advice != NULL)
			assert_non_null(strstr(d->list[before].advice, cases[i].advice));
	}
	doctor_checks_release(d);
	free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zone_line),
		cmocka_unit_test(test_reverse_name),
		cmocka_unit_test(test_tags),
		cmocka_unit_test(test_spf),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_dmarc),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_spf_advice),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_files),
	};

	(void)cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
