/* SPDX-License-Identifier: Apache-2.0 */
/* sim_pg: see sim_pg.h. Each function names the statement that it stands for. */
#include "sim_pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "journal.h"
#include "ledger.h"
#include "run_sql.h"

#define MAX_ITEMS 512
#define TEXT_MAX 96
#define SECOND INT64_C(1000000)
#define OTHERS PG_LIVES /* place of owner -1 in the tally */

static const char *const states[PG_STATES] = { "queued", "sending", "sent", "deferred", "failed",
	"in_doubt", "skipped", "cancelled", "expired" };

const char *
pg_state_name(enum pg_state state)
{
	return states[state];
}

static enum pg_state
state_of(const char *name)
{
	for (int i = 0; i < PG_STATES; i++)
		if (strcmp(states[i], name) == 0)
			return (enum pg_state)i;
	abort();
}

/* ---- parameters and results ---- */

struct list {
	int count;
	char text[MAX_ITEMS][TEXT_MAX]; /* "" is NULL */
};

/* An array literal. Longer texts are cut: none that counts is. */
static void
read_list(struct list *l, const char *p)
{
	l->count = 0;
	if (p == NULL || *p++ != '{')
		abort();
	while (*p != '\0' && *p != '}') {
		bool quoted = *p == '"';
		size_t n = 0;
		char *t = l->text[l->count++];

		if (l->count == MAX_ITEMS)
			abort();
		p += quoted;
		while (*p != '\0' && (quoted ? *p != '"' : *p != ',' && *p != '}')) {
			p += *p == '\\' && p[1] != '\0';
			if (n < TEXT_MAX - 1)
				t[n++] = *p;
			p++;
		}
		t[n] = '\0';
		if (!quoted && strcmp(t, "NULL") == 0)
			t[0] = '\0';
		p += quoted;
		p += *p == ',';
	}
}

static int
number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

static bool
has(const struct list *l, const char *text)
{
	for (int i = 0; i < l->count; i++)
		if (strcmp(l->text[i], text) == 0)
			return true;
	return false;
}

static void
copy(char *to, size_t size, const char *from)
{
	(void)snprintf(to, size, "%s", from);
}

#define COPY(to, from) copy(to, sizeof(to), from)

static PGresult *
table(int columns)
{
	static PGresAttDesc names[32];
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	for (int i = 0; i < 32; i++)
		names[i].name = (char *)(uintptr_t) "c";
	if (r == NULL || PQsetResultAttrs(r, columns, names) == 0)
		abort();
	return r;
}

static void
put(PGresult *r, int row, int column, const char *text)
{
	if (!PQsetvalue(
		r, row, column, (char *)(uintptr_t)text, text != NULL ? (int)strlen(text) : -1))
		abort();
}

static void
put_number(PGresult *r, int row, int column, int64_t n)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", (long long)n);
	put(r, row, column, text);
}

static PGresult *
single(int64_t n)
{
	PGresult *r = table(1);

	put_number(r, 0, 0, n);
	return r;
}

/* ---- common parts ---- */

static struct pg_row *
row_of(struct pg *pg, int run, int id)
{
	if (run < 1 || run > PG_RUNS || id < 1 || id > pg->run[run].rows)
		return NULL;
	return &pg->run[run].row[id];
}

static struct pg_life *
life_of(struct pg *pg, int id)
{
	return id > 0 && id < PG_LIVES && pg->life[id].there ? &pg->life[id] : NULL;
}

static void
count(struct pg *pg, int run, int owner, enum pg_count what, int64_t n)
{
	if (run >= 1 && run <= PG_RUNS && owner >= 0 && owner <= OTHERS)
		pg->tally[run][owner][what] += n;
}

/* Which number of the tally says how many rows are in a state; PG_COUNTS: none. */
static enum pg_count
count_of(enum pg_state state)
{
	static const enum pg_count of[PG_STATES] = { PG_COUNTS, PG_T_CLAIMED, PG_T_SENT,
		PG_T_DEFERRED, PG_T_FAILED, PG_T_IN_DOUBT, PG_T_SKIPPED, PG_COUNTS, PG_COUNTS };

	return of[state];
}

static void
moved(struct pg *pg, int run, int owner, enum pg_state from, enum pg_state to)
{
	if (count_of(from) < PG_COUNTS)
		count(pg, run, owner, count_of(from), -1);
	if (count_of(to) < PG_COUNTS)
		count(pg, run, owner, count_of(to), 1);
}

static bool
is_suppressed(const struct pg *pg, const char *address, const struct list *scopes)
{
	for (int i = 0; i < pg->suppressions; i++) {
		const struct pg_suppression *s = &pg->suppression[i];

		if (strcmp(s->address, address) == 0 && has(scopes, s->scope) &&
		    (s->expires_at == PG_NEVER || s->expires_at > pg->now))
			return true;
	}
	return false;
}

static void
suppress(struct pg *pg, const char *address, const char *scope, const char *reason)
{
	struct pg_suppression *s;

	for (int i = 0; i < pg->suppressions; i++) {
		s = &pg->suppression[i];
		if (strcmp(s->address, address) == 0 && strcmp(s->scope, scope) == 0 &&
		    strcmp(s->reason, reason) == 0) {
			if (s->expires_at != PG_NEVER)
				s->since = pg->now;
			s->expires_at = PG_NEVER;
			return;
		}
	}
	if (pg->suppressions == PG_SUPPRESSIONS) {
		pg->full = true;
		return;
	}
	s = &pg->suppression[pg->suppressions++];
	*s = (struct pg_suppression){ .since = pg->now };
	COPY(s->address, address);
	COPY(s->scope, scope);
	COPY(s->reason, reason);
}

void
pg_suppress(struct pg *pg, const char *address)
{
	suppress(pg, address, "all", "manual");
}

/* ---- timelines ---- */

/* dispatcher_guard() */
static void
stop(struct pg *pg, struct pg_life *l)
{
	if (l->stopped_at != PG_NEVER)
		return;
	l->stopped_at = pg->now;
	l->unheard = l->unheard || l->heard != pg->here;
}

