/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_uv: the functions of libuv that the dispatcher uses, over simulated events: timers, signals, and
 * streams whose other end is sim_relay. They have libuv's names, so that the linker takes these. What
 * libuv promises is kept: no callback from inside a call, none behind uv_close() but the last, timers
 * never early, uv_run() until nothing is active.
 */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "sim.h"
#include "sim_relay.h"

/* Of each handle of a process; kept until it ends, so that late events meet something. */
struct sim_handle {
	struct sim_handle *next;
	uv_handle_t *handle; /* NULL: closed */
	bool active, closing;
	uint64_t turn; /* of a timer: events of earlier starts are nothing */
	uint64_t repeat_ms;
	uv_timer_cb timer_cb;
	uv_close_cb close_cb;
	/* of a stream */
	uv_alloc_cb alloc_cb;
	uv_read_cb read_cb;
	struct sim_connection *connection;
	uv_connect_t *connect;
	uv_write_t *write; /* under way */
	uv_write_cb write_cb;
	const char *rest; /* of it: not yet with the kernel; borrowed as libuv does */
	size_t rest_len;
};

static struct sim_handle *
of(const void *handle)
{
	return ((const uv_handle_t *)handle)->u.reserved[0];
}

static void
set_active(struct sim_handle *h, bool active)
{
	if (h->active != active)
		sim_self->active = active ? sim_self->active + 1 : sim_self->active - 1;
	h->active = active;
}

static void
begin(uv_loop_t *loop, void *handle)
{
	struct sim_handle *h = sim_alloc(sizeof(*h));
	uv_handle_t *uv = handle;

	h->handle = uv;
	h->next = sim_self->handles;
	sim_self->handles = h;
	uv->loop = loop;
	uv->u.reserved[0] = h;
}

void
sim_uv_release(struct sim_process *p)
{
	for (struct sim_handle *h = p->handles, *next; h != NULL; h = next) {
		next = h->next;
		sim_free(h);
	}
	p->handles = NULL;
}

/* ---- loop ---- */

int
uv_loop_init(uv_loop_t *loop)
{
	(void)loop;
	sim_self->active = 0;
	return 0;
}

int
uv_loop_close(uv_loop_t *loop)
{
	(void)loop;
	return 0;
}

uint64_t
uv_now(const uv_loop_t *loop)
{
	(void)loop;
	return (uint64_t)(sim.now / SIM_MS);
}

uint64_t
uv_hrtime(void)
{
	return (uint64_t)sim.now * 1000;
}

int
uv_run(uv_loop_t *loop, uv_run_mode mode)
{
	struct sim_process *p = sim_self;

	(void)loop;
	(void)mode;
	while (p->active > 0) {
		sim_pause();
		if (p->event != NULL)
			p->event(p->event_ctx, p->event_number);
	}
	return 0;
}

/* ---- any handle ---- */

int
uv_is_active(const uv_handle_t *handle)
{
	return of(handle)->active;
}

int
uv_is_closing(const uv_handle_t *handle)
{
	return of(handle)->closing;
}

static void
on_closed(void *ctx, uint64_t number)
{
	struct sim_handle *h = ctx;
	uv_handle_t *handle = h->handle;

	(void)number;
	if (h->connect != NULL)
		h->connect->cb(h->connect, UV_ECANCELED);
	if (h->write != NULL)
		h->write->cb(h->write, UV_ECANCELED);
	h->connect = NULL;
	h->write = NULL;
	set_active(h, false);
	h->handle = NULL;
	if (h->close_cb != NULL)
		h->close_cb(handle);
}

void
uv_close(uv_handle_t *handle, uv_close_cb cb)
{
	struct sim_handle *h = of(handle);

	if (h->closing)
		abort();
	if (h->connection != NULL)
		sim_relay_close(h->connection);
	h->connection = NULL;
	h->turn++;
	h->closing = true;
	h->close_cb = cb;
	set_active(h, true); /* until it is closed */
	sim_after(sim_self, 0, on_closed, h, 0);
}

/* ---- timers ---- */

static void on_timer(void *ctx, uint64_t turn);

static void
start_timer(struct sim_handle *h, uint64_t ms)
{
	set_active(h, true);
	sim_after(sim_self, (int64_t)ms * SIM_MS + sim_random(200), on_timer, h, ++h->turn);
}

static void
on_timer(void *ctx, uint64_t turn)
{
	struct sim_handle *h = ctx;

	if (h->turn != turn || h->closing)
		return;
	if (h->repeat_ms > 0)
		start_timer(h, h->repeat_ms);
	else
		set_active(h, false);
	h->timer_cb((uv_timer_t *)h->handle);
}

int
uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
	begin(loop, timer);
	return 0;
}

int
uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
	struct sim_handle *h = of(timer);

	if (h->closing)
		return UV_EINVAL;
	h->timer_cb = cb;
	h->repeat_ms = repeat;
	start_timer(h, timeout);
	return 0;
}

int
uv_timer_stop(uv_timer_t *timer)
{
	struct sim_handle *h = of(timer);

	h->turn++;
	if (!h->closing)
		set_active(h, false);
	return 0;
}

/* ---- signals, async ---- */

int
uv_signal_init(uv_loop_t *loop, uv_signal_t *signal)
{
	begin(loop, signal);
	return 0;
}

int
uv_signal_start(uv_signal_t *signal, uv_signal_cb cb, int number)
{
	set_active(of(signal), true);
	signal->signal_cb = cb;
	if (number == SIGTERM)
		sim_self->terminate = of(signal);
	if (number == SIGHUP)
		sim_self->hangup = of(signal);
	return 0;
}

