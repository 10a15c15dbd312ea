/* SPDX-License-Identifier: Apache-2.0 */
/* memory: see memory.h. */
#include "memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "log.h"

#define SAY_EVERY_MS 60000
#define PATH_BYTES 4096
#define UV_THREADS 4		     /* of libuv, unless UV_THREADPOOL_SIZE says other */
#define NO_LIMIT (UINT64_C(1) << 62) /* how version 1 says it: nearly 2^63 */

enum { ADDRESSES, DATA, RESIDENT };
_Static_assert(RESIDENT + 1 == MEMORY_KINDS, "each kind has its place");

static void
keep_least(uint64_t *most, uint64_t bytes)
{
	if (bytes > 0 && (*most == 0 || bytes < *most))
		*most = bytes;
}

/* ---- limits ---- */

static void
read_rlimit(uint64_t *most, int resource)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY)
		keep_least(most, limit.rlim_cur);
}

static void
read_group_limit(uint64_t *most, const char *folder, const char *name)
{
	char path[PATH_BYTES], text[32];
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return;
	f = fopen(path, "re");
	if (f == NULL)
		return;
	if (fgets(text, sizeof(text), f) != NULL) {
		uint64_t limit = strtoull(text, NULL, 10);

		keep_least(most, limit < NO_LIMIT ? limit : 0); /* "max": none */
	}
	(void)fclose(f);
}

/* A group and those above it. mount: below groups. */
static void
read_group(uint64_t *most, const char *groups, const char *mount, const char *group,
    const char *const names[2])
{
	char folder[PATH_BYTES];
	size_t root = strlen(groups) + strlen(mount);

	if (snprintf(folder, sizeof(folder), "%s%s%s", groups, mount, group) >= (int)sizeof(folder))
		return;
	for (char *end = folder + strlen(folder); end != NULL && end >= folder + root;
	     end = strrchr(folder, '/')) {
		*end = '\0';
		for (int i = 0; i < 2; i++)
			read_group_limit(most, folder, names[i]);
	}
}

/* Version 2, and the hierarchy of version 1 that has memory, where there is one: N:memory:/GROUP. */
static void
read_groups(uint64_t *most, const char *groups, const char *own)
{
	static const char *const second[] = { "memory.max", "memory.high" };
	static const char *const first[] = { "memory.limit_in_bytes",
		"memory.soft_limit_in_bytes" };
	static const char controller[] = ":memory:/";
	char line[PATH_BYTES / 2];
	FILE *f = fopen(own, "re");

	if (f == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL) {
		char *colon = strchr(line, ':');

		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0)
			read_group(most, groups, "", line + 3, second);
		else if (colon != NULL && strncmp(colon, controller, strlen(controller)) == 0)
			read_group(most, groups, "/memory", colon + strlen(controller) - 1, first);
	}
	(void)fclose(f);
}

/* ---- use ---- */

/* Bytes of each kind. */
static bool
read_use(const struct memory *m, uint64_t use[MEMORY_KINDS])
{
	unsigned long long size, resident, data;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char text[128];
	ssize_t n = pread(m->statm, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	if (sscanf(text, "%llu %llu %*u %*u %*u %llu", &size, &resident, &data) != 3)
		return false;
	use[ADDRESSES] = size * page;
	use[DATA] = data * page;
	use[RESIDENT] = resident * page;
	return true;
}

void
memory_open(struct memory *m, const char *groups, const char *own)
{
	bool any = false;

	*m = (struct memory){ .statm = -1 };
	read_rlimit(&m->most[ADDRESSES], RLIMIT_AS);
	read_rlimit(&m->most[DATA], RLIMIT_DATA);
	read_groups(&m->most[RESIDENT], groups, own);
	for (int i = 0; i < MEMORY_KINDS; i++)
		any = any || m->most[i] != 0;
	if (any)
		m->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (m->statm >= 0 && !read_use(m, m->first))
		memory_close(m);
}

void
memory_close(struct memory *m)
{
	if (m->statm >= 0)
		(void)close(m->statm);
	m->statm = -1;
}

/* ---- the look ---- */

static bool
is_near(uint64_t use, uint64_t first, uint64_t most)
{
	uint64_t room = most > first ? most - first : 0;

	return most > 0 && use >= first + room / 2;
}

static void
say(struct memory *m, const uint64_t use[MEMORY_KINDS], int kind, uint64_t now_ms)
{
	static const char *const names[MEMORY_KINDS] = { "address space", "data", "resident" };

	if (m->said_ms != 0 && now_ms - m->said_ms < SAY_EVERY_MS)
		return;
	m->said_ms = now_ms > 0 ? now_ms : 1;
	log_warn("memory is short: fewer mails at once until there is more kind=\"%s\" "
		 "used_mb=%llu limit_mb=%llu",
	    names[kind], (unsigned long long)(use[kind] >> 20),
	    (unsigned long long)(m->most[kind] >> 20));
}

bool
memory_is_short(struct memory *m, uint64_t now_ms)
{
	uint64_t use[MEMORY_KINDS];
	bool was_short;

	if (m == NULL || m->statm < 0 || !read_use(m, use))
		return false;
	was_short = m->is_short;
	m->is_short = false;
	for (int i = 0; i < MEMORY_KINDS && !m->is_short; i++) {
		m->is_short = is_near(use[i], m->first[i], m->most[i]);
		if (m->is_short)
			say(m, use, i, now_ms);
	}
	if (m->is_short && !was_short)
		(void)malloc_trim(0); /* what was freed and kept */
	return m->is_short;
}

/* ---- threads ---- */

static void *
wait_for_all(void *all)
{
	pthread_mutex_t *mutex = all;

	(void)pthread_mutex_lock(mutex);
	(void)pthread_mutex_unlock(mutex);
	return NULL;
}

int
memory_try_threads(struct err *err)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* held until all are there */
	pthread_t threads[UV_THREADS];
	uint64_t most = 0;
	size_t count = 0;
	int error = 0;

	read_rlimit(&most, RLIMIT_AS);
	read_rlimit(&most, RLIMIT_DATA);
	if (most == 0)
		return 0;
	(void)pthread_mutex_lock(&mutex);
	while (count < UV_THREADS && error == 0) {
		error = pthread_create(&threads[count], NULL, wait_for_all, &mutex);
		count += error == 0;
	}
	(void)pthread_mutex_unlock(&mutex);
	while (count > 0)
		(void)pthread_join(threads[--count], NULL);
	if (error != 0)
		return err_set(err,
		    "no memory for %d threads under a limit of %llu kB: raise ulimit -v, ulimit -d "
		    "or "
		    "LimitAS, or lower ulimit -s (the stack of each)",
		    UV_THREADS, (unsigned long long)(most / 1024));
	return 0;
}
