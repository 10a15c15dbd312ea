/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_pg: the database of the simulation: the rows that the dispatcher's and the ledger's statements
 * touch, and those statements, found by their SQL text, each at one instant. No I/O, no clock of its
 * own, no pointers inside, so that a copy of the struct is a snapshot. pg_differential.c holds it to
 * the answers of a real PostgreSQL.
 *
 * Left out, and not compared: tally_domain, retry, audit, run_event, soft bounces (rests), probation,
 * ambiguous domains, the columns enhanced, reply and remote.
 */
#ifndef KAIRAN_SIM_PG_H
#define KAIRAN_SIM_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#define PG_RUNS 2
#define PG_LANES 4 /* of a run; 0: rows of no lane of their own */
#define PG_ROWS 48
#define PG_LIVES 96
#define PG_SUPPRESSIONS 256
#define PG_EVENTS 640
#define PG_DOUBTS 128
#define PG_NEVER 0		/* a time that is NULL */
#define PG_FOREVER INT64_MAX	/* infinity */
#define PG_BEGINNING 1767225600 /* of the simulated time, 2026-01-01; runs began then */
#define PG_SYSTEM_ID 7000001	/* of the only cluster */

enum pg_state {
	PG_QUEUED,
	PG_SENDING,
	PG_SENT,
	PG_DEFERRED,
	PG_FAILED,
	PG_IN_DOUBT,
	PG_SKIPPED,
	PG_CANCELLED,
	PG_EXPIRED,
	PG_STATES
};

/* Times in microseconds since 1970; "" is NULL. */
struct pg_row {
	enum pg_state state;
	int attempt, tries, owner, lane, code, accepted, rejected;
	bool was_accepted;
	bool was_rejected; /* in an attempt, or in one that its token does not name */
	int64_t not_before, claimed_at, settled_at, delivered_at, bounced_at, complained_at,
	    unsubscribed_at;
	char address[48], cls[12], reason[40], remote_id[64];
};

struct pg_run {
	bool running, resend; /* else paused; on_doubt = resend */
	bool limited;
	bool listed[PG_LANES]; /* lanes that have a list of their own */
	bool relisted;	       /* some of them since the run is under way */
	bool broken[PG_LANES]; /* paused by the breaker */
	char why[64];
	int rows;
	struct pg_row row[PG_ROWS + 1]; /* by id, from 1 */
};

struct pg_life {
	bool there, unheard;
	int began, heard; /* timelines */
	int64_t claim_seq, heartbeat_at, fenced_at, stopped_at, recovered_at, joined_at;
	char lock_id[36], name[8];
};

enum pg_count {
	PG_T_CLAIMED,
	PG_T_RELEASED,
	PG_T_SENT,
	PG_T_DEFERRED,
	PG_T_FAILED,
	PG_T_IN_DOUBT,
	PG_T_SKIPPED,
	PG_COUNTS
};

struct pg_suppression {
	char address[48], scope[24], reason[16];
	int64_t since, expires_at;
};

struct pg_event {
	char key[48], kind[16], source[8], address[48], cls[12], reason[40], message_id[64];
	int run, send, attempt; /* send 0: without a token */
	int64_t at;
	bool waits;
	int64_t wait_due, wait_since;
	int wait_tries;
};

struct pg_doubt {
	int run, send, attempt;
};

struct pg {
	int64_t now;	   /* set by whoever calls */
	int here, cleared; /* timeline() and installation.timeline */
	struct pg_run run[PG_RUNS + 1];
	int lives; /* last number given */
	struct pg_life life[PG_LIVES];
	int64_t tally[PG_RUNS + 1][PG_LIVES + 1][PG_COUNTS]; /* owner -1 stands at PG_LIVES */
	int suppressions, events, doubts;
	struct pg_suppression suppression[PG_SUPPRESSIONS];
	struct pg_event event[PG_EVENTS];
	struct pg_doubt doubt[PG_DOUBTS];
	bool full; /* a table above has no room: the run says nothing */
};

enum pg_verdict { PG_DONE, PG_REFUSED, PG_UNHEARD_OF /* no such statement */ };

/* Runs one statement now. *result is owned by the caller when done. */
enum pg_verdict pg_exec(
    struct pg *pg, const char *sql, const char *const *params, PGresult **result);

/* What the simulation asks for itself, as the functions of the same name. */
#define PG_SQL_BURY "SELECT kairan.dispatcher_bury($1)"
#define PG_SQL_JOIN "SELECT kairan.feedback_join(100)"
#define PG_SQL_RESEND "SELECT kairan.doubt_policy('0 s')"
#define PG_SQL_FORGET "SELECT kairan.quarantine_forget($1)"

#define PG_SQL_LANE_RELEASE "SELECT kairan.lane_release($1, $2)"

/* Suppressed by hand in the scope of all. */
void pg_suppress(struct pg *pg, const char *address);

/* In the view quarantine. */
bool pg_is_missing(const struct pg *pg, int life);

const char *pg_state_name(enum pg_state state);

#endif
