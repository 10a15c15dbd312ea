/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flight: one claimed recipient on its way through this dispatcher, the batch it was claimed
 * with, and the run it belongs to. A flight is always in exactly one place: the ready heap of
 * the route, a session, the settler, or the claimer's list of those that missed their time; it is freed when its outcome is written down for
 * RECORD or RELEASE. While it is in the heap, a thread of the signer may make its message.
 */
#ifndef KAIRAN_FLIGHT_H
#define KAIRAN_FLIGHT_H

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "buf.h"
#include "dkim.h"
#include "message.h"
#include "outcome.h"
#include "run_sql.h"
#include "ses_content.h"
#include "token.h"

#define FLIGHT_PATH_MAX 320 /* a return path */

enum run_policy { RUN_FIELD_FAIL, RUN_FIELD_SKIP, RUN_FIELD_BLANK };

/* A running run as this dispatcher knows it. Owned by `runs`; kept while flights point at it. */
struct live_run {
	struct live_run *next;
	int id;
	char id_text[16];
	bool running; /* by the last look at PostgreSQL */
	bool loaded;  /* plan and statement are there */
	bool loading;
	bool refused;	  /* could not be loaded: said once, not tried again */
	bool taken;	  /* a relay has taken a message of it */
	unsigned flights; /* flights and claims under way that point here */

	struct arena arena; /* owns the strings below and the plan */
	char *campaign, *stream, *scopes, *from_address, *path_domain;
	const char *from_domain; /* in from_address */
	enum run_policy missing_field;
	bool refuse_bad_field;
	int64_t started_s;
	struct message_plan *plan;
	struct dkim *dkim; /* signs its mail; NULL: not signed */
	size_t field_count;
	size_t confirm_field; /* its index, SIZE_MAX: the templates do not ask to confirm */
	const char *web_base; /* in front of links to confirm; borrowed from the configuration */
	bool has_origins;     /* counted and judged by where its customers come from */
	bool is_mail;	      /* its rows carry whole mails; the plan is not used */
	bool ses_tags;	      /* of those: with what Amazon SES reads, */
	const char *ses_configuration_set; /* and this, may be empty; borrowed */
	enum ses_content content;	   /* how its mail goes to the API of Amazon SES */
	struct slice ses_template;	   /* of SES_CONTENT_BULK: as ses_bulk_begin() takes it */
	bool has_name; /* the customer relation has a name column, it comes before the fields */
	struct run_sql claim, record, release, unsend, recheck;

	/* claiming */
	int *lanes; /* lists of ids: 0, then the lanes with a list of their own, ascending */
	size_t lane_count;
	bool limited;	     /* by a rate that all its lists share */
	bool urgent;	     /* goes before others */
	uint64_t again_ms;   /* not to be asked for jobs before */
	unsigned empty;	     /* looks in a row that found no job */
	unsigned ready;	     /* its flights in the ready heap */
	char claimed_at[40]; /* time of the last claim that is known, by PostgreSQL; empty: none */
};

/* Rows of one CLAIM; freed with its last flight. */
struct batch {
	struct live_run *run;
	PGresult *rows;
	unsigned flights;
};

/* Columns of batch.rows. */
enum claim_column {
	CLAIM_ID,
	CLAIM_ATTEMPT,
	CLAIM_TRIES,
	CLAIM_ADDRESS,
	CLAIM_CUSTOMER,
	CLAIM_AT,
	CLAIM_SEQ,
	CLAIM_LANE,
	CLAIM_FIELDS
};

/* Of a run of single mails, in the place of fields. */
enum claim_mail_column { CLAIM_MAIL_SENDER = CLAIM_FIELDS, CLAIM_MAIL_CONTENT };

/* Single mails are claimed with their content: few at a time, for the memory. */
#define FLIGHT_MAILS_MAX 16

/* Why there is no message for a recipient. */
struct compose_refusal {
	bool skip; /* the run's policy leaves such recipients out; else it is a failure */
	enum outcome_class cls; /* NONE: OUTCOME_MESSAGE */
	bool later;		/* there was no memory: it is nobody's fault */
	const char *reason;	/* customer_gone, missing_field, too_large, bad_data, not_signed,
			       smtputf8_unsupported, mail_gone */
	struct slice text;	/* the field; borrowed from the run's plan */
};

struct flight {
	struct batch *batch;
	int row;
	int id;
	int attempt;
	int tries;
	uint64_t due_us;     /* loop clock (uv_hrtime / 1000): not before */
	uint64_t late_us;    /* nor so much later without another permit; UINT64_MAX: any time */
	uint64_t ahead_us;   /* goes before those that are due so much earlier */
	uint64_t missed_ms;  /* when it was found to be late */
	bool missed_told;    /* to who gives permits */
	int list;	     /* of its run: 0, or its lane */
	uint64_t order;	     /* among those due at the same time: as claimed */
	uint64_t checked_ms; /* loop clock: claim, or last look at suppression */
	uint64_t taken_us;   /* loop clock: its turn came; 0: not yet */
	size_t bytes;	     /* of its message, when a relay takes none so large; else 0 */
	unsigned resends;    /* sessions that ended before its turn */
	int slot;	     /* of the journal, -1: its dot was never about to be written */
	struct buf *message; /* while in a session, and before when it is made ahead (signer.h) */
	bool alone;	     /* not with others in one call of SES: one of them was refused */
	bool refused;	     /* there is no message, because of: */
	struct compose_refusal refusal;
	bool signing;	      /* a thread of the signer has it */
	atomic_bool unwanted; /* released while a thread had it */
	struct flight *next;  /* in a list of the signer, or of the claimer */
	char token[TOKEN_CHARS + 1];
	char return_path[FLIGHT_PATH_MAX];
};

static inline struct live_run *
flight_run(const struct flight *f)
{
	return f->batch->run;
}

/* It may not leave by the permit that it has. */
static inline bool
flight_is_late(const struct flight *f, uint64_t now_us)
{
	return now_us > f->due_us && now_us - f->due_us > f->late_us;
}

#endif
