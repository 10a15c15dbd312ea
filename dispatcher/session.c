/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: see session.h. session_turn() is the engine's documented turn: outcomes, offers,
 * output, outcomes again, then either the end or the next deadline. A second message may be
 * offered while the first waits for the answer to its dot, so each flight carries its own text.
 */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "compose.h"
#include "crash.h"
#include "db.h"
#include "log.h"
#include "mark.h"
#include "settle.h"
#include "smtp.h"

#define READ_BYTES 16384
#define FREE_TEXTS 4	   /* message buffers kept for the next flights */
#define KEEP_BYTES 1000000 /* larger ones are not kept */

struct session {
	struct dispatcher *d;
	const struct session_host *host;
	struct smtp *smtp;
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	struct buf rest; /* what the socket did not take at once */
	struct buf *texts[FREE_TEXTS];
	unsigned text_count;
	unsigned flights;      /* offered, without an outcome yet */
	bool connected, ready; /* ready: seen to be through EHLO */
	bool writing, closing, in_turn, again;
	unsigned handles; /* open ones */
	uint32_t progress;
	uint64_t progress_ms;
	char input[READ_BYTES];
};

static void session_turn(struct session *s);

/* ---- texts ---- */

static struct buf *
take_text(struct session *s)
{
	struct buf *b;

	if (s->text_count > 0)
		return s->texts[--s->text_count];
	b = malloc(sizeof(*b));
	if (b != NULL)
		buf_init(b, MESSAGE_BUFFER_MAX);
	return b;
}

static void
keep_text(struct session *s, struct buf *b)
{
	if (b == NULL)
		return;
	if (s->text_count < FREE_TEXTS && b->capacity <= KEEP_BYTES) {
		buf_reset(b);
		s->texts[s->text_count++] = b;
	} else {
		buf_release(b);
		free(b);
	}
}

/* Composes f->message. False when the recipient was settled instead. */
static bool
compose(struct session *s, struct flight *f)
{

	if (f->message == NULL) { /* not made ahead */
		f->message = take_text(s);
		if (f->message == NULL) {
			settle_release(s->d->settler, f);
			return false;
		}
		f->refused = !compose_flight(&s->d->keys, f, &f->refusal);
	}
	if (!f->refused)
		return true;
	keep_text(s, f->message);
	f->message = NULL;
	settle_refusal(s->d->settler, f, &f->refusal);
	return false;
}

/* ---- the engine's callbacks ---- */

static bool
may_send(void *ctx, uint64_t ref)
{
	struct session *s = ctx;
	const struct flight *f = (const struct flight *)(uintptr_t)ref;

	return flight_run(f)->running && !s->d->fenced;
}

static bool
before_dot(void *ctx, uint64_t ref)
{
	struct session *s = ctx;

	return mark_before(s->d, (struct flight *)(uintptr_t)ref);
}

/* ---- the turn ---- */

static void
take_outcomes(struct session *s)
{
	struct outcome o;
	uint64_t ref;

	while (smtp_next_outcome(s->smtp, &ref, &o)) {
		struct flight *f = (struct flight *)(uintptr_t)ref;

		mark_answer(s->d, f, &o);
		s->flights--;
		keep_text(s, f->message);
		f->message = NULL;
		if (o.kind != OUTCOME_RELEASED)
			settle_outcome(s->d->settler, f, &o);
		else
			s->host->give_back(s->host->ctx, f, &o);
	}
}

static void
offer(struct session *s)
{
	while (smtp_wants(s->smtp)) {
		struct flight *f = s->host->take(s->host->ctx);
		struct smtp_envelope envelope;

		if (f == NULL)
			break;
		if (!compose(s, f))
			continue;
		envelope = (struct smtp_envelope){ .ref = (uint64_t)(uintptr_t)f,
			.mail_from = slice_str(f->return_path),
			.rcpt_to = slice_str(db_text(f->batch->rows, f->row, CLAIM_ADDRESS)),
			.envid = slice_str(f->token),
			.data = buf_slice(f->message) };
		s->flights++;
		smtp_offer(s->smtp, &envelope);
	}
}

