/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull: see pull.h. Owns the thread. One batch at a time crosses to the loop: the thread puts it
 * down under the lock and wakes the loop, which hands its units to the intake as there is room;
 * the thread waits until none is left.
 */
#include "pull.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define LOOK_AGAIN_MS 100
#define WAIT_FIRST_MS 1000
#define WAIT_LONGEST_MS 60000
#define UNIT_ARENA_MAX ((size_t)9 * 1024 * 1024)

struct pull {
	struct source source;
	struct pull_config c;
	uv_async_t *async; /* freed by their close callbacks */
	uv_timer_t *timer;
	pthread_t thread;
	bool is_started;
	atomic_bool is_stopping;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool is_over;	   /* the thread has ended */
	bool is_abandoned; /* nothing will be told any more */
	struct unit *units;
	size_t count, next; /* next: the first that the loop has not seen */
	size_t last;	    /* the last to hand over */
	size_t open;	    /* without an answer */
};

/* ---- units ------------------------------------------------------------------------------ */

void
unit_init(struct unit *unit)
{
	*unit = (struct unit){ 0 };
	arena_init(&unit->arena, UNIT_ARENA_MAX);
}

void
unit_reset(struct unit *unit)
{
	arena_reset(&unit->arena);
	unit->events = (struct feedback_events){ 0 };
	unit->result = UNIT_OPEN;
	unit->is_understood = false;
	unit->notices = 0;
	unit->why.msg[0] = '\0';
}

void
unit_release(struct unit *unit)
{
	arena_release(&unit->arena);
}

/* ---- the loop's side -------------------------------------------------------------------- */

/* Under the lock. */
static void
settle(struct pull *p, struct unit *unit, enum unit_result result)
{
	unit->result = result;
	if (--p->open == 0)
		(void)pthread_cond_signal(&p->wake);
}

static void
on_done(struct intake_item *item, enum intake_result result)
{
	struct unit *unit = (struct unit *)(void *)((char *)item - offsetof(struct unit, item));
	struct pull *p = unit->pull;

	(void)pthread_mutex_lock(&p->lock);
	settle(p, unit, result == INTAKE_COMMITTED ? UNIT_COMMITTED : UNIT_AGAIN);
	(void)pthread_mutex_unlock(&p->lock);
}

static void on_timer(uv_timer_t *timer);

/* False when it has to wait. Under the lock; the intake calls nobody back from intake_add(). */
static bool
hand_over(struct pull *p, struct unit *unit)
{
	if (unit->result != UNIT_OPEN)
		return true;
	if (atomic_load(&p->is_stopping)) {
		settle(p, unit, UNIT_AGAIN);
		return true;
	}
	unit->pull = p;
	unit->item = (struct intake_item){ .events = unit->events.items,
		.count = unit->events.count,
		.bytes = unit->arena.used_total + sizeof(*unit),
		.done = on_done,
		.source = &p->source,
		.notices = unit->notices,
		.is_last = unit == &p->units[p->last] };
	return intake_is_open(p->c.intake) && intake_add(p->c.intake, &unit->item);
}

static void
advance(struct pull *p)
{
	(void)pthread_mutex_lock(&p->lock);
	while (p->next < p->count && hand_over(p, &p->units[p->next]))
		p->next++;
	if (p->next < p->count)
		(void)uv_timer_start(p->timer, on_timer, LOOK_AGAIN_MS, 0);
	(void)pthread_mutex_unlock(&p->lock);
}

static void
on_timer(uv_timer_t *timer)
{
	advance(timer->data);
}

static void
on_async(uv_async_t *async)
{
	advance(async->data);
}

/* ---- the thread ------------------------------------------------------------------------- */

/* Waits on p->wake under the lock; false when the time is over. */
static bool
wait_ms(struct pull *p, long ms)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += ms % 1000 * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	return pthread_cond_timedwait(&p->wake, &p->lock, &end) != ETIMEDOUT;
}

void
pull_commit(struct pull *p, struct unit *units, size_t count)
{
	size_t open = 0, last = 0;

	for (size_t i = 0; i < count; i++) {
		open += units[i].result == UNIT_OPEN;
		last = units[i].result == UNIT_OPEN ? i : last;
	}
	if (open == 0)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->units = units;
	p->count = count;
	p->next = 0;
	p->last = last;
	p->open = open;
	(void)uv_async_send(p->async);
	while (p->open > 0 && !p->is_abandoned) {
		if (wait_ms(p, p->c.beat != NULL ? p->c.beat_ms : WAIT_LONGEST_MS) ||
		    p->c.beat == NULL || p->is_abandoned)
			continue;
		(void)pthread_mutex_unlock(&p->lock);
		p->c.beat(p->c.ctx);
		(void)pthread_mutex_lock(&p->lock);
	}
	for (size_t i = 0; i < count; i++)
		if (units[i].result == UNIT_OPEN)
			units[i].result = UNIT_AGAIN;
	p->count = p->next = p->open = 0;
	(void)pthread_mutex_unlock(&p->lock);
}

