/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_protocol: what happens in a simulated run, and what must hold. A seed decides how many
 * dispatchers, recipients and runs there are and which faults come; then the faults stop, everything is
 * started again, and all must be settled.
 *
 *   sim_protocol --seeds N [--first S]   runs N seeds, one JSON line last; status 1 at a violation
 *   sim_protocol --seed S                one run with its events
 *   --twice                              each seed once more: the same events, or status 1
 *   --same-timeline                      what is lost is not to be seen by the timeline, as when files of
 *                                        the database are put back by hand: not promised
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "brake.h"
#include "buf.h"
#include "ledger.h"
#include "sim.h"

#define CALM_MAX (3 * 3600 * SIM_SECOND) /* in which everything must be settled */
#define LOOK (5 * SIM_SECOND)
#define SILENT                                                                                     \
	(600 * SIM_SECOND) /* then a life counts as dead: producer.dead_after_s, but sooner */

#define SEEDS_MAX 10000000
#define SEEDS_WITH_DEATHS 20 /* among so many, some die at a named point */

/* ---- plan of a run ---- */

static struct scenario {
	int dispatchers, runs;
	bool calm;
	bool failover, burials, renames, folders; /* which of the heavier faults may come */
	int64_t until;				  /* of the faults */
	bool needs_adoption[SIM_DISPATCHERS];	  /* its last word said so */
	bool other_name[SIM_DISPATCHERS];	  /* it is waited for under that one */
	struct pg before;			  /* a state to fall back to */
	bool has_before;
	unsigned losses[PG_LIVES]; /* of the process when this life registered */
	int lives;		   /* for which that is known */
} now;

/* --same-timeline: beyond what is promised where several dispatchers run. */
static bool same_timeline;

static uint32_t
some(uint32_t most)
{
	return sim_chance(600000) ? sim_random(most) : 0;
}

static void
begin_run(int id)
{
	struct pg_run *r = &sim.pg->run[id];
	bool has_lanes = sim_chance(400000);

	r->rows = 4 + (int)sim_random(PG_ROWS - 4);
	r->running = true;
	r->resend = sim_chance(200000);
	r->limited = sim_chance(300000);
	for (int i = 1; i <= r->rows; i++) {
		r->row[i].lane = has_lanes ? i % PG_LANES : 0;
		(void)snprintf(r->row[i].address, sizeof(r->row[i].address), "r%d.%d@d%d.example",
		    id, i, i % 5);
	}
	for (int lane = 0; lane < PG_LANES; lane++) {
		r->listed[lane] = lane > 0 && has_lanes && sim_chance(400000);
		if (lane > 0 || r->limited)
			sim_redis_pace(id, lane, (20 + sim_random(300)) * SIM_MS);
	}
}

static void
plan(uint64_t seed)
{
	now = (struct scenario){ .dispatchers = 1 + (int)sim_random(SIM_DISPATCHERS),
		.runs = 1 + (int)sim_random(PG_RUNS) };
	now.until = sim.now + (30 + sim_random(200)) * SIM_SECOND;
	now.burials = sim_chance(250000);
	now.failover = sim_chance(150000);
	now.renames = sim_chance(200000);
	now.folders = sim_chance(150000);
	sim.long_journal = now.failover;
	sim.power = sim_chance(300000);
	sim.adaptive = sim_chance(250000);
	sim.faults = (struct sim_faults){ .death = some(3000),
		.refused = some(20000),
		.cut = some(40000),
		.redis = some(40000),
		.short_write = some(400000),
		.relay = some(60000),
		.relay_cut = some(400000) };
	for (int i = 1; i <= now.runs; i++)
		begin_run(i);
	for (int i = 0; i < SIM_DISPATCHERS; i++)
		sim_write_config(&sim.process[i]);
	sim_trace("seed %llu: %d dispatchers, %d runs, faults until %lld s",
	    (unsigned long long)seed, now.dispatchers, now.runs,
	    (long long)(now.until / SIM_SECOND));
}

/* ---- what holds at each commit ---- */

static struct {
	enum pg_state state;
	int attempt;
} seen[PG_RUNS + 1][PG_ROWS + 1];

