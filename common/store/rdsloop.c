/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rdsloop: see rdsloop.h; hiredis's asynchronous side. Its own libuv adapter ignores a socket with
 * an error pending, for which libuv then stops watching: the loss would never be seen. Hence the
 * small one here, and a watchdog for a server that says nothing.
 */
#include "rdsloop.h"

#include <hiredis/async.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define FIRST_WAIT_MS 100
#define LONGEST_WAIT_MS 5000
#define SCRIPT_HEAD 3 /* EVALSHA, its digest, the number of keys */
#define WATCH_MS 1000 /* the watchdog looks this often */

struct rdsloop {
	uv_loop_t *loop;
	const struct rds_address *address;
	redisAsyncContext *redis; /* NULL while waiting */
	uv_timer_t *timer;	  /* freed by its close callback */
	uv_timer_t *watchdog;	  /* likewise */
	unsigned pending;	  /* commands without an answer */
	uint64_t answered_ms;	  /* loop clock: last answer, or last time nothing was pending */
	unsigned wait_ms;
	bool ready;
	bool closing;
};

/* One command under way; owns copies only for scripts, which may have to be sent twice. */
struct pending {
	struct rdsloop *r;
	rdsloop_done *done;
	void *ctx;
	const struct rdsloop_script *script;
	char keys[8];
	int argc;
	char *argv[]; /* keys and arguments of a script, owned, behind the three words of EVALSHA */
};

/* Between hiredis and libuv; one for each connection, freed when its handle is closed. */
struct adapter {
	uv_poll_t poll;
	redisAsyncContext *redis; /* NULL once hiredis has let go */
	int events;
};

static void open_connection(struct rdsloop *r);
static void wait_and_open(struct rdsloop *r, const char *why);

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct adapter *a = poll->data;

	if (status < 0) {
		/* libuv has stopped watching; reading finds out what is wrong */
		if (a->redis != NULL)
			(void)uv_poll_start(&a->poll, a->events, on_poll);
		events |= UV_READABLE;
	}
	if (a->redis != NULL && (events & UV_READABLE) != 0)
		redisAsyncHandleRead(a->redis);
	if (a->redis != NULL && a->redis->c.reader->len > RDS_REPLY_MAX) {
		log_warn("redis sends a reply that is too large");
		redisAsyncFree(a->redis);
	}
	if (a->redis != NULL && (events & UV_WRITABLE) != 0)
		redisAsyncHandleWrite(a->redis);
}

static void
watch(struct adapter *a, int events)
{
	if (events == a->events)
		return;
	a->events = events;
	if (events == 0)
		(void)uv_poll_stop(&a->poll);
	else
		(void)uv_poll_start(&a->poll, events, on_poll);
}

static void
add_read(void *adapter)
{
	struct adapter *a = adapter;

	watch(a, a->events | UV_READABLE);
}

static void
del_read(void *adapter)
{
	struct adapter *a = adapter;

	watch(a, a->events & ~UV_READABLE);
}

static void
add_write(void *adapter)
{
	struct adapter *a = adapter;

	watch(a, a->events | UV_WRITABLE);
}

static void
del_write(void *adapter)
{
	struct adapter *a = adapter;

	watch(a, a->events & ~UV_WRITABLE);
}

static void
free_adapter(uv_handle_t *handle)
{
	free(handle->data);
}

static void
cleanup(void *adapter)
{
	struct adapter *a = adapter;

	a->redis = NULL;
	(void)uv_poll_stop(&a->poll);
	uv_close((uv_handle_t *)&a->poll, free_adapter);
}

static int
attach(struct rdsloop *r, redisAsyncContext *c)
{
	struct adapter *a = calloc(1, sizeof(*a));

	if (a == NULL || uv_poll_init(r->loop, &a->poll, c->c.fd) != 0) {
		free(a);
		return -1;
	}
	a->redis = c;
	a->poll.data = a;
	c->ev.data = a;
	c->ev.addRead = add_read;
	c->ev.delRead = del_read;
	c->ev.addWrite = add_write;
	c->ev.delWrite = del_write;
	c->ev.cleanup = cleanup;
	return 0;
}

