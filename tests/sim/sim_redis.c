/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_redis: lists of ids, and permits. Whoever asks gets answers late, or none when his connection ends
 * before or behind the command. Lists may be wiped, doubled, shuffled or hold rubbish at any time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "keys.h"
#include "permit.h"
#include "rds.h"
#include "rdsloop.h"
#include "sim.h"

#define ITEMS 512
#define TEXT 16
#define ARGS 512
#define RECONNECT_US (100 * SIM_MS)

struct list {
	size_t count;
	char item[ITEMS][TEXT];
};

/* One list a run: no run has lanes of its own here. */
static struct list lists[PG_RUNS + 1];

struct rdsloop {
	struct sim_process *process;
	bool ready;
	unsigned turn;
};

struct command {
	struct rdsloop *r;
	unsigned turn;
	rdsloop_done *done;
	void *ctx;
	const char *script; /* its text, NULL: a command */
	int argc;
	char *argv[ARGS];
	bool done_already;
};

void
sim_redis_begin(void)
{
	memset(lists, 0, sizeof(lists));
}

void
sim_redis_flush(void)
{
	memset(lists, 0, sizeof(lists));
}

size_t
sim_redis_length(int run)
{
	return lists[run].count;
}

void
sim_redis_push(int run, const char *id, bool left)
{
	struct list *l = &lists[run];

	if (l->count == ITEMS)
		return;
	if (left)
		memmove(l->item[1], l->item[0], l->count * TEXT);
	(void)snprintf(l->item[left ? 0 : l->count], TEXT, "%s", id);
	l->count++;
}

static void
pop(struct list *l, char text[TEXT])
{
	memcpy(text, l->item[0], TEXT);
	memmove(l->item[0], l->item[1], --l->count * TEXT);
}

void
sim_redis_shuffle(int run)
{
	struct list *l = &lists[run];

	for (size_t i = l->count; i > 1; i--) {
		size_t k = sim_random((uint32_t)i);
		char text[TEXT];

		memcpy(text, l->item[k], TEXT);
		memcpy(l->item[k], l->item[i - 1], TEXT);
		memcpy(l->item[i - 1], text, TEXT);
	}
}

void
sim_redis_lose(int run)
{
	char text[TEXT];

	if (lists[run].count > 0)
		pop(&lists[run], text);
}

/* ---- commands ---- */

static struct list *
list_of(const char *key)
{
	int run = 0;

	if (sscanf(key, "{r:%d}", &run) != 1 || run < 1 || run > PG_RUNS)
		abort();
	return &lists[run];
}

struct reply {
	redisReply reply, item[ITEMS];
	redisReply *element[ITEMS];
	char text[ITEMS][TEXT];
	char now[24], permits[ITEMS * PERMIT_BYTES];
};

static void
add_number(struct reply *r, long long n)
{
	redisReply *item = &r->item[r->reply.elements];

	*item = (redisReply){ .type = REDIS_REPLY_INTEGER, .integer = n };
	r->element[r->reply.elements++] = item;
}

static void
add_text(struct reply *r, char *text, size_t len)
{
	redisReply *item = &r->item[r->reply.elements];

	*item = (redisReply){ .type = REDIS_REPLY_STRING, .str = text, .len = len };
	r->element[r->reply.elements++] = item;
}

/* reserve.lua, without limits: everybody gets what he asks for, up to the most of one call; in a run
 * that is paced, over a second. */
static void
reserve(struct reply *r, char *const *argv, int argc)
{
	long most = strtol(argv[4], NULL, 10), given = 0;
	bool paced = (sim.seed & 6) == 0;

	r->reply.type = REDIS_REPLY_ARRAY;
	(void)snprintf(r->now, sizeof(r->now), "%llu", (unsigned long long)sim.now);
	add_text(r, r->now, strlen(r->now));
	add_number(r, 100000);
	for (int i = 6, place = 0; i + 2 < argc; i += 3, place++)
		for (long n = strtol(argv[i + 1], NULL, 10); n > 0 && given < most; n--, given++)
			permit_write(r->permits + given * PERMIT_BYTES, (size_t)place,
			    paced ? (double)given * 100000 : 0);
	add_text(r, r->permits, (size_t)given * PERMIT_BYTES);
}

static void
execute(const struct command *c, struct reply *r)
{
	struct list *l;

	memset(&r->reply, 0, sizeof(r->reply));
	r->reply.element = r->element;
	if (c->script != NULL && strcmp(c->script, embed_common_lua_reserve_lua) == 0) {
		reserve(r, c->argv, c->argc);
		return;
	}
	if (c->script != NULL) { /* quota_return.lua: there is no quota */
		r->reply.type = REDIS_REPLY_INTEGER;
		return;
	}
	l = list_of(c->argv[1]);
	r->reply.type = REDIS_REPLY_INTEGER;
	if (strcmp(c->argv[0], "LLEN") == 0) {
		r->reply.integer = (long long)l->count;
	} else if (strcmp(c->argv[0], "LPUSH") == 0) {
		for (int i = 2; i < c->argc; i++)
			sim_redis_push((int)(l - lists), c->argv[i], true);
	} else if (strcmp(c->argv[0], "LPOP") == 0) {
		r->reply.type = REDIS_REPLY_ARRAY;
		for (long n = strtol(c->argv[2], NULL, 10); n > 0 && l->count > 0; n--) {
			char *text = r->text[r->reply.elements];

			pop(l, text);
			add_text(r, text, strlen(text));
		}
	} else {
		sim_fail("the simulation does not know %s", c->argv[0]);
	}
}

