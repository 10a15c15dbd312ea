/* SPDX-License-Identifier: Apache-2.0 */
/* memory: limits of the process and of its control group, and what is near them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory.h"

#define MB ((size_t)1 << 20)

static char folder[64];

static void
write_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void
open_in_folder(struct memory *m)
{
	char own[80];

	(void)snprintf(own, sizeof(own), "%s/own", folder);
	memory_open(m, folder, own);
}

static int
begin(void **state)
{
	char path[96];

	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/kairan.memory.XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/outer", folder);
	if (mkdir(path, 0700) != 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/outer/inner", folder);
	if (mkdir(path, 0700) != 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/memory", folder);
	if (mkdir(path, 0700) != 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/memory/inner", folder);
	return mkdir(path, 0700);
}

static int
end(void **state)
{
	static const char *const names[] = { "own", "outer/memory.max", "outer/inner/memory.max",
		"outer/inner/memory.high", "outer/inner", "outer",
		"memory/inner/memory.limit_in_bytes", "memory/inner", "memory", "." };
	char path[256];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		(void)remove(path);
	}
	return rmdir(folder) == 0 || access(folder, F_OK) != 0 ? 0 : -1;
}

/* So much more is resident while it is looked. */
static bool
is_short_with(struct memory *m, size_t bytes, uint64_t now_ms)
{
	char *more = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool is_short;

	assert_true(more != MAP_FAILED);
	memset(more, 1, bytes);
	is_short = memory_is_short(m, now_ms);
	(void)munmap(more, bytes);
	return is_short;
}

static void
test_without_a_limit(void **state)
{
	struct memory m;

	(void)state;
	open_in_folder(&m); /* there is no such file */
	assert_int_equal(m.statm, -1);
	assert_false(is_short_with(&m, 64 * MB, 1));
	assert_false(memory_is_short(NULL, 1));
	write_file("own", "7:pids:/\n0::/outer/inner\n");
	write_file("outer/memory.max", "max\n");
	open_in_folder(&m);
	assert_int_equal(m.statm, -1);
	memory_close(&m);
}

/* The least of the group's own limits and those above it, against what is resident. */
static void
test_the_limit_of_a_group(void **state)
{
	struct memory m;
	char text[32];

	(void)state;
	write_file("own", "0::/outer/inner\n");
	write_file("outer/inner/memory.max", "1099511627776\n");
	write_file("outer/inner/memory.high", "max\n");
	open_in_folder(&m);
	assert_true(m.statm >= 0);
	(void)snprintf(text, sizeof(text), "%llu\n",
	    (unsigned long long)(m.first[MEMORY_KINDS - 1] + 80 * MB));
	memory_close(&m);
	write_file("outer/memory.max", text);
	open_in_folder(&m);
	assert_false(memory_is_short(&m, 1));
	assert_false(is_short_with(&m, 24 * MB, 2));
	assert_true(is_short_with(&m, 60 * MB, 3));
	assert_false(memory_is_short(&m, 4)); /* it was given back */
	memory_close(&m);
	assert_false(is_short_with(&m, 60 * MB, 5));
}

/* Of version 1, which says 2^63 less a page for none. */
static void
test_the_limit_of_a_group_of_version_1(void **state)
{
	struct memory m;
	char text[32];

	(void)state;
	write_file("own", "8:pids:/\n4:memory:/inner\n0::/\n");
	write_file("memory/inner/memory.limit_in_bytes", "9223372036854771712\n");
	open_in_folder(&m);
	assert_int_equal(m.statm, -1);
	memory_close(&m);
	(void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)80 * MB);
	write_file("memory/inner/memory.limit_in_bytes", text);
	open_in_folder(&m);
	assert_true(m.statm >= 0);
	assert_int_equal(m.most[MEMORY_KINDS - 1], 80 * MB);
	memory_close(&m);
	write_file("own", "4:memory:/inner/other\n"); /* those above it, too */
	open_in_folder(&m);
	assert_int_equal(m.most[MEMORY_KINDS - 1], 80 * MB);
	memory_close(&m);
}

static void
test_the_limit_of_the_process(void **state)
{
	struct rlimit before, limit;
	struct memory m;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
	limit = before;
	limit.rlim_cur = (rlim_t)1 << 50; /* bound by nothing, and there */
	if (before.rlim_max != RLIM_INFINITY && before.rlim_max < limit.rlim_cur)
		skip();
	assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
	open_in_folder(&m);
	assert_true(m.statm >= 0);
	assert_false(memory_is_short(&m, 1));
	m.most[1] = m.first[1] + 40 * MB;
	assert_false(is_short_with(&m, 8 * MB, 2));
	assert_true(is_short_with(&m, 32 * MB, 3));
	assert_int_equal(m.said_ms, 3);
	assert_true(is_short_with(&m, 32 * MB, 4));
	assert_int_equal(m.said_ms, 3); /* once a minute */
	assert_true(is_short_with(&m, 32 * MB, 60004));
	assert_int_equal(m.said_ms, 60004);
	m.most[1] = 1; /* below what there was at the start: always short, and never failing */
	assert_true(memory_is_short(&m, 60005));
	memory_close(&m);
	assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_without_a_limit, begin, end),
		cmocka_unit_test_setup_teardown(test_the_limit_of_a_group, begin, end),
		cmocka_unit_test_setup_teardown(test_the_limit_of_a_group_of_version_1, begin, end),
		cmocka_unit_test_setup_teardown(test_the_limit_of_the_process, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