static bool
may_move(enum pg_state from, enum pg_state to)
{
	static const unsigned edges[PG_STATES] = {
		[PG_QUEUED] = 1U << PG_SENDING | 1U << PG_SKIPPED | 1U << PG_DEFERRED,
		[PG_SENDING] = 1U << PG_SENT | 1U << PG_DEFERRED | 1U << PG_FAILED |
		    1U << PG_IN_DOUBT | 1U << PG_SKIPPED | 1U << PG_QUEUED,
		[PG_DEFERRED] = 1U << PG_SENDING | 1U << PG_SKIPPED,
		[PG_IN_DOUBT] = 1U << PG_SENT | 1U << PG_DEFERRED | 1U << PG_FAILED |
		    1U << PG_SKIPPED | 1U << PG_QUEUED,
	};

	return from == to || (edges[from] & 1U << to) != 0;
}

void
sim_before_commit(void)
{
	for (int run = 1; run <= now.runs; run++) {
		for (int id = 1; id <= sim.pg->run[run].rows; id++) {
			seen[run][id].state = sim.pg->run[run].row[id].state;
			seen[run][id].attempt = sim.pg->run[run].row[id].attempt;
		}
	}
}

/* Of lives that have registered since: what their journals can know. */
static void
note_lives(void)
{
	for (; now.lives < sim.pg->lives; now.lives++)
		now.losses[now.lives + 1] =
		    sim_process_named(sim.pg->life[now.lives + 1].name)->losses;
}

void
sim_after_commit(void)
{
	note_lives();
	for (int run = 1; run <= now.runs; run++) {
		for (int id = 1; id <= sim.pg->run[run].rows; id++) {
			const struct pg_row *s = &sim.pg->run[run].row[id];
			enum pg_state was = seen[run][id].state;
			int tried = seen[run][id].attempt;

			/* what a journal asserts after lost commits may come from anywhere */
			if (!sim.lost_commits &&
			    (!may_move(was, s->state) || s->attempt < tried ||
				s->attempt > tried + 1))
				sim_fail("run %d send %d went from %s (%d) to %s (%d)", run, id,
				    pg_state_name(was), tried, pg_state_name(s->state), s->attempt);
			if (s->attempt > tried && s->state == PG_SENDING)
				sim.claimed_us[run][id] = sim.now;
			if (was != s->state && s->state == PG_IN_DOUBT &&
			    strcmp(s->reason, "owner_lost") == 0)
				sim.doubt_bound++; /* claimed by one that cannot be asked */
		}
	}
}

/* ---- what is heard ---- */

static void
hear(void *ctx, uint64_t number)
{
	static const enum outcome_kind kinds[] = { OUTCOME_DELIVERED, OUTCOME_DELIVERED,
		OUTCOME_BOUNCED, OUTCOME_COMPLAINED, OUTCOME_UNSUBSCRIBED };
	int run = (int)(number >> 32), send = (int)(number >> 16 & 0xffff);
	const struct pg_row *s = &sim.pg->run[run].row[send];
	uint32_t which = (number >> 8 & 0xff) % 5, attempt = number & 0x7f;
	bool linked = (number & 0x80) != 0;
	char key[48];
	struct ledger_batch batch;
	const char *params[LEDGER_COLUMNS];
	struct feedback_event event = { .kind = kinds[which],
		.cls = kinds[which] == OUTCOME_BOUNCED ? OUTCOME_HARD : OUTCOME_CLASS_NONE,
		.reason = kinds[which] == OUTCOME_BOUNCED ? "user_unknown" : "none",
		.linked = linked,
		.token = { (uint32_t)run, (uint32_t)send, (uint16_t)attempt },
		.address = slice_str(s->address),
		.source = linked ? "dsn" : "sns",
		.message_id =
		    linked ? slice_make(NULL, 0) : slice_str(sim.truth[run][send].remote_id),
		.occurred_at_us = sim.now };
	PGresult *result = NULL;

	(void)ctx;
	(void)snprintf(key, sizeof(key), "sim|%llx", (unsigned long long)number);
	event.key = slice_str(key);
	if (sim.pg_is_down) {
		sim_after(NULL, 2 * SIM_SECOND, hear, NULL, number);
		return;
	}
	ledger_init(&batch);
	if (!ledger_add(&batch, &event) || !ledger_params(&batch, params))
		abort();
	sim_trace("heard of run=%d send=%d attempt=%u: %s%s", run, send, attempt,
	    outcome_kind_name(event.kind), linked ? "" : " by message id");
	sim_before_commit();
	sim.pg->now = sim.now;
	(void)pg_exec(sim.pg, LEDGER_SQL, params, &result);
	sim_after_commit();
	PQclear(result);
	ledger_release(&batch);
	sim.heard++;
	if (sim_chance(sim.faults.cut * 4)) /* its commit is unknown: once more */
		sim_after(NULL, SIM_SECOND, hear, NULL, number);
}

