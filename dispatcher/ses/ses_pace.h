/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_pace: how fast and with how many requests at once an account is sent through. Pure: times are
 * given. The rate is the account's, less after a refusal for it; what is under way follows from it by
 * Little's law (rate x latency).
 */
#ifndef KAIRAN_SES_PACE_H
#define KAIRAN_SES_PACE_H

#include <stddef.h>
#include <stdint.h>

struct ses_pace {
	double rate;	  /* recipients a second, 0: no limit known */
	double factor;	  /* of the rate, 1 when all is well */
	double latency_s; /* of answers, 0: none yet */
	uint64_t next_us; /* nobody leaves before */
};

void ses_pace_init(struct ses_pace *p, double rate);

/* One more recipient is to leave: SES counts them, whatever the request. */
void ses_pace_charge(struct ses_pace *p, uint64_t now_us);

/* So many leave with a request that is whole now: SES counts them from here on, and a connection may
 * have been made since they were charged. */
void ses_pace_left(struct ses_pace *p, size_t recipients, uint64_t now_us);

/* Requests under way, at most `most`. */
size_t ses_pace_requests(const struct ses_pace *p, size_t most);

/* Recipients of one request, at most `most`: no more than the account takes in a second. */
size_t ses_pace_recipients(const struct ses_pace *p, size_t most);

/* A refusal for rate; a second without one. */
void ses_pace_slower(struct ses_pace *p);
void ses_pace_faster(struct ses_pace *p);

/* An answer came after so long. */
void ses_pace_answered(struct ses_pace *p, double latency_s);

#endif