static bool
ended_before(const struct pg *pg, int a, int b)
{
	return pg->life[a].stopped_at < pg->life[b].stopped_at ||
	    (pg->life[a].stopped_at == pg->life[b].stopped_at && a < b);
}

/* Nobody of an earlier timeline was at work, and this one ended last. */
static bool
ended_last(const struct pg *pg, int id)
{
	for (int i = 1; i <= pg->lives; i++) {
		const struct pg_life *l = &pg->life[i];

		if (l->began != pg->here &&
		    (l->stopped_at == PG_NEVER || l->unheard || l->heard == pg->here ||
			ended_before(pg, id, i)))
			return false;
	}
	return pg->life[id].began != pg->here;
}

static bool
spoke(const struct pg *pg, const char *lock)
{
	for (int i = 1; i <= pg->lives; i++)
		if (strcmp(pg->life[i].lock_id, lock) == 0 && pg->life[i].began != pg->here &&
		    pg->life[i].heard == pg->here)
			return true;
	return false;
}

/* View quarantine. */
bool
pg_is_missing(const struct pg *pg, int id)
{
	const struct pg_life *l = &pg->life[id];

	return pg->cleared != pg->here && !spoke(pg, l->lock_id) &&
	    (l->unheard || (l->stopped_at == PG_NEVER && l->heard != pg->here) ||
		ended_last(pg, id));
}

/* One of them, where PostgreSQL says all: which does not matter. */
static const char *
quarantine_look(struct pg *pg)
{
	static char missing[sizeof(pg->life[0].name) + sizeof(" on host")];

	for (int i = 1; i <= pg->lives; i++) {
		if (!pg_is_missing(pg, i))
			continue;
		(void)snprintf(missing, sizeof(missing), "%s on host", pg->life[i].name);
		return missing;
	}
	pg->cleared = pg->here;
	for (int i = 1; i <= pg->lives; i++) {
		struct pg_life *l = &pg->life[i];

		if (l->unheard || l->stopped_at == PG_NEVER)
			l->heard = pg->here;
		l->unheard = false;
	}
	return "";
}

/* Since when a fail-over waits for the lock; PG_NEVER: it does not. */
static int64_t
joined_at(const struct pg *pg, const char *lock)
{
	int64_t since = PG_NEVER;

	for (int i = 1; i <= pg->lives; i++) {
		const struct pg_life *l = &pg->life[i];
		bool waited_for = true;

		if (strcmp(l->lock_id, lock) != 0)
			continue;
		for (int k = 1; k <= pg->lives && l->stopped_at != PG_NEVER && !l->unheard; k++)
			waited_for = waited_for && pg->life[k].stopped_at != PG_NEVER &&
			    !pg->life[k].unheard && !ended_before(pg, i, k);
		if (waited_for && (since == PG_NEVER || l->joined_at < since))
			since = l->joined_at;
	}
	return since;
}

static PGresult *
enter(struct pg *pg, const char *const *p)
{
	int64_t join = number(p[6]) * SECOND, since = joined_at(pg, p[2]), wait;
	bool missing[PG_LIVES] = { false };
	PGresult *r = table(2);

	if (number(p[3]) != pg->here)
		return r;
	if (pg->lives == PG_LIVES - 1) {
		pg->full = true;
		PQclear(r);
		return NULL;
	}
	if (since == PG_NEVER)
		since = pg->lives > 0 ? pg->now : pg->now - join;
	for (int i = 1; i <= pg->lives; i++)
		missing[i] = pg_is_missing(pg, i) && strcmp(pg->life[i].lock_id, p[2]) == 0 &&
		    number(p[4]) > 0 && i >= number(p[4]) &&
		    (p[5][0] == 't' ||
			(pg->life[i].stopped_at != PG_NEVER && !pg->life[i].unheard));
	for (int i = 1; i <= pg->lives; i++) {
		if (!missing[i])
			continue;
		pg->life[i].heard = pg->here;
		pg->life[i].unheard = false;
	}
	pg->life[++pg->lives] = (struct pg_life){ .there = true,
		.began = pg->here,
		.heard = pg->here,
		.heartbeat_at = pg->now,
		.joined_at = since };
	COPY(pg->life[pg->lives].lock_id, p[2]);
	COPY(pg->life[pg->lives].name, p[0]);
	wait = join - (pg->now - since);
	put_number(r, 0, 0, pg->lives);
	put_number(r, 0, 1, wait > 0 ? wait / 1000 : 0);
	return r;
}

/* ---- dispatcher/sql ---- */

/* The lanes that have a list of their own, "1 3"; NULL: none has. */
static const char *
lanes_of(const struct pg_run *run)
{
	static char text[2 * PG_LANES + 1];
	size_t n = 0;

	for (int lane = 1; lane < PG_LANES; lane++)
		if (run->listed[lane])
			n += (size_t)snprintf(
			    text + n, sizeof(text) - n, n > 0 ? " %d" : "%d", lane);
	return n > 0 ? text : NULL;
}

static PGresult *
active(struct pg *pg, const char *const *p)
{
	struct pg_life *l = life_of(pg, number(p[0]));
	PGresult *r = table(5);
	int n = 0;

	if (l != NULL && strcmp(l->lock_id, p[3]) == 0 && l->fenced_at == PG_NEVER &&
	    l->stopped_at == PG_NEVER) {
		l->heartbeat_at = pg->now;
		if (l->claim_seq >= strtoll(p[2], NULL, 10))
			l->heard = pg->here;
		put_number(r, n, 0, 0);
		put(r, n, 1, "alive");
		put_number(r, n, 2, l->claim_seq);
		if (pg->cleared != pg->here)
			put(r, n, 3, quarantine_look(pg));
		put_number(r, n++, 4, l->began != pg->here);
	}
	for (int run = 1; run <= PG_RUNS; run++) {
		if (!pg->run[run].running)
			continue;
		put_number(r, n, 0, run);
		put(r, n, 1, "run");
		put_number(r, n, 2, pg->run[run].limited);
		if (pg->run[run].relisted)
			put(r, n, 3, lanes_of(&pg->run[run]));
		put_number(r, n++, 4, 0); /* no run is urgent */
	}
	return r;
}