static void
join(void *ctx, uint64_t number)
{
	PGresult *result = NULL;

	(void)ctx;
	(void)number;
	if (!sim.pg_is_down) {
		sim_before_commit();
		sim.pg->now = sim.now;
		(void)pg_exec(sim.pg, PG_SQL_JOIN, NULL, &result);
		PQclear(result);
		(void)pg_exec(sim.pg, PG_SQL_RESEND, NULL, &result);
		sim_after_commit();
		PQclear(result);
	}
	sim_after(NULL, LOOK, join, NULL, 0);
}

/* ---- what holds when a mail is taken ---- */

/* Whose claims of a row a fail-over has lost, and who was forgotten in spite of it: to whom these sent, he
 * may get a second copy. */
static struct {
	char name[PG_RUNS + 1][PG_ROWS + 1][8];
	bool forgotten[SIM_DISPATCHERS][SIM_NAMES];
} lost;

static bool *
forgotten(const char *name)
{
	return &lost.forgotten[sim_process_named(name)->host][name[0] == 'e'];
}

int
sim_may_take(int run, int send)
{
	const char *name = lost.name[run][send];

	return 1 + sim.pg->run[run].resend + (name[0] != '\0' && *forgotten(name));
}

static void
check_suppression(int run, int send)
{
	const struct pg_row *s = &sim.pg->run[run].row[send];

	for (int i = 0; i < sim.pg->suppressions; i++) {
		const struct pg_suppression *p = &sim.pg->suppression[i];

		if (strcmp(p->address, s->address) == 0 && p->since < sim.claimed_us[run][send])
			sim_fail("run %d send %d was suppressed before it was claimed", run, send);
	}
}

void
sim_taken(int run, int send, int attempt)
{
	const struct pg_row *s = &sim.pg->run[run].row[send];
	bool held = s->attempt == attempt &&
	    (s->state == PG_SENDING || s->state == PG_IN_DOUBT || s->state == PG_SENT);

	if (!held && !sim.lost_commits && !sim.pg->run[run].resend)
		sim_fail("run %d send %d attempt %d was sent while its row is %s, attempt %d", run,
		    send, attempt, pg_state_name(s->state), s->attempt);
	if (!sim.lost_commits)
		check_suppression(run, send);
	for (uint32_t n = sim_random(3); n > 0; n--)
		sim_after(NULL, sim_random(60000) * SIM_MS, hear, NULL,
		    (uint64_t)run << 32 | (uint64_t)send << 16 | sim_random(256) << 8 |
			(sim_chance(700000) ? 0x80U : 0) | ((unsigned)attempt & 0x7f));
}

/* ---- actors ---- */

/* The producer's refill: whoever is due is named again, in the list of his lane. */
static void
refill(void *ctx, uint64_t number)
{
	(void)ctx;
	(void)number;
	for (int run = 1; run <= now.runs; run++) {
		const struct pg_run *r = &sim.pg->run[run];
		char id[16];

		for (int i = 1; r->running && !sim.pg_is_down && i <= r->rows; i++) {
			const struct pg_row *s = &r->row[i];
			int lane = r->listed[s->lane] ? s->lane : 0;

			(void)snprintf(id, sizeof(id), "%d", i);
			if ((s->state == PG_QUEUED || s->state == PG_DEFERRED) &&
			    s->not_before <= sim.now && sim_redis_length(run, lane) < 64)
				sim_redis_push(run, lane, id, false);
		}
	}
	sim_after(NULL, SIM_SECOND + sim_random(4000) * SIM_MS, refill, NULL, 0);
}

