/* SPDX-License-Identifier: Apache-2.0 */
/* cidr: networks of both families, their edges, and slips that must not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "cidr.h"

static bool
has(const struct cidr_list *list, const char *text)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	struct sockaddr_in four = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		return cidr_list_has(list, (struct sockaddr *)&four);
	assert_int_equal(inet_pton(AF_INET6, text, &six.sin6_addr), 1);
	return cidr_list_has(list, (struct sockaddr *)&six);
}

static void
test_matches(void **state)
{
	static const struct {
		const char *list, *address;
		bool has;
	} rows[] = {
		{ "192.0.2.0/24", "192.0.2.0", true },
		{ "192.0.2.0/24", "192.0.2.255", true },
		{ "192.0.2.0/24", "192.0.3.0", false },
		{ "192.0.2.0/24", "::ffff:192.0.2.9", true },
		{ "::ffff:192.0.2.0/120", "192.0.2.9", true },
		{ "192.0.2.128/25", "192.0.2.127", false },
		{ "192.0.2.128/25", "192.0.2.128", true },
		{ "192.0.2.7", "192.0.2.7", true },
		{ "192.0.2.7", "192.0.2.6", false },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "::/0", "203.0.113.9", true },
		{ "2001:db8::/32", "2001:db8:ffff::1", true },
		{ "2001:db8::/32", "2001:db9::1", false },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ " 10.0.0.0/8,\t2001:db8::1 ,, 192.0.2.1\n", "192.0.2.1", true },
		{ " 10.0.0.0/8,\t2001:db8::1 ,, 192.0.2.1\n", "2001:db8::1", true },
		{ "", "192.0.2.1", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cidr_list list;
		struct err err;

		assert_int_equal(cidr_list_parse(&list, slice_str(rows[i].list), "k", &err), 0);
		assert_int_equal(has(&list, rows[i].address), rows[i].has);
		cidr_list_release(&list);
	}
}

static void
test_refused(void **state)
{
	static const char *const rows[] = { "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/-1",
		"192.0.2.0/", "192.0.2.0/08", "192.0.2.0/ 24", "192.0.2", "192.0.2.0/24/8",
		"2001:db8::1/32", "2001:db8::/129", "example.com", "*", "1.2.3.4.5",
		"192.0.2.0/24;10.0.0.0/8",
		"00000000000000000000000000000000000000000000000000000000000000000000001" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cidr_list list;
		struct err err;

		assert_int_equal(cidr_list_parse(&list, slice_str(rows[i]), "smtp.deny", &err), -1);
		assert_ptr_equal(strstr(err.msg, "smtp.deny"), err.msg);
		cidr_list_release(&list);
	}
}

/* A list with a NUL is not the list up to it. */
static void
test_nul(void **state)
{
	const struct slice rows[] = { SLICE("192.0.2.1\0junk"), SLICE("192.0.2.0/24\0/8"),
		SLICE("192.0.2.1\0"), SLICE("192.0.2.1\0 10.0.0.0/8"), SLICE("192.0.2.1 \0"),
		SLICE("\0"), SLICE("192.0.2.1,\0,10.0.0.0/8") };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cidr_list list;
		struct err err;

		assert_int_equal(cidr_list_parse(&list, rows[i], "smtp.deny", &err), -1);
		assert_ptr_equal(strstr(err.msg, "smtp.deny: a NUL byte"), err.msg);
		cidr_list_release(&list);
	}
}

static void
test_no_address(void **state)
{
	struct sockaddr other = { .sa_family = AF_UNIX };
	struct cidr_list list;
	struct err err;

	(void)state;
	assert_int_equal(cidr_list_parse(&list, SLICE("::/0"), "k", &err), 0);
	assert_false(cidr_list_has(&list, &other));
	cidr_list_release(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_no_address),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