static void
rest(struct pull *p, long ms)
{
	(void)pthread_mutex_lock(&p->lock);
	if (!atomic_load(&p->is_stopping))
		(void)wait_ms(p, ms);
	(void)pthread_mutex_unlock(&p->lock);
}

static void *
run(void *context)
{
	struct pull *p = context;
	long wait = WAIT_FIRST_MS;

	while (!atomic_load(&p->is_stopping)) {
		struct err why = { 0 };
		enum pull_verdict verdict = p->c.round(p->c.ctx, p, &why);

		if (atomic_load(&p->is_stopping))
			break; /* a request cut short is no error */
		if (verdict == PULL_FAILED) {
			log_error("source failed, trying again source=%s wait_ms=%ld error=\"%s\"",
			    p->c.name, wait, why.msg);
			source_error(&p->source, why.msg);
			rest(p, wait);
			wait = wait * 2 < WAIT_LONGEST_MS ? wait * 2 : WAIT_LONGEST_MS;
			continue;
		}
		wait = WAIT_FIRST_MS;
		source_up(&p->source, true);
		if (verdict == PULL_NOTHING)
			rest(p, p->c.poll_ms);
	}
	(void)pthread_mutex_lock(&p->lock);
	p->is_over = true;
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- the source ------------------------------------------------------------------------- */

static void
stop(void *self)
{
	struct pull *p = self;

	atomic_store(&p->is_stopping, true);
	(void)pthread_mutex_lock(&p->lock);
	(void)pthread_cond_signal(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
	(void)uv_async_send(p->async); /* what the loop has not seen yet is given back */
}

static bool
is_idle(void *self)
{
	struct pull *p = self;
	bool is_over;

	(void)pthread_mutex_lock(&p->lock);
	is_over = p->is_over;
	(void)pthread_mutex_unlock(&p->lock);
	return is_over;
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void
pull_free(void *self)
{
	struct pull *p = self;

	atomic_store(&p->is_stopping, true);
	(void)pthread_mutex_lock(&p->lock);
	p->is_abandoned = true;
	(void)pthread_cond_signal(&p->wake);
	(void)pthread_mutex_unlock(&p->lock);
	if (p->is_started)
		(void)pthread_join(p->thread, NULL);
	p->c.release(p->c.ctx);
	if (p->async != NULL)
		uv_close((uv_handle_t *)p->async, free_handle);
	if (p->timer != NULL)
		uv_close((uv_handle_t *)p->timer, free_handle);
	(void)pthread_cond_destroy(&p->wake);
	(void)pthread_mutex_destroy(&p->lock);
	source_release(&p->source);
	free(p);
}

static const struct source_kind pull_kind = { .stop = stop, .is_idle = is_idle, .free = pull_free };

static bool
make_handles(struct pull *p, uv_loop_t *loop)
{
	p->async = calloc(1, sizeof(*p->async));
	p->timer = calloc(1, sizeof(*p->timer));
	if (p->async == NULL || p->timer == NULL || uv_async_init(loop, p->async, on_async) != 0) {
		free(p->async);
		free(p->timer);
		p->async = NULL;
		p->timer = NULL;
		return false;
	}
	(void)uv_timer_init(loop, p->timer);
	p->async->data = p->timer->data = p;
	return true;
}

struct source *
pull_new(uv_loop_t *loop, const struct pull_config *config, struct err *err)
{
	struct pull *p = calloc(1, sizeof(*p));
	pthread_condattr_t monotonic;

	if (p == NULL) {
		config->release(config->ctx);
		(void)err_set(err, "no memory");
		return NULL;
	}
	p->c = *config;
	source_init(&p->source, config->name, &pull_kind, p);
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_condattr_init(&monotonic);
	(void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&p->wake, &monotonic);
	(void)pthread_condattr_destroy(&monotonic);
	if (make_handles(p, loop))
		p->is_started = pthread_create(&p->thread, NULL, run, p) == 0;
	if (p->is_started)
		return &p->source;
	(void)err_set(err, "cannot start the thread of %s", config->name);
	pull_free(p);
	return NULL;
}

bool
pull_is_stopping(const struct pull *p)
{
	return atomic_load(&p->is_stopping);
}

const atomic_bool *
pull_stop_flag(const struct pull *p)
{
	return &p->is_stopping;
}

struct source *
pull_source(struct pull *p)
{
	return &p->source;
}