static void
on_signal(void *ctx, uint64_t number)
{
	struct sim_handle *h = ctx;
	uv_signal_t *signal = (uv_signal_t *)h->handle;

	if (signal != NULL && !h->closing)
		signal->signal_cb(signal, (int)number);
}

void
sim_terminate(struct sim_process *p)
{
	bool twice = sim_chance(sim.faults.death * 100);

	if (p->alive && p->terminate != NULL)
		sim_after(p, 0, on_signal, p->terminate, SIGTERM);
	if (p->alive && p->terminate != NULL && twice)
		sim_after(p, sim_random(2000) * SIM_MS, on_signal, p->terminate, SIGTERM);
	p->terminate = NULL;
}

void
sim_reload(struct sim_process *p)
{
	if (!p->alive || p->hangup == NULL)
		return;
	sim.reloads++;
	sim_trace("dispatcher %d reads its configuration again", p->host);
	sim_write_config(p);
	sim_after(p, 0, on_signal, p->hangup, SIGHUP);
}

int
uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb cb)
{
	(void)cb; /* without signatures nobody calls */
	begin(loop, async);
	set_active(of(async), true);
	return 0;
}

/* ---- streams ---- */

int
uv_pipe_init(uv_loop_t *loop, uv_pipe_t *pipe, int ipc)
{
	(void)ipc;
	begin(loop, pipe);
	return 0;
}

static void
on_connected(void *ctx, uint64_t failed)
{
	struct sim_handle *h = ctx;
	uv_connect_t *connect = h->connect;

	if (h->closing)
		return;
	set_active(h, false);
	h->connect = NULL;
	if (failed == 0)
		h->connection = sim_relay_connect(sim_self, h);
	connect->cb(connect, failed != 0 ? UV_ECONNREFUSED : 0);
}

void
uv_pipe_connect(uv_connect_t *connect, uv_pipe_t *pipe, const char *name, uv_connect_cb cb)
{
	struct sim_handle *h = of(pipe);

	(void)name;
	connect->handle = (uv_stream_t *)pipe;
	connect->cb = cb;
	h->connect = connect;
	set_active(h, true);
	sim_after(
	    sim_self, sim_random(3000), on_connected, h, sim_chance(sim.faults.relay_cut / 4));
}

int
uv_read_start(uv_stream_t *stream, uv_alloc_cb alloc, uv_read_cb read)
{
	struct sim_handle *h = of(stream);

	h->alloc_cb = alloc;
	h->read_cb = read;
	set_active(h, true);
	return 0;
}

void
sim_uv_read(struct sim_handle *h, const char *bytes, size_t n)
{
	uv_buf_t b = { NULL, 0 };

	if (h->closing || h->read_cb == NULL)
		return;
	if (bytes == NULL) {
		h->read_cb((uv_stream_t *)h->handle, n == 0 ? UV_EOF : UV_ECONNRESET, &b);
		return;
	}
	while (n > 0 && !h->closing) {
		size_t m;

		h->alloc_cb(h->handle, 65536, &b);
		m = n < b.len ? n : b.len;
		memcpy(b.base, bytes, m);
		bytes += m;
		n -= m;
		h->read_cb((uv_stream_t *)h->handle, (ssize_t)m, &b);
	}
}

int
uv_try_write(uv_stream_t *stream, const uv_buf_t bufs[], unsigned count)
{
	struct sim_handle *h = of(stream);
	size_t n = bufs[0].len;

	(void)count;
	sim_may_die("before write()");
	if (h->connection == NULL || sim_relay_is_broken(h->connection))
		return UV_EPIPE;
	if (sim_chance(sim.faults.short_write))
		n = sim_random((uint32_t)n + 1);
	if (n == 0)
		return UV_EAGAIN;
	sim_relay_write(h->connection, bufs[0].base, n);
	sim_may_die("after write()");
	return (int)n;
}

static void
on_rest(void *ctx, uint64_t number)
{
	struct sim_handle *h = ctx;
	uv_write_t *write = h->write;
	size_t n = h->rest_len;
	int status = 0;

	(void)number;
	if (write == NULL || h->closing)
		return; /* on_closed() calls it off */
	if (h->connection == NULL || sim_relay_is_broken(h->connection)) {
		status = UV_EPIPE;
	} else {
		if (sim_chance(sim.faults.short_write))
			n = sim_random((uint32_t)n + 1);
		sim_may_die("before the rest is written");
		sim_relay_write(h->connection, h->rest, n);
		h->rest += n;
		h->rest_len -= n;
		if (h->rest_len > 0) {
			sim_after(sim_self, sim_random(20000), on_rest, h, 0);
			return;
		}
	}
	h->write = NULL;
	h->rest_len = 0;
	write->cb(write, status);
}

int
uv_write(
    uv_write_t *write, uv_stream_t *stream, const uv_buf_t bufs[], unsigned count, uv_write_cb cb)
{
	struct sim_handle *h = of(stream);

	(void)count;
	write->handle = stream;
	write->cb = cb;
	h->write = write;
	h->rest = bufs[0].base;
	h->rest_len = bufs[0].len;
	sim_after(sim_self, sim_random(20000), on_rest, h, 0);
	return 0;
}

size_t
uv_stream_get_write_queue_size(const uv_stream_t *stream)
{
	return of(stream)->rest_len;
}
