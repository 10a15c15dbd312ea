/* SPDX-License-Identifier: Apache-2.0 */
/* bloom: never a wrong "no", and about as many wrong "yes" as its size says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bloom.h"

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static void
test_members_are_found(void **state)
{
	struct bloom b;

	(void)state;
	assert_true(bloom_init(&b, 16));
	for (uint64_t i = 1; i <= 3000; i++)
		(void)bloom_add(&b, mix(i));
	for (uint64_t i = 1; i <= 3000; i++)
		assert_true(bloom_has(&b, mix(i)));
	assert_true(bloom_add(&b, mix(1)));
	bloom_release(&b);
}

static void
test_others_are_mostly_not(void **state)
{
	struct bloom b;
	unsigned wrong = 0;

	(void)state;
	assert_true(bloom_init(&b, 20));
	assert_false(bloom_has(&b, mix(7)));
	for (uint64_t i = 0; i < 50000; i++)
		(void)bloom_add(&b, mix(i));
	for (uint64_t i = 1000000; i < 1100000; i++)
		wrong += bloom_has(&b, mix(i));
	/* (1 - e^(-2 * 50000 / 2^20))^2 is 0.8 %; blocks cost a little more */
	assert_in_range(wrong, 100, 2000);
	bloom_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members_are_found),
		cmocka_unit_test(test_others_are_mostly_not),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
