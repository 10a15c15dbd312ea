/* SPDX-License-Identifier: Apache-2.0 */
/* connections: see connections.h. Small numbers of everything: plain arrays. */
#include "connections.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 63

struct dispatcher_here {
	char name[NAME_MAX_LEN + 1];
	double until;
};

struct hold {
	char dispatcher[NAME_MAX_LEN + 1], destination[NAME_MAX_LEN + 1];
	unsigned held, wanted;
};

struct connections {
	struct dispatcher_here *here;
	struct hold *holds;
	size_t here_count, hold_count;
	bool made;
	double opens;
};

struct connections *
connections_new(void)
{
	return calloc(1, sizeof(struct connections));
}

void
connections_forget(struct connections *c)
{
	free(c->here);
	free(c->holds);
	*c = (struct connections){ 0 };
}

void
connections_free(struct connections *c)
{
	if (c != NULL)
		connections_forget(c);
	free(c);
}

static struct dispatcher_here *
find_here(struct connections *c, const char *name)
{
	for (size_t i = 0; i < c->here_count; i++)
		if (strcmp(c->here[i].name, name) == 0)
			return &c->here[i];
	return NULL;
}

/* Who has run out goes; who asks is here. Returns how many are; 0 without memory. */
static unsigned
note_here(struct connections *c, const struct connections_ask *ask, bool *before)
{
	struct dispatcher_here *me = find_here(c, ask->dispatcher);

	*before = me != NULL && me->until > ask->now;
	for (size_t i = 0; i < c->here_count;) {
		if (c->here[i].until > ask->now || &c->here[i] == me) {
			i++;
			continue;
		}
		c->here[i] = c->here[--c->here_count];
		me = find_here(c, ask->dispatcher);
	}
	if (me == NULL) {
		struct dispatcher_here *more =
		    realloc(c->here, (c->here_count + 1) * sizeof(*c->here));

		if (more == NULL)
			return 0;
		c->here = more;
		me = &more[c->here_count++];
		*me = (struct dispatcher_here){ 0 };
		(void)strncpy(me->name, ask->dispatcher, NAME_MAX_LEN);
	}
	me->until = ask->now + ask->life;
	return (unsigned)c->here_count;
}

/* What the others hold, and with what they want of their shares; leases of the dead go. */
static void
sum_others(struct connections *c, const struct connections_ask *ask, unsigned share, double *held,
    double *due)
{
	*held = *due = 0;
	for (size_t i = 0; i < c->hold_count;) {
		const struct hold *h = &c->holds[i];

		if (strcmp(h->destination, ask->destination) != 0 ||
		    strcmp(h->dispatcher, ask->dispatcher) == 0) {
			i++;
		} else if (find_here(c, h->dispatcher) == NULL) {
			c->holds[i] = c->holds[--c->hold_count];
		} else {
			*held += h->held;
			*due += fmax(h->held, fmin(h->wanted, share));
			i++;
		}
	}
}

static bool
note_hold(struct connections *c, const struct connections_ask *ask, unsigned held)
{
	struct hold *h = c->holds, *end = c->holds + c->hold_count;

	while (h != end &&
	    (strcmp(h->dispatcher, ask->dispatcher) != 0 ||
		strcmp(h->destination, ask->destination) != 0))
		h++;
	if (held + ask->want == 0) {
		if (h != end)
			*h = c->holds[--c->hold_count];
		return true;
	}
	if (h == end) {
		struct hold *more = realloc(c->holds, (c->hold_count + 1) * sizeof(*more));

		if (more == NULL)
			return false;
		c->holds = more;
		h = &more[c->hold_count++];
		*h = (struct hold){ 0 };
		(void)strncpy(h->dispatcher, ask->dispatcher, NAME_MAX_LEN);
		(void)strncpy(h->destination, ask->destination, NAME_MAX_LEN);
	}
	h->held = held;
	h->wanted = ask->want;
	return true;
}

bool
connections_ask(
    struct connections *c, const struct connections_ask *ask, struct connections_answer *answer)
{
	unsigned count, known, share;
	double held, due, free, granted;

	*answer = (struct connections_answer){ 0 };
	if (!c->made) {
		c->made = true;
		c->opens = ask->known > 1 ? ask->now + ask->life : ask->now;
	}
	answer->opens = c->opens;
	count = note_here(c, ask, &answer->before);
	answer->here = count;
	if (count == 0 || ask->destination == NULL)
		return count > 0;
	known = ask->known > count ? ask->known : count;
	share = ask->limit / known;
	sum_others(c, ask, share, &held, &due);
	free = (double)ask->limit - (double)(known - count) * share;
	granted = fmin(ask->want, fmax(free - due, fmin(share, free - held)));
	if (ask->now < c->opens)
		granted = fmin(ask->want, fmin(ask->have, ask->limit));
	answer->granted = granted > 0 ? (unsigned)granted : 0;
	/* what is open counts until it is closed */
	return note_hold(c, ask, answer->granted > ask->have ? answer->granted : ask->have);
}

void
connections_count(struct connections_hold *h, unsigned known)
{
	h->known = known;
	h->most = known > h->most ? known : h->most;
}

void
connections_answered(struct connections_hold *h, double asked_us)
{
	h->ever = true;
	h->most = h->known;
	h->asked_us = asked_us > h->asked_us ? asked_us : h->asked_us;
}

bool
connections_valid(const struct connections_hold *h, double now_us)
{
	return h->ever && now_us < h->asked_us + CONNECTIONS_LIFE_US / 2;
}

unsigned
connections_allowed(
    const struct connections_hold *h, double now_us, unsigned limit, unsigned granted)
{
	unsigned share = h->most > 0 ? limit / h->most : 0;

	if (!h->ever)
		return 0;
	if (connections_valid(h, now_us))
		return granted < limit ? granted : limit;
	if (now_us < h->asked_us + CONNECTIONS_LIFE_US * 3 / 2)
		return granted < share ? granted : share;
	return share;
}
