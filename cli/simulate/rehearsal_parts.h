/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rehearsal_parts: what the parts of a rehearsal share: the world (rehearsal.c), its lists
 * (sim_list.c), the producer (sim_producer.c) and the dispatchers (sim_dispatcher.c). The rules are
 * those of the programs: publication.h, admission.h, brake.h, brake_ear.h, retry_budget.h, ladder.h.
 * Times are us since 2026.
 */
#ifndef KAIRAN_REHEARSAL_PARTS_H
#define KAIRAN_REHEARSAL_PARTS_H

#include <stdio.h>

#include "admission_text.h"
#include "brake_ear.h"
#include "connections.h"
#include "heap.h"
#include "interleave.h"
#include "ladder.h"
#include "lane_figures.h"
#include "publication.h"
#include "redis_time.h"
#include "referee.h"
#include "rehearsal.h"
#include "retry_budget.h"
#include "scenario.h"

#define SIM_POLL_US 500e3      /* of the producer (producer.poll_ms), */
#define SIM_LOOK_US 250e3      /* and of a dispatcher: brakes, lists that were empty */
#define SIM_MAIL_LOOK_US 100e3 /* the producer looks for single mails */
#define SIM_BOUND_US 10e6      /* a wait for a connection that is more than a hitch */
#define SIM_IDLE_US 5e6	       /* a connection without anything to do is closed */
#define SIM_FLIGHTS_MAX 8192   /* in the hands of one dispatcher */

struct sim_ids {
	uint32_t *id; /* owned */
	size_t count, room;
};

/* One that waits or was tried. */
struct sim_recipient {
	uint32_t lane;
	uint8_t state; /* 0: open, else enum referee_end */
	uint8_t tries;
	bool is_retry;
	double due, first_at;
};

struct sim_list {
	struct sim_run *run;
	int number;	      /* in the run; 0: of all without a list of their own */
	int admission;	      /* lane of the pool */
	size_t place;	      /* among all lists */
	struct sim_ids front; /* the last one goes first */
	struct heap later;    /* retries by due time */
	uint64_t fresh;	      /* first tries still to come */
	struct retry_budget retries;
	struct lane_order *order; /* of list 0 */
	size_t destination;	  /* REFEREE_ANY of list 0 */
};

struct sim_lane {
	const struct scenario_lane *def;
	struct sim_run *run;
	struct sim_list *list;
	size_t destination;
	int group;
	bool tail;
	uint32_t first, next; /* recipients from `first`; tried up to `next` */
	uint64_t held;	      /* of these behind a canary */
	double share;	      /* of its list */
};

struct sim_run {
	const struct scenario_run *def;
	int id;
	double began;
	struct sim_lane *lanes;
	struct sim_list *lists; /* list 0 first */
	uint64_t open, arrived, sent, failed, expired, doubt;
	double next_arrival, finish, forecast;
	uint64_t canary;	/* first tries of it still to come */
	double canary_until;	/* 0: it has none, or is judged; INFINITY: it is being sent */
	const char *canary_why; /* it fared badly; static */
	bool is_on, paused;
};

struct sim_destination {
	char name[BRAKE_NAME_MAX + 1];
	int group;
	struct sim_provider provider;
	struct sim_mood *moods; /* owned */
	struct brake brake;
	bool published;
};

struct sim_flight {
	double permit;
	uint32_t recipient;
	struct sim_list *list;
	bool used;
};

/* A connection to a destination. */
struct sim_session {
	unsigned messages; /* UINT32_MAX: it is closed */
	bool busy;
	double idle_from;
};

struct sim_site {
	struct brake told;
	struct brake_ear ear;
	struct sim_session *sessions; /* owned; `open` of `room` */
	size_t open, room;
	struct sim_ids queue; /* flights that wait for a connection */
	size_t queue_head;
	double connect_at; /* not before */
	unsigned granted;  /* connections, of the lease, */
	unsigned told_limit, told_have, told_want;
	double leased_at; /* as told then */
};

struct sim_dispatcher {
	int number;
	struct sim_flight *flights;
	uint32_t *free_flights;
	size_t free_count;
	struct heap due; /* flights by permit */
	double ask_at, urgent_at, look_at, down_until;
	struct redis_time clock; /* of its host, which may be off */
	struct sim_site *sites;	 /* by destination */
	struct connections_hold hold;
	char name[12];
	double sign_at; /* of life, the next */
	double opens;	/* as the leases said last, */
	unsigned here;
};

