/* SPDX-License-Identifier: Apache-2.0 */
/* test_sts_cache: policies that outlive a restart, and lines that do not. */
#include "dispatcher/mx/sts_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW 1800000000

static struct sts_cached found[4];
static size_t count;

static void
keep(void *ctx, const struct sts_cached *c)
{
	(void)ctx;
	assert_true(count < 4);
	found[count++] = *c;
}

static bool
reads(const char *line)
{
	struct sts_cached c;

	return sts_cache_read_line(slice_str(line), NOW, &c);
}

static void
test_lines(void **state)
{
	(void)state;
	assert_true(reads("a.example 1 2 1800000100 100 mx.a.example *.b.example"));
	assert_true(reads("a.example 1 1 1800000001 31557600 mx.a.example"));
	assert_false(reads(""));
	assert_false(reads("a.example 1 2 1800000100 100"));
	assert_false(reads("a.example 1 2 1800000100 100 "));
	assert_false(reads("a.example 1 2 1800000100 100 mx.a.example  mx"));
	assert_false(reads("a.example 1 0 1800000100 100 mx.a.example"));
	assert_false(reads("a.example 1 3 1800000100 100 mx.a.example"));
	/* over, longer than its max_age, a max_age that no policy may have, no number */
	assert_false(reads("a.example 1 2 1800000000 100 mx.a.example"));
	assert_false(reads("a.example 1 2 1800000101 100 mx.a.example"));
	assert_false(reads("a.example 1 2 1800000100 31557601 mx.a.example"));
	assert_false(reads("a.example 1 2 18000001x0 100 mx.a.example"));
	assert_false(reads("a.example 1 2 -5 100 mx.a.example"));
	assert_false(reads("a.example 012345678901234567890123456789012 2 1800000100 100 mx"));
	assert_false(
	    reads("a 1 2 1800000100 100 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21"));
}

static void
test_file(void **state)
{
	char folder[] = "/tmp/sts_cache.XXXXXX", path[64], fresh[80];
	struct sts_cached c = { .domain = "a.example",
		.id = "7",
		.until_s = NOW + 60,
		.policy = { .mode = MTA_STS_ENFORCE,
		    .max_age_s = 86400,
		    .host_count = 2,
		    .hosts = { "mx.a.example", "*.b.example" } } };
	struct err err = { 0 };
	struct stat st;
	struct buf text;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/x.mta-sts", folder);
	(void)snprintf(fresh, sizeof(fresh), "%s.new", path);
	assert_int_equal(sts_cache_load(path, NOW, keep, NULL, &err), 0);
	assert_int_equal(count, 0);
	buf_init(&text, 4096);
	sts_cache_put_line(&text, &c);
	buf_append_str(&text, "damaged\n");
	(void)snprintf(c.domain, sizeof(c.domain), "b.example");
	sts_cache_put_line(&text, &c);
	buf_append_str(&text, "c.example 1 2 1800000100 100 mx.c.exam"); /* cut */
	assert_int_equal(sts_cache_save(path, buf_slice(&text), &err), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_not_equal(stat(fresh, &st), 0);
	assert_int_equal(sts_cache_load(path, NOW, keep, NULL, &err), 0);
	assert_int_equal(count, 2);
	assert_string_equal(found[0].domain, "a.example");
	assert_string_equal(found[1].domain, "b.example");
	assert_string_equal(found[1].id, "7");
	assert_int_equal(found[1].until_s, NOW + 60);
	assert_true(mta_sts_allows(&found[1].policy, "mx.b.example"));
	assert_false(mta_sts_allows(&found[1].policy, "mx.c.example"));
	(void)unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(sts_cache_load(path, NOW, keep, NULL, &err), -1);
	(void)unlink(path);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(sts_cache_save(path, buf_slice(&text), &err), -1);
	buf_release(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lines),
		cmocka_unit_test(test_file) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
