/* SPDX-License-Identifier: Apache-2.0 */
/* rdsloop: see rdsloop.h; hiredis's asynchronous side with its libuv adapter. */
#include "rdsloop.h"

#include <hiredis/adapters/libuv.h>
#include <hiredis/async.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define FIRST_WAIT_MS 100
#define LONGEST_WAIT_MS 5000
#define ARGS_MAX 16

struct rdsloop {
	uv_loop_t *loop;
	const struct rds_address *address;
	redisAsyncContext *redis; /* NULL while waiting */
	uv_timer_t *timer;	  /* freed by its close callback */
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
	int argc;
	char *argv[ARGS_MAX]; /* keys and arguments of a script, owned */
	char keys[8];
};

static void open_connection(struct rdsloop *r);

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
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
	r->redis = c;
	c->data = r;
	(void)redisLibuvAttach(c, r->loop);
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

	if (r == NULL || (r->timer = malloc(sizeof(*r->timer))) == NULL) {
		free(r);
		return NULL;
	}
	r->loop = loop;
	r->address = address;
	r->wait_ms = FIRST_WAIT_MS;
	(void)uv_timer_init(loop, r->timer);
	r->timer->data = r;
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
	for (int i = 0; i < p->argc; i++)
		free(p->argv[i]);
	free(p);
}

static void on_reply(redisAsyncContext *c, void *reply_, void *ctx);

static bool
send_script(struct pending *p, bool whole)
{
	const char *argv[ARGS_MAX + 3] = { whole ? "EVAL" : "EVALSHA",
		whole ? p->script->text : p->script->sha, p->keys };

	for (int i = 0; i < p->argc; i++)
		argv[i + 3] = p->argv[i];
	return redisAsyncCommandArgv(p->r->redis, on_reply, p, p->argc + 3, argv, NULL) == REDIS_OK;
}

static void
on_reply(redisAsyncContext *c, void *reply_, void *ctx)
{
	const redisReply *reply = reply_;
	struct pending *p = ctx;

	(void)c;
	if (reply != NULL && p->script != NULL && reply->type == REDIS_REPLY_ERROR &&
	    strncmp(reply->str, "NOSCRIPT", 8) == 0 && p->r->redis != NULL && send_script(p, true))
		return;
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
	if (redisAsyncCommandArgv(
		r->redis, on_reply, p, argc, (const char **)(uintptr_t)argv, NULL) != REDIS_OK) {
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
	struct pending *p = r->ready && argc <= ARGS_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (p == NULL) {
		done(ctx, NULL);
		return;
	}
	*p = (struct pending){ .r = r, .done = done, .ctx = ctx, .script = script };
	(void)snprintf(p->keys, sizeof(p->keys), "%d", keys);
	for (; p->argc < argc; p->argc++)
		if ((p->argv[p->argc] = strdup(argv[p->argc])) == NULL)
			break;
	if (p->argc < argc || !send_script(p, false)) {
		done(ctx, NULL);
		pending_free(p);
	}
}
