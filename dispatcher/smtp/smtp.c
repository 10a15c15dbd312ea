/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp: see smtp.h. Owns the output buffer, the reply being read, up to two envelopes (the one
 * whose replies come first, and the one written behind its dot) and the outcomes not yet taken.
 * Every peculiarity of a server becomes an outcome or the end of the session, never an error.
 */
#include "smtp.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "classify.h"
#include "smtp_body.h"
#include "smtp_reply.h"

/*
 * Paths
 *   first message   GREETING EHLO IDLE MAIL RCPT DATA BODY DOT
 *   next message    IDLE MAIL ..., or straight from DOT to MAIL when it was written behind the dot
 *   old server      EHLO HELO IDLE
 *   encrypted       EHLO STARTTLS TLS EHLO, and everything learned before is forgotten
 *   login           EHLO AUTH ... AUTH IDLE
 *   chunk           MAIL RCPT BODY DOT: there is no DATA, and no 354 to wait for
 *   refused         MAIL RCPT DATA -> IDLE, with RSET in front of the next MAIL where one is open
 *   refused group   RCPT DATA(354) LONE_DOT IDLE: nobody to send to, but the server waits for data
 *   end             IDLE QUIT CLOSED; any state -> CLOSED when the session fails
 * Within a transaction never backwards. DOT is the point of no return: it is entered when the
 * first byte of the dot has been written, and left only by a complete reply or into doubt.
 */
enum smtp_state {
	SMTP_GREETING,
	SMTP_EHLO,
	SMTP_HELO,
	SMTP_STARTTLS,
	SMTP_TLS, /* the caller's handshake */
	SMTP_AUTH,
	SMTP_IDLE,
	SMTP_RSET,
	SMTP_MAIL,
	SMTP_RCPT,
	SMTP_DATA,
	SMTP_BODY, /* 354 came; content is not composed or not written up to the dot */
	SMTP_DOT,
	SMTP_LONE_DOT,
	SMTP_QUIT,
	SMTP_CLOSED,
	SMTP_NSTATES
};

/* Where an envelope stands. */
enum stage {
	STAGE_FREE,    /* no envelope */
	STAGE_HELD,    /* offered, nothing written */
	STAGE_STARTED, /* MAIL written */
	STAGE_SETTLED, /* outcome made; replies of its group may still come */
	STAGE_AGAIN    /* its group was refused as such: once more, with less pipelining */
};

struct transaction {
	struct smtp_envelope env;
	enum stage stage;
	bool piped;	      /* MAIL, RCPT, DATA written as one group */
	bool behind;	      /* ... behind the dot of the message before */
	bool chunked;	      /* ... without DATA: the content goes as one BDAT */
	bool recipient;	      /* RCPT accepted */
	bool utf8, eight_bit; /* what its envelope and data need */
	bool counted;	      /* in messages */
};

/* A command whose reply is awaited. */
struct expected {
	enum smtp_state state;
	unsigned slot; /* of its transaction */
	uint64_t end;  /* position in the output stream where the command ends */
};

struct finished {
	uint64_t ref;
	struct outcome outcome;
	char text[OUTCOME_TEXT_MAX];
};

#define TRANSACTIONS 2
#define EXPECTED_MAX 8 /* DOT, RSET, MAIL, RCPT, DATA at most */
#define FINISHED_MAX 4
#define REMOTE_MAX 255
#define NOWHERE UINT64_MAX
#define AUTH_STEPS_MAX 4

/* Emptied output larger than this is given back. */
#define OUTPUT_KEEP_BYTES ((size_t)1 << 20)

struct smtp {
	struct smtp_options options;
	enum smtp_state state; /* written by smtp_enter() alone */
	uint32_t progress;
	bool quitting;
	bool secure;	     /* the channel is encrypted */
	bool ready;	     /* through EHLO, TLS and login */
	bool tls_refused;    /* opportunistic: go on in clear */
	bool secret_written; /* out holds a login */
	bool rset_due;	     /* the server may hold an open transaction */
	bool behind_failed;  /* commands behind a dot were refused */
	bool piped_failed;   /* so were commands in a group */
	bool chunk_failed;   /* so was BDAT */

	struct smtp_features features;
	enum auth_mechanism mechanism;
	unsigned auth_step;
	unsigned messages;
	uint64_t repaired;

	struct transaction tx[TRANSACTIONS];
	unsigned cur; /* the one whose replies come first */

	struct expected expected[EXPECTED_MAX];
	unsigned expected_at, expected_count;
	struct smtp_reply_parser parser;
	bool early; /* the reply being read began before its command was written */

	struct buf out;
	uint64_t queued, sent; /* positions in the output stream */
	uint64_t dot_at;       /* position of the dot not yet answered, or NOWHERE */
	bool dot_shown;	       /* before_dot said yes */

	struct finished finished[FINISHED_MAX];
	unsigned finished_at, finished_count;
	bool has_failed;
	struct outcome failure;
	char failure_text[OUTCOME_TEXT_MAX];
	char remote[REMOTE_MAX + 1];
};

struct state_row {
	const char *name;
	unsigned timeout_s; /* RFC 5321 4.5.3.2 */
	enum outcome_phase phase;
	void (*send)(struct smtp *, const struct transaction *); /* writes the command */
	enum smtp_state (*reply)(struct smtp *, struct transaction *, const struct smtp_reply *);
};

static const struct state_row states[SMTP_NSTATES];

static void
smtp_enter(struct smtp *s, enum smtp_state next)
{
	s->state = next;
	s->progress++;
}

/* ---- outcomes ---- */

/* Copies with control bytes as spaces, cut at OUTCOME_TEXT_MAX. */
static struct slice
text_clean(char dst[OUTCOME_TEXT_MAX], struct slice text)
{
	size_t len = text.len < OUTCOME_TEXT_MAX ? text.len : OUTCOME_TEXT_MAX;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		dst[i] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
	}
	return slice_make(dst, len);
}

