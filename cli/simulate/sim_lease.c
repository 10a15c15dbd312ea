/* SPDX-License-Identifier: Apache-2.0 */
/* sim_lease: see rehearsal_parts.h. The leases themselves are those of production (connections.h); a call
 * takes no time here. */
#include "rehearsal_parts.h"

#include <stdio.h>

#define SIGN_US 2e6  /* of life */
#define AGAIN_US 1e6 /* who was granted less than he wants asks again */

/* What is heard with any answer. True: what was told is forgotten, or counts otherwise now. */
static bool
hear(struct sim *m, struct sim_dispatcher *d, const struct connections_answer *answer)
{
	bool anew = d->hold.ever &&
	    (!answer->before || answer->opens != d->opens || answer->here != d->here);

	d->opens = answer->opens;
	d->here = answer->here;
	connections_answered(&d->hold, m->now);
	return anew;
}

static struct connections_ask
sign_of(const struct sim *m, const struct sim_dispatcher *d)
{
	return (struct connections_ask){ .dispatcher = d->name,
		.known = d->hold.known,
		.now = m->now,
		.life = CONNECTIONS_LIFE_US };
}

static bool
tell(struct sim *m, struct sim_dispatcher *d, size_t destination)
{
	struct sim_site *site = &d->sites[destination];
	struct connections_ask ask = sign_of(m, d);
	struct connections_answer answer;
	char name[24];

	(void)snprintf(name, sizeof(name), "%zu", destination);
	ask.destination = name;
	ask.limit = site->told_limit;
	ask.have = site->told_have = (unsigned)site->open;
	ask.want = site->told_want;
	if (!connections_ask(m->leases, &ask, &answer)) {
		m->failed = true;
		return false;
	}
	site->granted = answer.granted;
	site->leased_at = m->now;
	return hear(m, d, &answer);
}

static void
tell_all(struct sim *m, struct sim_dispatcher *d)
{
	for (size_t i = 0; i < m->destination_count; i++)
		if (d->sites[i].open + d->sites[i].granted > 0)
			(void)tell(m, d, i);
}

unsigned
sim_lease_allows(struct sim *m, struct sim_dispatcher *d, size_t destination, unsigned window)
{
	struct sim_site *site = &d->sites[destination];
	size_t want = site->open + site->queue.count - site->queue_head;
	bool same;

	if (m->s->omit & OMIT_LEASE)
		return window;
	if (want > window)
		want = window;
	same =
	    site->told_limit == window && site->told_have == site->open && site->told_want == want;
	if (!same || (site->granted < want && m->now - site->leased_at >= AGAIN_US)) {
		site->told_limit = window;
		site->told_want = (unsigned)want;
		if (tell(m, d, destination))
			tell_all(m, d);
	}
	return connections_allowed(&d->hold, m->now, window, site->granted);
}

void
sim_lease_look(struct sim *m, struct sim_dispatcher *d)
{
	struct connections_ask ask = sign_of(m, d);
	struct connections_answer answer;

	if (m->now < d->sign_at)
		return;
	d->sign_at = m->now + SIGN_US;
	if (!connections_ask(m->leases, &ask, &answer))
		m->failed = true;
	else if (hear(m, d, &answer))
		tell_all(m, d);
}

void
sim_lease_lost(struct sim_dispatcher *d, size_t destinations)
{
	d->hold.ever = false;
	d->sign_at = 0;
	for (size_t i = 0; i < destinations; i++) {
		struct sim_site *site = &d->sites[i];

		site->granted = site->told_limit = site->told_have = site->told_want = 0;
	}
}

/* Redis is older than the first of its dispatchers. */
int
sim_leases_begin(struct sim *m)
{
	struct connections_answer answer;
	struct connections_ask ask;

	m->leases = connections_new();
	if (m->leases == NULL)
		return err_set(m->err, "no memory");
	for (int i = 0; i < m->s->dispatchers; i++) {
		struct sim_dispatcher *d = &m->dispatchers[i];

		(void)snprintf(d->name, sizeof(d->name), "%d", i + 1);
		connections_count(&d->hold, (unsigned)m->s->dispatchers);
		ask = sign_of(m, d);
		ask.now -= CONNECTIONS_LIFE_US;
		if (!connections_ask(m->leases, &ask, &answer))
			return err_set(m->err, "no memory");
	}
	return 0;
}