static void
claim_row(struct pg *pg, struct pg_row *s, int run, int owner, const struct list *scopes)
{
	bool skip = is_suppressed(pg, s->address, scopes);

	if (s->not_before != PG_NEVER)
		count(pg, run, owner, PG_T_DEFERRED, -1);
	s->state = skip ? PG_SKIPPED : PG_SENDING;
	if (skip)
		COPY(s->reason, "suppressed");
	s->attempt++;
	s->owner = owner;
	s->claimed_at = pg->now;
	count(pg, run, owner, skip ? PG_T_SKIPPED : PG_T_CLAIMED, 1);
}

/* Of a lane that the breaker has paused: until it is resumed. */
static void
put_off(struct pg *pg, struct pg_row *s, int run, int owner)
{
	if (s->state == PG_QUEUED)
		count(pg, run, owner, PG_T_DEFERRED, 1);
	s->state = PG_DEFERRED;
	COPY(s->reason, "breaker");
	s->not_before = PG_FOREVER;
}

static PGresult *
claim(struct pg *pg, const char *const *p)
{
	static struct list ids, scopes;
	struct pg_life *l = life_of(pg, number(p[0]));
	int owner = number(p[0]), run = number(p[1]);
	int64_t acknowledged = strtoll(p[4], NULL, 10);
	PGresult *r = table(8);
	int n = 0;

	read_list(&ids, p[2]);
	read_list(&scopes, p[3]);
	if (l == NULL || strcmp(l->lock_id, p[5]) != 0 || l->fenced_at != PG_NEVER ||
	    l->stopped_at != PG_NEVER || l->claim_seq < acknowledged ||
	    l->claim_seq >= acknowledged + UNKNOWN_CLAIM_STEP || pg->cleared != pg->here ||
	    l->heard != pg->here || run < 1 || run > PG_RUNS || !pg->run[run].running)
		return r;
	l->claim_seq++;
	l->heartbeat_at = pg->now;
	for (int i = 0; i < ids.count; i++) {
		struct pg_row *s = row_of(pg, run, number(ids.text[i]));

		if (s == NULL || (s->state != PG_QUEUED && s->state != PG_DEFERRED) ||
		    s->not_before > pg->now)
			continue;
		if (pg->run[run].broken[s->lane])
			put_off(pg, s, run, owner);
		else
			claim_row(pg, s, run, owner, &scopes);
		if (s->state != PG_SENDING)
			continue;
		put_number(r, n, 0, (int64_t)(s - pg->run[run].row));
		put_number(r, n, 1, s->attempt);
		put_number(r, n, 2, s->tries);
		put(r, n, 3, s->address);
		put(r, n, 4, "t");
		put_number(r, n, 5, s->claimed_at);
		put_number(r, n, 6, l->claim_seq);
		put_number(r, n++, 7, s->lane);
	}
	return r;
}

static PGresult *
fence_claims(struct pg *pg, const char *const *p)
{
	struct pg_life *l = life_of(pg, number(p[0]));
	PGresult *r = table(1);

	if (l == NULL || l->claim_seq < strtoll(p[1], NULL, 10))
		return r;
	l->claim_seq += UNKNOWN_CLAIM_STEP;
	put_number(r, 0, 0, l->claim_seq);
	return r;
}

static PGresult *
lost_claim(struct pg *pg, const char *const *p)
{
	static struct list ids;
	int run = number(p[0]), owner = number(p[1]), n = 0;
	int64_t after = strcmp(p[3], "-infinity") == 0 ? INT64_MIN : strtoll(p[3], NULL, 10);
	PGresult *r = table(2);

	read_list(&ids, p[2]);
	for (int id = 1; run >= 1 && run <= PG_RUNS && id <= pg->run[run].rows; id++) {
		const struct pg_row *s = row_of(pg, run, id);
		char text[12];

		(void)snprintf(text, sizeof(text), "%d", id);
		if (!has(&ids, text) || s->owner != owner || s->state != PG_SENDING ||
		    s->claimed_at <= after)
			continue;
		put_number(r, n, 0, id);
		put_number(r, n++, 1, s->attempt);
	}
	return r;
}

static PGresult *
recheck(struct pg *pg, const char *const *p)
{
	static struct list ids, scopes;
	PGresult *r = table(1);
	int n = 0;

	read_list(&ids, p[1]);
	read_list(&scopes, p[2]);
	for (int i = 0; i < ids.count; i++) {
		struct pg_row *s = row_of(pg, number(p[0]), number(ids.text[i]));

		if (s != NULL && is_suppressed(pg, s->address, &scopes))
			put(r, n++, 0, ids.text[i]);
	}
	return r;
}

/* The events that wait for an id of the remote are due. */
static void
wake_waiting(struct pg *pg, const char *remote_id)
{
	for (int i = 0; i < pg->events; i++)
		if (pg->event[i].waits && remote_id[0] != '\0' &&
		    strcmp(pg->event[i].message_id, remote_id) == 0)
			pg->event[i].wait_due = pg->now;
}

static PGresult *
record(struct pg *pg, const char *const *p)
{
	static struct list a[11];
	int run = number(p[0]), owner = number(p[1]);
	enum pg_state from = state_of(p[2]);
	int64_t n = 0;