/* The run of id characters at the start of text. */
static struct slice
id_take(struct slice text)
{
	static const char stop[] = " \t;,)>]\"";
	size_t len = 0;

	while (len < text.len && memchr(stop, text.ptr[len], sizeof(stop)) == NULL)
		len++;
	while (len > 0 && text.ptr[len - 1] == '.')
		len--;
	return slice_make(text.ptr, len);
}

static struct slice
slice_from(struct slice text, size_t at)
{
	return slice_make(text.ptr + at, text.len - at);
}

/* The queue id in the text of a 250 after the dot, empty when there is none: "queued as ID",
 * "OK id=ID", "Ok ID", "OK 1700000000 ID - gsmtp". */
static struct slice
remote_id_find(struct slice text, bool enhanced)
{
	struct slice first, second, none = { NULL, 0 };
	size_t i;

	for (i = 0; i < text.len; i++) {
		if (slice_starts_nocase(slice_from(text, i), SLICE("queued as ")))
			return id_take(slice_from(text, i + 10));
		if (slice_starts_nocase(slice_from(text, i), SLICE(" id=")))
			return id_take(slice_from(text, i + 4));
	}
	for (i = 0; enhanced && i < text.len && text.ptr[i] != ' '; i++)
		continue;
	text = slice_trim(slice_from(text, i));
	if (!slice_starts_nocase(text, SLICE("ok ")))
		return none;
	text = slice_trim(slice_from(text, 3));
	first = id_take(text);
	text = slice_trim(slice_from(text, first.len));
	second = id_take(text);
	if (second.len > 0)
		return memchr("0123456789", text.ptr[0], 10) != NULL || second.len >= 16 ? second
											 : none;
	for (i = 0; i < first.len; i++)
		if (first.ptr[i] >= '0' && first.ptr[i] <= '9')
			return first;
	return none;
}

/* Ends the message of tx with the outcome; the text is copied. */
static void
settle(struct smtp *s, struct transaction *tx, const struct outcome *outcome)
{
	struct finished *f;

	assert(s->finished_count < FINISHED_MAX);
	f = &s->finished[(s->finished_at + s->finished_count++) % FINISHED_MAX];
	f->ref = tx->env.ref;
	f->outcome = *outcome;
	f->outcome.text = text_clean(f->text, outcome->text);
	f->outcome.remote = slice_str(s->remote);
	if (outcome->kind == OUTCOME_SENT)
		f->outcome.remote_id = remote_id_find(f->outcome.text, outcome->enhanced[0] != 0);
	tx->stage = STAGE_SETTLED;
}

static void
settle_own(struct smtp *s, struct transaction *tx, enum outcome_class cls, enum outcome_scope scope,
    const char *reason, const char *text)
{
	struct outcome o = { .kind = OUTCOME_FAILED,
		.cls = cls,
		.scope = scope,
		.phase = OUTCOME_PHASE_MAIL,
		.reason = reason,
		.text = slice_str(text) };

	settle(s, tx, &o);
}

static struct outcome
outcome_of_reply(enum outcome_phase phase, const struct smtp_reply *reply)
{
	struct classify_input in = { .phase = phase, .code = reply->code, .text = reply->text };
	struct classify_verdict v;
	struct outcome o = { .phase = phase, .code = reply->code, .text = reply->text };

	memcpy(in.enhanced, reply->enhanced, sizeof(in.enhanced));
	memcpy(o.enhanced, reply->enhanced, sizeof(o.enhanced));
	if (reply->code < 300) {
		o.kind = OUTCOME_SENT;
		o.reason = "";
		return o;
	}
	v = classify(&in);
	o.kind = reply->code < 500 ? OUTCOME_DEFERRED : OUTCOME_FAILED;
	o.cls = v.cls;
	o.scope = v.scope;
	o.reason = v.reason;
	return o;
}

/* Every envelope that is still without an outcome gets one: in doubt past the dot, else why. */
static void
release_all(struct smtp *s, const struct outcome *why)
{
	for (unsigned i = 0; i < TRANSACTIONS; i++) {
		struct transaction *tx = &s->tx[(s->cur + i) % TRANSACTIONS];
		struct outcome o = *why;

		if (tx->stage == STAGE_FREE || tx->stage == STAGE_SETTLED)
			continue;
		o.kind = OUTCOME_RELEASED;
		if (s->state == SMTP_DOT && i == 0) {
			o.kind = OUTCOME_IN_DOUBT;
			o.phase = OUTCOME_PHASE_DOT;
		} else if (o.phase == OUTCOME_PHASE_DOT) {
			o.phase = OUTCOME_PHASE_MAIL; /* it stood behind the dot */
		}
		settle(s, tx, &o);
	}
}

static void
failure_keep(struct smtp *s, const struct outcome *why)
{
	if (s->has_failed)
		return;
	s->has_failed = true;
	s->failure = *why;
	s->failure.kind = OUTCOME_RELEASED;
	s->failure.text = text_clean(s->failure_text, why->text);
	s->failure.remote = slice_str(s->remote);
}

/* Ends the session at once. */
static enum smtp_state
fail(struct smtp *s, const struct outcome *why)
{
	failure_keep(s, why);
	release_all(s, why);
	for (unsigned i = 0; i < TRANSACTIONS; i++)
		s->tx[i].stage = STAGE_FREE;
	s->expected_count = 0;
	smtp_enter(s, SMTP_CLOSED);
	return SMTP_CLOSED;
}

static enum smtp_state
fail_own(struct smtp *s, enum outcome_phase phase, const char *reason, const char *text)
{
	struct outcome o = { .cls = OUTCOME_SOFT, .reason = reason, .text = slice_str(text) };

	o.phase = phase != OUTCOME_PHASE_NONE ? phase : states[s->state].phase;
	o.scope = o.phase != OUTCOME_PHASE_NONE && o.phase < OUTCOME_PHASE_MAIL
	    ? OUTCOME_SCOPE_ROUTE
	    : OUTCOME_SCOPE_SESSION;
	return fail(s, &o);
}