/* A command without an answer for RDS_TIMEOUT_S: the connection is of no use. */
static void
on_watch(uv_timer_t *timer)
{
	struct rdsloop *r = timer->data;
	redisAsyncContext *c = r->redis;
	uint64_t now = uv_now(r->loop);

	if (r->redis == NULL || (r->ready && r->pending == 0))
		r->answered_ms = now;
	if (now - r->answered_ms < (uint64_t)RDS_TIMEOUT_S * 1000)
		return;
	log_warn("redis does not answer pending=%u", r->pending);
	r->answered_ms = now;
	r->ready = false;
	redisAsyncFree(c); /* answers the pending ones with NULL, then on_disconnect */
	/* which is not called for a connection that was never there: it must not be freed again */
	if (!uv_is_active((const uv_handle_t *)r->timer))
		wait_and_open(r, "no answer");
}

static void
on_wait_over(uv_timer_t *timer)
{
	open_connection(timer->data);
}

static void
wait_and_open(struct rdsloop *r, const char *why)
{
	r->ready = false;
	r->redis = NULL;
	if (r->closing)
		return;
	log_warn("redis absent error=\"%s\" retry_ms=%u", why, r->wait_ms);
	(void)uv_timer_start(r->timer, on_wait_over, r->wait_ms, 0);
	r->wait_ms = r->wait_ms * 2 < LONGEST_WAIT_MS ? r->wait_ms * 2 : LONGEST_WAIT_MS;
}

static void
on_connect(const redisAsyncContext *c, int status)
{
	struct rdsloop *r = c->data;

	if (status != REDIS_OK)
		wait_and_open(r, c->errstr);
}

static void
on_disconnect(const redisAsyncContext *c, int status)
{
	struct rdsloop *r = c->data;

	wait_and_open(r, status == REDIS_OK ? "connection closed" : c->errstr);
}

static void
on_login(redisAsyncContext *c, void *reply_, void *ctx)
{
	const redisReply *reply = reply_;

	(void)ctx;
	if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
		log_error("redis refused the login error=\"%s\"", reply->str);
		redisAsyncDisconnect(c);
	}
}

static void
on_first(redisAsyncContext *c, void *reply_, void *ctx)
{
	const redisReply *reply = reply_;
	struct rdsloop *r = c->data;

	(void)ctx;
	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ERROR) { /* LOADING, NOAUTH: come back later */
		log_warn("redis not ready error=\"%s\"", reply->str);
		redisAsyncDisconnect(c);
		return;
	}
	r->ready = true;
	r->wait_ms = FIRST_WAIT_MS;
}

static void
open_connection(struct rdsloop *r)
{
	const struct rds_address *a = r->address;
	redisAsyncContext *c = a->path[0] != '\0' ? redisAsyncConnectUnix(a->path)
						  : redisAsyncConnect(a->host, a->port);

	if (c == NULL || c->err != 0) {
		char why[128];

		(void)snprintf(why, sizeof(why), "%s", c != NULL ? c->errstr : "no memory");
		if (c != NULL)
			redisAsyncFree(c);
		wait_and_open(r, why);
		return;
	}
	if (attach(r, c) < 0) {
		redisAsyncFree(c);
		wait_and_open(r, "no memory");
		return;
	}
	rds_bound(&c->c);
	r->redis = c;
	c->data = r;
	(void)redisAsyncSetConnectCallback(c, on_connect);
	(void)redisAsyncSetDisconnectCallback(c, on_disconnect);
	if (a->password[0] != '\0' && a->user[0] != '\0')
		(void)redisAsyncCommand(c, on_login, NULL, "AUTH %s %s", a->user, a->password);
	else if (a->password[0] != '\0')
		(void)redisAsyncCommand(c, on_login, NULL, "AUTH %s", a->password);
	if (a->number != 0)
		(void)redisAsyncCommand(c, on_login, NULL, "SELECT %d", a->number);
	(void)redisAsyncCommand(c, on_first, NULL, "PING");
}