	for (int i = 0; i < 11; i++)
		read_list(&a[i], p[3 + i]);
	for (int i = 0; i < a[0].count; i++) {
		struct pg_row *s = row_of(pg, run, number(a[0].text[i]));
		enum pg_state to = state_of(a[2].text[i]);
		int wait = number(a[10].text[i]);
		bool deferred = to == PG_DEFERRED, rejected;

		if (s == NULL || s->attempt != number(a[1].text[i]) || s->owner != owner ||
		    s->state != from ||
		    (from == PG_IN_DOUBT && strcmp(s->reason, "owner_lost") != 0))
			continue;
		rejected = s->rejected == s->attempt;
		if (rejected && (to == PG_SENT || to == PG_IN_DOUBT))
			to = PG_FAILED;
		else if (s->accepted == s->attempt && to == PG_IN_DOUBT)
			to = PG_SENT;
		s->state = to;
		s->code = number(a[3].text[i]);
		COPY(s->remote_id, a[9].text[i]);
		if (s->bounced_at == PG_NEVER && !rejected) {
			COPY(s->cls, a[5].text[i]);
			COPY(s->reason, a[6].text[i]);
		}
		s->settled_at = pg->now;
		s->tries += deferred && wait >= 0;
		s->not_before = deferred ? pg->now + abs(wait) * SECOND : PG_NEVER;
		moved(pg, run, owner, from, to);
		wake_waiting(pg, s->remote_id);
		n++;
	}
	return single(n);
}

/* release.sql, and send_unsend() of unsend.sql, which reaches for doubtful rows, too. */
static PGresult *
give_back(struct pg *pg, const char *const *p, bool doubtful, bool with_lane)
{
	static struct list ids, attempts;
	int run = number(p[0]), owner = number(p[1]), n = 0;
	PGresult *r = table(with_lane ? 2 : 1);

	read_list(&ids, p[2]);
	read_list(&attempts, p[3]);
	for (int i = 0; i < ids.count; i++) {
		struct pg_row *s = row_of(pg, run, number(ids.text[i]));

		if (s == NULL || s->attempt != number(attempts.text[i]) || s->owner != owner ||
		    !(s->state == PG_SENDING ||
			(doubtful && s->state == PG_IN_DOUBT &&
			    strcmp(s->reason, "owner_lost") == 0)))
			continue;
		moved(pg, run, owner, s->state, PG_QUEUED);
		count(pg, run, owner, PG_T_RELEASED, 1);
		s->state = PG_QUEUED;
		s->not_before = PG_NEVER;
		if (doubtful) {
			s->cls[0] = '\0';
			s->reason[0] = '\0';
		}
		put(r, n, 0, ids.text[i]);
		if (with_lane)
			put_number(r, n, 1, s->lane);
		n++;
	}
	return r;
}

static PGresult *
release(struct pg *pg, const char *const *p)
{
	return give_back(pg, p, false, true);
}

static PGresult *
unsend(struct pg *pg, const char *const *p)
{
	return give_back(pg, p, true, true);
}

/* ---- runs ---- */

static PGresult *
load_run(struct pg *pg, const char *const *p)
{
	static const char *const values[] = { "news", "marketing", "Hello", "", "A letter.\n",
		"Kairan", "news@example.org", "", "news", "{}", "fail", "clean", "", "",
		"{all,stream:marketing,list:news}", NULL, "id\nemail", "{}", "f", "f", "f", "f",
		NULL, NULL, NULL, NULL, NULL };
	int run = number(p[0]);
	PGresult *r = table(29);

	for (int i = 0; i < 27; i++)
		put(r, 0, i, values[i]);
	put_number(r, 0, 15, PG_BEGINNING);
	if (run >= 1 && run <= PG_RUNS)
		put(r, 0, 26, lanes_of(&pg->run[run]));
	put(r, 0, 27, "raw");
	put(r, 0, 28, "f");
	return r;
}

static PGresult *
pause_run(struct pg *pg, const char *const *p)
{
	int run = number(p[0]);

	if (run >= 1 && run <= PG_RUNS && pg->run[run].running) {
		pg->run[run].running = false;
		COPY(pg->run[run].why, p[1]);
	}
	return single(0);
}

static PGresult *
runs_hold(struct pg *pg, const char *const *p)
{
	int64_t n = 0;

	for (int run = 1; run <= PG_RUNS; run++) {
		if (!pg->run[run].running)
			continue;
		pg->run[run].running = false;
		COPY(pg->run[run].why, p != NULL ? p[0] : "PostgreSQL has lost commits");
		n++;
	}
	return single(n);
}

/* ---- lives ---- */

static PGresult *
installation_enter(struct pg *pg, const char *const *p)
{
	PGresult *r = table(4);

	(void)p;
	put_number(r, 0, 0, PG_SYSTEM_ID);
	put(r, 0, 1, "t");
	put(r, 0, 2, "on");
	put_number(r, 0, 3, pg->here);
	return r;
}

static PGresult *
life_claims(struct pg *pg, const char *const *p)
{
	const struct pg_life *l = life_of(pg, number(p[0]));
	PGresult *r = table(1);

	if (l != NULL && strcmp(l->lock_id, p[1]) == 0)
		put_number(r, 0, 0, l->claim_seq);
	return r;
}

static PGresult *
earlier_lives(struct pg *pg, const char *const *p)
{
	PGresult *r = table(1);
	int n = 0;

	for (int id = 1; id < number(p[1]); id++) {
		const struct pg_life *l = life_of(pg, id);

		if (l != NULL && strcmp(l->lock_id, p[0]) == 0 && l->recovered_at == PG_NEVER &&
		    (l->stopped_at == PG_NEVER || l->fenced_at != PG_NEVER))
			put_number(r, n++, 0, id);
	}
	return r;
}

static PGresult *
fence(struct pg *pg, const char *const *p)
{
	struct pg_life *l = life_of(pg, number(p[0]));

	if (l != NULL && l->fenced_at == PG_NEVER)
		l->fenced_at = pg->now;
	return single(0);
}

static PGresult *
recovered(struct pg *pg, const char *const *p)
{
	struct pg_life *l = life_of(pg, number(p[0]));

	if (l != NULL) {
		stop(pg, l);
		l->recovered_at = pg->now;
	}
	return single(0);
}

