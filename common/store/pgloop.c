/* SPDX-License-Identifier: Apache-2.0 */
/* pgloop: see pgloop.h. The connection's socket is watched by one uv_poll handle, made anew for
 * each connection; a timer serves the waits between connection attempts. */
#include "pgloop.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

#define FIRST_WAIT_MS 100
#define LONGEST_WAIT_MS 5000
#define CONNECT_TIMEOUT_MS 10000
#define WATCH_MS 1000 /* the watchdog looks this often */

enum pgloop_state { PG_WAITING, PG_CONNECTING, PG_IDLE, PG_PREPARING, PG_RUNNING };

struct request {
	struct request *next;
	const char *name; /* "": not to be prepared */
	const char *sql;
	pgloop_done *done;
	void *ctx;
	int count;
	const char *params[]; /* followed by their bytes */
};

struct prepared {
	struct prepared *next;
	char name[];
};

struct pgloop {
	uv_loop_t *loop;
	uv_timer_t *timer;    /* freed by its close callback */
	uv_timer_t *watchdog; /* likewise */
	uv_poll_t *poll;      /* NULL when there is no socket */
	PGconn *conn;
	char *conninfo;
	enum pgloop_state state;
	bool use_prepared;
	unsigned wait_ms;
	uint64_t timeout_ms;	       /* longest wait for an answer */
	uint64_t asked_ms;	       /* loop clock: when the running statement was sent */
	struct request *first, **last; /* the first one is running in PG_PREPARING and PG_RUNNING */
	struct prepared *prepared;
	PGresult *result; /* of the running statement */
	bool unsynced;	  /* ... whose commit has not reached the standby */
	char error[300];
};

static void connect_start(struct pgloop *pg);
static void run_next(struct pgloop *pg);

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void
keep_error(struct pgloop *pg, const char *text)
{
	size_t n = 0;

	for (; *text != '\0' && n + 1 < sizeof(pg->error); text++)
		pg->error[n++] = *text == '\n' || *text == '\t' ? ' ' : *text;
	while (n > 0 && pg->error[n - 1] == ' ')
		n--;
	pg->error[n] = '\0';
}

static void
forget_connection(struct pgloop *pg)
{
	if (pg->poll != NULL) {
		(void)uv_poll_stop(pg->poll);
		uv_close((uv_handle_t *)pg->poll, free_handle);
		pg->poll = NULL;
	}
	while (pg->prepared != NULL) {
		struct prepared *p = pg->prepared;

		pg->prepared = p->next;
		free(p);
	}
	PQclear(pg->result);
	pg->result = NULL;
	if (pg->conn != NULL)
		PQfinish(pg->conn);
	pg->conn = NULL;
}

static struct request *
take_first(struct pgloop *pg)
{
	struct request *r = pg->first;

	pg->first = r->next;
	if (pg->first == NULL)
		pg->last = &pg->first;
	return r;
}

static void
answer(struct request *r, struct pgloop_answer *a)
{
	r->done(r->ctx, a);
	PQclear(a->result);
	free(r);
}

static void
on_wait_over(uv_timer_t *timer)
{
	struct pgloop *pg = timer->data;

	if (pg->state == PG_WAITING) {
		connect_start(pg);
	} else if (pg->state == PG_CONNECTING) {
		keep_error(pg, "no answer to the connection attempt");
		forget_connection(pg);
		pg->state = PG_WAITING;
		connect_start(pg);
	}
}

static void
lost_because(struct pgloop *pg, const char *why)
{
	struct request *r = NULL;

	keep_error(pg, why);
	log_warn("postgresql connection lost error=\"%s\" retry_ms=%u", pg->error, pg->wait_ms);
	/* a statement that was only being prepared has not run: it goes on waiting */
	if (pg->state == PG_RUNNING)
		r = take_first(pg);
	forget_connection(pg);
	pg->state = PG_WAITING;
	(void)uv_timer_start(pg->timer, on_wait_over, pg->wait_ms, 0);
	pg->wait_ms = pg->wait_ms * 2 < LONGEST_WAIT_MS ? pg->wait_ms * 2 : LONGEST_WAIT_MS;
	if (r != NULL)
		answer(r,
		    &(struct pgloop_answer){
			.verdict = PGLOOP_UNKNOWN, .error = pg->error, .sqlstate = "" });
}