/* An answer under way. */
struct sim_answer {
	double at, left;
	uint32_t recipient;
	int dispatcher; /* -1: it died */
	size_t destination, list;
	const struct sim_reply *reply; /* NULL: taken */
	int session;		       /* -1: of a relay */
	bool closes;
};

struct sim {
	const struct scenario *s;
	struct rehearsal *result;
	struct policy *policy;
	struct ladder ladder;
	double now, start;
	uint64_t random;
	struct sim_recipient *recipients;
	struct sim_run *runs;
	struct sim_list **lists;
	size_t list_count;
	struct sim_destination *destinations;
	size_t destination_count; /* the last one is the account */
	struct sim_dispatcher *dispatchers;
	struct sim_answer *answers;
	uint32_t *free_answers;
	size_t free_answer_count, answer_room;
	struct heap answers_due;
	struct admission_text *pool;
	struct connections *leases;
	struct publication_past past;
	struct quota quota; /* as the producer read it last */
	double quota_at, publish_at, round_at, sweep_at, day_at, planner_down_until, mail_at;
	int warmup_day;
	uint64_t generation, hard_day, tried_day;
	bool dirty;		      /* the calendars must be made anew */
	bool news;		      /* dispatchers are told of brakes */
	struct brake_report *reports; /* on their way */
	size_t report_count, report_room;
	bool fault_done[SCENARIO_FAULTS_MAX];
	struct referee *referee;
	struct referee_run *referee_runs; /* owned, as the next */
	struct referee_destination *referee_destinations;
	uint64_t *waiting;    /* by run, for the referee, */
	uint64_t *waiting_at; /* and by destination */
	struct lane_figures figures;
	bool lines; /* lists go as fast as was published for them */
	struct err *err;
	FILE *trace;
	bool bound;  /* connections, not rates, were what it waited for */
	bool failed; /* no memory, sticky */
};

double sim_random(struct sim *m);

/* ---- lists ---- */

/* Whose recipient it is. */
struct sim_run *sim_run_of(const struct sim *m, uint32_t recipient);
struct sim_lane *sim_lane_of(const struct sim *m, uint32_t recipient);

void sim_ids_push(struct sim *m, struct sim_ids *ids, uint32_t id);
uint64_t sim_list_length(const struct sim_list *l);
/* So many more of a lane can go. */
void sim_lane_offer(struct sim *m, const struct sim_lane *lane, uint64_t count);
/* The next of a list; false when it is empty. */
bool sim_list_pop(struct sim *m, struct sim_list *l, uint32_t *recipient);
/* To the front of his list, without another try. */
void sim_list_return(struct sim *m, uint32_t recipient);
void sim_list_later(struct sim *m, uint32_t recipient, double due);
/* Retries that are due, as far as they have a share. */
void sim_list_push_due(struct sim *m, struct sim_list *l);
/* What of its list is a lane's, for all lanes of a run. */
void sim_run_shares(struct sim_run *run);
/* A lane of list 0 gets a list of its own. */
void sim_lane_relist(struct sim *m, struct sim_lane *lane);
void sim_settle(struct sim *m, uint32_t recipient, enum referee_end end);

/* ---- producer ---- */

int sim_producer_begin(struct sim *m) MUST_CHECK;
int sim_producer_round(struct sim *m) MUST_CHECK;
/* Between rounds it looks for single mails alone. */
void sim_producer_mail(struct sim *m);
void sim_report(struct sim *m, const struct brake_report *r);
/* One that was replaced publishes what it still believes. */
void sim_old_planner(struct sim *m);
void sim_group_gone(struct sim *m, const char *group);

/* ---- dispatchers ---- */

int sim_dispatchers_begin(struct sim *m) MUST_CHECK;

/* ---- leases of connections, as mx_lease.c asks for them ---- */

int sim_leases_begin(struct sim *m) MUST_CHECK;
/* Connections that it may have open now, of `window` for all; the lease is told what has changed. */
unsigned sim_lease_allows(
    struct sim *m, struct sim_dispatcher *d, size_t destination, unsigned window);
void sim_lease_look(struct sim *m, struct sim_dispatcher *d);
void sim_lease_lost(struct sim_dispatcher *d, size_t destinations); /* it died */
void sim_dispatchers_free(struct sim *m);
void sim_dispatcher_ask(struct sim *m, struct sim_dispatcher *d, bool urgent);
void sim_dispatcher_leave(struct sim *m, struct sim_dispatcher *d);
void sim_dispatcher_look(struct sim *m, struct sim_dispatcher *d);
void sim_dispatcher_die(struct sim *m, struct sim_dispatcher *d, double back_at);
void sim_answer_arrives(struct sim *m, uint32_t answer);

#endif
