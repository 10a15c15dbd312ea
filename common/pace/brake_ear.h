/* SPDX-License-Identifier: Apache-2.0 */
/*
 * brake_ear: what a dispatcher makes of the replies of one destination: what each asks for, what
 * becomes of its recipient, and what is reported until the next word to the leading producer. Pure.
 */
#ifndef KAIRAN_BRAKE_EAR_H
#define KAIRAN_BRAKE_EAR_H

#include "brake_report.h"
#include "outcome.h"

#define BRAKE_REACTIONS (REACTION_ACCOUNT_HOLD + 1)

/* What becomes of a recipient whose reply was heard. */
enum brakes_way {
	BRAKES_USUAL,
	BRAKES_POSTPONE, /* again after a while, without a step of the ladder: it was not his fault */
	BRAKES_LATER	 /* a step of the ladder, of the verdict's minutes at least */
};

struct brake_duty {
	enum brakes_way way;
	bool is_answer;	 /* he was heard without a complaint about us */
	bool is_event;	 /* it is to be reported: */
	bool of_account; /* about the account, not the destination */
	bool alike;	 /* others of the same connection may have been told the same */
};

/* Zeroed it has heard nothing. */
struct brake_ear {
	unsigned answers;
	bool has_news;
	struct brake_heard {
		struct brake_event event; /* count 0: nothing */
		int run;
		uint64_t at_ms; /* the last one */
	} heard[BRAKE_REACTIONS];
};

/* What a refusal asks for. is_mx: it is of a mail server, which has no accounts; else of a relay, which
 * speaks for others only where a rule names them and their words. Greylisting is about the recipient
 * alone, whatever a rule makes of its code. */
struct provider_verdict brake_verdict(
    const struct providers *table, bool is_mx, int group, const struct outcome *o);

/* Makes a refusal that is not about the recipient a deferral, and one that is about him alone what
 * the verdict says. */
struct brake_duty brake_duty_of(const struct provider_verdict *v, struct outcome *o);

/* Whole seconds on the way from now (us since 2026) to its end; 0 when it is over or has none. */
long brake_left_s(const struct brake *b, double now);

/* Whether a recipient may leave for a destination that is braked so; own_list: he waits in a list of
 * its own, whose calendar lets a probe pass, and may know of the end of a hold before we are told. */
bool brake_lets_leave(const struct brake *b, double now, bool own_list);

void brake_ear_answer(struct brake_ear *ear);
void brake_ear_event(struct brake_ear *ear, const struct provider_verdict *v, int code, int run,
    uint64_t at_ms, bool alike);

/* What was heard since the last time, complaints first: answers beside them are no proof that all is
 * well. Returns how many reports. */
size_t brake_ear_take(
    struct brake_ear *ear, const char *name, struct brake_report reports[BRAKE_REACTIONS + 1]);

#endif
