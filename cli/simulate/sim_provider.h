/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_provider: a provider of mailboxes that is not there, for `kairan simulate`: how fast it lets us
 * be, how many connections and messages it takes, whom it makes wait, and what it says. Its limits
 * are hidden from the sender, who hears replies alone. Pure; the clock is given.
 */
#ifndef KAIRAN_SIM_PROVIDER_H
#define KAIRAN_SIM_PROVIDER_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "outcome.h"
#include "slice.h"

#define SIM_BURST_S 10 /* what is taken at once of a limited rate */

struct sim_reply {
	int code;
	uint16_t enhanced[3];
	const char *text; /* without the code; borrowed */
};

/* What a scenario says of one. Zeroed it takes everything at once. */
struct sim_manners {
	double rate_per_s; /* 0: any */
	struct sim_reply too_fast;
	unsigned connections; /* of all dispatchers; 0: any */
	struct sim_reply too_many;
	unsigned messages; /* of one connection; 0: any */
	struct sim_reply enough;
	double greylist_us; /* so long after his first try a recipient is taken; 0: at once */
	struct sim_reply greylisted;
	double unknown_part; /* of recipients */
	struct sim_reply unknown;
	double latency_us;
};

/* A time in which it says the same to a part of all messages. */
struct sim_mood {
	double from, till;
	double part; /* 0..1 */
	struct sim_reply reply;
};

struct sim_provider {
	struct sim_manners manners;
	const struct sim_mood *moods; /* borrowed */
	size_t mood_count;
	double tokens, tokens_at;
	unsigned open; /* connections */
};

struct sim_try {
	uint32_t recipient;
	double first_at;	/* his first try; below 0: this one */
	unsigned in_connection; /* messages before this one */
};

/* "421 4.7.28 too fast": -1 with err when it is no reply of 2xx, 4xx or 5xx. text is borrowed. */
int sim_reply_parse(struct sim_reply *reply, const char *text, struct err *err) MUST_CHECK;

/* A connection: NULL when it is taken, else what is said before it is closed. */
const struct sim_reply *sim_provider_connect(struct sim_provider *p);
void sim_provider_disconnect(struct sim_provider *p);

/* A message: NULL when it is taken. chance: 0..1. */
const struct sim_reply *sim_provider_answer(
    struct sim_provider *p, const struct sim_try *t, double now, double chance);

/* As the dispatcher's engine would tell it. reply NULL: taken. */
struct outcome sim_reply_outcome(const struct sim_reply *reply);

#endif
