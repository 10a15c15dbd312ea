/* SPDX-License-Identifier: Apache-2.0 */
/*
 * brake: what the replies of one destination (a provider, a large site, or the account at a relay)
 * have made of its rate, its connections and its messages per connection. The leading producer
 * feeds it with what all dispatchers hear, and keeps it; the simulator plays the same. Pure: the
 * clock and chance are given. Times are microseconds since 2026 as in admission.h.
 *
 *   FREE   nothing holds it back
 *   RATE   a reply said too fast: CUT of the rate that was had; then, after a clean while, quickly
 *          back to near the rate that was too fast, slowly past it (a plateau), until it is free
 *   HOLD   silence; PROBE follows
 *   PROBE  one message; when it is taken well, RATE at RESUME of before; when not, HOLD of twice the
 *          length; when nothing is heard of it, another one
 *   STOP   silence until an operator releases it
 *
 * Connections and messages per connection are counts beside that. A reply acts when it is the second
 * of its kind within BRAKE_NOISE_US, or the table says that the first one counts.
 */
#ifndef KAIRAN_BRAKE_H
#define KAIRAN_BRAKE_H

#include "admission.h"
#include "providers.h"

#define BRAKE_ACCOUNT                                                                              \
	"account" /* the key of what is said about our account; no provider is called so */
#define BRAKE_NAME_MAX 254
#define BRAKE_TEXT_MAX 640 /* of brake_print(), with NUL */

#define BRAKE_NOISE_US 300e6
#define BRAKE_CUT 0.7
#define BRAKE_CUT_EVERY_US 60e6
#define BRAKE_ACCOUNT_CUT 0.9
#define BRAKE_ACCOUNT_CUT_EVERY_US 10e6
#define BRAKE_FLOOR 0.005 /* of the limit, */
#define BRAKE_FLOOR_PER_S (1 / 60.0)
#define BRAKE_CLEAN_US 120e6
#define BRAKE_STEP_US 10e6  /* between two changes upwards */
#define BRAKE_NEAR 0.9	    /* of the rate that was too fast */
#define BRAKE_RISE 0.1	    /* a minute, of that rate; */
#define BRAKE_PLATEAU 0.002 /* of the ceiling, from BRAKE_NEAR on; */
#define BRAKE_BEYOND 0.004  /* past it, for an hour; */
#define BRAKE_LATER 0.02    /* then */
#define BRAKE_CEILING 1.5   /* of the rate that was had, where there is no limit */
#define BRAKE_RESUME 0.25
#define BRAKE_HOLD_S 1800
#define BRAKE_HOLD_LONGEST_S (12 * 3600)
#define BRAKE_AGAIN_US (4 * 3600e6) /* a second HOLD within it is twice as long */
#define BRAKE_PROBE_US 120e6
#define BRAKE_BATCH_US (24 * 3600e6) /* fewer messages per connection, for so long */

enum brake_mode { BRAKE_FREE, BRAKE_RATE, BRAKE_HOLD, BRAKE_PROBE, BRAKE_STOP };

/* What holds without any brake. */
struct brake_terms {
	double cap_per_s;     /* limit of the rate; 0: none */
	double start_per_s;   /* believed where neither a limit nor traffic tells a rate */
	unsigned connections; /* most to one destination */
	unsigned batch;	      /* messages per connection */
	bool is_account;      /* gentler cuts, more often */
};

/* One kind of reply, as counted by a dispatcher. */
struct brake_event {
	enum reaction reaction;
	int minutes; /* 0: the reaction's own */
	bool at_once;
	unsigned count;
	int code;
};

enum brake_act {
	BRAKE_NOTHING,
	BRAKE_CHANGED,	/* somebody must be told */
	BRAKE_STOPPED,	/* and an operator must look */
	BRAKE_PAUSE_RUN /* the run that it was about */
};

/* Zeroed it is free. */
struct brake {
	enum brake_mode mode;
	double since; /* of the mode */
	double until; /* HOLD, PROBE: its end; RATE: no rise before */
	double
	    rate; /* messages a second: in force (RATE), or had before (HOLD, PROBE, STOP); 0: none */
	double good; /* the rate that was too fast */
	double ceiling;
	double above;	 /* since when the rate is past `good`; 0: it is not */
	double cut_at;	 /* the last cut */
	double heard_at; /* the last reply that acted, or would have */
	double step_at;	 /* the last change upwards */
	double hold_s;	 /* the last HOLD, */
	double hold_end; /* and when it ended */
	unsigned window; /* connections to one destination; 0: as configured */
	double window_until, window_step;
	unsigned batch; /* messages per connection; 0: as configured */
	double batch_until;
	double first_at[REACTION_ACCOUNT_HOLD + 1]; /* a reply that was noise so far */
	enum reaction reaction;			    /* what acted last, */
	int code;				    /* and its reply code */

	/* traffic: answers in the present piece of BRAKE_STEP_US and in the one before */
	double piece_at;
	double piece, seen_per_s;
};

/* `count` answers without complaint. */
enum brake_act brake_count(struct brake *b, double now, unsigned count) MUST_CHECK;

/* chance: 0..1, of the length of a HOLD. */
enum brake_act brake_hear(struct brake *b, const struct brake_terms *terms,
    const struct brake_event *e, double now, double chance) MUST_CHECK;

/* Time has passed. */
enum brake_act brake_tick(struct brake *b, const struct brake_terms *terms, double now) MUST_CHECK;

/* An operator has released it. */
void brake_release(struct brake *b);

/* Nothing is held back, and nothing that was heard matters any more. */
bool brake_is_idle(const struct brake *b, double now);

/* It limits the rate: its lane needs a clock of its own. */
bool brake_is_limiting(const struct brake *b);

/* The calendar of its limiter between two times: rows (room for 1) and their number; none: closed.
 * cap_per_s: the limit without it, 0: none. Not for one that neither limits nor is limited. */
size_t brake_rows(
    const struct brake *b, double cap_per_s, double from, double till, struct admission_row *row);

/* One line without NUL inside, for Redis and PostgreSQL; and back. false: that is none. */
void brake_print(const struct brake *b, char text[BRAKE_TEXT_MAX]);
bool brake_parse(struct brake *b, const char *text) MUST_CHECK;

const char *brake_mode_name(enum brake_mode mode);

#endif