static PGresult *
goodbye(struct pg *pg, const char *const *p)
{
	struct pg_life *l = life_of(pg, number(p[0]));
	bool holds = false;

	for (int run = 1; run <= PG_RUNS && l != NULL; run++)
		holds = holds || pg->tally[run][number(p[0])][PG_T_CLAIMED] > 0;
	if (l != NULL && strcmp(l->lock_id, p[1]) == 0 && !holds)
		stop(pg, l);
	return table(1);
}

static PGresult *
recover_rows(struct pg *pg, const char *const *p)
{
	static const enum pg_state order[] = { PG_SENDING, PG_IN_DOUBT };
	int dead = number(p[0]), n = 0;
	PGresult *r = table(6);

	for (int run = 1; run <= PG_RUNS && dead >= 0 && dead < PG_LIVES; run++) {
		const int64_t *t = pg->tally[run][dead];
		int64_t want = t[PG_T_CLAIMED] + (t[PG_T_IN_DOUBT] > 0 ? t[PG_T_IN_DOUBT] : 0);

		for (int k = 0; want > 0 && k < 2; k++) {
			for (int id = 1; id <= pg->run[run].rows; id++) {
				const struct pg_row *s = row_of(pg, run, id);

				if (s->owner != dead || s->state != order[k] ||
				    (order[k] == PG_IN_DOUBT &&
					strcmp(s->reason, "owner_lost") != 0))
					continue;
				put_number(r, n, 0, run);
				put_number(r, n, 1, id);
				put_number(r, n, 2, s->attempt);
				put_number(r, n, 3, s->tries);
				put(r, n, 4, states[s->state]);
				put(r, n++, 5, s->address);
			}
		}
	}
	return r;
}

/* Both of two marks may have been taken: that was the one more copy. */
static bool
note_twice(struct pg *pg, int run, int id, int attempt)
{
	for (int i = 0; i < pg->doubts; i++)
		if (pg->doubt[i].run == run && pg->doubt[i].send == id &&
		    pg->doubt[i].attempt == attempt)
			return true;
	if (pg->doubts == PG_DOUBTS) {
		pg->full = true;
		return false;
	}
	pg->doubt[pg->doubts++] = (struct pg_doubt){ run, id, attempt };
	return true;
}

static PGresult *
journal_assert(struct pg *pg, const char *const *p)
{
	static struct list a[6];
	int64_t total = 0;

	for (int i = 0; i < 6; i++)
		read_list(&a[i], p[i]);
	for (int i = 0; i < a[0].count; i++) {
		int run = number(a[0].text[i]), attempt = number(a[2].text[i]);
		bool accepted = a[5].text[i][0] == 't';
		struct pg_row *s = row_of(pg, run, number(a[1].text[i]));
		enum pg_state was;

		if (s != NULL && s->state == PG_IN_DOUBT && !accepted && s->attempt != attempt &&
		    !note_twice(
			pg, run, number(a[1].text[i]), s->attempt < attempt ? s->attempt : attempt))
			break;
		if (s == NULL || s->attempt > attempt ||
		    !(s->state == PG_QUEUED || s->state == PG_DEFERRED || s->state == PG_SENDING ||
			(s->state == PG_IN_DOUBT && (accepted || s->attempt < attempt))))
			continue;
		was = s->state;
		s->state = accepted ? PG_SENT : PG_IN_DOUBT;
		s->attempt = attempt;
		s->owner = number(a[3].text[i]);
		COPY(s->remote_id, a[4].text[i]);
		s->settled_at = pg->now;
		s->not_before = PG_NEVER;
		COPY(s->reason, accepted ? "" : "commit_lost");
		moved(pg, run, 0, was, s->state);
		total++;
	}
	return single(total);
}

static void
bury_run(struct pg *pg, int run, int dead, int64_t *total)
{
	if (pg->tally[run][dead][PG_T_CLAIMED] <= 0)
		return;
	for (int id = 1; id <= pg->run[run].rows; id++) {
		struct pg_row *s = row_of(pg, run, id);

		if (s->owner != dead || s->state != PG_SENDING)
			continue;
		s->state = s->rejected == s->attempt ? PG_FAILED
		    : s->accepted == s->attempt	     ? PG_SENT
						     : PG_IN_DOUBT;
		if (s->state == PG_IN_DOUBT)
			COPY(s->reason, "owner_lost");
		s->settled_at = pg->now;
		s->not_before = PG_NEVER;
		moved(pg, run, dead, PG_SENDING, s->state);
		(*total)++;
	}
}

static int64_t
bury_life(struct pg *pg, int dead)
{
	struct pg_life *l = life_of(pg, dead);
	int64_t total = 0;

	if (l == NULL || l->stopped_at != PG_NEVER)
		return 0;
	if (l->fenced_at == PG_NEVER)
		l->fenced_at = pg->now;
	for (int run = 1; run <= PG_RUNS; run++)
		bury_run(pg, run, dead, &total);
	stop(pg, l);
	return total;
}

static PGresult *
bury(struct pg *pg, const char *const *p)
{
	return single(bury_life(pg, number(p[0])));
}

/* quarantine_forget() */
static PGresult *
forget(struct pg *pg, const char *const *p)
{
	bool missing[PG_LIVES] = { false };
	int n = 0;

	for (int i = 1; i <= pg->lives; i++)
		missing[i] = pg_is_missing(pg, i) && strcmp(pg->life[i].name, p[0]) == 0;
	for (int i = 1; i <= pg->lives; i++) {
		if (!missing[i])
			continue;
		(void)bury_life(pg, i);
		pg->life[i].heard = pg->here;
		pg->life[i].unheard = false;
		n++;
	}
	return single(n);
}

static PGresult *
lane_release(struct pg *pg, const char *const *p)
{
	int run = number(p[0]), lane = number(p[1]);
	int64_t n = 0;

	for (int id = 1; run >= 1 && run <= PG_RUNS && id <= pg->run[run].rows; id++) {
		struct pg_row *s = row_of(pg, run, id);

		if (s->lane != lane || s->state != PG_DEFERRED || s->not_before != PG_FOREVER)
			continue;
		s->not_before = pg->now;
		n++;
	}
	return single(n);
}

