/* SPDX-License-Identifier: Apache-2.0 */
/* test_buf: common/buf.c and common/arena.c: contents, ceilings, reuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"
#include "buf.h"

static void
test_buf_appends(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_string_equal(buf_str(&b), "");
	assert_null(b.data);
	buf_append_str(&b, "a");
	buf_append_char(&b, 'b');
	buf_append_uint(&b, 0);
	buf_append_uint(&b, UINT64_MAX);
	buf_append_slice(&b, SLICE("c"));
	buf_append(&b, "", 0);
	buf_printf(&b, "%s-%d", "x", 7);
	assert_string_equal(buf_str(&b), "ab018446744073709551615cx-7");
	assert_int_equal(b.len, strlen(b.data));
	buf_consume(&b, 2);
	assert_true(slice_equal(buf_slice(&b), SLICE("018446744073709551615cx-7")));
	buf_consume(&b, b.len);
	assert_string_equal(buf_str(&b), "");
	buf_release(&b);
}

static void
test_buf_ceiling(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 10);
	for (int i = 0; i < 10; i++)
		buf_append_char(&b, 'x');
	assert_false(buf_failed(&b));
	assert_int_equal(b.len, 10);
	buf_append_char(&b, 'x');
	assert_true(buf_failed(&b));
	buf_append_str(&b, "y"); /* sticky */
	assert_int_equal(b.len, 10);
	assert_string_equal(buf_str(&b), "xxxxxxxxxx");
	buf_reset(&b);
	assert_false(buf_failed(&b));
	assert_int_equal(b.len, 0);
	buf_append_str(&b, "again");
	assert_string_equal(buf_str(&b), "again");
	assert_false(buf_reserve(&b, SIZE_MAX));
	assert_true(buf_failed(&b));
	buf_release(&b);
}

static void
test_buf_grows(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 100000; i++)
		buf_append_char(&b, (char)('a' + i % 26));
	assert_false(buf_failed(&b));
	assert_int_equal(b.len, 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
	assert_true(buf_reserve(&b, 5));
	memcpy(b.data + b.len, "12345", 5);
	buf_commit(&b, 5);
	assert_int_equal(b.data[b.len], '\0');
	buf_release(&b);
}

static void
test_buf_printf_ceiling(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	buf_printf(&b, "%s", "123456789");
	assert_true(buf_failed(&b));
	assert_string_equal(buf_str(&b), "");
	buf_release(&b);
}

static void
test_arena_zeroed_and_aligned(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 1 << 20);
	for (int round = 0; round < 3; round++) {
		for (size_t n = 1; n < 2000; n += 37) {
			unsigned char *p = arena_alloc(&a, n);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % 16, 0);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(p[i], 0);
			memset(p, 0xaa, n);
		}
		arena_reset(&a);
		assert_int_equal(a.used_total, 0);
	}
	arena_release(&a);
}

static void
test_arena_ceiling(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 100000);
	assert_non_null(arena_alloc(&a, 50000));
	assert_non_null(arena_alloc(&a, 40000));
	assert_null(arena_alloc(&a, 20000));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_array(&a, SIZE_MAX / 16 + 2, 16)); /* wraps to 16 */
	assert_non_null(arena_alloc(&a, 100));
	arena_reset(&a);
	assert_non_null(arena_alloc(&a, 90000));
	arena_release(&a);
}

static void
test_arena_copies(void **state)
{
	struct arena a;
	struct slice s;

	(void)state;
	arena_init(&a, 1000);
	s = arena_copy(&a, SLICE("a\0b"));
	assert_int_equal(s.len, 3);
	assert_memory_equal(s.ptr, "a\0b", 4);
	s = arena_copy(&a, slice_make(NULL, 0));
	assert_int_equal(s.len, 0);
	assert_string_equal(arena_str(&a, "text"), "text");
	s = arena_copy(&a, slice_make("x", 1));
	assert_string_equal(s.ptr, "x");
	arena_release(&a);
	arena_init(&a, 8);
	assert_null(arena_copy(&a, SLICE("0123456789abcdef")).ptr);
	arena_release(&a);
}

static void
test_slices(void **state)
{
	(void)state;
	assert_true(slice_equal_nocase(SLICE("MiXed"), SLICE("mIxED")));
	assert_false(slice_equal_nocase(SLICE("[a"), SLICE("{a")));
	assert_true(slice_starts_nocase(SLICE("Subject: x"), SLICE("subject:")));
	assert_false(slice_starts_nocase(SLICE("Sub"), SLICE("subject:")));
	assert_true(slice_equal(slice_trim(SLICE(" \t a b\r\n")), SLICE("a b")));
	assert_int_equal(slice_trim(SLICE(" \n")).len, 0);
	assert_int_equal(slice_str(NULL).len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_appends),
		cmocka_unit_test(test_buf_ceiling),
		cmocka_unit_test(test_buf_grows),
		cmocka_unit_test(test_buf_printf_ceiling),
		cmocka_unit_test(test_arena_zeroed_and_aligned),
		cmocka_unit_test(test_arena_ceiling),
		cmocka_unit_test(test_arena_copies),
		cmocka_unit_test(test_slices),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
