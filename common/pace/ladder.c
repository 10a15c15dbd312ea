/* SPDX-License-Identifier: Apache-2.0 */
/* ladder: see ladder.h. */
#include "ladder.h"

#include <errno.h>
#include <stdlib.h>

#define SPREAD_PERCENT 15
#define HOUR_S 3600

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
		if (n == 0)
			return err_set(err,
			    "dispatcher.retry_ladder: a wait is 1 s at least; of 0 s a refused "
			    "recipient would be tried without end");
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
ladder_wait_s(const struct ladder *ladder, int tries, uint32_t chance)
{
	long step = ladder->wait_s[tries < ladder->steps ? tries : ladder->steps - 1];
	long spread = step * SPREAD_PERCENT / 100;
	long wait = step - spread + (long)(chance % (uint32_t)(2 * spread + 1));
	long past;

	if (wait < HOUR_S / 2)
		return wait;
	past = wait % HOUR_S;
	if (past < LADDER_CLEAR_S)
		wait += LADDER_CLEAR_S - past;
	else if (past > HOUR_S - LADDER_CLEAR_S)
		wait -= LADDER_CLEAR_S - (HOUR_S - past);
	return wait;
}
