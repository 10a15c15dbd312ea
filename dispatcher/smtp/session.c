/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: see session.h. session_turn() is the engine's documented turn: outcomes, offers,
 * output, outcomes again, then either the end or the next deadline. A second message may be
 * offered while the first waits for the answer to its dot, so each flight carries its own text.
 *
 * The engine is told that bytes are written when the kernel has them: what still waits in here when
 * a connection dies has certainly not been sent. Under TLS that is known of whole records only.
 */
#include "session.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "brakes.h"
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
#define HANDSHAKE_S 60
#define TICK_MS 1000

struct session {
	struct dispatcher *d;
	const struct session_host *host;
	struct relay *relay;
	struct smtp *smtp;
	struct tls *tls; /* NULL while in clear */
	bool secured;	 /* its handshake is done */
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} socket;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_write_t write;
	struct buf rest;   /* what the socket did not take at once */
	size_t unreported; /* of it: bytes that the engine still counts as unwritten */
	struct buf *texts[FREE_TEXTS];
	unsigned text_count;
	unsigned flights;      /* offered, without an outcome yet */
	bool tls_first;	       /* TLS comes before the greeting */
	bool connected, ready; /* ready: seen to be through EHLO, TLS and login */
	bool writing, closing, in_turn, again;
	unsigned handles; /* open ones */
	uint32_t progress;
	uint64_t progress_ms;
	char input[READ_BYTES];
};

static void session_turn(struct session *s);
static void note_progress(struct session *s);

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

	return mark_may(s->d, f);
}

static bool
before_dot(void *ctx, uint64_t ref)
{
	struct session *s = ctx;

	return mark_before(s->d, (struct flight *)(uintptr_t)ref);
}

/* ---- the turn ---- */

/* Not an answer about this recipient: the route decides what becomes of the flight. */
static bool
goes_back(const struct flight *f, const struct outcome *o, bool is_relay)
{
	struct live_run *run = flight_run(f);

	run->taken = run->taken || o->kind == OUTCOME_SENT;
	return o->kind == OUTCOME_RELEASED || relay_is_to_blame(o) ||
	    (smtp_is_too_large(o) && (is_relay || !run->taken));
}

/* What is said of our own account is nothing that a provider's rules know. */
static struct brakes_advice
hear(struct session *s, const struct flight *f, struct outcome *o)
{
	const char *to = db_text(f->batch->rows, f->row, CLAIM_ADDRESS);

	if (s->host->is_relay && relay_take_blame(o, slice_str(to)))
		return (struct brakes_advice){ BRAKES_USUAL, 0 };
	return brakes_hear(s->d->brakes, f, o);
}

static void
note_silence(const struct session *s, const struct outcome *o)
{
	if (relay_hear(s->relay, o))
		log_warn("server silent host=%s port=%u: contents are not answered (does the path "
			 "lose large packets?); one connection at a time until one is",
		    s->relay->name, s->relay->port);
}

static void
take_outcomes(struct session *s)
{
	struct brakes_advice advice;
	struct outcome o;
	uint64_t ref;

	while (smtp_next_outcome(s->smtp, &ref, &o)) {
		struct flight *f = (struct flight *)(uintptr_t)ref;

		note_silence(s, &o);
		advice = hear(s, f, &o);
		mark_answer(s->d, f, &o);
		s->flights--;
		s->d->leaving--;
		if (smtp_is_too_large(&o) && f->message != NULL)
			f->bytes = f->message->len;
		keep_text(s, f->message);
		f->message = NULL;
		if (advice.way == BRAKES_POSTPONE)
			settle_postpone(s->d->settler, f, &o, advice.wait_s);
		else if (advice.way == BRAKES_LATER)
			settle_later(s->d->settler, f, &o, advice.wait_s);
		else if (!goes_back(f, &o, s->host->is_relay))
			settle_outcome(s->d->settler, f, &o);
		else
			s->host->give_back(s->host->ctx, s->relay, f, &o);
	}
}

static void
offer(struct session *s)
{
	while (s->ready && smtp_wants(s->smtp) && !dispatcher_is_full(s->d)) {
		struct flight *f = s->host->take(s->host->ctx, s->relay);
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
		s->d->leaving++;
		smtp_offer(s->smtp, &envelope);
	}
}

