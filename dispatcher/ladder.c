/* SPDX-License-Identifier: Apache-2.0 */
/* ladder: see ladder.h. */
#include "ladder.h"

#include <errno.h>
#include <stdlib.h>

int
ladder_parse(struct ladder *ladder, const char *text, struct err *err)
{
	ladder->steps = 0;
	while (*text != '\0') {
		char *end;
		long n;

		errno = 0;
		n = strtol(text, &end, 10);
		if (end == text || errno != 0 || n < 0 || n > 1000000 ||
		    ladder->steps == LADDER_MAX)
			return err_set(err,
			    "dispatcher.retry_ladder: expected up to %d waits such as 7m,17m",
			    LADDER_MAX);
		if (*end == 'h')
			n *= 3600;
		else if (*end == 'm')
			n *= 60;
		end += *end == 'h' || *end == 'm' || *end == 's';
		ladder->wait_s[ladder->steps++] = n;
		while (*end == ' ' || *end == ',')
			end++;
		text = end;
	}
	if (ladder->steps == 0)
		return err_set(err, "dispatcher.retry_ladder is empty");
	return 0;
}

long
ladder_wait_s(const struct ladder *ladder, int tries)
{
	return ladder->wait_s[tries < ladder->steps ? tries : ladder->steps - 1];
}