static bool
was_resent(const struct pg *pg, int run, int id)
{
	for (int i = 0; i < pg->doubts; i++)
		if (pg->doubt[i].run == run && pg->doubt[i].send == id)
			return true;
	return false;
}

/* doubt_policy() with no patience: whoever is in doubt goes out once more, not twice more. */
static PGresult *
resend(struct pg *pg, const char *const *p)
{
	int64_t n = 0;

	(void)p;
	for (int run = 1; run <= PG_RUNS; run++) {
		for (int id = 1;
		     pg->run[run].resend && pg->run[run].running && id <= pg->run[run].rows; id++) {
			struct pg_row *s = row_of(pg, run, id);

			if (s->state != PG_IN_DOUBT || s->settled_at >= pg->now ||
			    was_resent(pg, run, id))
				continue;
			if (pg->doubts == PG_DOUBTS) {
				pg->full = true;
				return single(n);
			}
			pg->doubt[pg->doubts++] = (struct pg_doubt){ run, id, s->attempt };
			moved(pg, run, 0, PG_IN_DOUBT, PG_QUEUED);
			s->state = PG_QUEUED;
			s->reason[0] = '\0';
			s->not_before = PG_NEVER;
			n++;
		}
	}
	return single(n);
}

/* ---- the ledger ---- */

static void
earliest(int64_t *fact, int64_t at, struct pg *pg, int run, enum pg_count what)
{
	(void)pg;
	(void)run;
	(void)what;
	if (*fact == PG_NEVER || at < *fact)
		*fact = at;
}

static bool
is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Proves that a remote took the mail. */
static bool
proves(const struct pg_event *e)
{
	return !is(e->source, "smtp") &&
	    (is(e->kind, "delivered") || is(e->kind, "bounced") || is(e->kind, "complained") ||
		is(e->kind, "unsubscribed") || is(e->kind, "accepted") || is(e->kind, "delayed"));
}

/* Says why a mail was not delivered. */
static bool
tells(const struct pg_event *e)
{
	return (is(e->kind, "bounced") || is(e->kind, "rejected")) && !is(e->source, "smtp");
}

/* bounce_rank(), for reasons that count */
static int
rank(const char *cls)
{
	if (is(cls, "hard"))
		return 3;
	if (is(cls, "soft"))
		return 1;
	return cls[0] != '\0' ? 2 : 0;
}

static const struct pg_event *
worse(const struct pg_event *a, const struct pg_event *b)
{
	int by_rank = a != NULL ? rank(b->cls) - rank(a->cls) : 1;

	if (by_rank == 0)
		by_rank = b->at < a->at || (b->at == a->at && strcmp(b->key, a->key) < 0);
	return by_rank > 0 ? b : a;
}

/* What the events of one call say of one row. */
struct heard {
	int attempt, accepted, rejected; /* -1: none; a token of no attempt says 0 */
	const struct pg_event *why;
};

static void
note_facts(struct pg *pg, struct pg_row *s, int run, const struct pg_event *e)
{
	if (is(e->kind, "delivered"))
		earliest(&s->delivered_at, e->at, pg, run, PG_COUNTS);
	if (is(e->kind, "bounced") && !is(e->source, "smtp"))
		earliest(&s->bounced_at, e->at, pg, run, PG_COUNTS);
	if (is(e->kind, "complained"))
		earliest(&s->complained_at, e->at, pg, run, PG_COUNTS);
	if (is(e->kind, "unsubscribed"))
		earliest(&s->unsubscribed_at, e->at, pg, run, PG_COUNTS);
}

static void
suppress_by(struct pg *pg, const struct pg_row *s, const struct pg_event *e)
{
	if (is(e->kind, "unsubscribed"))
		suppress(pg, s->address, is(e->reason, "all") ? "all" : "list:news", "unsubscribe");
	else if (is(e->kind, "complained"))
		suppress(pg, s->address, "all", "complaint");
	else if (is(e->kind, "bounced") && is(e->cls, "hard"))
		suppress(pg, s->address, "all", "bounce");
}

/* ingest_again(): of all that was ever heard of a row, what says why. */
static void
tell_again(struct pg *pg, struct pg_row *s, int run, int id)
{
	const struct pg_event *why = NULL;

	for (int i = 0; i < pg->events; i++) {
		const struct pg_event *e = &pg->event[i];

		if (e->run == run && e->send == id && e->attempt <= s->attempt && tells(e) &&
		    (is(e->kind, "bounced") || e->attempt == s->attempt))
			why = worse(why, e);
	}
	if (why != NULL && rank(why->cls) >= rank(s->cls)) {
		COPY(s->cls, why->cls);
		COPY(s->reason, why->reason);
	}
}

/* send_is_taken() */
static bool
is_taken(const struct pg *pg, int run, int id, int attempt)
{
	bool accepted[INT8_MAX] = { false }, rejected[INT8_MAX] = { false };

	for (int i = 0; i < pg->events; i++) {
		const struct pg_event *e = &pg->event[i];

		if (e->run != run || e->send != id || e->attempt < 1 || e->attempt > attempt)
			continue;
		accepted[e->attempt] |= proves(e);
		rejected[e->attempt] |= is(e->kind, "rejected");
	}
	for (int i = 1; i <= attempt; i++)
		if (accepted[i] && !rejected[i])
			return true;
	return false;
}

/* What a row becomes by what was heard; its own facts are those of before. */
static enum pg_state
heard_state(const struct pg *pg, const struct pg_row *s, int run, int id, const struct heard *h)
{
	if (h->rejected == s->attempt && (s->state == PG_SENT || s->state == PG_IN_DOUBT))
		return PG_FAILED;
	if (h->accepted >= 0 && s->state == PG_IN_DOUBT &&
	    ((!s->was_rejected && h->rejected < 0) || is_taken(pg, run, id, s->attempt)))
		return PG_SENT;
	if (s->state == PG_SENT && h->rejected >= 0 && h->rejected < s->attempt &&
	    s->was_accepted && s->accepted <= h->rejected && s->reason[0] != '\0' &&
	    s->bounced_at == PG_NEVER && !is_taken(pg, run, id, s->attempt))
		return PG_IN_DOUBT;
	return s->state;
}