static void
on_written(uv_write_t *write, int status)
{
	struct session *s = write->data;

	s->writing = false;
	buf_reset(&s->rest);
	if (status < 0 && !s->closing)
		smtp_abort(s->smtp, OUTCOME_PHASE_NONE, uv_strerror(status));
	session_turn(s);
}

static void
write_output(struct session *s)
{
	while (!s->writing) {
		struct slice out = smtp_output(s->smtp);
		uv_buf_t b = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
		int n;

		if (out.len == 0)
			return;
		CRASH_POINT("before_write");
		n = uv_try_write((uv_stream_t *)&s->tcp, &b, 1);
		CRASH_POINT("after_write");
		if (n < 0 && n != UV_EAGAIN) {
			smtp_wrote(s->smtp, out.len); /* nobody knows: count it as gone */
			smtp_abort(s->smtp, OUTCOME_PHASE_NONE, uv_strerror(n));
			return;
		}
		if (n < (int)out.len) {
			size_t taken = n > 0 ? (size_t)n : 0;

			buf_append(&s->rest, out.ptr + taken, out.len - taken);
			b = uv_buf_init(s->rest.data, (unsigned)s->rest.len);
			s->write.data = s;
			s->writing = !buf_failed(&s->rest) &&
			    uv_write(&s->write, (uv_stream_t *)&s->tcp, &b, 1, on_written) == 0;
			smtp_wrote(s->smtp, out.len);
			if (!s->writing)
				smtp_abort(s->smtp, OUTCOME_PHASE_NONE, "cannot write");
			return;
		}
		smtp_wrote(s->smtp, out.len);
	}
}

static void
on_closed(uv_handle_t *handle)
{
	struct session *s = handle->data;

	if (--s->handles > 0)
		return;
	for (unsigned i = 0; i < s->text_count; i++) {
		buf_release(s->texts[i]);
		free(s->texts[i]);
	}
	buf_release(&s->rest);
	smtp_free(s->smtp);
	free(s);
}

/* The engine is closed and all its outcomes are taken. */
static void
end(struct session *s)
{
	const struct outcome *why = smtp_failure(s->smtp);

	s->closing = true;
	(void)uv_timer_stop(&s->timer);
	uv_close((uv_handle_t *)&s->timer, on_closed);
	uv_close((uv_handle_t *)&s->tcp, on_closed);
	if (why != NULL && !s->ready)
		s->host->unwell(s->host->ctx, why);
	else if (why != NULL)
		log_info("session ended phase=%s text=\"%.*s\" messages=%u",
		    outcome_phase_name(why->phase), SLICE_ARG(why->text), smtp_messages(s->smtp));
	s->host->ended(s->host->ctx, s);
}

static void
on_deadline(uv_timer_t *timer)
{
	struct session *s = timer->data;
	uint64_t now = dispatcher_now_ms(s->d);
	uint64_t limit = (uint64_t)smtp_deadline_s(s->smtp) * 1000;

	if (!s->connected)
		limit = (uint64_t)s->d->config->relay_connect_timeout_s * 1000;
	else if (smtp_is_idle(s->smtp) && s->ready)
		limit = (uint64_t)s->d->config->relay_idle_s * 1000;
	if (now - s->progress_ms < limit) {
		(void)uv_timer_start(&s->timer, on_deadline, limit - (now - s->progress_ms), 0);
		return;
	}
	if (!s->connected)
		smtp_abort(s->smtp, OUTCOME_PHASE_CONNECT, "no connection in time");
	else if (smtp_is_idle(s->smtp) && s->ready)
		smtp_quit(s->smtp);
	else
		smtp_timeout(s->smtp);
	session_turn(s);
}

/* The timer is only pushed forward when it fires, so a busy session never touches it. */
static void
note_progress(struct session *s)
{
	uint32_t progress = smtp_progress(s->smtp);

	if (progress == s->progress && s->progress_ms != 0)
		return;
	s->progress = progress;
	s->progress_ms = dispatcher_now_ms(s->d);
	if (!uv_is_active((uv_handle_t *)&s->timer) || smtp_is_idle(s->smtp))
		(void)uv_timer_start(&s->timer, on_deadline, 1000, 0);
}