/* What a lane's recipients were put off for is over. */
static void
resume_lane(int run, int lane)
{
	char run_text[12], lane_text[12];
	const char *params[] = { run_text, lane_text };
	PGresult *result = NULL;

	(void)snprintf(run_text, sizeof(run_text), "%d", run);
	(void)snprintf(lane_text, sizeof(lane_text), "%d", lane);
	sim.pg->run[run].broken[lane] = false;
	sim_before_commit();
	sim.pg->now = sim.now;
	(void)pg_exec(sim.pg, PG_SQL_LANE_RELEASE, params, &result);
	sim_after_commit();
	PQclear(result);
}

static void
bury_life(int life)
{
	char text[12];
	const char *params[] = { text };
	PGresult *result = NULL;

	(void)snprintf(text, sizeof(text), "%d", life);
	sim_before_commit();
	sim.pg->now = sim.now;
	(void)pg_exec(sim.pg, PG_SQL_BURY, params, &result);
	sim_after_commit();
	PQclear(result);
	sim.buried++;
}

static void
bury_silent(void)
{
	for (int i = 1; i <= sim.pg->lives && !sim.pg_is_down; i++) {
		const struct pg_life *l = &sim.pg->life[i];

		if (l->stopped_at == PG_NEVER && l->heartbeat_at < sim.now - SILENT)
			bury_life(i);
	}
}

static void
forget_name(const char *name)
{
	const char *params[] = { name };
	PGresult *result = NULL;

	sim_trace("nobody waits for %s any more", name);
	sim_before_commit();
	sim.pg->now = sim.now;
	(void)pg_exec(sim.pg, PG_SQL_FORGET, params, &result);
	sim_after_commit();
	PQclear(result);
	*forgotten(name) = true;
	sim.forgotten++;
}

/* Behind a fail-over: one is waited for who runs under another name, or whose journal cannot speak. A
 * person finds that out when it has been started, and not at once. */
static void
look_at_quarantine(void)
{
	for (int i = 1; i <= sim.pg->lives && sim.pg->cleared != sim.pg->here; i++) {
		struct sim_process *p = sim_process_named(sim.pg->life[i].name);
		char name[8];

		if (!pg_is_missing(sim.pg, i))
			continue;
		sim_name(p, name);
		if (strcmp(name, sim.pg->life[i].name) != 0)
			now.other_name[p->host] = true;
		else if (p->losses != now.losses[i] && p->alive && p->terminate != NULL &&
		    sim_chance(50000))
			forget_name(name);
	}
}

/* Under its first name again, or under that for which others wait. */
static void
change_name(struct sim_process *p)
{
	now.other_name[p->host] = now.other_name[p->host] || (now.calm && p->name != 0);
	if (!now.other_name[p->host] || !sim_chance(100000))
		return;
	sim_terminate(p);
	if (p->alive)
		return;
	sim_rename(p);
	now.other_name[p->host] = false;
}

/* Whoever has ended is started again, with --adopt when it asked for it. Runs are resumed at any time: an
 * operator may be too early. */
static void
supervise(void *ctx, uint64_t number)
{
	(void)ctx;
	(void)number;
	if (!sim.pg_is_down)
		look_at_quarantine();
	for (int i = 0; i < now.dispatchers; i++) {
		struct sim_process *p = &sim.process[i];

		if (sim.lost_commits && !p->alive && p->end == SIM_EXITED && p->status != 0)
			now.needs_adoption[i] = true;
		if (now.needs_adoption[i] && p->alive && p->adopt && p->terminate != NULL)
			now.needs_adoption[i] = false; /* it is through its beginning */
		change_name(p);
		if (!p->alive && (now.calm || sim_chance(300000)))
			sim_start(p, now.needs_adoption[i]);
	}
	for (int run = 1; run <= now.runs; run++) {
		struct pg_run *r = &sim.pg->run[run];

		for (int lane = 0; lane < PG_LANES && now.calm && !sim.pg_is_down; lane++)
			resume_lane(run, lane);
		if (r->running || !(now.calm || sim_chance(200000)))
			continue;
		sim_trace("run %d goes on", run);
		r->running = true;
		r->why[0] = '\0';
	}
	bury_silent();
	sim_after(NULL, SIM_SECOND, supervise, NULL, 0);
}