/* Tells the engine what the kernel has taken of the rest. */
static void
report_written(struct session *s)
{
	size_t left;

	if (!s->writing || s->unreported == 0)
		return;
	left = uv_stream_get_write_queue_size(&s->socket.stream);
	if (left < s->unreported) {
		smtp_wrote(s->smtp, s->unreported - left);
		s->unreported = left;
	}
}

static void
on_written(uv_write_t *write, int status)
{
	struct session *s = write->data;

	s->writing = false;
	buf_reset(&s->rest);
	if (s->closing)
		return;
	/* after an error nobody knows: count it as gone */
	smtp_wrote(s->smtp, s->unreported);
	s->unreported = 0;
	if (status < 0)
		smtp_abort(s->smtp, OUTCOME_PHASE_NONE, uv_strerror(status));
	session_turn(s);
}

/* Gives bytes to the kernel, what it does not take at once to libuv. The number of bytes taken at
 * once, or a negative error: then none was. */
static ssize_t
put_bytes(struct session *s, struct slice bytes)
{
	uv_buf_t b = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len);
	int n = uv_try_write(&s->socket.stream, &b, 1);
	size_t taken = n > 0 ? (size_t)n : 0;

	if (n < 0 && n != UV_EAGAIN)
		return n;
	if (taken == bytes.len)
		return n;
	buf_append(&s->rest, bytes.ptr + taken, bytes.len - taken);
	b = uv_buf_init(s->rest.data, (unsigned)s->rest.len);
	s->write.data = s;
	s->writing =
	    !buf_failed(&s->rest) && uv_write(&s->write, &s->socket.stream, &b, 1, on_written) == 0;
	if (!s->writing)
		smtp_abort(s->smtp, OUTCOME_PHASE_NONE, "cannot write");
	return (ssize_t)taken;
}

/* Encrypts what the engine says and gives it to the kernel, handshake bytes too. */
static void
write_encrypted(struct session *s)
{
	while (!s->writing) {
		struct slice plain = { NULL, 0 }, out;
		ssize_t n;

		if (s->secured)
			plain = smtp_output(s->smtp);
		if (plain.len > 0 && !tls_write(s->tls, plain)) {
			smtp_abort(s->smtp, OUTCOME_PHASE_NONE, tls_failure(s->tls));
			return;
		}
		out = tls_output(s->tls);
		if (out.len == 0)
			return;
		n = put_bytes(s, out);
		if (n < 0) {
			smtp_abort(s->smtp, OUTCOME_PHASE_NONE, uv_strerror((int)n));
			return;
		}
		tls_wrote(s->tls, out.len);
		smtp_wrote(s->smtp, plain.len);
	}
}

