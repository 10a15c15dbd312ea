/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contain: what a process gives up, so that whoever takes it over gets little.
 *
 *   contain_process   first in main: no core, no tracer, no new privileges
 *   contain_begin     after start-up, before a thread is made and a byte comes from outside: a
 *                     filter of system calls (seccomp) and of files (Landlock). For good, and for
 *                     all threads and children made afterwards.
 *
 * A system call that is not on the list of the role is logged with its number. One that no honest
 * program here makes (execve, ptrace, mount, bpf, ...) ends the process with status 159; any other
 * fails with ENOSYS, so that a newer C library falls back. The producer runs hooks, which
 * inherit all this: its filter only refuses the administration of the kernel (EPERM), and it has
 * no filter of files.
 */
#ifndef KAIRAN_CONTAIN_H
#define KAIRAN_CONTAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "err.h"

enum contain_role {
	CONTAIN_PRODUCER,
	CONTAIN_DISPATCHER,
	CONTAIN_FEEDBACK,
	CONTAIN_PARSER /* of strangers' mail: no file, no socket, no process */
};

/* No core, not dumpable, no new privileges, umask 077. Never fails: what the kernel lacks is left
 * out. */
void contain_process(void);

/*
 * Does nothing with contain.enable = no. What the kernel or the build lacks is said in the log, once,
 * and left out; the rest is done. -1 with err only when a filter was begun and failed.
 */
int contain_begin(const struct config *config, enum contain_role role, struct err *err) MUST_CHECK;

/* The filter of the parser alone, without a word in the log: a call that is not on its list ends
 * it, opening a file fails. False when the kernel has no seccomp. */
bool contain_parser(void);

#endif