/* ingest_run() for one row. events: places of the new ones that speak of it. False: the row is not
 * as far as they are. */
static bool
ingest_row(struct pg *pg, int run, int id, const int *events, int n)
{
	struct pg_row *s = row_of(pg, run, id);
	struct heard h = { .accepted = -1, .rejected = -1 };
	enum pg_state was;
	bool again, bounces = false;

	for (int i = 0; i < n; i++) {
		const struct pg_event *e = &pg->event[events[i]];

		h.attempt = e->attempt > h.attempt ? e->attempt : h.attempt;
		if (is(e->kind, "rejected") && e->attempt > h.rejected)
			h.rejected = e->attempt;
		if (proves(e) && e->attempt > h.accepted)
			h.accepted = e->attempt;
		if (tells(e))
			h.why = worse(h.why, e);
		bounces |= tells(e) && is(e->kind, "bounced");
	}
	if (s == NULL || s->attempt == 0 || s->attempt < h.attempt)
		return false;
	was = s->state;
	again = s->bounced_at != PG_NEVER || s->was_rejected;
	s->state = heard_state(pg, s, run, id, &h);
	s->rejected = h.rejected > s->rejected ? h.rejected : s->rejected;
	s->was_rejected = s->was_rejected || h.rejected >= 0;
	s->accepted = h.accepted > s->accepted ? h.accepted : s->accepted;
	s->was_accepted = s->was_accepted || h.accepted >= 0;
	if (h.why != NULL && again) {
		tell_again(pg, s, run, id);
	} else if (h.why != NULL && (bounces || h.rejected == s->attempt)) {
		COPY(s->cls, h.why->cls);
		COPY(s->reason, h.why->reason);
	}
	moved(pg, run, OTHERS, was, s->state);
	for (int i = 0; i < n; i++) {
		note_facts(pg, s, run, &pg->event[events[i]]);
		suppress_by(pg, s, &pg->event[events[i]]);
	}
	return true;
}

/* Those of `fresh` that have a row act on it; the others wait, or go on waiting. */
static int
act(struct pg *pg, const int *fresh, int n)
{
	static bool done[PG_EVENTS];
	int joined = 0;

	for (int i = 0; i < n; i++)
		done[fresh[i]] = pg->event[fresh[i]].send == 0;
	for (int i = 0; i < n; i++) {
		const struct pg_event *e = &pg->event[fresh[i]];
		int same[MAX_ITEMS], count_same = 0;
		bool there;

		if (done[fresh[i]])
			continue;
		for (int k = i; k < n; k++) {
			const struct pg_event *o = &pg->event[fresh[k]];

			if (o->send != e->send || o->run != e->run || done[fresh[k]])
				continue;
			same[count_same++] = fresh[k];
			done[fresh[k]] = true;
		}
		there = ingest_row(pg, e->run, e->send, same, count_same);
		for (int k = 0; k < count_same; k++) {
			struct pg_event *o = &pg->event[same[k]];

			if (!there && !o->waits) {
				o->wait_since = o->wait_due = pg->now;
				o->wait_tries = 0;
			}
			o->waits = !there;
		}
		joined += there ? count_same : 0;
	}
	return joined;
}

static void
ingest_unlinked(struct pg *pg, struct pg_event *e)
{
	if (!is(e->source, "sns") || e->address[0] == '\0')
		return;
	if (is(e->kind, "complained") || (is(e->kind, "bounced") && is(e->cls, "hard")))
		suppress(pg, e->address, "all", is(e->kind, "complained") ? "complaint" : "bounce");
	if (e->message_id[0] == '\0' || is(e->kind, "other"))
		return;
	e->waits = true;
	e->wait_since = e->wait_due = pg->now;
	e->wait_tries = 0;
}

static bool
knows_event(const struct pg *pg, const char *key)
{
	for (int i = 0; i < pg->events; i++)
		if (strcmp(pg->event[i].key, key) == 0)
			return true;
	return false;
}

static PGresult *
ingest(struct pg *pg, const char *const *p)
{
	static struct list a[LEDGER_COLUMNS];
	int fresh[MAX_ITEMS] = { 0 }, n = 0;

	for (int i = 0; i < LEDGER_COLUMNS; i++)
		read_list(&a[i], p[i]);
	for (int i = 0; i < a[0].count; i++) {
		struct pg_event *e = &pg->event[pg->events];

		if (knows_event(pg, a[2].text[i]))
			continue;
		if (pg->events == PG_EVENTS) {
			pg->full = true;
			break;
		}
		*e = (struct pg_event){ .run = number(a[4].text[i]),
			.send = number(a[5].text[i]),
			.attempt = number(a[6].text[i]),
			.at = pg->now };
		COPY(e->source, a[0].text[i]);
		COPY(e->kind, a[1].text[i]);
		COPY(e->key, a[2].text[i]);
		COPY(e->address, a[7].text[i]);
		COPY(e->cls, a[8].text[i]);
		COPY(e->reason, a[9].text[i]);
		COPY(e->message_id, a[15].text[i]);
		fresh[n++] = pg->events++;
	}
	(void)act(pg, fresh, n);
	for (int i = 0; i < n; i++)
		if (pg->event[fresh[i]].send == 0)
			ingest_unlinked(pg, &pg->event[fresh[i]]);
	return single(n);
}

static void
find_row(struct pg *pg, struct pg_event *e)
{
	for (int run = 1; run <= PG_RUNS && e->send == 0; run++) {
		for (int id = 1; id <= pg->run[run].rows && e->send == 0; id++) {
			const struct pg_row *s = row_of(pg, run, id);

			if (s->remote_id[0] == '\0' || strcmp(s->remote_id, e->message_id) != 0 ||
			    strcmp(s->address, e->address) != 0)
				continue;
			e->run = run;
			e->send = id;
			e->attempt = s->attempt;
		}
	}
}