/* ---- chaos ---- */

static void
up_again(void *ctx, uint64_t number)
{
	(void)ctx;
	(void)number;
	sim.pg_is_down = false;
	sim_trace("PostgreSQL is back");
}

/* By whom the claims were that are about to be lost. */
static void
note_lost_claims(void)
{
	for (int run = 1; run <= now.runs; run++) {
		for (int id = 1; id <= sim.pg->run[run].rows; id++) {
			const struct pg_row *s = &sim.pg->run[run].row[id];

			if (s->attempt > now.before.run[run].row[id].attempt)
				(void)strcpy(lost.name[run][id], sim.pg->life[s->owner].name);
		}
	}
}

static void
fall_back(void *ctx, uint64_t number)
{
	int timeline = sim.pg->here + !same_timeline;

	(void)ctx;
	(void)number;
	sim_fault("fail-over: PostgreSQL has lost its last commits");
	sim.failovers++;
	sim.lost_commits = true;
	sim.pg_is_down = true;
	note_lost_claims();
	*sim.pg = now.before;
	sim.pg->here = timeline;
	now.lives = sim.pg->lives;
	sim_pg_restore();
	sim_after(NULL, (1 + sim_random(5)) * SIM_SECOND, up_again, NULL, 0);
}

static void
begin_failover(void)
{
	if (sim.failovers > 0 || now.has_before || sim.pg_is_down)
		return;
	if (sim.pg->lives == 0)
		return; /* that a first registration is lost is beyond what is promised (P11) */
	now.before = *sim.pg;
	now.has_before = true;
	sim_trace("commits from here on will be lost");
	sim_after(NULL, sim_random(4000) * SIM_MS, fall_back, NULL, 0);
}

/* What stands in a list that does not belong there; at times another lane's. */
static void
rubbish(int run, int lane)
{
	static const char *const words[] = { "", "x", "0", "-3", "99999999999", "7 OR 1=1" };
	char id[16];

	if (sim_chance(300000)) {
		sim_redis_push(run, lane, words[sim_random(6)], sim_chance(500000));
		return;
	}
	(void)snprintf(id, sizeof(id), "%u", 1 + sim_random((uint32_t)sim.pg->run[run].rows));
	for (uint32_t n = 1 + sim_random(3); n > 0; n--)
		sim_redis_push(run, lane, id, sim_chance(500000));
}

/* A lane is braked and gets a list of its own; none ever loses it. */
static void
list_lane(int run, int lane)
{
	struct pg_run *r = &sim.pg->run[run];

	if (lane == 0 || sim.pg_is_down || r->listed[lane])
		return;
	sim_trace("lane %d of run %d has a list of its own from now on", lane, run);
	r->listed[lane] = r->relisted = true;
}

/* Its provider asked us to wait, to be slower, or to open fewer connections; or that is over. */
static void
brake_domain(int domain)
{
	struct brake b = { .mode = sim_chance(700000) ? BRAKE_HOLD : BRAKE_RATE,
		.since = (double)sim.now,
		.until = (double)(sim.now + sim_random(10000) * SIM_MS),
		.rate = 1 + sim_random(10),
		.hold_s = 10,
		.window = sim_random(3) };
	char name[16];

	(void)snprintf(name, sizeof(name), "d%d.example", domain);
	sim_redis_brake(domain, name, sim_chance(700000) ? &b : NULL);
}

static void
chaos_of_dead(struct sim_process *p)
{
	if (now.renames && sim_chance(500000))
		sim_rename(p);
	else if (now.folders && sim_chance(500000))
		sim_lose_folder(p, sim_chance(600000));
}

static void
chaos_of_process(void)
{
	struct sim_process *p = &sim.process[sim_random((uint32_t)now.dispatchers)];

	if (sim_chance(150000) && !sim.adaptive) /* by a wrong clock it would be held for a day */
		p->clock_skew = ((int64_t)sim_random(172800) - 86400) * SIM_SECOND;
	else if (!p->alive)
		chaos_of_dead(p);
	else if (sim_chance(150000))
		sim_reload(p);
	else if (sim_chance(400000))
		sim_terminate(p);
	else
		sim_kill(p, sim.power && sim_chance(300000));
}

