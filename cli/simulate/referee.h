/* SPDX-License-Identifier: Apache-2.0 */
/*
 * referee: the rules of shaping (docs/SHAPING.md, by their numbers) held against what left, what was
 * answered and what was published. It knows the limits and the replies, and nothing of how they are
 * kept: noise, cuts, holds, quota, shares and retries are reckoned anew. Pure; times are us since 2026.
 */
#ifndef KAIRAN_REFEREE_H
#define KAIRAN_REFEREE_H

#include <stdbool.h>
#include <stdint.h>

#include "admission.h"
#include "err.h"
#include "providers.h"
#include "share.h"

#define REFEREE_RULES 21 /* numbers from 1 */
#define REFEREE_TEXT_MAX 160
#define REFEREE_ANY SIZE_MAX

struct referee_rule {
	uint64_t checked, broken;
	char first[REFEREE_TEXT_MAX]; /* that broke it */
};

struct referee_run {
	enum share_class class;
	double weight;
	bool plain;	 /* nothing but its weight decides about its rate */
	uint64_t canary; /* recipients that go first; 0: all at once */
	double canary_wait_us;
	double bounce_line, canary_line; /* per cent of them */
};

struct referee_destination {
	const char *name; /* borrowed */
	double cap_per_s; /* 0: none; of lanes that share it */
	enum guard_mode guard;
	const struct zone *zone;
	bool is_account;
	unsigned lanes; /* of all runs */
};

struct referee_terms {
	double start, account_per_s, urgent_part;
	uint64_t quota;			    /* of 24 hours; 0: none, */
	uint64_t quota_used;		    /* and what had gone before the start */
	uint64_t warmup;		    /* now in force, see referee_warmup() */
	double active_s;		    /* of a day, for a warm-up */
	double expire_us, expire_unsent_us; /* age of a run; 0: never */
	uint32_t recipients;
	size_t runs, destinations, dispatchers, lanes;
	const struct referee_run *run;		       /* borrowed, as all below */
	const struct referee_destination *destination; /* the last one is the account */
	const uint64_t *waiting;		       /* by run: first tries that could go */
	const uint64_t *waiting_at; /* as waiting, by destination, of other than urgent runs */
	bool even;  /* nothing but guards and begins and ends of runs moves the rates */
	bool lines; /* no quota, warm-up or stream holds lists below what was published */
	bool busy;  /* no guard, quiet hours, brakes: what bulk gets is a matter of shares alone */
};

struct referee_leave {
	double now, permit;
	uint32_t recipient;
	size_t run, destination, list, lane;
	double share; /* of the list that is the lane's */
	bool is_retry;
	bool others_wait; /* first tries in its list */
	double due;	  /* of a retry */
	double arrived;	  /* of urgent mail */
	double began;	  /* its run */
};

enum referee_end { REFEREE_SENT = 1, REFEREE_FAILED, REFEREE_EXPIRED, REFEREE_DOUBT };

struct referee;

struct referee *referee_new(const struct referee_terms *t, size_t lists) MUST_CHECK;
void referee_free(struct referee *f);

/* What was published for a list, whose messages are all for one destination (or REFEREE_ANY). */
void referee_calendar(struct referee *f, size_t list, size_t destination,
    const struct admission_row *rows, size_t count, double now);
/* That was all of it; what it lets pass to a destination, 0: nothing. */
void referee_publish(struct referee *f, double now);
void referee_limit(struct referee *f, size_t destination, double per_s, double now);
void referee_warmup(struct referee *f, uint64_t limit, double now);

/* A dispatcher asked for permits and got some. */
void referee_call(struct referee *f, size_t permits, double now);
/* A list was empty, or a permit of it was not used: its line is lost for a while. */
void referee_unused(struct referee *f, size_t list, double now);
/* Redis lost its clocks. */
void referee_forget(struct referee *f, double now);

void referee_leave(struct referee *f, const struct referee_leave *l);
/* Of `window` that all dispatchers may have open. */
void referee_connect(struct referee *f, size_t destination, unsigned window, double now);
void referee_disconnect(struct referee *f, size_t destination);
/* A message of a connection, the n-th. */
void referee_carry(struct referee *f, size_t destination, unsigned n, unsigned most, double now);

/* An answer to what left at `left`. */
void referee_answer(struct referee *f, size_t destination, const struct provider_verdict *v,
    double left, double now);

/* A recipient's last state. */
void referee_settle(struct referee *f, uint32_t recipient, enum referee_end end, double now);

/* When it had to be over by the forecast (0: there was none). Nothing may come behind it. open:
 * recipients without a last state. */
void referee_finish(struct referee *f, uint64_t open, double finish, double forecast);

/* What is planned for a list at a time that has not passed, messages a second. */
double referee_line_rate(const struct referee *f, size_t list, double at);
/* How far first tries of a lane were from its line at most, in messages; below 0: it had none. */
double referee_deviation(const struct referee *f, size_t lane);

const struct referee_rule *referee_rule(const struct referee *f, int number);
const char *referee_rule_name(int number);
double referee_urgent_wait_p99(const struct referee *f); /* us */

#endif
