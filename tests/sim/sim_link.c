/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_link: pgloop, db and the connections of recovery to Redis, over sim_pg. A statement travels,
 * runs at one instant, and its answer travels back; in between its connection may end, and then it may
 * have run, or not, or run later, when its client has long asked again.
 */
#include <stdlib.h>
#include <string.h>

#include "db.h"
#include "pgloop.h"
#include "rds.h"
#include "sim.h"

#define PARAMS_MAX 20
#define RECONNECT_US (200 * SIM_MS)
#define LATE_US (8 * SIM_SECOND)

/* A statement on its way, the server's copy. */
struct statement {
	struct statement *next; /* waiting for its turn */
	char *sql;
	int count;
	char *params[PARAMS_MAX];
	/* its client, while the connection is there */
	struct sim_process *process;
	unsigned life;
	struct pgloop *pg; /* NULL: db_query */
	unsigned turn;	   /* of that connection */
	pgloop_done *done;
	void *ctx;
	/* when it has run */
	bool has_run;
	enum pg_verdict verdict;
	PGresult *result;
};

struct pgloop {
	struct sim_process *process;
	bool ready;
	unsigned turn; /* of the connection */
	struct statement *running, *first, **last;
	struct pgloop *next; /* of all */
};

/* Results that a process holds. */
struct sim_results {
	struct sim_results *next;
	PGresult *result;
};

static struct pgloop *all;
static unsigned world_turn; /* counts fail-overs: what ran before them is gone */

/* ---- statements ---- */

static struct statement *
statement_new(const char *sql, int count, const char *const *params)
{
	struct statement *s = sim_alloc(sizeof(*s));

	if (count > PARAMS_MAX)
		abort();
	s->sql = strcpy(sim_alloc(strlen(sql) + 1), sql);
	s->count = count;
	for (int i = 0; i < count; i++)
		if (params[i] != NULL)
			s->params[i] = strcpy(sim_alloc(strlen(params[i]) + 1), params[i]);
	return s;
}

static void
statement_free(struct statement *s)
{
	for (int i = 0; i < s->count; i++)
		sim_free(s->params[i]);
	PQclear(s->result);
	sim_free(s->sql);
	sim_free(s);
}

static void
run_statement(struct statement *s)
{
	s->has_run = true;
	if (sim.pg_is_down || sim_chance(sim.faults.refused)) {
		sim_fault("statement refused");
		s->verdict = PG_REFUSED;
		return;
	}
	sim_before_commit();
	sim.pg->now = sim.now;
	s->verdict = pg_exec(sim.pg, s->sql, (const char *const *)s->params, &s->result);
	if (s->verdict == PG_UNHEARD_OF)
		sim_fail("the simulation does not know this statement: %.120s", s->sql);
	sim_trace("runs %.40s", s->sql);
	sim_after_commit();
}

static void
give_result(PGresult *result)
{
	struct sim_results *r = sim_alloc(sizeof(*r));

	*r = (struct sim_results){ sim_self->results, result };
	sim_self->results = r;
}

void __real_PQclear(PGresult *result);
void __wrap_PQclear(PGresult *result);

void
__wrap_PQclear(PGresult *result)
{
	for (struct sim_results **l = sim_self != NULL ? &sim_self->results : NULL, *r;
	     l != NULL && result != NULL && (r = *l) != NULL; l = &r->next) {
		if (r->result == result) {
			*l = r->next;
			sim_free(r);
			break;
		}
	}
	__real_PQclear(result);
}

/* A statement whose client does not wait any more; number: of the fail-overs at its time. */
static void
on_late(void *ctx, uint64_t turn)
{
	struct statement *s = ctx;

	if (turn == world_turn && !s->has_run) {
		sim_trace("a statement runs late");
		run_statement(s);
	}
	statement_free(s);
}

/* Cut off: it may have run, not have run, or run later. */
static void
orphan(struct statement *s)
{
	uint32_t chance = sim.pg_is_down ? 2 : sim_random(3);

	s->pg = NULL;
	s->process = NULL;
	if (!s->has_run && chance == 0)
		run_statement(s);
	sim_after(NULL, chance == 1 ? sim_random(LATE_US) : 0, on_late, s,
	    chance == 2 ? UINT64_MAX : world_turn);
}