static void
chaos_of_others(int run)
{
	int lane = (int)sim_random(PG_LANES);

	switch (sim_random(sim.adaptive ? 11 : 9)) {
	case 0:
		sim_fault("Redis is wiped");
		sim.flushes++;
		sim_redis_flush();
		break;
	case 1:
		sim_redis_shuffle(run, lane);
		break;
	case 2:
		sim_redis_lose(run, lane);
		break;
	case 3:
		sim_fault("a run is paused");
		sim.pg->run[run].running = false;
		break;
	case 4:
		if (!sim.pg_is_down) {
			sim.suppressed++;
			sim.pg->now = sim.now;
			pg_suppress(sim.pg,
			    sim.pg->run[run]
				.row[1 + sim_random((uint32_t)sim.pg->run[run].rows)]
				.address);
		}
		break;
	case 5:
		sim_fault("connections to PostgreSQL end");
		sim_pg_cut_all();
		break;
	case 6:
		list_lane(run, lane);
		break;
	case 7:
		rubbish(run, lane);
		break;
	case 8:
		if (!sim.pg_is_down && sim_chance(500000))
			resume_lane(run, lane);
		else if (!sim.pg_is_down)
			sim.pg->run[run].broken[lane] = true;
		break;
	default:
		brake_domain((int)sim_random(SIM_BRAKES));
		break;
	}
}

static void
chaos(void *ctx, uint64_t number)
{
	(void)ctx;
	(void)number;
	if (now.calm)
		return;
	if (sim_chance(250000))
		chaos_of_process();
	else if (now.failover && sim_chance(100000))
		begin_failover();
	else if (now.burials && sim_chance(100000) && sim.pg->lives > 0 && !sim.pg_is_down)
		bury_life(1 + (int)sim_random((uint32_t)sim.pg->lives));
	else
		chaos_of_others(1 + (int)sim_random((uint32_t)now.runs));
	sim_after(NULL, sim_random(4000) * SIM_MS, chaos, NULL, 0);
}

/* ---- the end ---- */

static bool
is_open(enum pg_state state)
{
	return state == PG_QUEUED || state == PG_SENDING || state == PG_DEFERRED;
}

static bool
is_settled(void)
{
	for (int run = 1; run <= now.runs; run++)
		for (int id = 1; id <= sim.pg->run[run].rows; id++)
			if (is_open(sim.pg->run[run].row[id].state))
				return false;
	return true;
}

static struct totals {
	long long seeds, recipients, accepted, sent, failed, skipped, in_doubt, not_in_truth,
	    duplicates, lost, faults, deaths, power_losses, failovers, buried, heard, events,
	    unknown_commits, renamed, folders, reloads, forgotten, forgotten_copies,
	    deaths_at_points;
} totals;

static void
check_row(int run, int id, long long *unfounded)
{
	const struct pg_row *s = &sim.pg->run[run].row[id];
	const struct sim_truth *t = &sim.truth[run][id];

	totals.recipients++;
	totals.sent += s->state == PG_SENT;
	totals.failed += s->state == PG_FAILED;
	totals.skipped += s->state == PG_SKIPPED;
	totals.in_doubt += s->state == PG_IN_DOUBT;
	totals.duplicates += t->accepted > sim_may_take(run, id);
	totals.forgotten_copies += t->accepted > 1 + sim.pg->run[run].resend;
	if (is_open(s->state)) {
		totals.lost++;
		sim_fail("run %d send %d is still %s (attempt %d, owner %d)", run, id,
		    pg_state_name(s->state), s->attempt, s->owner);
	}
	if (s->state == PG_SENT && t->accepted == 0) {
		totals.lost++;
		sim_fail("run %d send %d is sent, and nobody took it", run, id);
	}
	if (t->accepted > 0 && s->state != PG_SENT && s->state != PG_IN_DOUBT &&
	    sim_may_take(run, id) == 1)
		sim_fail("run %d send %d was taken and is %s", run, id, pg_state_name(s->state));
	if (s->state == PG_IN_DOUBT && t->accepted == 0) {
		totals.not_in_truth++;
		(*unfounded)++;
	}
}

