/* SPDX-License-Identifier: Apache-2.0 */
/* signer: see signer.h. Two lists under one lock, flights to make and flights made; the loop is woken
 * when the second is no longer empty. */
#include "signer.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "compose.h"
#include "log.h"
#include "settle.h"

#define WINDOW_PER_THREAD 64
#define WINDOW_MIN 128
#define AHEAD_BYTES_MAX                                                                            \
	((size_t)64 << 20) /* of messages made and not yet gone; one is always allowed */

struct list {
	struct flight *first, **last;
};

struct signer {
	struct dispatcher *d;
	uv_async_t async;
	uv_thread_t *threads;
	unsigned thread_count; /* running ones */
	size_t window;
	size_t under_way; /* flights that threads have */
	size_t typical;	  /* bytes of the last message */

	uv_mutex_t lock; /* of what follows */
	uv_cond_t wake;
	struct list todo, done;
	bool ending;
};

static void
list_put(struct list *l, struct flight *f)
{
	f->next = NULL;
	*l->last = f;
	l->last = &f->next;
}

static struct flight *
list_take(struct list *l)
{
	struct flight *f = l->first;

	if (f == NULL)
		return NULL;
	l->first = f->next;
	if (l->first == NULL)
		l->last = &l->first;
	return f;
}

/* ---- the threads ---- */

static void
make(struct signer *s, struct flight *f)
{
	const struct dkim_options options = { .now_s = (int64_t)time(NULL),
		.lifetime_s = s->d->config->dkim_expire_s,
		.ses = strcmp(s->d->config->dispatcher_transport, "ses") == 0 };
	struct err err;

	if (f->unwanted)
		return;
	f->refused = !compose_flight(&s->d->keys, f, &f->refusal);
	if (!f->refused && dkim_sign(flight_run(f)->dkim, &options, f->message, &err) < 0) {
		f->refused = true;
		f->refusal = (struct compose_refusal){ .reason = "not_signed" };
	}
}

static void
work(void *ctx)
{
	struct signer *s = ctx;

	uv_mutex_lock(&s->lock);
	for (;;) {
		struct flight *f = list_take(&s->todo);
		bool first;

		if (f == NULL && s->ending)
			break;
		if (f == NULL) {
			uv_cond_wait(&s->wake, &s->lock);
			continue;
		}
		uv_mutex_unlock(&s->lock);
		make(s, f);
		uv_mutex_lock(&s->lock);
		first = s->done.first == NULL;
		list_put(&s->done, f);
		if (first)
			(void)uv_async_send(&s->async);
	}
	uv_mutex_unlock(&s->lock);
}

/* ---- the loop ---- */

static void
on_done(uv_async_t *async)
{
	struct signer *s = async->data;
	struct flight *f, *next;

	uv_mutex_lock(&s->lock);
	f = s->done.first;
	s->done = (struct list){ NULL, &s->done.first };
	uv_mutex_unlock(&s->lock);
	for (; f != NULL; f = next) {
		next = f->next;
		s->under_way--;
		f->signing = false;
		if (f->unwanted)
			settle_release(s->d->settler, f);
		else if (f->message->len > 0)
			s->typical = f->message->len;
	}
	s->d->news->prepared(s->d);
}

struct signer *
signer_new(struct dispatcher *d)
{
	struct signer *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->d = d;
	s->todo.last = &s->todo.first;
	s->done.last = &s->done.first;
	(void)uv_async_init(&d->loop, &s->async, on_done);
	s->async.data = s;
	if (uv_mutex_init(&s->lock) != 0 || uv_cond_init(&s->wake) != 0)
		abort(); /* only without memory, at the start */
	return s;
}

void
signer_free(struct signer *s)
{
	if (s == NULL)
		return;
	uv_cond_destroy(&s->wake);
	uv_mutex_destroy(&s->lock);
	free(s->threads);
	free(s);
}

/* As many threads as can be had, at least one. */
static bool
start_threads(struct signer *s)
{
	unsigned wanted = (unsigned)s->d->config->dkim_threads;

	if (s->thread_count > 0)
		return true;
	if (wanted == 0)
		wanted = uv_available_parallelism();
	if (s->threads == NULL)
		s->threads = calloc(wanted, sizeof(*s->threads));
	while (s->threads != NULL && s->thread_count < wanted &&
	    uv_thread_create(&s->threads[s->thread_count], work, s) == 0)
		s->thread_count++;
	s->window = (size_t)s->thread_count * WINDOW_PER_THREAD;
	if (s->window < WINDOW_MIN)
		s->window = WINDOW_MIN;
	if (s->thread_count > 0)
		log_info("signing threads=%u window=%zu", s->thread_count, s->window);
	return s->thread_count > 0;
}

static bool
hand_over(struct signer *s, struct flight *f)
{
	struct buf *message = start_threads(s) ? malloc(sizeof(*message)) : NULL;

	if (message == NULL)
		return false; /* tried again at the next kick of the route */
	buf_init(message, MESSAGE_BUFFER_MAX);
	f->message = message;
	f->signing = true;
	s->under_way++;
	uv_mutex_lock(&s->lock);
	list_put(&s->todo, f);
	uv_cond_signal(&s->wake);
	uv_mutex_unlock(&s->lock);
	return true;
}

void
signer_ahead(struct signer *s, const struct ready *ready)
{
	size_t bytes = s->under_way * s->typical;
	size_t most = s->window > 0 ? s->window : WINDOW_MIN;

	/* enough in hand; but the first one is what everybody waits for */
	if (s->under_way >= most / 2 &&
	    (ready->count == 0 || signer_has(ready->heap[0]) || ready->heap[0]->signing))
		return;
	for (size_t i = 0; i < ready->count && i < most; i++) {
		struct flight *f = ready->heap[i];

		if (flight_run(f)->dkim == NULL || f->signing)
			continue;
		if (f->message != NULL) {
			bytes += f->message->len;
			continue;
		}
		if (i > 0 &&
		    (bytes + s->typical > AHEAD_BYTES_MAX ||
			memory_is_short(s->d->memory, dispatcher_now_ms(s->d))))
			return;
		if (!hand_over(s, f))
			return;
		bytes += s->typical;
	}
}

bool
signer_drop(struct flight *f)
{
	if (!f->signing)
		return false;
	f->unwanted = true;
	return true;
}

bool
signer_is_idle(const struct signer *s)
{
	return s->under_way == 0;
}

void
signer_stop(struct signer *s)
{
	uv_mutex_lock(&s->lock);
	s->ending = true;
	uv_cond_broadcast(&s->wake);
	uv_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->thread_count; i++)
		(void)uv_thread_join(&s->threads[i]);
	s->thread_count = 0;
	if (!uv_is_closing((uv_handle_t *)&s->async))
		uv_close((uv_handle_t *)&s->async, NULL);
}