/* A reply that ends the session, whatever its words blame. */
static struct outcome
outcome_of_end(const struct smtp *s, const struct smtp_reply *reply)
{
	struct outcome o = outcome_of_reply(states[s->state].phase, reply);

	if (o.scope < OUTCOME_SCOPE_SESSION)
		o.scope = OUTCOME_SCOPE_SESSION;
	return o;
}

static enum smtp_state
fail_reply(struct smtp *s, const struct smtp_reply *reply)
{
	struct outcome o = outcome_of_end(s, reply);

	return fail(s, &o);
}

/* The reply is complete and has no place here. */
static enum smtp_state
fail_desync(struct smtp *s, const struct smtp_reply *reply)
{
	struct outcome o = { .cls = OUTCOME_SOFT,
		.scope = OUTCOME_SCOPE_SESSION,
		.phase = states[s->state].phase,
		.reason = "system" };
	struct buf text;

	buf_init(&text, OUTCOME_TEXT_MAX + 64);
	buf_append_str(&text, "reply out of place: ");
	buf_append_uint(&text, (uint64_t)reply->code);
	buf_append_char(&text, ' ');
	buf_append(&text, reply->text.ptr,
	    reply->text.len < OUTCOME_TEXT_MAX ? reply->text.len : OUTCOME_TEXT_MAX);
	o.text = buf_slice(&text);
	(void)fail(s, &o);
	buf_release(&text);
	return SMTP_CLOSED;
}

/* A greeting or EHLO that says no: nobody's message is to blame; then QUIT. */
static enum smtp_state
turned_away(struct smtp *s, const struct smtp_reply *reply)
{
	struct outcome o;

	if (reply->code < 400)
		return fail_desync(s, reply);
	if (reply->code == 421)
		return fail_reply(s, reply);
	o = outcome_of_end(s, reply);
	failure_keep(s, &o);
	release_all(s, &o);
	for (unsigned i = 0; i < TRANSACTIONS; i++)
		s->tx[i].stage = STAGE_FREE;
	return SMTP_QUIT;
}

/* The same for what the server does not offer. */
static enum smtp_state
not_offered(struct smtp *s, enum outcome_phase phase, const char *text)
{
	struct outcome o = { .cls = OUTCOME_CONFIG,
		.scope = OUTCOME_SCOPE_ROUTE,
		.phase = phase,
		.reason = "auth",
		.text = slice_str(text) };

	failure_keep(s, &o);
	release_all(s, &o);
	for (unsigned i = 0; i < TRANSACTIONS; i++)
		s->tx[i].stage = STAGE_FREE;
	return SMTP_QUIT;
}

/* ---- commands ---- */

static void
put(struct smtp *s, const void *bytes, size_t n)
{
	buf_append(&s->out, bytes, n);
	s->queued += n;
}

static void
put_slice(struct smtp *s, struct slice text)
{
	put(s, text.ptr, text.len);
}

static void
put_str(struct smtp *s, const char *text)
{
	put(s, text, strlen(text));
}

/* RFC 3461 4: printable ASCII but '+' and '='. */
static bool
is_xchar(char c)
{
	return c > ' ' && c < 0x7f && c != '+' && c != '=';
}

static void
put_xtext(struct smtp *s, struct slice text)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0, run = 0; i <= text.len; i++) {
		if (i < text.len && is_xchar(text.ptr[i]))
			continue;
		put(s, text.ptr + run, i - run);
		run = i + 1;
		if (i < text.len) {
			unsigned char c = (unsigned char)text.ptr[i];
			char escaped[3] = { '+', hex[c >> 4], hex[c & 15] };

			put(s, escaped, sizeof(escaped));
		}
	}
}

static void
send_ehlo(struct smtp *s, const struct transaction *tx)
{
	(void)tx;
	put_str(s, s->options.lmtp ? "LHLO " : "EHLO ");
	put_str(s, s->options.ehlo_name);
	put_str(s, "\r\n");
}

static void
send_helo(struct smtp *s, const struct transaction *tx)
{
	(void)tx;
	put_str(s, "HELO ");
	put_str(s, s->options.ehlo_name);
	put_str(s, "\r\n");
}

static void
send_starttls(struct smtp *s, const struct transaction *tx)
{
	(void)tx;
	put_str(s, "STARTTLS\r\n");
}

static void
send_auth(struct smtp *s, const struct transaction *tx)
{
	size_t before = s->out.len;

	(void)tx;
	/* no growth later, so that no copy of the secret stays behind */
	(void)buf_reserve(&s->out, AUTH_LINE_MAX);
	auth_put(&s->out, s->options.auth, s->mechanism, s->auth_step);
	s->queued += s->out.len - before;
	s->secret_written = true;
}

static void
send_rset(struct smtp *s, const struct transaction *tx)
{
	(void)tx;
	put_str(s, "RSET\r\n");
	s->rset_due = false;
}

static bool
asks_dsn(const struct smtp *s, const struct transaction *tx)
{
	return s->options.dsn && (s->features.extensions & SMTP_EXT_DSN) != 0 &&
	    tx->env.mail_from.len > 0;
}

static void
send_mail(struct smtp *s, const struct transaction *tx)
{
	put_str(s, "MAIL FROM:<");
	put_slice(s, tx->env.mail_from);
	put_str(s, ">");
	if ((s->features.extensions & SMTP_EXT_SIZE) != 0) {
		size_t before = s->out.len;

		buf_append_str(&s->out, " SIZE=");
		buf_append_uint(&s->out, tx->env.data.len);
		s->queued += s->out.len - before;
	}
	if (tx->utf8)
		put_str(s, " SMTPUTF8");
	if (tx->utf8 || tx->eight_bit)
		put_str(s, " BODY=8BITMIME");
	if (asks_dsn(s, tx)) {
		put_str(s, " RET=HDRS");
		if (tx->env.envid.len > 0) {
			put_str(s, " ENVID=");
			put_xtext(s, tx->env.envid);
		}
	}
	put_str(s, "\r\n");
}