/* The tally says of each state what the rows say. */
static void
check_tally(int run)
{
	static const struct {
		enum pg_count count;
		enum pg_state state;
	} pairs[] = { { PG_T_CLAIMED, PG_SENDING }, { PG_T_SENT, PG_SENT },
		{ PG_T_DEFERRED, PG_DEFERRED }, { PG_T_FAILED, PG_FAILED },
		{ PG_T_IN_DOUBT, PG_IN_DOUBT }, { PG_T_SKIPPED, PG_SKIPPED } };

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		long long sum = 0, rows = 0;

		for (int owner = 0; owner <= PG_LIVES; owner++)
			sum += sim.pg->tally[run][owner][pairs[i].count];
		for (int id = 1; id <= sim.pg->run[run].rows; id++)
			rows += sim.pg->run[run].row[id].state == pairs[i].state;
		if (sum != rows)
			sim_fail("run %d: the tally says %lld %s, the rows %lld", run, sum,
			    pg_state_name(pairs[i].state), rows);
	}
}

static void
check_end(void)
{
	long long unfounded = 0;

	for (int run = 1; run <= now.runs; run++) {
		for (int id = 1; id <= sim.pg->run[run].rows; id++)
			check_row(run, id, &unfounded);
		check_tally(run);
	}
	if (unfounded > sim.doubt_bound && !sim.lost_commits)
		sim_fail("%lld in doubt that nobody took, at most %lld may be", unfounded,
		    sim.doubt_bound);
}

/* 0, or 1 with the violation in sim.wrong. */
static int
run_seed(uint64_t seed, bool trace)
{
	int64_t end;

	sim_world_begin(seed, trace);
	memset(&lost, 0, sizeof(lost));
	plan(seed);
	for (int i = 0; i < now.dispatchers; i++)
		sim_start(&sim.process[i], false);
	sim_after(NULL, 0, refill, NULL, 0);
	sim_after(NULL, SIM_SECOND, supervise, NULL, 0);
	sim_after(NULL, LOOK, join, NULL, 0);
	sim_after(NULL, sim_random(4000) * SIM_MS, chaos, NULL, 0);
	sim_run_until(now.until);
	sim_trace("---- faults end");
	sim.faults = (struct sim_faults){ 0 };
	for (int i = 0; i < SIM_BRAKES; i++)
		sim_redis_brake(i, "", NULL);
	now.calm = true;
	end = sim.now + CALM_MAX;
	do {
		while (!is_settled() && sim.now < end && sim.wrong[0] == '\0' && !sim.pg->full)
			sim_run_until(sim.now + LOOK);
		sim_run_until(sim.now + 60 * SIM_SECOND);
		/* nothing may come behind but the second try of a doubt */
	} while (!is_settled() && sim.now < end && sim.wrong[0] == '\0' && !sim.pg->full);
	if (sim.wrong[0] == '\0' && !sim.pg->full)
		check_end();
	totals.seeds++;
	totals.accepted += sim.accepted;
	totals.faults += sim.faults_seen;
	totals.deaths += sim.deaths;
	totals.deaths_at_points += sim.deaths_at_points;
	totals.power_losses += sim.power_losses;
	totals.failovers += sim.failovers;
	totals.buried += sim.buried;
	totals.heard += sim.heard;
	totals.events += sim.events;
	totals.unknown_commits += sim.unknown_commits;
	totals.renamed += sim.renamed;
	totals.folders += sim.folders;
	totals.reloads += sim.reloads;
	totals.forgotten += sim.forgotten;
	sim_world_end();
	return sim.wrong[0] != '\0';
}

