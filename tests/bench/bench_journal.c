/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_journal: CPU time of the journal per message: a mark, an answer with a remote id, and the
 * slot set free, round and round the default ring on the disk of TMPDIR. One JSON line. Yardstick: two
 * copies of 64 bytes into the same mapping, in the same order. Argument: millions of messages.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"

#define SLOTS 131072

static double
cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double
plain_copies(const char *path, long count)
{
	size_t bytes = (size_t)SLOTS * JOURNAL_SLOT_BYTES;
	int fd = open(path, O_RDWR);
	unsigned char *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char half[64] = { 1 };
	double start = cpu_now();

	if (fd < 0 || map == MAP_FAILED)
		return 0;
	for (long i = 0; i < count; i++) {
		unsigned char *at = map + (size_t)(i % SLOTS) * JOURNAL_SLOT_BYTES;

		half[0] = (unsigned char)i;
		memcpy(at, half, sizeof(half));
		__asm__ volatile("" ::: "memory");
		memcpy(at + 64, half, sizeof(half));
		__asm__ volatile("" ::: "memory");
	}
	(void)munmap(map, bytes);
	(void)close(fd);
	return (cpu_now() - start) / (double)count;
}

int
main(int argc, char **argv)
{
	long count = (argc > 1 ? strtol(argv[1], NULL, 10) : 2) * 1000000;
	const char *folder = getenv("TMPDIR");
	struct journal_attempt attempt = { 1, 1, 0, 1 };
	struct journal_answer answer = { .kind = OUTCOME_SENT,
		.code = 250,
		.enhanced = { 2, 0, 0 },
		.text = SLICE("4WqHfB3zQ1z9rZ2") };
	char path[200];
	struct journal *j;
	struct err err = { 0 };
	double start, spent, yardstick;

	(void)snprintf(path, sizeof(path), "%s/bench.journal.%d", folder != NULL ? folder : "/tmp",
	    (int)getpid());
	j = journal_open(path, "0123456789abcdef0123456789abcdef", SLOTS, &err);
	if (j == NULL) {
		fprintf(stderr, "bench_journal: %s\n", err.msg);
		return 1;
	}
	journal_begin_life(j, 1, 1);
	start = cpu_now();
	for (long i = 0; i < count; i++) {
		int slot;

		attempt.send = (int32_t)i;
		slot = journal_dot(j, -1, &attempt);
		if (slot < 0)
			return 1;
		journal_answer(j, slot, &answer);
		journal_settled(j, slot);
	}
	spent = (cpu_now() - start) / (double)count;
	journal_close(j);
	yardstick = plain_copies(path, count);
	(void)unlink(path);
	printf("{\"bench\":\"journal\",\"value\":%.3f,\"unit\":\"us CPU per "
	       "message\",\"messages\":%ld,"
	       "\"yardstick\":\"two plain copies of 64 "
	       "bytes\",\"yardstick_value\":%.3f,\"ratio\":%.2f,"
	       "\"target\":1.0}\n",
	    spent, count, yardstick, yardstick > 0 ? spent / yardstick : 0);
	return 0;
}