static void
send_rcpt(struct smtp *s, const struct transaction *tx)
{
	put_str(s, "RCPT TO:<");
	put_slice(s, tx->env.rcpt_to);
	put_str(s, ">");
	if (asks_dsn(s, tx)) {
		put_str(s, " NOTIFY=FAILURE");
		/* RFC 6533 3 has another form for non-ASCII addresses; the report names them anyway */
		if (!tx->utf8) {
			put_str(s, " ORCPT=rfc822;");
			put_xtext(s, tx->env.rcpt_to);
		}
	}
	put_str(s, "\r\n");
}

static void
send_data(struct smtp *s, const struct transaction *tx)
{
	(void)tx;
	put_str(s, "DATA\r\n");
}

static void
send_body(struct smtp *s, const struct transaction *tx)
{
	size_t before = s->out.len;

	/* when there is no room the buffer says so, and smtp_output() shows nothing of it */
	if (tx->chunked)
		(void)!smtp_body_append_chunk(&s->out, tx->env.data, &s->repaired);
	else
		(void)!smtp_body_append(&s->out, tx->env.data, &s->repaired);
	s->queued += s->out.len - before;
	/* a chunk is complete with its last byte */
	s->dot_at = s->queued - (tx->chunked ? 1 : SMTP_BODY_DOT);
	s->dot_shown = false;
}

/* Nobody was accepted: the empty message ends here and is no point of no return. */
static void
send_lone_dot(struct smtp *s, const struct transaction *tx)
{
	(void)tx;
	put_str(s, ".\r\n");
}

static void
send_quit(struct smtp *s, const struct transaction *tx)
{
	(void)tx;
	put_str(s, "QUIT\r\n");
}

/* Writes the command of a state and expects its reply. */
static void
command(struct smtp *s, enum smtp_state state, unsigned slot)
{
	struct expected *e;

	assert(s->expected_count < EXPECTED_MAX);
	states[state].send(s, &s->tx[slot]);
	e = &s->expected[(s->expected_at + s->expected_count++) % EXPECTED_MAX];
	*e = (struct expected){ .state = state, .slot = slot, .end = s->queued };
}

/* ---- replies ---- */

static bool
is_ok(const struct smtp_reply *reply)
{
	return reply->code >= 200 && reply->code < 300;
}

static bool
can_pipeline(const struct smtp *s)
{
	return s->options.pipelining && (s->features.extensions & SMTP_EXT_PIPELINING) != 0 &&
	    !s->piped_failed;
}

static bool
can_go_behind(const struct smtp *s)
{
	return s->options.next_behind_dot && !s->behind_failed && can_pipeline(s);
}

static bool
can_chunk(const struct smtp *s)
{
	return s->options.chunking && (s->features.extensions & SMTP_EXT_CHUNKING) != 0;
}

/* The last reply of the transaction came. */
static enum smtp_state
finish(struct smtp *s, struct transaction *tx)
{
	tx->stage = tx->stage == STAGE_AGAIN ? STAGE_HELD : STAGE_FREE;
	if (tx->stage == STAGE_FREE && s->tx[s->cur ^ 1U].stage != STAGE_FREE)
		s->cur ^= 1U;
	return SMTP_IDLE;
}

/*
 * MAIL, RCPT or DATA was not accepted. False when the session ended over it. The replies to the
 * rest of a refused group blame nobody. 500, 502, 503 to a group mean that the group itself was
 * not understood (RFC 2920 peers in name only).
 */
static bool
refuse(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	struct outcome o;

	if (reply->code == 421) {
		(void)fail_reply(s, reply);
		return false;
	}
	if (reply->code < 400) {
		(void)fail_desync(s, reply);
		return false;
	}
	if (tx->stage != STAGE_STARTED)
		return true;
	if (tx->piped && (reply->code == 500 || reply->code == 502 || reply->code == 503)) {
		if (tx->behind)
			s->behind_failed = true;
		else
			s->piped_failed = true;
		tx->stage = STAGE_AGAIN;
		return true;
	}
	o = outcome_of_reply(states[s->state].phase, reply);
	settle(s, tx, &o);
	return true;
}

static enum smtp_state
on_greeting(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	(void)tx;
	return is_ok(reply) ? SMTP_EHLO : turned_away(s, reply);
}

/* What this server can never take is not even begun (RFC 1870, RFC 6152, RFC 6531 3.5). Asked when
 * both the server's features and the envelope are known. */
static void
refuse_unfit(struct smtp *s, struct transaction *tx)
{
	const struct smtp_features *f = &s->features;
	const unsigned utf8 = SMTP_EXT_UTF8 | SMTP_EXT_8BITMIME; /* RFC 6531 3.1 (8) */

	if (tx->stage != STAGE_HELD || !s->ready)
		return;
	if (f->size_max != 0 && tx->env.data.len > f->size_max)
		settle_own(s, tx, OUTCOME_MESSAGE, OUTCOME_SCOPE_MESSAGE, "too_large",
		    "larger than the SIZE the server states");
	else if (tx->utf8 && (f->extensions & utf8) != utf8)
		settle_own(s, tx, OUTCOME_CONFIG, OUTCOME_SCOPE_RECIPIENT, "smtputf8_unsupported",
		    "non-ASCII address, and the server does not offer SMTPUTF8");
	else if (tx->eight_bit && (f->extensions & SMTP_EXT_8BITMIME) == 0)
		settle_own(s, tx, OUTCOME_MESSAGE, OUTCOME_SCOPE_MESSAGE, "content",
		    "8-bit content, and the server does not offer 8BITMIME");
	if (tx->stage == STAGE_SETTLED)
		tx->stage = STAGE_FREE;
}

