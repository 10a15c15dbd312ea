/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_redis: lists of ids, one for each lane that has one, and permits by the clock of each list. Whoever
 * asks gets answers late, or none when his connection ends before or behind the command. Lists may be
 * wiped, doubled, shuffled or hold rubbish at any time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "brake.h"
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
#define WAKE_US (250 * SIM_MS) /* as in reserve.lua, when nothing says sooner */

struct list {
	size_t count;
	int64_t interval, next; /* between its permits, 0: no limit; when it has the next one */
	char item[ITEMS][TEXT];
};

/* Of lanes; 0: of all that have none of their own. */
static struct list lists[PG_RUNS + 1][PG_LANES];

/* What a leading producer tells of destinations. */
static struct {
	char name[32], text[BRAKE_TEXT_MAX];
} brakes[SIM_BRAKES];

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
	memset(brakes, 0, sizeof(brakes));
}

void
sim_redis_brake(int place, const char *name, const struct brake *brake)
{
	(void)snprintf(brakes[place].name, sizeof(brakes[place].name), "%s", name);
	brakes[place].text[0] = '\0';
	if (brake != NULL)
		brake_print(brake, brakes[place].text);
}

/* The leader publishes calendars anew; permits that were given may still be leaving for a second. */
void
sim_redis_flush(void)
{
	for (int run = 0; run <= PG_RUNS; run++)
		for (int lane = 0; lane < PG_LANES; lane++) {
			lists[run][lane].count = 0;
			lists[run][lane].next = sim.now + SIM_SECOND;
		}
}

void
sim_redis_pace(int run, int lane, int64_t interval_us)
{
	lists[run][lane].interval = interval_us;
}

size_t
sim_redis_length(int run, int lane)
{
	return lists[run][lane].count;
}

static void
push(struct list *l, const char *id, bool left)
{
	if (l->count == ITEMS)
		return;
	if (left)
		memmove(l->item[1], l->item[0], l->count * TEXT);
	(void)snprintf(l->item[left ? 0 : l->count], TEXT, "%s", id);
	l->count++;
}

void
sim_redis_push(int run, int lane, const char *id, bool left)
{
	push(&lists[run][lane], id, left);
}

static void
pop(struct list *l, char text[TEXT])
{
	memcpy(text, l->item[0], TEXT);
	memmove(l->item[0], l->item[1], --l->count * TEXT);
}

void
sim_redis_shuffle(int run, int lane)
{
	struct list *l = &lists[run][lane];

	for (size_t i = l->count; i > 1; i--) {
		size_t k = sim_random((uint32_t)i);
		char text[TEXT];

		memcpy(text, l->item[k], TEXT);
		memcpy(l->item[k], l->item[i - 1], TEXT);
		memcpy(l->item[i - 1], text, TEXT);
	}
}

void
sim_redis_lose(int run, int lane)
{
	char text[TEXT];

	if (lists[run][lane].count > 0)
		pop(&lists[run][lane], text);
}

/* ---- commands ---- */

static struct list *
list_at(int run, int lane)
{
	if (run < 1 || run > PG_RUNS || lane < 0 || lane >= PG_LANES)
		abort();
	return &lists[run][lane];
}

/* Of KEY_QUEUE or KEY_QUEUE_LANE. */
static struct list *
list_of(const char *key)
{
	int run = 0, lane = 0;

	if (sscanf(key, "{r:%d}:q:%d", &run, &lane) < 1)
		abort();
	return list_at(run, lane);
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

/* The permits of one list within the horizon; a permit that passed unused is given once more. Returns when
 * the list has its next one. */
static int64_t
serve(struct list *l, long wanted, long missed, int64_t until, size_t place, long most, long *given,
    struct reply *r)
{
	int64_t at = l->next - missed * l->interval;

	at = at > sim.now ? at : sim.now;
	for (; wanted > 0 && *given < most && at < until; wanted--, (*given)++) {
		permit_write(r->permits + *given * PERMIT_BYTES, place, (double)(at - sim.now));
		at += l->interval;
	}
	l->next = at;
	return wanted > 0 ? at : INT64_MAX;
}

/* reserve.lua, with the clocks of the lists alone: no list waits for another one. */
static void
reserve(struct reply *r, char *const *argv, int argc)
{
	int64_t horizon = strtoll(argv[3], NULL, 10), wake = sim.now + WAKE_US;
	long most = strtol(argv[4], NULL, 10), given = 0;

	for (int i = 6, place = 0; i + 2 < argc; i += 3, place++) {
		int run = 0, lane = 0;
		int64_t next;

		if (sscanf(argv[i], "%d.%d", &run, &lane) != 2)
			abort();
		next = serve(list_at(run, lane), strtol(argv[i + 1], NULL, 10),
		    strtol(argv[i + 2], NULL, 10), sim.now + horizon, (size_t)place, most, &given,
		    r);
		if (next < INT64_MAX && next - horizon / 2 < wake)
			wake = next - horizon / 2;
	}
	r->reply.type = REDIS_REPLY_ARRAY;
	(void)snprintf(r->now, sizeof(r->now), "%llu", (unsigned long long)sim.now);
	add_text(r, r->now, strlen(r->now));
	add_number(r, wake > sim.now ? wake - sim.now : SIM_MS);
	add_text(r, r->permits, (size_t)given * PERMIT_BYTES);
}

static void
tell_brakes(struct reply *r)
{
	r->reply.type = REDIS_REPLY_ARRAY;
	for (size_t i = 0; i < SIM_BRAKES; i++) {
		if (brakes[i].text[0] == '\0')
			continue;
		add_text(r, brakes[i].name, strlen(brakes[i].name));
		add_text(r, brakes[i].text, strlen(brakes[i].text));
	}
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
	r->reply.type = REDIS_REPLY_INTEGER;
	if (strcmp(c->argv[0], "HGETALL") == 0) {
		tell_brakes(r);
		return;
	}
	if (strcmp(c->argv[0], "RPUSH") == 0 || strcmp(c->argv[0], "LTRIM") == 0)
		return; /* what was heard of destinations: no producer listens */
	l = list_of(c->argv[1]);
	if (strcmp(c->argv[0], "LLEN") == 0) {
		r->reply.integer = (long long)l->count;
	} else if (strcmp(c->argv[0], "LPUSH") == 0) {
		for (int i = 2; i < c->argc; i++)
			push(l, c->argv[i], true);
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
		push(list_of(argv[1]), argv[i], true);
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
