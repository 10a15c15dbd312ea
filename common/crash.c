/* SPDX-License-Identifier: Apache-2.0 */
/* crash: see crash.h. The environment is read at each point, so there is no state but the count
 * of the point that was asked for. */
#include "crash.h"

#ifdef KAIRAN_CRASH_POINTS

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
leave_word(const char *name)
{
	const char *path = getenv("KAIRAN_CRASH_LOG");
	int fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;

	if (fd < 0)
		return;
	if (write(fd, name, strlen(name)) < 0 || write(fd, "\n", 1) < 0)
		(void)0;
	(void)close(fd);
}

void
crash_point(const char *name)
{
	static atomic_long passed;
	const char *wanted = getenv("KAIRAN_CRASH_POINT");
	size_t n = strlen(name);
	long nth = 1;

	if (wanted == NULL || strncmp(wanted, name, n) != 0 ||
	    (wanted[n] != '\0' && wanted[n] != ':'))
		return;
	if (wanted[n] == ':')
		nth = strtol(wanted + n + 1, NULL, 10);
	if (atomic_fetch_add(&passed, 1) + 1 != nth)
		return;
	leave_word(name);
	(void)kill(getpid(), SIGKILL);
	for (;;)
		(void)pause();
}

#else

typedef int crash_is_not_built; /* a file needs a declaration */

#endif