/* ---- rdsloop ---- */

static void
command_free(struct command *c)
{
	for (int i = 0; i < c->argc; i++)
		sim_free(c->argv[i]);
	sim_free(c);
}

static void
on_ready(void *ctx, uint64_t turn)
{
	struct rdsloop *r = ctx;

	if (r->turn == turn)
		r->ready = true;
}

static void
connect_again(struct rdsloop *r)
{
	r->ready = false;
	r->turn++;
	sim_after(r->process, RECONNECT_US + sim_random(400) * SIM_MS, on_ready, r, r->turn);
}

static void
on_command(void *ctx, uint64_t number)
{
	static struct reply reply;
	struct command *c = ctx;
	struct rdsloop *r = c->r;
	rdsloop_done *done = c->done;
	void *done_ctx = c->ctx;
	bool lost = c->turn != r->turn;

	(void)number;
	if (!lost && sim_chance(sim.faults.redis)) {
		sim_fault("connection to Redis lost");
		if (sim_chance(500000))
			execute(c, &reply);
		connect_again(r);
		lost = true;
	}
	if (!lost)
		execute(c, &reply);
	command_free(c);
	sim_may_die("before an answer of Redis is read");
	done(done_ctx, lost ? NULL : &reply.reply);
}

static void
submit(struct rdsloop *r, const char *script, rdsloop_done *done, void *ctx, int argc,
    const char *const *argv)
{
	struct command *c;

	if (!r->ready) {
		done(ctx, NULL);
		return;
	}
	if (argc > ARGS)
		abort();
	c = sim_alloc(sizeof(*c));
	*c = (struct command){
		.r = r, .turn = r->turn, .done = done, .ctx = ctx, .script = script, .argc = argc
	};
	for (int i = 0; i < argc; i++)
		c->argv[i] = strcpy(sim_alloc(strlen(argv[i]) + 1), argv[i]);
	sim_after(r->process, 500 + sim_random(500), on_command, c, 0);
}

struct rdsloop *
rdsloop_new(uv_loop_t *loop, const struct rds_address *address)
{
	struct rdsloop *r = sim_alloc(sizeof(*r));

	(void)loop;
	(void)address;
	r->process = sim_self;
	sim_self->active++;
	connect_again(r);
	return r;
}

void
rdsloop_free(struct rdsloop *r)
{
	r->ready = false;
	r->turn++;
	sim_self->active--;
}

bool
rdsloop_is_ready(const struct rdsloop *r)
{
	return r->ready;
}

void
rdsloop_command(struct rdsloop *r, rdsloop_done *done, void *ctx, int argc, const char *const *argv)
{
	submit(r, NULL, done, ctx, argc, argv);
}

void
rdsloop_script_init(struct rdsloop_script *script, const char *text)
{
	script->text = text;
}

void
rdsloop_script_run(struct rdsloop *r, const struct rdsloop_script *script, rdsloop_done *done,
    void *ctx, int keys, int argc, const char *const *argv)
{
	(void)keys;
	submit(r, script->text, done, ctx, argc, argv);
}

/* ---- recovery's connection, which blocks ---- */

redisContext *__wrap_rds_open(const struct rds_address *a, struct err *err);
void *__wrap_redisCommandArgv(redisContext *c, int argc, const char **argv, const size_t *lengths);
void __wrap_redisFree(redisContext *c);
void __wrap_freeReplyObject(void *reply);

redisContext *
__wrap_rds_open(const struct rds_address *a, struct err *err)
{
	static redisContext context;

	(void)a;
	sim_block(SIM_MS);
	if (!sim_chance(sim.faults.redis))
		return &context;
	(void)err_set(err, "cannot connect");
	return NULL;
}

void *
__wrap_redisCommandArgv(redisContext *c, int argc, const char **argv, const size_t *lengths)
{
	(void)c;
	(void)lengths;
	sim_may_die("before ids are pushed back");
	for (int i = 2; i < argc; i++)
		sim_redis_push((int)(list_of(argv[1]) - lists), argv[i], true);
	sim_may_die("after ids are pushed back");
	return NULL;
}

void
__wrap_redisFree(redisContext *c)
{
	(void)c;
}

void
__wrap_freeReplyObject(void *reply)
{
	(void)reply;
}