struct rdsloop *
rdsloop_new(uv_loop_t *loop, const struct rds_address *address)
{
	struct rdsloop *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->timer = malloc(sizeof(*r->timer));
	r->watchdog = malloc(sizeof(*r->watchdog));
	if (r->timer == NULL || r->watchdog == NULL) {
		free(r->timer);
		free(r->watchdog);
		free(r);
		return NULL;
	}
	r->loop = loop;
	r->address = address;
	r->wait_ms = FIRST_WAIT_MS;
	(void)uv_timer_init(loop, r->timer);
	(void)uv_timer_init(loop, r->watchdog);
	r->timer->data = r->watchdog->data = r;
	(void)uv_timer_start(r->watchdog, on_watch, WATCH_MS, WATCH_MS);
	open_connection(r);
	return r;
}

void
rdsloop_free(struct rdsloop *r)
{
	if (r == NULL)
		return;
	r->closing = true;
	if (r->redis != NULL)
		redisAsyncFree(r->redis);
	(void)uv_timer_stop(r->timer);
	uv_close((uv_handle_t *)r->timer, free_handle);
	(void)uv_timer_stop(r->watchdog);
	uv_close((uv_handle_t *)r->watchdog, free_handle);
	free(r);
}

bool
rdsloop_is_ready(const struct rdsloop *r)
{
	return r->ready;
}

static void
pending_free(struct pending *p)
{
	for (int i = SCRIPT_HEAD; i < p->argc; i++)
		free(p->argv[i]);
	free(p);
}

static void on_reply(redisAsyncContext *c, void *reply_, void *ctx);

static bool
send_script(struct pending *p, bool whole)
{
	const char **argv = (const char **)p->argv;

	argv[0] = whole ? "EVAL" : "EVALSHA";
	argv[1] = whole ? p->script->text : p->script->sha;
	argv[2] = p->keys;
	return redisAsyncCommandArgv(p->r->redis, on_reply, p, p->argc, argv, NULL) == REDIS_OK;
}

static void
on_reply(redisAsyncContext *c, void *reply_, void *ctx)
{
	const redisReply *reply = reply_;
	struct pending *p = ctx;

	(void)c;
	p->r->answered_ms = uv_now(p->r->loop);
	if (reply != NULL && p->script != NULL && reply->type == REDIS_REPLY_ERROR &&
	    strncmp(reply->str, "NOSCRIPT", 8) == 0 && p->r->redis != NULL && send_script(p, true))
		return;
	p->r->pending--;
	p->done(p->ctx, reply);
	pending_free(p);
}

void
rdsloop_command(struct rdsloop *r, rdsloop_done *done, void *ctx, int argc, const char *const *argv)
{
	struct pending *p = r->ready ? calloc(1, sizeof(*p)) : NULL;

	if (p == NULL) {
		done(ctx, NULL);
		return;
	}
	*p = (struct pending){ .r = r, .done = done, .ctx = ctx };
	r->pending++;
	if (redisAsyncCommandArgv(
		r->redis, on_reply, p, argc, (const char **)(uintptr_t)argv, NULL) != REDIS_OK) {
		r->pending--;
		done(ctx, NULL);
		free(p);
	}
}

void
rdsloop_script_init(struct rdsloop_script *script, const char *text)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	script->text = text;
	(void)EVP_Digest(text, strlen(text), digest, &n, EVP_sha1(), NULL);
	for (unsigned i = 0; i < 20; i++)
		(void)snprintf(script->sha + 2 * (size_t)i, 3, "%02x", digest[i]);
}

void
rdsloop_script_run(struct rdsloop *r, const struct rdsloop_script *script, rdsloop_done *done,
    void *ctx, int keys, int argc, const char *const *argv)
{
	int count = SCRIPT_HEAD + argc;
	struct pending *p =
	    r->ready ? calloc(1, sizeof(*p) + (size_t)count * sizeof(p->argv[0])) : NULL;

	if (p == NULL) {
		done(ctx, NULL);
		return;
	}
	*p = (struct pending){
		.r = r, .done = done, .ctx = ctx, .script = script, .argc = SCRIPT_HEAD
	};
	(void)snprintf(p->keys, sizeof(p->keys), "%d", keys);
	for (; p->argc < count; p->argc++)
		if ((p->argv[p->argc] = strdup(argv[p->argc - SCRIPT_HEAD])) == NULL)
			break;
	r->pending++;
	if (p->argc < count || !send_script(p, false)) {
		r->pending--;
		done(ctx, NULL);
		pending_free(p);
	}
}
