/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim: a world in which the real dispatcher runs, as often as wanted, in one thread. Its clock jumps
 * from event to event, its chances come from a seed, so that a seed is one run, the same every time.
 *
 * A process is a fiber that runs the program's own main(). The functions by which programs reach
 * outside (libuv, pgloop, db, rdsloop, time, random numbers, exit) are replaced when this test is
 * linked; each may be where a process dies: then its fiber is never resumed, its memory is taken away,
 * its locks and connections end, its mapped files keep what was written.
 */
#ifndef KAIRAN_SIM_H
#define KAIRAN_SIM_H

#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "sim_pg.h"
#include "token.h"

#define SIM_DISPATCHERS 3
#define SIM_NAMES 2	     /* that one may have, one after the other */
#define SIM_MS INT64_C(1000) /* in microseconds, the unit of simulated time */
#define SIM_SECOND (1000 * SIM_MS)
#define SIM_PATH_MAX 160

/* Chances of each fault, in a million, where it may happen. All 0: none does. */
struct sim_faults {
	uint32_t death;	      /* at each crash point, and around each call that reaches outside */
	uint32_t refused;     /* a statement is refused */
	uint32_t cut;	      /* PostgreSQL: the connection ends under a statement */
	uint32_t redis;	      /* a command, or its answer, is lost with the connection */
	uint32_t short_write; /* the kernel takes part of the bytes */
	uint32_t relay;	      /* a reply that is not the usual one */
	uint32_t relay_cut;   /* of connections: it ends at some byte */
};

struct sim_process;

/* An event: fn runs in the process's fiber, or in the world when there is none. Dropped when the
 * process has died meanwhile. */
typedef void sim_fn(void *ctx, uint64_t number);
void sim_after(struct sim_process *p, int64_t us, sim_fn *fn, void *ctx, uint64_t number);

/* ---- chance ---- */

uint32_t sim_random(uint32_t below);
bool sim_chance(uint32_t in_a_million);

/* ---- one process ---- */

enum sim_end { SIM_RUNS, SIM_KILLED, SIM_EXITED };

/* What a process has open, freed by the kernel when it ends. */
struct sim_process {
	int host;	 /* 0 .. SIM_DISPATCHERS - 1: its state folder */
	int name;	 /* 0 .. SIM_NAMES - 1: each has a lock and a journal of its own */
	unsigned losses; /* how often something was lost of what its journals knew */
	bool alive;
	enum sim_end end;
	int status;    /* of SIM_EXITED */
	unsigned life; /* counts, so that events of earlier ones are dropped */
	bool adopt;    /* started with --adopt */
	int64_t clock_skew;
	char config[SIM_PATH_MAX];
	ucontext_t context;
	char *stack; /* STACK_BYTES */
	void *fake_stack;
	bool waits; /* in a call that blocks, until its wake */
	bool woken;
	sim_fn *event;
	void *event_ctx;
	uint64_t event_number;
	void **memory; /* open addressing, NULL is free */
	size_t memory_count, memory_room;
	struct {
		void *at;
		size_t bytes;
	} maps[4];
	int files[16];
	unsigned active; /* of its loop: handles that keep it running */
	struct sim_handle *handles;
	struct sim_results *results;
	struct sim_connection *connections;
	void *terminate, *hangup; /* uv_signal_t of SIGTERM and SIGHUP */
};

extern struct sim_process *sim_self; /* whose fiber runs; NULL: the world */

/* A place where the process may die. */
void sim_may_die(const char *where);
_Noreturn void sim_die(const char *where);

/* Waits in the fiber, as a call that blocks does. */
void sim_block(int64_t us);

/* Until the next event, which stands in sim_self then. */
void sim_pause(void);

/* ---- the world ---- */

struct sim_truth {
	int accepted;
	int first_attempt;
	char remote_id[24]; /* of the last acceptance */
};

struct sim {
	uint64_t seed;
	int64_t now;
	bool trace;
	struct sim_faults faults;
	struct pg *pg;
	struct sim_process process[SIM_DISPATCHERS];
	struct token_keys keys;
	struct sim_truth truth[PG_RUNS + 1][PG_ROWS + 1];
	int64_t claimed_us[PG_RUNS + 1]
			  [PG_ROWS + 1]; /* when the attempt that may send was committed */
	int boots[SIM_DISPATCHERS];
	bool pg_is_down;
	bool long_journal; /* its ring does not come round */
	bool power;	   /* machines may lose theirs */
	bool adaptive;	   /* dispatchers heed brakes */
	bool lost_commits; /* a fail-over went back in time */
	char wrong[300];   /* first violation */
	uint64_t hash;	   /* of all events, their times and chances */
	/* what happened, for the last line */
	long long events, faults_seen, deaths, accepted, doubt_bound, power_losses, failovers,
	    buried, flushes, cuts, unknown_commits, heard, suppressed, renamed, folders, reloads,
	    forgotten, deaths_at_points;
};

extern struct sim sim;

void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sim_fault(const char *what);

void sim_world_begin(uint64_t seed, bool trace);
void sim_world_end(void);

/* Runs events until this time, or a violation. */
void sim_run_until(int64_t us);

void sim_start(struct sim_process *p, bool adopt);
/* power: the machine goes down, too: pages that were not written back are lost. */
void sim_kill(struct sim_process *p, bool power);
/* SIGTERM; at times twice, which ends it at once. */
void sim_terminate(struct sim_process *p);
/* A configuration with other numbers, under the name that it has. */
void sim_write_config(struct sim_process *p);
/* Such a one, and SIGHUP. */
void sim_reload(struct sim_process *p);

/* The name that it has, as in its configuration. */
void sim_name(const struct sim_process *p, char name[8]);
struct sim_process *sim_process_named(const char *name);
/* While it is dead. It has the other name from now on. */
void sim_rename(struct sim_process *p);
/* While it is dead. Its journal is lost, and its lock, too: the folder. */
void sim_lose_folder(struct sim_process *p, bool lock_too);

/* The relay took a mail: what is checked at once, and what may be heard of it later. */
void sim_taken(int run, int send, int attempt);

/* How often somebody may have it: once, more where that is as promised. */
int sim_may_take(int run, int send);

/* Around each commit: which edges the rows took. */
void sim_before_commit(void);
void sim_after_commit(void);

/* ---- parts ---- */

void sim_pg_cut_all(void); /* every connection to PostgreSQL ends */
void sim_pg_begin(void);
void sim_pg_restore(void); /* what was under way is gone */
void sim_redis_begin(void);
void sim_redis_flush(void);
#define SIM_BRAKES 5
struct brake;
void sim_redis_brake(int place, const char *name, const struct brake *brake); /* NULL: it is free */
void sim_redis_pace(int run, int lane, int64_t interval_us);
void sim_redis_push(int run, int lane, const char *id, bool left);
void sim_redis_shuffle(int run, int lane);
void sim_redis_lose(int run, int lane);
size_t sim_redis_length(int run, int lane);
void sim_relay_begin(void);
void sim_relay_client_gone(struct sim_process *p);
unsigned sim_relay_open(const struct sim_process *p);
void sim_uv_release(struct sim_process *p);
void sim_results_release(struct sim_process *p);

/* Memory of the world, not of a process. */
void *sim_alloc(size_t bytes);
void sim_free(void *p);

#endif