/* What comes after EHLO, TLS or login: the next of them, or mail. */
static enum smtp_state
after_hello(struct smtp *s)
{
	bool wants = s->options.tls != SMTP_TLS_OFF && !s->secure && !s->tls_refused;

	if (wants && (s->features.extensions & SMTP_EXT_STARTTLS) != 0)
		return SMTP_STARTTLS;
	if (s->options.tls == SMTP_TLS_REQUIRED && !s->secure)
		return not_offered(s, OUTCOME_PHASE_TLS, "the server does not offer STARTTLS");
	if (s->options.auth != NULL && s->mechanism == AUTH_NONE) {
		if (!s->secure)
			return not_offered(
			    s, OUTCOME_PHASE_AUTH, "no login on a channel that is not encrypted");
		s->mechanism = auth_choose(s->options.auth, s->features.mechanisms);
		if (s->mechanism == AUTH_NONE)
			return not_offered(s, OUTCOME_PHASE_AUTH,
			    "the server offers no login that these credentials serve");
		return SMTP_AUTH;
	}
	s->ready = true;
	refuse_unfit(s, &s->tx[s->cur]);
	return SMTP_IDLE;
}

static enum smtp_state
on_ehlo(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	(void)tx;
	/* 521: the host never takes mail (RFC 7504) */
	if (reply->code >= 500 && reply->code != 521 && !s->options.lmtp)
		return SMTP_HELO;
	if (!is_ok(reply))
		return turned_away(s, reply);
	s->features = smtp_ehlo_parse(reply->text);
	return after_hello(s);
}

static enum smtp_state
on_helo(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	(void)tx;
	return is_ok(reply) ? after_hello(s) : turned_away(s, reply);
}

static enum smtp_state
on_starttls(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	(void)tx;
	if (is_ok(reply))
		return SMTP_TLS;
	if (s->options.tls == SMTP_TLS_REQUIRED || reply->code == 421 || reply->code < 400)
		return turned_away(s, reply);
	s->tls_refused = true;
	return after_hello(s);
}

static enum smtp_state
on_auth(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	(void)tx;
	if (is_ok(reply))
		return after_hello(s);
	/* a challenge, a few at most: the last of ours cancels */
	if (reply->code == 334 && s->auth_step < AUTH_STEPS_MAX) {
		s->auth_step++;
		return SMTP_AUTH;
	}
	return turned_away(s, reply);
}

static enum smtp_state
on_rset(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	(void)tx;
	return is_ok(reply) ? SMTP_IDLE : fail_reply(s, reply);
}

static enum smtp_state
on_mail(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	if (is_ok(reply))
		return SMTP_RCPT;
	if (!refuse(s, tx, reply))
		return SMTP_CLOSED;
	return tx->piped ? SMTP_RCPT : finish(s, tx);
}

static enum smtp_state
on_rcpt(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	if (is_ok(reply)) {
		tx->recipient = true;
		if (!tx->chunked)
			return SMTP_DATA;
		if (tx->stage == STAGE_STARTED)
			return SMTP_BODY;
	} else if (!refuse(s, tx, reply)) {
		return SMTP_CLOSED;
	}
	s->rset_due = true;
	return tx->piped && !tx->chunked ? SMTP_DATA : finish(s, tx);
}

static enum smtp_state
on_data(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	if (reply->code >= 300 && reply->code < 400) {
		if (tx->stage == STAGE_STARTED)
			return SMTP_BODY;
		/* with a recipient even an empty message would be delivered */
		return tx->recipient ? fail_desync(s, reply) : SMTP_LONE_DOT;
	}
	if (!refuse(s, tx, reply))
		return SMTP_CLOSED;
	s->rset_due = true;
	return finish(s, tx);
}

static enum smtp_state
on_dot(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	struct outcome o;

	if (!is_ok(reply) && reply->code < 400)
		return fail_desync(s, reply);
	o = outcome_of_reply(OUTCOME_PHASE_DOT, reply);
	s->dot_at = NOWHERE;
	if (tx->chunked && reply->code >= 500 && reply->code <= 504) {
		/* it read the chunk as commands, or knows of no transaction: not taken, and what it
		 * makes of the rest is anybody's guess */
		s->chunk_failed = true;
		o.kind = OUTCOME_RELEASED;
		settle(s, tx, &o);
		return fail_reply(s, reply);
	}
	settle(s, tx, &o);
	/* RFC 3030 2: after a failed chunk the transaction is dead until RSET */
	s->rset_due = tx->chunked && !is_ok(reply);
	/* the server closes: what was written behind the dot has not been looked at */
	return reply->code == 421 ? fail_reply(s, reply) : finish(s, tx);
}

static enum smtp_state
on_lone_dot(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	if (reply->code == 421)
		return fail_reply(s, reply);
	s->rset_due = true;
	return finish(s, tx);
}

static enum smtp_state
on_quit(struct smtp *s, struct transaction *tx, const struct smtp_reply *reply)
{
	(void)s;
	(void)tx;
	(void)reply;
	return SMTP_CLOSED;
}

static const struct state_row states[SMTP_NSTATES] = {
	[SMTP_GREETING] = { "greeting", 300, OUTCOME_PHASE_GREETING, NULL, on_greeting },
	[SMTP_EHLO] = { "ehlo", 300, OUTCOME_PHASE_EHLO, send_ehlo, on_ehlo },
	[SMTP_HELO] = { "helo", 300, OUTCOME_PHASE_EHLO, send_helo, on_helo },
	[SMTP_STARTTLS] = { "starttls", 300, OUTCOME_PHASE_TLS, send_starttls, on_starttls },
	[SMTP_TLS] = { "tls", 60, OUTCOME_PHASE_TLS, NULL, NULL },
	[SMTP_AUTH] = { "auth", 300, OUTCOME_PHASE_AUTH, send_auth, on_auth },
	[SMTP_IDLE] = { "idle", 300, OUTCOME_PHASE_NONE, NULL, NULL },
	[SMTP_RSET] = { "rset", 300, OUTCOME_PHASE_MAIL, send_rset, on_rset },
	[SMTP_MAIL] = { "mail", 300, OUTCOME_PHASE_MAIL, send_mail, on_mail },
	[SMTP_RCPT] = { "rcpt", 300, OUTCOME_PHASE_RCPT, send_rcpt, on_rcpt },
	[SMTP_DATA] = { "data", 120, OUTCOME_PHASE_DATA, send_data, on_data },
	[SMTP_BODY] = { "body", 180, OUTCOME_PHASE_BODY, NULL, NULL },
	[SMTP_DOT] = { "dot", 600, OUTCOME_PHASE_DOT, send_body, on_dot },
	[SMTP_LONE_DOT] = { "lone_dot", 600, OUTCOME_PHASE_DATA, send_lone_dot, on_lone_dot },
	[SMTP_QUIT] = { "quit", 5, OUTCOME_PHASE_NONE, send_quit, on_quit },
	[SMTP_CLOSED] = { "closed", 0, OUTCOME_PHASE_NONE, NULL, NULL },
};