void
sim_results_release(struct sim_process *p)
{
	while (p->results != NULL) {
		struct sim_results *r = p->results;

		p->results = r->next;
		__real_PQclear(r->result);
		sim_free(r);
	}
	for (struct pgloop **l = &all, *pg; (pg = *l) != NULL;) {
		if (pg->process != p) {
			l = &pg->next;
			continue;
		}
		*l = pg->next;
		while (pg->first != NULL) {
			struct statement *s = pg->first;

			pg->first = s->next;
			statement_free(s);
		}
		if (pg->running != NULL)
			orphan(pg->running); /* the server has its own copy */
		sim_free(pg);
	}
}

/* ---- pgloop ---- */

static void next_statement(struct pgloop *pg);

static void
on_ready(void *ctx, uint64_t turn)
{
	struct pgloop *pg = ctx;

	if (pg->turn != turn)
		return;
	if (sim.pg_is_down) {
		sim_after(pg->process, RECONNECT_US, on_ready, pg, turn);
		return;
	}
	pg->ready = true;
	next_statement(pg);
}

static void
connect_again(struct pgloop *pg)
{
	pg->ready = false;
	pg->turn++;
	sim_after(pg->process, RECONNECT_US + sim_random(300) * SIM_MS, on_ready, pg, pg->turn);
}

static void
answer(struct pgloop *pg, pgloop_done *done, void *ctx, struct pgloop_answer *a)
{
	PGresult *given = a->result;

	if (given != NULL)
		give_result(given);
	sim_may_die("before an answer of PostgreSQL is read");
	done(ctx, a);
	if (a->result != NULL)
		__wrap_PQclear(a->result);
	(void)pg;
}

/* Its connection ends under what runs. In the fiber. */
static void
lose(struct pgloop *pg)
{
	struct statement *s = pg->running;
	struct pgloop_answer a = { PGLOOP_UNKNOWN, NULL, "connection lost", "" };
	pgloop_done *done = s != NULL ? s->done : NULL;
	void *ctx = s != NULL ? s->ctx : NULL;

	pg->running = NULL;
	connect_again(pg);
	if (s == NULL)
		return;
	sim.unknown_commits++;
	orphan(s);
	answer(pg, done, ctx, &a);
}

static void
on_answer(void *ctx, uint64_t number)
{
	struct pgloop *pg = ctx;
	struct statement *s = pg->running;
	struct pgloop_answer a = { PGLOOP_DONE, NULL, "", "" };
	pgloop_done *done;
	void *done_ctx;

	if (pg->turn != number || s == NULL)
		return;
	if (sim_chance(sim.faults.cut)) {
		sim_fault("connection to PostgreSQL lost behind a statement");
		lose(pg);
		return;
	}
	if (s->verdict == PG_REFUSED)
		a = (struct pgloop_answer){ PGLOOP_REFUSED, NULL, "canceled", "57014" };
	a.result = s->result;
	s->result = NULL;
	done = s->done;
	done_ctx = s->ctx;
	pg->running = NULL;
	statement_free(s);
	next_statement(pg);
	answer(pg, done, done_ctx, &a);
}

static void
on_run(void *ctx, uint64_t number)
{
	struct pgloop *pg = ctx;
	struct statement *s = pg->running;

	if (pg->turn != number || s == NULL)
		return;
	if (sim.pg_is_down || sim_chance(sim.faults.cut)) {
		sim_fault("connection to PostgreSQL lost before a statement");
		lose(pg);
		return;
	}
	run_statement(s);
	sim_may_die("while PostgreSQL answers");
	sim_after(pg->process, sim_random(3000), on_answer, pg, number);
}

static void
next_statement(struct pgloop *pg)
{
	if (!pg->ready || pg->running != NULL || pg->first == NULL)
		return;
	pg->running = pg->first;
	pg->first = pg->running->next;
	if (pg->first == NULL)
		pg->last = &pg->first;
	sim_after(pg->process, sim_random(3000), on_run, pg, pg->turn);
}

struct pgloop *
pgloop_new(uv_loop_t *loop, const char *conninfo, bool prepared, long timeout_s)
{
	struct pgloop *pg = sim_alloc(sizeof(*pg));

	(void)loop;
	(void)conninfo;
	(void)prepared;
	(void)timeout_s;
	*pg = (struct pgloop){ .process = sim_self, .next = all };
	pg->last = &pg->first;
	all = pg;
	sim_self->active++; /* its socket keeps the loop running */
	connect_again(pg);
	return pg;
}