static void
lost(struct pgloop *pg)
{
	lost_because(pg, pg->conn != NULL ? PQerrorMessage(pg->conn) : "no memory");
}

/* A network that swallows everything looks like a slow statement: after a while the connection is
 * of no use, and what was asked is unknown. */
static void
on_watch(uv_timer_t *timer)
{
	struct pgloop *pg = timer->data;

	if ((pg->state == PG_RUNNING || pg->state == PG_PREPARING) &&
	    uv_now(pg->loop) - pg->asked_ms >= pg->timeout_ms)
		lost_because(pg, "PostgreSQL does not answer");
}

static bool
is_prepared(const struct pgloop *pg, const char *name)
{
	for (const struct prepared *p = pg->prepared; p != NULL; p = p->next)
		if (strcmp(p->name, name) == 0)
			return true;
	return false;
}

static void
note_prepared(struct pgloop *pg, const char *name)
{
	size_t n = strlen(name) + 1;
	struct prepared *p = malloc(sizeof(*p) + n);

	if (p == NULL)
		return; /* prepared again next time fails and reconnects: harmless */
	memcpy(p->name, name, n);
	p->next = pg->prepared;
	pg->prepared = p;
}

/* Ends the running statement with its result. */
static void
finish(struct pgloop *pg, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	bool good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
	const char *sqlstate = good ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = good ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	char state[6] = "";
	struct request *r;

	if (good && pg->state == PG_PREPARING) {
		note_prepared(pg, pg->first->name);
		PQclear(result);
		pg->state = PG_IDLE;
		run_next(pg);
		return;
	}
	if (sqlstate != NULL)
		(void)snprintf(state, sizeof(state), "%.5s", sqlstate);
	if (!good)
		keep_error(pg, message != NULL ? message : PQerrorMessage(pg->conn));
	r = take_first(pg);
	pg->state = PG_IDLE;
	if (good && pg->unsynced) {
		log_warn("commit has not reached the standby: taken for unknown");
		PQclear(result);
		answer(r,
		    &(struct pgloop_answer){ .verdict = PGLOOP_UNKNOWN,
			.error = "the commit has not reached the standby",
			.sqlstate = "" });
	} else if (good) {
		pg->error[0] = '\0';
		answer(r,
		    &(struct pgloop_answer){
			.verdict = PGLOOP_DONE, .result = result, .error = "", .sqlstate = "" });
	} else {
		PQclear(result);
		answer(r,
		    &(struct pgloop_answer){
			.verdict = PGLOOP_REFUSED, .error = pg->error, .sqlstate = state });
	}
	if (pg->conn != NULL)
		run_next(pg);
}

static void watch(struct pgloop *pg, int events);

