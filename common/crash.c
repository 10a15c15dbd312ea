/* SPDX-License-Identifier: Apache-2.0 */
/* crash: see crash.h. What is asked for is read at each point, so there is no state but its count. */
#include "crash.h"

#ifdef KAIRAN_CRASH_POINTS

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WANTED_MAX 96

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

/* What is asked for: "name[:nth]", and its number where there is one. */
static bool
read_wanted(char *text, size_t size, long *number)
{
	const char *wanted = getenv("KAIRAN_CRASH_POINT"), *path = getenv("KAIRAN_CRASH_ARMED");
	ssize_t n;
	char *space;
	int fd;

	*number = 0;
	if (wanted != NULL) {
		(void)snprintf(text, size, "%s", wanted);
		return true;
	}
	fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	(void)close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	space = strchr(text, ' ');
	if (space == NULL)
		return false;
	*space = '\0';
	*number = strtol(space + 1, NULL, 10);
	return true;
}

void
crash_point(const char *name)
{
	static atomic_long passed, of_number;
	char wanted[WANTED_MAX];
	size_t n = strlen(name);
	long nth = 1, number;

	if (!read_wanted(wanted, sizeof(wanted), &number) || strncmp(wanted, name, n) != 0 ||
	    (wanted[n] != '\0' && wanted[n] != ':'))
		return;
	if (wanted[n] == ':')
		nth = strtol(wanted + n + 1, NULL, 10);
	if (atomic_exchange(&of_number, number) != number)
		atomic_store(&passed, 0);
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
