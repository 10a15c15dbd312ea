/* SPDX-License-Identifier: Apache-2.0 */
/* ladder: see ladder.h. */
#include "ladder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD_PERCENT 15
#define HOUR_S 3600

static const char *const kind_names[LADDER_KINDS] = { [LADDER_GREYLISTED] = "greylisted",
	[LADDER_MAILBOX_FULL] = "mailbox_full",
	[LADDER_DNS] = "dns" };

/* ---- reading ---- */

/* One wait; *text is behind it and its comma then. */
static int
read_wait(struct ladder_steps *steps, const char **text, struct err *err)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(*text, &end, 10);
	if (end == *text || errno != 0 || n < 0 || n > 1000000 || steps->count == LADDER_MAX)
		return err_set(err,
		    "dispatcher.retry_ladder: expected up to %d waits such as 7m,17m", LADDER_MAX);
	if (*end == 'h')
		n *= 3600;
	else if (*end == 'm')
		n *= 60;
	end += *end == 'h' || *end == 'm' || *end == 's';
	if (n == 0)
		return err_set(err,
		    "dispatcher.retry_ladder: a wait is 1 s at least; of 0 s a refused "
		    "recipient would be tried without end");
	steps->wait_s[steps->count++] = n;
	*text = end + strspn(end, " ,");
	return 0;
}

/* Behind a bar; *text is behind the name then. NULL with err: there is no such kind, or it was named before. */
static struct ladder_steps *
read_kind(struct ladder *ladder, const char **text, struct err *err)
{
	size_t n;

	*text += strspn(*text, "| ");
	n = strcspn(*text, " |");
	for (size_t i = LADDER_ANY + 1; i < LADDER_KINDS; i++)
		if (strlen(kind_names[i]) == n && memcmp(kind_names[i], *text, n) == 0 &&
		    ladder->of[i].count == 0) {
			*text += n + strspn(*text + n, " ");
			return &ladder->of[i];
		}
	(void)err_set(err,
	    "dispatcher.retry_ladder: behind a bar expected greylisted, mailbox_full or dns, each "
	    "once, not '%.*s'",
	    (int)(n < 40 ? n : 40), *text);
	return NULL;
}

int
ladder_parse(struct ladder *ladder, const char *text, struct err *err)
{
	struct ladder_steps *steps = &ladder->of[LADDER_ANY];

	*ladder = (struct ladder){ 0 };
	text += strspn(text, " ");
	do {
		if (*text == '|' && (steps = read_kind(ladder, &text, err)) == NULL)
			return -1;
		while (*text != '\0' && *text != '|')
			if (read_wait(steps, &text, err) < 0)
				return -1;
		if (steps->count == 0)
			return err_set(err, "dispatcher.retry_ladder is empty%s%s",
			    steps != ladder->of ? " for " : "",
			    steps != ladder->of ? kind_names[steps - ladder->of] : "");
	} while (*text != '\0');
	return ladder->of[LADDER_ANY].count > 0 ? 0
						: err_set(err, "dispatcher.retry_ladder is empty");
}

/* ---- waiting ---- */

enum ladder_kind
ladder_kind_of(const struct outcome *o)
{
	if (o == NULL || o->reason == NULL)
		return LADDER_ANY;
	if (strcmp(o->reason, "greylisted") == 0)
		return LADDER_GREYLISTED;
	if (strcmp(o->reason, "mailbox_full") == 0)
		return LADDER_MAILBOX_FULL;
	/* X.4.3 "directory server failure" (RFC 3463 3.5); a domain that seems not to be there */
	if (strcmp(o->reason, "domain_unknown") == 0 ||
	    (o->enhanced[1] == 4 && o->enhanced[2] == 3))
		return LADDER_DNS;
	return LADDER_ANY;
}

long
ladder_wait_s(const struct ladder *ladder, const struct outcome *o, int tries, uint32_t chance)
{
	const struct ladder_steps *own = &ladder->of[ladder_kind_of(o)];
	const struct ladder_steps *steps = own->count > 0 ? own : &ladder->of[LADDER_ANY];
	long step = steps->wait_s[tries < steps->count ? tries : steps->count - 1];
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