static void
flush(struct pgloop *pg)
{
	int left = PQflush(pg->conn);

	if (left < 0)
		lost(pg);
	else
		watch(pg, left > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void
run_next(struct pgloop *pg)
{
	struct request *r = pg->first;
	bool is_named;
	int sent;

	if (pg->state != PG_IDLE || r == NULL)
		return;
	pg->unsynced = false;
	pg->asked_ms = uv_now(pg->loop);
	is_named = pg->use_prepared && r->name[0] != '\0';
	if (is_named && !is_prepared(pg, r->name)) {
		sent = PQsendPrepare(pg->conn, r->name, r->sql, 0, NULL);
		pg->state = PG_PREPARING;
	} else {
		sent = is_named
		    ? PQsendQueryPrepared(pg->conn, r->name, r->count, r->params, NULL, NULL, 0)
		    : PQsendQueryParams(pg->conn, r->sql, r->count, NULL, r->params, NULL, NULL, 0);
		pg->state = PG_RUNNING;
	}
	if (sent == 0)
		lost(pg);
	else
		flush(pg);
}

/* The server ends the connection. It may have committed before: not a refusal. */
static bool
is_fatal(const PGresult *result)
{
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

	return severity != NULL &&
	    (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0);
}

static void
read_results(struct pgloop *pg)
{
	if (PQconsumeInput(pg->conn) == 0) {
		lost(pg);
		return;
	}
	while (pg->conn != NULL && (pg->state == PG_RUNNING || pg->state == PG_PREPARING) &&
	    PQisBusy(pg->conn) == 0) {
		PGresult *result = PQgetResult(pg->conn);

		if (result != NULL) {
			PQclear(pg->result);
			pg->result = result;
			continue;
		}
		result = pg->result;
		pg->result = NULL;
		if (PQstatus(pg->conn) == CONNECTION_BAD || result == NULL || is_fatal(result)) {
			PQclear(result);
			lost(pg);
			return;
		}
		finish(pg, result);
	}
	if (pg->conn != NULL && pg->state == PG_IDLE && PQstatus(pg->conn) == CONNECTION_BAD)
		lost(pg);
}

static void
connect_step(struct pgloop *pg)
{
	switch (PQconnectPoll(pg->conn)) {
	case PGRES_POLLING_READING:
		watch(pg, UV_READABLE);
		break;
	case PGRES_POLLING_WRITING:
		watch(pg, UV_WRITABLE);
		break;
	case PGRES_POLLING_OK:
		(void)uv_timer_stop(pg->timer);
		(void)PQsetnonblocking(pg->conn, 1);
		pg->state = PG_IDLE;
		pg->wait_ms = FIRST_WAIT_MS;
		pg->error[0] = '\0';
		watch(pg, UV_READABLE);
		run_next(pg);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
	default:
		lost(pg);
		break;
	}
}

static void
on_socket(uv_poll_t *poll, int status, int events)
{
	struct pgloop *pg = poll->data;

	if (pg->poll != poll)
		return;
	if (pg->state == PG_CONNECTING) {
		connect_step(pg);
		return;
	}
	if (status < 0 || (events & UV_READABLE) != 0)
		read_results(pg);
	if (pg->poll != poll || pg->state == PG_CONNECTING)
		return;
	if ((events & UV_WRITABLE) != 0)
		flush(pg);
	else if (status < 0)
		/* libuv stops a handle whose socket has an error pending, but there may be more
		 * to read behind it, the end at least */
		watch(pg, UV_READABLE);
}

/* The socket may change between steps of connecting (several addresses). */
static void
watch(struct pgloop *pg, int events)
{
	int fd = PQsocket(pg->conn);
	uv_os_fd_t now = -1;

	if (pg->poll != NULL && uv_fileno((uv_handle_t *)pg->poll, &now) == 0 && now != fd) {
		(void)uv_poll_stop(pg->poll);
		uv_close((uv_handle_t *)pg->poll, free_handle);
		pg->poll = NULL;
	}
	if (pg->poll == NULL) {
		pg->poll = malloc(sizeof(*pg->poll));
		if (pg->poll == NULL || uv_poll_init(pg->loop, pg->poll, fd) != 0) {
			free(pg->poll);
			pg->poll = NULL;
			lost(pg);
			return;
		}
		pg->poll->data = pg;
	}
	if (uv_poll_start(pg->poll, events, on_socket) != 0)
		lost(pg);
}

/*
 * A cancelled wait for a synchronous standby looks like success, but for a warning: the commit is
 * there and a failover would lose it (PostgreSQL, syncrep.c). Its text is translated, the name of
 * the function is not.
 */
static void
on_notice(void *ctx, const PGresult *result)
{
	struct pgloop *pg = ctx;
	const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if ((function != NULL && strcmp(function, "SyncRepWaitForLSN") == 0) ||
	    (message != NULL && strstr(message, "synchronous replication") != NULL))
		pg->unsynced = true;
}

static void
connect_start(struct pgloop *pg)
{
	pg->conn = PQconnectStart(pg->conninfo);
	if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD) {
		lost(pg);
		return;
	}
	(void)PQsetNoticeReceiver(pg->conn, on_notice, pg);
	pg->state = PG_CONNECTING;
	(void)uv_timer_start(pg->timer, on_wait_over, CONNECT_TIMEOUT_MS, 0);
	watch(pg, UV_WRITABLE);
}

struct pgloop *
pgloop_new(uv_loop_t *loop, const char *conninfo, bool prepared, long timeout_s)
{
	struct pgloop *pg = calloc(1, sizeof(*pg));

	if (pg == NULL)
		return NULL;
	pg->conninfo = strdup(conninfo);
	pg->timer = malloc(sizeof(*pg->timer));
	pg->watchdog = malloc(sizeof(*pg->watchdog));
	if (pg->conninfo == NULL || pg->timer == NULL || pg->watchdog == NULL) {
		free(pg->conninfo);
		free(pg->timer);
		free(pg->watchdog);
		free(pg);
		return NULL;
	}
	pg->loop = loop;
	pg->use_prepared = prepared;
	pg->wait_ms = FIRST_WAIT_MS;
	pg->last = &pg->first;
	pg->timeout_ms = (uint64_t)timeout_s * 1000;
	(void)uv_timer_init(loop, pg->timer);
	(void)uv_timer_init(loop, pg->watchdog);
	pg->timer->data = pg->watchdog->data = pg;
	(void)uv_timer_start(pg->watchdog, on_watch, WATCH_MS, WATCH_MS);
	connect_start(pg);
	return pg;
}

void
pgloop_free(struct pgloop *pg)
{
	if (pg == NULL)
		return;
	forget_connection(pg);
	(void)uv_timer_stop(pg->timer);
	uv_close((uv_handle_t *)pg->timer, free_handle);
	(void)uv_timer_stop(pg->watchdog);
	uv_close((uv_handle_t *)pg->watchdog, free_handle);
	while (pg->first != NULL)
		free(take_first(pg));
	free(pg->conninfo);
	free(pg);
}

static struct request *
request_new(const char *name, const char *sql, int count, const char *const *params,
    pgloop_done *done, void *ctx)
{
	size_t bytes = sizeof(struct request) + (size_t)count * sizeof(char *);
	struct request *r;
	char *at;

	for (int i = 0; i < count; i++)
		bytes += params[i] != NULL ? strlen(params[i]) + 1 : 0;
	r = malloc(bytes);
	if (r == NULL)
		return NULL;
	*r = (struct request){ .name = name, .sql = sql, .done = done, .ctx = ctx, .count = count };
	at = (char *)(r->params + count);
	for (int i = 0; i < count; i++) {
		size_t n = params[i] != NULL ? strlen(params[i]) + 1 : 0;

		r->params[i] = n > 0 ? memcpy(at, params[i], n) : NULL;
		at += n;
	}
	return r;
}

static void
queue(struct pgloop *pg, struct request *r)
{
	*pg->last = r;
	pg->last = &r->next;
	run_next(pg);
}

bool
pgloop_submit(struct pgloop *pg, const char *name, const char *sql, int count,
    const char *const *params, pgloop_done *done, void *ctx)
{
	struct request *r = request_new(name, sql, count, params, done, ctx);

	if (r == NULL)
		return false;
	queue(pg, r);
	return true;
}

static void
on_forgotten(void *ctx, struct pgloop_answer *answer)
{
	(void)ctx;
	(void)answer; /* a connection that is lost has lost its statements, too */
}

void
pgloop_forget(struct pgloop *pg, const char *name)
{
	struct prepared **link = &pg->prepared, *p;
	char text[100];
	const char *sql = text;
	struct request *r;

	while ((p = *link) != NULL && strcmp(p->name, name) != 0)
		link = &p->next;
	if (p == NULL)
		return;
	(void)snprintf(text, sizeof(text), "DEALLOCATE %s", name);
	r = request_new("", NULL, 1, &sql, on_forgotten, NULL);
	if (r == NULL)
		return; /* it stays, and is found again */
	r->sql = r->params[0];
	r->count = 0;
	*link = p->next;
	free(p);
	queue(pg, r);
}

bool
pgloop_is_ready(const struct pgloop *pg)
{
	return pg->state != PG_WAITING && pg->state != PG_CONNECTING;
}