void
pgloop_free(struct pgloop *pg)
{
	pg->turn++;
	pg->ready = false;
	if (pg->running != NULL)
		orphan(pg->running);
	pg->running = NULL;
	sim_self->active--;
}

bool
pgloop_submit(struct pgloop *pg, const char *name, const char *sql, int count,
    const char *const *params, pgloop_done *done, void *ctx)
{
	struct statement *s = statement_new(sql, count, params);

	(void)name;
	s->done = done;
	s->ctx = ctx;
	*pg->last = s;
	pg->last = &s->next;
	next_statement(pg);
	return true;
}

void
pgloop_forget(struct pgloop *pg, const char *name)
{
	(void)pg;
	(void)name; /* statements are known by their text here */
}

bool
pgloop_is_ready(const struct pgloop *pg)
{
	return pg->ready;
}

static void
on_cut(void *ctx, uint64_t turn)
{
	struct pgloop *pg = ctx;

	if (pg->turn == turn && pg->ready)
		lose(pg);
}

void
sim_pg_cut_all(void)
{
	for (struct pgloop *pg = all; pg != NULL; pg = pg->next)
		sim_after(pg->process, 0, on_cut, pg, pg->turn);
}

void
sim_pg_begin(void)
{
	all = NULL;
	world_turn = 0;
}

void
sim_pg_restore(void)
{
	world_turn++; /* what the old server was still working on never runs */
	sim_pg_cut_all();
}

/* ---- db: calls that block ---- */

int __wrap_db_open(
    struct db *db, const char *url, const char *role, const char *application, struct err *err);
void __wrap_db_close(struct db *db);
int __wrap_db_check_schema(struct db *db, struct err *err);
PGresult *__wrap_db_query(struct db *db, const char *sql, int count, const char *const *params);
int __wrap_db_run(struct db *db, const char *sql, int count, const char *const *params);

int
__wrap_db_open(
    struct db *db, const char *url, const char *role, const char *application, struct err *err)
{
	(void)url;
	(void)role;
	(void)application;
	*db = (struct db){ .conn = NULL };
	sim_block(10 * SIM_MS);
	if (sim.pg_is_down || sim_chance(sim.faults.cut))
		return err_set(err, "cannot connect");
	return 0;
}

void
__wrap_db_close(struct db *db)
{
	(void)db;
}

int
__wrap_db_check_schema(struct db *db, struct err *err)
{
	(void)db;
	(void)err;
	return 0;
}

/* main() asks for its rights: nothing of the simulation. */
static bool
is_about_rights(const char *sql)
{
	return strstr(sql, "pg_has_role") != NULL;
}

PGresult *
__wrap_db_query(struct db *db, const char *sql, int count, const char *const *params)
{
	struct statement *s;
	PGresult *result;
	unsigned turn = world_turn;

	if (is_about_rights(sql))
		return NULL;
	s = statement_new(sql, count, params);
	sim_may_die("before a statement of recovery");
	(void)strcpy(db->error, "connection lost");
	sim_block(sim_random(3000));
	if (sim.pg_is_down || turn != world_turn || sim_chance(sim.faults.cut)) {
		sim_fault("connection lost before a statement");
		orphan(s);
		return NULL;
	}
	run_statement(s);
	if (sim_chance(sim.faults.death)) { /* its answer is on the way */
		statement_free(s);
		sim_die("while PostgreSQL answers");
	}
	result = s->result;
	s->result = NULL;
	if (result != NULL)
		give_result(result);
	statement_free(s);
	sim_block(sim_random(3000));
	if (result != NULL && (sim_chance(sim.faults.cut) || turn != world_turn)) {
		sim_fault("connection lost behind a statement");
		__wrap_PQclear(result);
		return NULL;
	}
	return result;
}

int
__wrap_db_run(struct db *db, const char *sql, int count, const char *const *params)
{
	PGresult *r = __wrap_db_query(db, sql, count, params);
	int result = r != NULL ? 0 : -1;

	__wrap_PQclear(r);
	return result;
}