/* Those that are due, the longest first; returns how many, at most `most`. */
static int
due_waits(const struct pg *pg, int due[PG_EVENTS], int most)
{
	int n = 0;

	for (int i = 0; i < pg->events; i++) {
		int at = n;

		if (!pg->event[i].waits || pg->event[i].wait_due > pg->now)
			continue;
		for (; at > 0 && pg->event[due[at - 1]].wait_due > pg->event[i].wait_due; at--)
			due[at] = due[at - 1];
		due[at] = i;
		n++;
	}
	return n < most ? n : most;
}

static PGresult *
feedback_join(struct pg *pg, const char *const *p)
{
	int due[PG_EVENTS], found[PG_EVENTS] = { 0 }, n = due_waits(pg, due, 100), m = 0, joined;

	(void)p;
	for (int i = 0; i < n; i++) {
		struct pg_event *e = &pg->event[due[i]];

		find_row(pg, e);
		if (e->send != 0)
			found[m++] = due[i];
	}
	joined = act(pg, found, m);
	for (int i = 0; i < n; i++) {
		struct pg_event *e = &pg->event[due[i]];

		if (!e->waits)
			continue;
		e->waits = e->wait_since >= pg->now - 3 * 86400 * SECOND;
		e->wait_due = pg->now +
		    5 * SECOND * (INT64_C(1) << (e->wait_tries < 12 ? e->wait_tries : 12));
		e->wait_tries++;
	}
	return single(joined);
}

/* ---- which statement ---- */

enum match { WHOLE, BEGINNING };

static const struct statement {
	const char *sql;
	enum match match;
	PGresult *(*run)(struct pg *pg, const char *const *params);
} statements[] = {
	{ embed_dispatcher_sql_active_sql, WHOLE, active },
	{ embed_dispatcher_sql_fence_claims_sql, WHOLE, fence_claims },
	{ embed_dispatcher_sql_lost_claim_sql, WHOLE, lost_claim },
	{ embed_dispatcher_sql_recheck_sql, WHOLE, recheck },
	{ embed_dispatcher_sql_record_sql, WHOLE, record },
	{ embed_dispatcher_sql_release_sql, WHOLE, release },
	{ embed_dispatcher_sql_unsend_sql, WHOLE, unsend },
	{ embed_dispatcher_sql_load_run_sql, WHOLE, load_run },
	{ LEDGER_SQL, WHOLE, ingest },
	{ "SELECT kairan.run_refuse(", BEGINNING, pause_run },
	{ "SELECT kairan.runs_hold(", BEGINNING, runs_hold },
	{ "SELECT system_id, is_ours", BEGINNING, installation_enter },
	{ "SELECT claim_seq FROM kairan.dispatcher", BEGINNING, life_claims },
	{ "SELECT id, (wait_s * 1000)::bigint FROM kairan.dispatcher_enter(", BEGINNING, enter },
	{ "SELECT id FROM kairan.dispatcher WHERE lock_id", BEGINNING, earlier_lives },
	{ "SELECT kairan.dispatcher_fence(", BEGINNING, fence },
	{ "SELECT * FROM kairan.recover_rows(", BEGINNING, recover_rows },
	{ "SELECT kairan.dispatcher_recovered(", BEGINNING, recovered },
	{ "SELECT kairan.journal_assert(", BEGINNING, journal_assert },
	{ "UPDATE kairan.dispatcher SET stopped_at", BEGINNING, goodbye },
	{ PG_SQL_BURY, WHOLE, bury },
	{ PG_SQL_FORGET, WHOLE, forget },
	{ PG_SQL_LANE_RELEASE, WHOLE, lane_release },
	{ PG_SQL_JOIN, WHOLE, feedback_join },
	{ PG_SQL_RESEND, WHOLE, resend },
};

/* Whether a statement begins with this text, but for the run it names and for what runs with origins need
 * (run_sql.h); *rest: what follows. */
static bool
begins_with(
    const char *sql, const char *text, size_t n, const char *const *params, const char **rest)
{
	const char *end = text + n;
	bool origin = false;

	while (text < end) {
		if (strncmp(text, RUN_SQL_ORIGIN, strlen(RUN_SQL_ORIGIN)) == 0 &&
		    strncmp(sql, RUN_SQL_ORIGIN, strlen(RUN_SQL_ORIGIN)) != 0) {
			text += strlen(RUN_SQL_ORIGIN);
			origin = true;
		} else if (origin && strncmp(text, "*/", 2) == 0) {
			text += 2;
			origin = false;
		} else if (strncmp(text, RUN_SQL_MARK, strlen(RUN_SQL_MARK)) == 0 &&
		    strncmp(sql, RUN_SQL_MARK, strlen(RUN_SQL_MARK)) != 0) {
			char *behind;
			const char *run =
			    params[strtol(text + strlen(RUN_SQL_MARK), &behind, 10) - 1];
			size_t digits = strspn(sql, "0123456789");

			if (digits != strlen(run) || strncmp(sql, run, digits) != 0)
				return false;
			text = behind;
			sql += digits;
		} else if (*text++ != *sql++) {
			return false;
		}
	}
	*rest = sql;
	return true;
}

enum pg_verdict
pg_exec(struct pg *pg, const char *sql, const char *const *params, PGresult **result)
{
	const char *mark = strstr(embed_dispatcher_sql_claim_sql, "/*fields*/");
	size_t head = (size_t)(mark - embed_dispatcher_sql_claim_sql);
	const char *rest;

	*result = NULL;
	if (begins_with(sql, embed_dispatcher_sql_claim_sql, head, params, &rest)) {
		*result = claim(pg, params);
		return PG_DONE;
	}
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		const struct statement *s = &statements[i];

		if (!begins_with(sql, s->sql, strlen(s->sql), params, &rest) ||
		    (s->match == WHOLE && *rest != '\0'))
			continue;
		*result = s->run(pg, params);
		return *result != NULL ? PG_DONE : PG_REFUSED;
	}
	return PG_UNHEARD_OF;
}