/* Through EHLO: from now on the end of the session says nothing about the relay. */
static void
note_ready(struct session *s)
{
	if (s->ready || (smtp_extensions(s->smtp) == 0 && !smtp_wants(s->smtp)))
		return;
	s->ready = true;
	s->host->works(s->host->ctx);
}

/* What happens in here may lead back to this session (a kick of the route): then once more. */
static void
session_turn(struct session *s)
{
	if (s->closing)
		return;
	if (s->in_turn) {
		s->again = true;
		return;
	}
	s->in_turn = true;
	do {
		s->again = false;
		take_outcomes(s);
		note_ready(s);
		offer(s);
		if (s->connected)
			write_output(s);
	} while (s->again || smtp_has_outcome(s->smtp));
	s->in_turn = false;
	note_progress(s);
	if (smtp_is_closed(s->smtp) && !s->writing)
		end(s);
}

/* ---- events ---- */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *b)
{
	struct session *s = handle->data;

	(void)suggested;
	*b = uv_buf_init(s->input, sizeof(s->input));
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct session *s = stream->data;

	if (n == 0 || s->closing)
		return;
	CRASH_POINT("reply_read");
	if (n > 0)
		smtp_input(s->smtp, b->base, (size_t)n);
	else if (n == UV_EOF)
		smtp_eof(s->smtp);
	else
		smtp_abort(s->smtp, OUTCOME_PHASE_NONE, uv_strerror((int)n));
	session_turn(s);
}

static void
on_connect(uv_connect_t *connect, int status)
{
	struct session *s = connect->data;

	if (s->closing)
		return;
	if (status < 0) {
		smtp_abort(s->smtp, OUTCOME_PHASE_CONNECT, uv_strerror(status));
	} else {
		s->connected = true;
		CRASH_POINT("connected");
		s->progress_ms = dispatcher_now_ms(s->d);
		(void)uv_tcp_nodelay(&s->tcp, 1);
		(void)uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
	}
	session_turn(s);
}

struct session *
session_open(struct dispatcher *d, const struct session_host *host, const struct sockaddr *address)
{
	const struct config *config = d->config;
	struct smtp_options options = { .ehlo_name = config->relay_ehlo,
		.pipelining = config->relay_pipelining,
		.next_behind_dot = config->relay_next_behind_dot,
		.dsn = true,
		.max_messages = (unsigned)config->relay_messages_per_connection,
		.may_send = may_send,
		.before_dot = before_dot };
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	options.ctx = s;
	s->smtp = smtp_new(&options, config->relay_host);
	if (s->smtp == NULL) {
		free(s);
		return NULL;
	}
	s->d = d;
	s->host = host;
	buf_init(&s->rest, SMTP_OUTPUT_MAX + 1);
	(void)uv_tcp_init(&d->loop, &s->tcp);
	(void)uv_timer_init(&d->loop, &s->timer);
	s->tcp.data = s->timer.data = s->connect.data = s;
	s->handles = 2;
	s->progress_ms = dispatcher_now_ms(d);
	s->progress = smtp_progress(s->smtp);
	(void)uv_timer_start(
	    &s->timer, on_deadline, (uint64_t)config->relay_connect_timeout_s * 1000, 0);
	if (uv_tcp_connect(&s->connect, &s->tcp, address, on_connect) < 0) {
		/* no descriptor, no such family: nothing was sent */
		s->closing = true;
		(void)uv_timer_stop(&s->timer);
		uv_close((uv_handle_t *)&s->timer, on_closed);
		uv_close((uv_handle_t *)&s->tcp, on_closed);
		return NULL;
	}
	return s;
}

bool
session_is_free(const struct session *s)
{
	return s->ready && !s->closing && smtp_wants(s->smtp);
}

bool
session_is_ready(const struct session *s)
{
	return s->ready && !s->closing;
}

bool
session_is_connecting(const struct session *s)
{
	return !s->ready && !s->closing;
}

void
session_kick(struct session *s)
{
	session_turn(s);
}

void
session_quit(struct session *s)
{
	if (s->closing)
		return;
	if (!s->connected)
		smtp_abort(s->smtp, OUTCOME_PHASE_CONNECT, "stopping");
	else
		smtp_quit(s->smtp);
	session_turn(s);
}
