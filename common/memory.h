/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory: how near this process is to the memory it may have, so that it can take less work before an
 * allocation fails or the kernel ends it. Limits: RLIMIT_AS, RLIMIT_DATA, and memory.max and memory.high of
 * the control group (MemoryMax, MemoryHigh of systemd; memory.limit_in_bytes and the soft one of version 1),
 * against what is resident. Without any of
 * them nothing is read later and memory is never short.
 *
 * Of what a limit leaves above what memory_open() found, half may be used:
 * what was begun grows on behind the look.
 */
#ifndef KAIRAN_MEMORY_H
#define KAIRAN_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* Kinds of memory, in the order of memory.c. */
#define MEMORY_KINDS 3

struct memory {
	int statm;					  /* -1: there is no limit */
	uint64_t most[MEMORY_KINDS], first[MEMORY_KINDS]; /* bytes; most 0: no limit */
	uint64_t said_ms;
	bool is_short;
};

/* Reads the limits; before contain_begin(). groups: where control groups are mounted, usually
 * MEMORY_GROUPS; own: the file that names ours, usually MEMORY_OWN_GROUP. */
#define MEMORY_GROUPS "/sys/fs/cgroup"
#define MEMORY_OWN_GROUP "/proc/self/cgroup"
void memory_open(struct memory *m, const char *groups, const char *own);

/* Looks now: a system call when there is a limit. Says in the log that it has become short, once a minute at most.
 * NULL: never short. */
bool memory_is_short(struct memory *m, uint64_t now_ms);

void memory_close(struct memory *m);

/* libuv makes its threads when they are first needed, and aborts when it cannot. This makes as many for a moment, where
 * address space or data is limited; their stacks stay with the C library, so call it before memory_open(). 0, or -1 with
 * err. */
int memory_try_threads(struct err *err) MUST_CHECK;

#endif