/* A complete reply that began before its command was written. A refusal while content is on its
 * way is an answer all the same; anything else means that the two sides are out of step. */
static void
on_early(struct smtp *s, const struct smtp_reply *reply)
{
	struct transaction *tx = &s->tx[s->cur];
	bool under_way = s->expected_count > 0 && (s->state == SMTP_BODY || s->state == SMTP_DOT);

	if (reply->code >= 400 && under_way && (reply->code != 421 || s->state == SMTP_DOT)) {
		struct outcome o = outcome_of_reply(states[s->state].phase, reply);

		settle(s, tx, &o);
		(void)fail_reply(s, reply);
		return;
	}
	(void)(reply->code == 421 ? fail_reply(s, reply) : fail_desync(s, reply));
}

static void
on_reply(struct smtp *s, const struct smtp_reply *reply)
{
	struct expected e;
	enum smtp_state next;

	if (s->early) {
		on_early(s, reply);
		return;
	}
	e = s->expected[s->expected_at];
	s->expected_at = (s->expected_at + 1) % EXPECTED_MAX;
	s->expected_count--;
	next = states[e.state].reply(s, &s->tx[e.slot], reply);
	if (s->state == SMTP_CLOSED)
		return;
	if (s->expected_count > 0)
		next = s->expected[s->expected_at].state;
	else if (states[next].send != NULL)
		command(s, next, e.slot);
	smtp_enter(s, next);
}

/* ---- events ---- */

struct smtp *
smtp_new(const struct smtp_options *options, const char *remote)
{
	struct smtp *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->options = *options;
	smtp_reply_init(&s->parser);
	buf_init(&s->out, SMTP_OUTPUT_MAX);
	s->state = SMTP_CLOSED;
	smtp_reset(s, remote);
	return s;
}

/* A login that was written, or never will be, leaves no trace in the buffer. */
static void
forget_secret(struct smtp *s)
{
	if (s->secret_written)
		OPENSSL_cleanse(s->out.data, s->out.capacity);
	s->secret_written = false;
}

void
smtp_free(struct smtp *s)
{
	if (s == NULL)
		return;
	forget_secret(s);
	smtp_reply_release(&s->parser);
	buf_release(&s->out);
	free(s);
}

void
smtp_reset(struct smtp *s, const char *remote)
{
	struct smtp fresh = { .options = s->options,
		.secure = s->options.tls == SMTP_TLS_ALREADY,
		.progress = s->progress,
		.repaired = s->repaired,
		.parser = s->parser,
		.out = s->out,
		.dot_at = NOWHERE };

	assert(s->state == SMTP_CLOSED && s->finished_count == 0);
	forget_secret(s);
	if (remote != NULL) {
		size_t len = strlen(remote);

		memcpy(fresh.remote, remote, len < REMOTE_MAX ? len : REMOTE_MAX);
	}
	*s = fresh;
	smtp_reply_reset(&s->parser);
	buf_reset(&s->out);
	s->expected[0] = (struct expected){ .state = SMTP_GREETING };
	s->expected_count = 1;
	smtp_enter(s, SMTP_GREETING);
}

void
smtp_input(struct smtp *s, const char *bytes, size_t n)
{
	while (n > 0 && s->state != SMTP_CLOSED) {
		enum smtp_reply_result result;
		struct smtp_reply reply;
		size_t used;

		if (s->state == SMTP_TLS) {
			/* CVE-2011-0411: they would count as said on the encrypted channel */
			(void)fail_own(
			    s, OUTCOME_PHASE_TLS, "system", "bytes behind the answer to STARTTLS");
			return;
		}
		if (!smtp_reply_is_partial(&s->parser))
			s->early =
			    s->expected_count == 0 || s->expected[s->expected_at].end > s->sent;
		result = smtp_reply_feed(&s->parser, bytes, n, &used, &reply);
		bytes += used;
		n -= used;
		if (s->state == SMTP_QUIT && (s->early || result == SMTP_REPLY_BAD))
			smtp_enter(s, SMTP_CLOSED);
		else if (result == SMTP_REPLY_BAD)
			(void)fail_own(s, OUTCOME_PHASE_NONE, "system", "not an SMTP reply");
		else if (result == SMTP_REPLY_DONE)
			on_reply(s, &reply);
		else if (s->early && s->expected_count == 0)
			(void)fail_own(s, OUTCOME_PHASE_NONE, "system", "bytes nobody asked for");
	}
}

void
smtp_eof(struct smtp *s)
{
	if (s->state == SMTP_QUIT)
		smtp_enter(s, SMTP_CLOSED);
	else if (s->state != SMTP_CLOSED)
		(void)fail_own(s, OUTCOME_PHASE_NONE, "network", "connection closed by the server");
}

void
smtp_timeout(struct smtp *s)
{
	const struct transaction *tx = &s->tx[s->cur];

	if (s->state == SMTP_QUIT) {
		smtp_enter(s, SMTP_CLOSED);
	} else if (s->state == SMTP_IDLE) {
		smtp_quit(s);
	} else if (s->state != SMTP_CLOSED) {
		/* some servers throw away what came with the dot */
		if (tx->behind && s->state != SMTP_BODY && s->state != SMTP_DOT)
			s->behind_failed = true;
		(void)fail_own(s, OUTCOME_PHASE_NONE, "network", "timed out");
	}
}

