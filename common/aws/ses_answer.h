/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_answer: what an answer of the Amazon SES API means for one message and for the account. By
 * the error's name first, by the HTTP status second, since statuses vary (common errors come as
 * 400 or 403). No I/O.
 *
 * There is no idempotency token: an answer that does not say whether the mail was taken (a
 * nameless 5xx, an internal error, a 200 that cannot be read) leaves the recipient in doubt.
 */
#ifndef KAIRAN_SES_ANSWER_H
#define KAIRAN_SES_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "outcome.h"
#include "slice.h"

#define SES_ANSWER_MAX ((size_t)64 << 10) /* bytes of an answer that are looked at */
#define SES_NAME_MAX 100
#define SES_ID_MAX 120

/* What to do besides writing the outcome down. */
enum ses_action {
	SES_SETTLE,  /* the outcome is this recipient's */
	SES_HOLD,    /* about the account or our set-up: not attempted, hold the route */
	SES_SLOW,    /* sending rate: not attempted, hold the route shortly, send slower */
	SES_QUOTA,   /* daily quota: not attempted, hold the route */
	SES_REFRESH, /* credentials expired or unknown: fetch them again, then repeat */
	SES_CLOCK    /* our clock and theirs differ: sign by theirs, then repeat */
};
#define SES_ACTIONS ((size_t)SES_CLOCK + 1)

struct ses_answer_input {
	int status;		 /* HTTP */
	struct slice error_type; /* header x-amzn-ErrorType, empty when absent */
	struct slice body;	 /* perhaps cut at SES_ANSWER_MAX */
	bool whole;		 /* the body is complete */
	bool body_left;		 /* the last byte of our request may have left */
	struct slice to;	 /* recipient, to tell a sandbox from an unverified sender */
};

struct ses_answer {
	enum ses_action action;
	struct outcome outcome; /* its slices point into this struct */
	char name[SES_NAME_MAX + 1];
	char text[OUTCOME_TEXT_MAX + 1];
	char id[SES_ID_MAX + 1];
};

/* Never fails. An outcome other than of SES_SETTLE has the kind OUTCOME_RELEASED. */
void ses_answer_read(struct ses_answer *a, const struct ses_answer_input *in);

/* Answer of SendBulkEmail: an entry for each recipient, in the order of the request. */
#define SES_ANSWER_ARENA_MAX ((size_t)4 << 20)

struct ses_bulk_result {
	struct slice status, error, id; /* empty when absent */
};

struct ses_bulk_answer {
	struct ses_bulk_result *entry;
	size_t count;
};

/* Everything lives in the arena. False when it is no such answer: then nobody can tell what became
 * of whom. */
MUST_CHECK bool ses_bulk_answer_parse(
    struct ses_bulk_answer *list, struct slice body, struct arena *arena);

/* What one entry says. to: as of ses_answer_input. */
void ses_answer_bulk_entry(
    struct ses_answer *a, const struct ses_bulk_result *entry, struct slice to);

/* GetAccount. */
struct ses_account {
	double max_24h;	 /* -1: unlimited */
	double max_rate; /* recipients a second, may be fractional */
	double sent_24h;
	bool sending, production;
	char enforcement[32]; /* HEALTHY, PROBATION, SHUTDOWN */
	bool suppress_bounces, suppress_complaints;
};

MUST_CHECK int ses_account_parse(struct ses_account *account, struct slice json, struct err *err);

#endif