static void
write_output(struct session *s)
{
	while (!s->writing) {
		struct slice out = smtp_output(s->smtp);
		ssize_t n;

		if (out.len == 0)
			return;
		CRASH_POINT("before_write");
		n = put_bytes(s, out);
		CRASH_POINT("after_write");
		if (n < 0) {
			smtp_abort(s->smtp, OUTCOME_PHASE_NONE, uv_strerror((int)n));
			return;
		}
		if (s->writing)
			s->unreported = out.len - (size_t)n;
		smtp_wrote(s->smtp, (size_t)n);
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
	tls_free(s->tls);
	smtp_free(s->smtp);
	free(s);
}

/* A polite end of TLS, if there is room for it. */
static void
say_goodbye(struct session *s)
{
	struct slice out;
	uv_buf_t b;

	if (s->tls == NULL || s->writing)
		return;
	tls_close(s->tls);
	out = tls_output(s->tls);
	b = uv_buf_init((char *)(uintptr_t)out.ptr, (unsigned)out.len);
	if (out.len > 0)
		(void)uv_try_write(&s->socket.stream, &b, 1);
}

/* What this server turned out not to manage is not tried on its next connections. */
static void
note_habits(struct session *s)
{
	struct relay *r = s->relay;

	if (smtp_chunking_failed(s->smtp) && !r->no_chunking) {
		log_warn("relay %s refuses BDAT although it offers CHUNKING; using DATA", r->name);
		r->no_chunking = true;
	}
	if (!smtp_pipelining_failed(s->smtp) || r->no_pipelining)
		return;
	/* first without the envelope behind the dot, then without groups */
	if (!r->no_next_behind)
		r->no_next_behind = true;
	else
		r->no_pipelining = true;
	log_warn("relay %s does not manage pipelined commands although it offers them; %s", r->name,
	    r->no_pipelining ? "doing without" : "not sending the next envelope behind the dot");
}

/* The engine is closed and all its outcomes are taken. */
static void
end(struct session *s)
{
	const struct outcome *why = smtp_failure(s->smtp);

	s->closing = true;
	note_habits(s);
	say_goodbye(s);
	(void)uv_timer_stop(&s->timer);
	uv_close((uv_handle_t *)&s->timer, on_closed);
	uv_close(&s->socket.handle, on_closed);
	if (why != NULL && !s->ready)
		s->host->unwell(s->host->ctx, s->relay, why);
	else if (why != NULL)
		log_info("session ended phase=%s text=\"%.*s\" messages=%u",
		    outcome_phase_name(why->phase), SLICE_ARG(why->text), smtp_messages(s->smtp));
	if (smtp_repaired(s->smtp) > 0)
		log_warn("bare CR or LF made CRLF: a fault of the composer, please report it "
			 "count=%" PRIu64,
		    smtp_repaired(s->smtp));
	s->host->ended(s->host->ctx, s);
}

/* The wait that is under way now, in ms, and what its end means. */
static uint64_t
present_limit_ms(const struct session *s)
{
	if (!s->connected)
		return (uint64_t)s->host->connect_timeout_s * 1000;
	if (s->tls != NULL && !s->secured)
		return HANDSHAKE_S * 1000;
	if (smtp_is_idle(s->smtp) && s->ready)
		return (uint64_t)s->host->idle_s * 1000;
	return (uint64_t)smtp_deadline_s(s->smtp) * 1000;
}

static void
on_deadline(uv_timer_t *timer)
{
	struct session *s = timer->data;
	uint64_t now = dispatcher_now_ms(s->d), limit;

	report_written(s);
	note_progress(s);
	limit = present_limit_ms(s);
	if (now - s->progress_ms < limit) {
		uint64_t left = limit - (now - s->progress_ms);

		/* the limit may have become another one by then */
		(void)uv_timer_start(&s->timer, on_deadline, left < TICK_MS ? left : TICK_MS, 0);
		return;
	}
	if (!s->connected)
		smtp_abort(s->smtp, OUTCOME_PHASE_CONNECT, "no connection in time");
	else if (s->tls != NULL && !s->secured)
		smtp_abort(s->smtp, OUTCOME_PHASE_TLS, "TLS handshake not done in time");
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
		(void)uv_timer_start(&s->timer, on_deadline, TICK_MS, 0);
}

/* Through EHLO, TLS and login: from now on the end of the session says nothing about the relay. */
static void
note_ready(struct session *s)
{
	if (s->ready || !smtp_is_ready(s->smtp))
		return;
	s->ready = true;
	s->relay->size = (size_t)smtp_features(s->smtp)->size_max;
	if (s->tls != NULL && log_is_on(LOG_LEVEL_DEBUG))
		log_debug("relay %s encrypted by %s", s->relay->name, tls_version(s->tls));
	s->host->works(s->host->ctx, s->relay);
}

/* The engine asked for TLS, or it comes first. */
static void
begin_tls(struct session *s)
{
	s->tls = tls_new(s->host->tls, s->relay->tls_name, s->relay->tlsa);
	if (s->tls == NULL)
		smtp_abort(s->smtp, OUTCOME_PHASE_TLS, "cannot begin TLS");
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
		if (s->connected && s->tls == NULL && smtp_wants_tls(s->smtp))
			begin_tls(s);
		if (s->connected && s->tls != NULL)
			write_encrypted(s);
		else if (s->connected)
			write_output(s);
	} while (s->again || smtp_has_outcome(s->smtp));
	s->in_turn = false;
	note_progress(s);
	if (smtp_is_closed(s->smtp))
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

/* Bytes from the network while encrypted. */
static void
read_encrypted(struct session *s, const char *bytes, size_t n)
{
	char plain[READ_BYTES];
	size_t got;

	tls_input(s->tls, bytes, n);
	if (tls_state(s->tls) == TLS_OPEN && !s->secured) {
		s->secured = true;
		if (smtp_wants_tls(s->smtp))
			smtp_secured(s->smtp);
	}
	while ((got = tls_read(s->tls, plain, sizeof(plain))) > 0)
		smtp_input(s->smtp, plain, got);
	if (tls_state(s->tls) == TLS_FAILED)
		smtp_abort(s->smtp, s->secured ? OUTCOME_PHASE_NONE : OUTCOME_PHASE_TLS,
		    tls_failure(s->tls));
	else if (tls_state(s->tls) == TLS_ENDED)
		smtp_eof(s->smtp);
}

static void
on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct session *s = stream->data;

	if (n == 0 || s->closing)
		return;
	CRASH_POINT("reply_read");
	report_written(s);
	if (n > 0 && s->tls != NULL)
		read_encrypted(s, b->base, (size_t)n);
	else if (n > 0)
		smtp_input(s->smtp, b->base, (size_t)n);
	else if (s->tls != NULL && !s->secured)
		smtp_abort(s->smtp, OUTCOME_PHASE_TLS,
		    "the server closed the connection during the TLS handshake");
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
		if (!s->relay->local)
			(void)uv_tcp_nodelay(&s->socket.tcp, 1);
		if (s->tls_first)
			begin_tls(s);
		(void)uv_read_start(&s->socket.stream, on_alloc, on_read);
	}
	session_turn(s);
}