void
smtp_abort(struct smtp *s, enum outcome_phase phase, const char *text)
{
	if (s->state == SMTP_QUIT)
		smtp_enter(s, SMTP_CLOSED);
	else if (s->state != SMTP_CLOSED)
		(void)fail_own(s, phase, "network", text);
}

bool
smtp_wants_tls(const struct smtp *s)
{
	return s->state == SMTP_TLS;
}

void
smtp_secured(struct smtp *s)
{
	assert(s->state == SMTP_TLS);
	s->secure = true;
	s->features = (struct smtp_features){ 0 };
	command(s, SMTP_EHLO, s->cur);
	smtp_enter(s, SMTP_EHLO);
}

/* ---- envelopes and output ---- */

/* Nothing that could end the command or the path; non-ASCII bytes make it *utf8. */
static bool
path_is_safe(struct slice path, bool *utf8)
{
	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.ptr[i];

		if (c <= ' ' || c == 0x7f || c == '<' || c == '>')
			return false;
		*utf8 = *utf8 || c > 0x7f;
	}
	return path.len <= 254; /* RFC 5321 4.5.3.1.3 */
}

/* ENVID is at most 100 characters as xtext (RFC 3461 4.4). */
static bool
envid_is_safe(struct slice envid)
{
	size_t len = 0;

	for (size_t i = 0; i < envid.len && len <= 100; i++)
		len += is_xchar(envid.ptr[i]) ? 1 : 3;
	return len <= 100;
}

static bool
envelope_is_fit(struct smtp *s, struct transaction *tx)
{
	const struct smtp_envelope *env = &tx->env;
	struct smtp_body_bytes bytes = { false, false };

	if (!path_is_safe(env->mail_from, &tx->utf8) || !envid_is_safe(env->envid))
		settle_own(s, tx, OUTCOME_CONFIG, OUTCOME_SCOPE_MESSAGE, "config",
		    "bad_envelope: sender or envelope id");
	else if (env->rcpt_to.len == 0 || !path_is_safe(env->rcpt_to, &tx->utf8))
		settle_own(s, tx, OUTCOME_CONFIG, OUTCOME_SCOPE_RECIPIENT, "config",
		    "bad_envelope: recipient");
	else if (env->data.len > SMTP_OUTPUT_MAX / 2 - 4096)
		settle_own(s, tx, OUTCOME_MESSAGE, OUTCOME_SCOPE_MESSAGE, "too_large",
		    "larger than this program sends");
	else if ((bytes = smtp_body_look(env->data)).nul)
		settle_own(s, tx, OUTCOME_MESSAGE, OUTCOME_SCOPE_MESSAGE, "content",
		    "the message holds a NUL byte");
	tx->eight_bit = bytes.eight_bit;
	return tx->stage != STAGE_SETTLED;
}

static unsigned
held_count(const struct smtp *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < TRANSACTIONS; i++)
		n += s->tx[i].stage != STAGE_FREE;
	return n;
}

/* Envelopes that have begun or will. */
static bool
is_spent(const struct smtp *s)
{
	unsigned n = s->messages, most = s->options.max_messages;

	if (s->features.messages_max != 0 && (most == 0 || s->features.messages_max < most))
		most = s->features.messages_max;
	for (unsigned i = 0; i < TRANSACTIONS; i++)
		n += s->tx[i].stage == STAGE_HELD && !s->tx[i].counted;
	return most != 0 && n >= most;
}

bool
smtp_wants(const struct smtp *s)
{
	if (s->state >= SMTP_QUIT || s->quitting || is_spent(s))
		return false;
	if (s->finished_count + held_count(s) >= FINISHED_MAX)
		return false;
	if (s->tx[s->cur].stage == STAGE_FREE)
		return true;
	return (s->state == SMTP_BODY || s->state == SMTP_DOT) && can_go_behind(s) &&
	    s->tx[s->cur ^ 1U].stage == STAGE_FREE;
}

void
smtp_offer(struct smtp *s, const struct smtp_envelope *envelope)
{
	struct transaction *tx = &s->tx[s->cur];

	assert(smtp_wants(s));
	if (tx->stage != STAGE_FREE)
		tx = &s->tx[s->cur ^ 1U];
	*tx = (struct transaction){ .env = *envelope, .stage = STAGE_HELD };
	if (!envelope_is_fit(s, tx))
		tx->stage = STAGE_FREE;
	refuse_unfit(s, tx);
}

/* MAIL, or MAIL RCPT DATA, of a held envelope; RSET in front when one is due. */
static void
begin(struct smtp *s, unsigned slot)
{
	struct transaction *tx = &s->tx[slot];

	tx->stage = STAGE_STARTED;
	tx->piped = can_pipeline(s);
	tx->behind = slot != s->cur;
	tx->chunked = can_chunk(s);
	tx->recipient = false;
	s->messages += !tx->counted;
	tx->counted = true;
	if (s->rset_due)
		command(s, SMTP_RSET, slot);
	command(s, SMTP_MAIL, slot);
	if (tx->piped) {
		command(s, SMTP_RCPT, slot);
		if (!tx->chunked)
			command(s, SMTP_DATA, slot);
	}
}

static void
quit_now(struct smtp *s)
{
	struct outcome o = { .kind = OUTCOME_RELEASED,
		.scope = OUTCOME_SCOPE_SESSION,
		.reason = "undefined",
		.text = SLICE("the session ends") };

	for (unsigned i = 0; i < TRANSACTIONS; i++) {
		if (s->tx[i].stage != STAGE_HELD)
			continue;
		settle(s, &s->tx[i], &o);
		s->tx[i].stage = STAGE_FREE;
	}
}

