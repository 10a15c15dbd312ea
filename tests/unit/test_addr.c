/* SPDX-License-Identifier: Apache-2.0 */
/* test_addr: common/addr.c against tests/data/addresses.tsv, which SQL is held to as well. Run
 * from the top of the repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "addr.h"

static void
test_table(void **state)
{
	FILE *in = fopen("tests/data/addresses.tsv", "re");
	char line[1000];
	int lines = 0, wrong = 0;

	(void)state;
	assert_non_null(in);
	while (fgets(line, sizeof(line), in) != NULL) {
		char *tab = strchr(line, '\t'), *end = strchr(line, '\n');
		struct err err = { 0 };
		struct addr a;
		const char *got = "-";

		assert_non_null(tab);
		assert_non_null(end);
		*tab = *end = '\0';
		lines++;
		if (addr_parse(&a, slice_str(line), &err) == 0)
			got = a.key;
		else
			assert_true(err.msg[0] != '\0');
		if (strcmp(got, tab + 1) != 0) {
			print_error("%d: %s gives %s, not %s\n", lines, line, got, tab + 1);
			wrong++;
		}
	}
	fclose(in);
	assert_int_equal(wrong, 0);
	assert_true(lines > 60);
}

static void
test_text_keeps_local_part(void **state)
{
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(&a, SLICE("John.Doe@EXAMPLE.com"), NULL), 0);
	assert_string_equal(a.text, "John.Doe@example.com");
	assert_string_equal(a.key, "john.doe@example.com");
	assert_int_equal(a.len, strlen(a.text));
	assert_true(slice_equal(addr_domain(&a), SLICE("example.com")));
	assert_int_equal(a.text[a.domain_at - 1], '@');
}

static void
test_nul_inside(void **state)
{
	struct err err = { 0 };
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(&a, SLICE("a\0b@example.com"), &err), -1);
	assert_int_equal(addr_parse(&a, SLICE("a@exam\0ple.com"), &err), -1);
	assert_int_equal(addr_parse(&a, SLICE("a@b\xc3\xbc\0cher.example"), &err), -1);
	assert_int_equal(addr_parse(&a, SLICE("a@example.com\0"), &err), -1);
}

static void
test_broken_utf8_domain(void **state)
{
	struct err err = { 0 };
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(&a, SLICE("a@b\xc3.example"), &err), -1);
	assert_int_equal(addr_parse(&a, SLICE("a@\xff\xfe.example"), &err), -1);
}

static void
test_reason_has_no_address(void **state)
{
	struct err err = { 0 };
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(&a, SLICE("secret..name@example.com"), &err), -1);
	assert_null(strstr(err.msg, "secret"));
	assert_null(strstr(err.msg, "example.com"));
}

static void
test_senders_are_ascii(void **state)
{
	struct err err = { 0 };
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse_sender(&a,
			     SLICE("News@b\xc3\xbc"
				   "cher.example"),
			     &err),
	    0);
	assert_string_equal(a.text, "News@xn--bcher-kva.example");
	assert_int_equal(addr_parse_sender(&a, SLICE("n\xc3\xa9ws@example.com"), &err), -1);
	assert_non_null(strstr(err.msg, "SMTPUTF8"));
	assert_int_equal(addr_parse_sender(&a, SLICE("news"), &err), -1);
}

static void
test_reasons_for_utf8(void **state)
{
	static const struct {
		const char *input, *reason;
	} cases[] = { { "\xef\xbd\x81@example.com", "full-width" },
		{ "\xe2\x80\x8b\xc3\xa9@example.com", "U+200B" },
		{ "\xc3@example.com", "not UTF-8" }, { "\xc0\xaf@example.com", "not UTF-8" },
		{ "\xed\xa0\x80@example.com", "not UTF-8" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };
		struct addr a;

		assert_int_equal(addr_parse(&a, slice_str(cases[i].input), &err), -1);
		assert_non_null(strstr(err.msg, cases[i].reason));
	}
}

#define LABEL "a23456789012345678901234567890123456789012345678901234567890123"

/* Lengths count in octets of what is sent: after composing, and as A-labels. */
static void
test_lengths(void **state)
{
	static const struct {
		const char *unit;
		size_t count;
		const char *domain, *reason; /* NULL: taken */
	} cases[] = {
		{ "a", 64, "example.org", NULL },
		{ "a", 65, "example.org", "more than 64" },
		{ "\xc3\xa9", 32, "example.org", NULL },
		{ "\xc3\xa9", 33, "example.org", "more than 64" },
		{ "\xc3\xa9", 129, "example.org", "more than 64" },
		{ "e\xcc\x81", 30, "example.org", NULL }, /* 90 octets become 60 */
		{ "e\xcc\x81", 33, "example.org", "more than 64" },
		{ "\xef\xb7\xba", 20, "example.org", "full-width" }, /* NFKC: 18 letters each */
		{ "\xef\xbd\xb1", 1, "example.org",
		    "full-width" }, /* as long as what it stands for */
		{ "a", 1, "exa{mple.org", "'{' is not allowed" },
		{ "a", 1, "exa\x7fmple.org", "control" },
		{ "a", 1, LABEL "." LABEL "." LABEL "." LABEL, "longer than" },
		{ "a", 1,
		    "\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9."
		    "\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9."
		    "\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9."
		    "\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.\xc3\xa9.org",
		    "domain" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[1000] = "";
		struct err err = { 0 };
		struct addr a;

		for (size_t k = 0; k < cases[i].count; k++)
			(void)strcat(text, cases[i].unit);
		(void)strcat(strcat(text, "@"), cases[i].domain);
		if (addr_parse(&a, slice_str(text), &err) == 0
			? cases[i].reason != NULL
			: cases[i].reason == NULL || strstr(err.msg, cases[i].reason) == NULL)
			fail_msg("case %zu: %s", i, err.msg);
	}
}

static void
test_empty_slice(void **state)
{
	struct addr a;

	(void)state;
	assert_int_equal(addr_parse(&a, slice_make(NULL, 0), NULL), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_text_keeps_local_part),
		cmocka_unit_test(test_nul_inside),
		cmocka_unit_test(test_broken_utf8_domain),
		cmocka_unit_test(test_reason_has_no_address),
		cmocka_unit_test(test_senders_are_ascii),
		cmocka_unit_test(test_reasons_for_utf8),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_empty_slice),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