static struct smtp *
make_engine(struct session *s, enum smtp_tls tls)
{
	const struct config *config = s->d->config;
	const struct relay *r = s->relay;
	unsigned most = s->host->max_messages;
	struct smtp_options options = { .ehlo_name = s->host->ehlo,
		.lmtp = s->host->lmtp,
		.tls = tls,
		.auth = s->host->auth,
		.pipelining = config->relay_pipelining && !r->no_pipelining,
		.next_behind_dot = config->relay_next_behind_dot && !r->no_next_behind,
		.chunking = config->relay_chunking && !r->no_chunking,
		.dsn = true,
		.max_messages = brakes_messages(s->d->brakes, r->name,
		    r->most_messages > 0 && r->most_messages < most ? r->most_messages : most),
		.command_timeout_s = (unsigned)config->relay_command_timeout_s,
		.dot_timeout_s = (unsigned)config->relay_dot_timeout_s,
		.ctx = s,
		.may_send = may_send,
		.before_dot = before_dot };

	return smtp_new(&options, r->name);
}

/* 0, or an error of libuv. What fails later is told to on_connect(). */
static int
begin_connecting(struct session *s)
{
	struct relay *r = s->relay;
	int error = 0;

	if (r->local) {
		uv_pipe_connect(&s->connect, &s->socket.pipe, r->name, on_connect);
		return 0;
	}
	if (s->host->from != NULL)
		error = uv_tcp_bind(&s->socket.tcp, s->host->from, 0);
	if (error == 0)
		error = uv_tcp_connect(&s->connect, &s->socket.tcp,
		    (const struct sockaddr *)&r->addresses[r->at], on_connect);
	return error;
}

struct session *
session_open(struct dispatcher *d, const struct session_host *host, struct relay *relay,
    enum smtp_tls tls, int *error)
{
	struct session *s = calloc(1, sizeof(*s));

	*error = UV_ENOMEM;
	if (s == NULL)
		return NULL;
	s->d = d;
	s->host = host;
	s->relay = relay;
	s->tls_first = tls == SMTP_TLS_ALREADY;
	s->smtp = make_engine(s, tls);
	if (s->smtp == NULL) {
		free(s);
		return NULL;
	}
	buf_init(&s->rest, 2 * SMTP_OUTPUT_MAX);
	if (relay->local)
		(void)uv_pipe_init(&d->loop, &s->socket.pipe, 0);
	else
		(void)uv_tcp_init(&d->loop, &s->socket.tcp);
	(void)uv_timer_init(&d->loop, &s->timer);
	s->socket.handle.data = s->timer.data = s->connect.data = s;
	s->handles = 2;
	s->progress_ms = dispatcher_now_ms(d);
	s->progress = smtp_progress(s->smtp);
	(void)uv_timer_start(&s->timer, on_deadline, TICK_MS, 0);
	*error = begin_connecting(s);
	if (*error == 0)
		return s;
	/* no descriptor, no such family, no such local address: nothing was sent */
	s->closing = true;
	(void)uv_timer_stop(&s->timer);
	uv_close((uv_handle_t *)&s->timer, on_closed);
	uv_close(&s->socket.handle, on_closed);
	return NULL;
}

struct relay *
session_relay(const struct session *s)
{
	return s->relay;
}

bool
session_is_free(const struct session *s)
{
	return s->ready && !s->closing && smtp_wants(s->smtp) && !dispatcher_is_full(s->d);
}

bool
session_is_idle(const struct session *s)
{
	return smtp_is_idle(s->smtp);
}

bool
session_has_worked(const struct session *s)
{
	return s->ready;
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