/* Between transactions: the next one, or the end. */
static void
pump_idle(struct smtp *s)
{
	struct transaction *tx = &s->tx[s->cur];

	if (s->quitting)
		quit_now(s);
	if (tx->stage == STAGE_HELD) {
		if (s->rset_due && !can_pipeline(s))
			command(s, SMTP_RSET, s->cur);
		else
			begin(s, s->cur);
	}
	if (tx->stage == STAGE_FREE && (s->quitting || is_spent(s)))
		command(s, SMTP_QUIT, s->cur);
	if (s->expected_count > 0)
		smtp_enter(s, s->expected[s->expected_at].state);
}

static enum smtp_state
stopped(struct smtp *s, const char *text)
{
	struct outcome o = { .scope = OUTCOME_SCOPE_SESSION,
		.phase = OUTCOME_PHASE_BODY,
		.reason = "undefined",
		.text = slice_str(text) };

	return fail(s, &o);
}

/* Composes what can be composed now. */
static void
pump(struct smtp *s)
{
	struct transaction *tx = &s->tx[s->cur];
	unsigned other = s->cur ^ 1U;

	if (s->state == SMTP_IDLE)
		pump_idle(s);
	if (s->state == SMTP_BODY && s->expected_count == 0) {
		if (s->options.may_send != NULL &&
		    !s->options.may_send(s->options.ctx, tx->env.ref)) {
			(void)stopped(s, "stopped before the content");
			return;
		}
		command(s, SMTP_DOT, s->cur);
	}
	/* offered behind this one; nothing has taken that back since */
	if ((s->state == SMTP_BODY || s->state == SMTP_DOT) && s->tx[other].stage == STAGE_HELD)
		begin(s, other);
}

struct slice
smtp_output(struct smtp *s)
{
	struct slice shown = { NULL, 0 };
	size_t hidden = 0;

	/* a reply has begun too early: see what it is before anything else leaves */
	if (s->state == SMTP_CLOSED || s->early)
		return shown;
	pump(s);
	if (s->state != SMTP_CLOSED && buf_failed(&s->out))
		(void)fail_own(s, OUTCOME_PHASE_NONE, "system", "out of memory");
	if (s->state == SMTP_CLOSED)
		return shown;
	if (s->dot_at != NOWHERE && !s->dot_shown) {
		if (s->dot_at - s->sent > SMTP_HOLD_BYTES)
			hidden = (size_t)(s->queued - s->dot_at);
		else if (s->options.before_dot == NULL ||
		    s->options.before_dot(s->options.ctx, s->tx[s->cur].env.ref))
			s->dot_shown = true;
		else
			(void)stopped(s, "stopped before the dot");
		if (s->state == SMTP_CLOSED)
			return shown;
	}
	shown.len = (size_t)(s->queued - s->sent);
	if (shown.len > 0)
		shown.ptr = s->out.data + (s->out.len - shown.len);
	shown.len -= hidden;
	return shown;
}

void
smtp_wrote(struct smtp *s, size_t n)
{
	if (n == 0 || s->state == SMTP_CLOSED)
		return;
	assert(n <= s->queued - s->sent);
	s->sent += n;
	s->progress++;
	if (s->state == SMTP_BODY && s->sent > s->dot_at)
		smtp_enter(s, SMTP_DOT);
	if (s->sent == s->queued) {
		forget_secret(s);
		if (s->out.capacity > OUTPUT_KEEP_BYTES)
			buf_release(&s->out);
		else
			buf_reset(&s->out);
	}
}

void
smtp_quit(struct smtp *s)
{
	s->quitting = true;
	quit_now(s);
	if (s->state == SMTP_GREETING)
		smtp_enter(s, SMTP_CLOSED);
}

bool
smtp_next_outcome(struct smtp *s, uint64_t *ref, struct outcome *o)
{
	const struct finished *f = &s->finished[s->finished_at];

	if (s->finished_count == 0)
		return false;
	*ref = f->ref;
	*o = f->outcome;
	s->finished_at = (s->finished_at + 1) % FINISHED_MAX;
	s->finished_count--;
	return true;
}

/* ---- looking in ---- */

bool
smtp_is_too_large(const struct outcome *o)
{
	return o->kind == OUTCOME_FAILED && o->code == 0 && o->phase == OUTCOME_PHASE_MAIL &&
	    strcmp(o->reason, "too_large") == 0;
}

bool
smtp_has_outcome(const struct smtp *s)
{
	return s->finished_count > 0;
}

bool
smtp_is_closed(const struct smtp *s)
{
	return s->state == SMTP_CLOSED;
}

bool
smtp_is_ready(const struct smtp *s)
{
	return s->ready && !s->quitting && s->state < SMTP_QUIT;
}

bool
smtp_is_idle(const struct smtp *s)
{
	return s->state == SMTP_IDLE && held_count(s) == 0 && !s->quitting && !is_spent(s);
}

bool
smtp_is_undecided(const struct smtp *s)
{
	return s->state == SMTP_DOT;
}

unsigned
smtp_deadline_s(const struct smtp *s)
{
	unsigned most = s->options.command_timeout_s, limit = states[s->state].timeout_s;

	if (s->state == SMTP_DOT)
		return s->options.dot_timeout_s != 0 ? s->options.dot_timeout_s : limit;
	return most != 0 && most < limit ? most : limit;
}

uint32_t
smtp_progress(const struct smtp *s)
{
	return s->progress;
}

const struct outcome *
smtp_failure(const struct smtp *s)
{
	return s->has_failed ? &s->failure : NULL;
}

const char *
smtp_state_name(const struct smtp *s)
{
	return states[s->state].name;
}

const struct smtp_features *
smtp_features(const struct smtp *s)
{
	return &s->features;
}

unsigned
smtp_messages(const struct smtp *s)
{
	return s->messages;
}

bool
smtp_pipelining_failed(const struct smtp *s)
{
	return s->behind_failed || s->piped_failed;
}

bool
smtp_chunking_failed(const struct smtp *s)
{
	return s->chunk_failed;
}

uint64_t
smtp_repaired(const struct smtp *s)
{
	return s->repaired;
}