static void
print_totals(long long failing, double cpu)
{
	char seed[24] = "null";

	if (failing >= 0)
		(void)snprintf(seed, sizeof(seed), "%lld", failing);
	(void)printf(
	    "{\"seeds\":%lld,\"recipients\":%lld,\"faults\":%lld,\"deaths\":%lld,"
	    "\"deaths_at_points\":%lld,"
	    "\"power_losses\":%lld,\"failovers\":%lld,\"buried\":%lld,\"renamed\":%lld,"
	    "\"folders_lost\":%lld,\"forgotten\":%lld,\"reloads\":%lld,\"unknown_commits\":%lld,"
	    "\"heard\":%lld,\"events\":%lld,\"accepted\":%lld,\"sent\":%lld,\"failed\":%lld,"
	    "\"skipped\":%lld,\"in_doubt\":%lld,\"in_doubt_not_in_truth\":%lld,"
	    "\"copies_by_forgetting\":%lld,\"duplicates\":%lld,\"lost\":%lld,\"cpu_s\":%.1f,"
	    "\"failing_seed\":%s}\n",
	    totals.seeds, totals.recipients, totals.faults, totals.deaths, totals.deaths_at_points,
	    totals.power_losses, totals.failovers, totals.buried, totals.renamed, totals.folders,
	    totals.forgotten, totals.reloads, totals.unknown_commits, totals.heard, totals.events,
	    totals.accepted, totals.sent, totals.failed, totals.skipped, totals.in_doubt,
	    totals.not_in_truth, totals.forgotten_copies, totals.duplicates, totals.lost, cpu,
	    seed);
}

/* ---- what was asked for ---- */

struct order {
	long long seeds, first;
	bool trace, twice;
};

/* A whole number of at least 1, and nothing behind it. */
static bool
read_number(const char *text, long long *number)
{
	char *end = NULL;

	errno = 0;
	*number = strtoll(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0' && *number >= 1)
		return true;
	(void)printf("sim_protocol: \"%s\" is not a whole number from 1\n", text);
	return false;
}

static bool
read_order(int argc, char **argv, struct order *order)
{
	static const struct option options[] = { { "seeds", required_argument, NULL, 'n' },
		{ "first", required_argument, NULL, 'f' }, { "seed", required_argument, NULL, 's' },
		{ "twice", no_argument, NULL, '2' }, { "same-timeline", no_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return false;
		if (option == 'n' && !read_number(optarg, &order->seeds))
			return false;
		if ((option == 'f' || option == 's') && !read_number(optarg, &order->first))
			return false;
		same_timeline = same_timeline || option == 't';
		order->twice = order->twice || option == '2';
		order->trace = order->trace || option == 's';
	}
	if (order->trace)
		order->seeds = 1;
	if (order->seeds > SEEDS_MAX || optind < argc) {
		(void)fprintf(
		    stderr, "sim_protocol: at most %d seeds, and no other words\n", SEEDS_MAX);
		return false;
	}
	return true;
}

/* The seed that failed, or -1. */
static long long
run_seeds(const struct order *order, uint64_t *hashes)
{
	for (long long i = 0; i < order->seeds; i++) {
		if (run_seed((uint64_t)(order->first + i), order->trace) != 0) {
			(void)printf("seed %lld: %s\n", order->first + i, sim.wrong);
			return order->first + i;
		}
		hashes[i] = sim.hash;
	}
	/* backwards, so that each comes behind another one than before */
	for (long long i = order->seeds - 1; order->twice && i >= 0; i--) {
		if (run_seed((uint64_t)(order->first + i), false) == 0 && sim.hash == hashes[i])
			continue;
		(void)printf("seed %lld: run twice, it was not the same: %s\n", order->first + i,
		    sim.wrong[0] != '\0' ? sim.wrong : "other events");
		return order->first + i;
	}
	return -1;
}

int
main(int argc, char **argv)
{
	struct order order = { .seeds = 200, .first = 1 };
	uint64_t *hashes;
	long long failing;
	int status;

	if (!read_order(argc, argv, &order))
		return 2;
	hashes = calloc((size_t)order.seeds, sizeof(*hashes));
	if (hashes == NULL)
		return 2;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	failing = run_seeds(&order, hashes);
	free(hashes);
	status = failing < 0 ? 0 : 1;
	if (failing >= 0)
		(void)printf("again, with its events: make sim-protocol SEED=%lld\n", failing);
#ifdef KAIRAN_CRASH_POINTS
	if (failing < 0 && order.seeds >= SEEDS_WITH_DEATHS && totals.deaths_at_points == 0) {
		(void)printf("no dispatcher died at a named point: they are not in this build\n");
		status = 1;
	}
#endif
	print_totals(failing, (double)clock() / CLOCKS_PER_SEC);
	return status;
}
