/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtpd: one session as a machine of bytes. Owns the session's buffers. Promises that only
 * CR LF . CR LF ends content, that nothing is acknowledged before smtpd_answer(), and bounded
 * memory. Refuses what it did not announce. Each command has one row in `commands`, which says
 * in which dialect it is known.
 */
#include "smtpd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

#define OUTPUT_MAX (256 * 1024)
#define OUTPUT_HIGH (64 * 1024) /* a client that does not read is not read from */
#define CHUNK (16 * 1024)
#define PATH_MAX_BYTES 320
#define LMTP_REJECTS_MAX 100 /* unknown recipients in one transaction */

enum state {
	STATE_GREETED, /* before the hello */
	STATE_TLS,     /* STARTTLS was answered */
	STATE_READY,
	STATE_MAIL, /* sender known */
	STATE_RCPT, /* at least one recipient */
	STATE_DATA,
	STATE_WAITING, /* for smtpd_answer */
	STATE_OVER
};

/* Where in a line of content we are. A line begins after CR LF only. */
enum content { CONTENT_START, CONTENT_TEXT, CONTENT_CR, CONTENT_DOT, CONTENT_DOT_CR };

struct smtpd {
	const struct smtpd_config *config;
	enum state state;
	enum content content;
	struct buf in; /* not yet read */
	struct buf out;
	struct buf data;  /* content, unstuffed */
	struct buf paths; /* sender, then recipients, end to end */
	char helo[SMTPD_HELO_MAX + 1];
	size_t sender_len;
	size_t rcpt_len[SMTPD_RCPTS_MAX];
	struct slice rcpts[SMTPD_RCPTS_MAX]; /* filled when the message is complete */
	size_t rcpt_count;
	size_t size_max;
	size_t text_len; /* bytes of the present line of content */
	unsigned errors;
	unsigned rejects;
	unsigned over; /* recipients past SMTPD_RCPTS_MAX in this transaction */
	unsigned idle_commands;
	unsigned messages;
	bool is_skipping; /* rest of a line that is too long */
	bool is_tls;
	bool is_extended; /* EHLO or LHLO, not HELO */
	bool is_utf8;	  /* SMTPUTF8 of this transaction */
	bool has_bare;	  /* CR or LF alone in the content */
	bool has_long;	  /* line of content past SMTPD_TEXT_MAX */
	uint64_t ref;
};

static void
reply(struct smtpd *l, const char *text)
{
	buf_append_str(&l->out, text);
	buf_append_str(&l->out, "\r\n");
}

static bool
is_smtp(const struct smtpd *l)
{
	return l->config->dialect == SMTPD_SMTP;
}

static void
reset_transaction(struct smtpd *l)
{
	buf_reset(&l->data);
	buf_reset(&l->paths);
	l->sender_len = 0;
	l->rcpt_count = 0;
	l->over = 0;
	l->is_utf8 = l->has_bare = l->has_long = false;
	l->text_len = 0;
	if (!is_smtp(l))
		l->rejects = 0;
	if (l->state != STATE_GREETED && l->state != STATE_OVER)
		l->state = STATE_READY;
}

/* A refusal that a proper client does not meet; too many end the session. */
static void
refuse(struct smtpd *l, const char *text)
{
	reply(l, text);
	if (++l->errors > SMTPD_ERRORS_MAX)
		smtpd_end(l, "4.7.0 too many errors");
}

struct smtpd *
smtpd_new(const struct smtpd_config *config)
{
	struct smtpd *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->config = config;
	l->size_max = config->size_max != 0 ? config->size_max : SMTPD_SIZE_MAX;
	buf_init(&l->in, SMTPD_AHEAD_MAX + CHUNK + SMTPD_LINE_MAX);
	buf_init(&l->out, OUTPUT_MAX);
	buf_init(&l->data, l->size_max + 2); /* one append past size_max may be a pair */
	buf_init(&l->paths, (SMTPD_RCPTS_MAX + 1) * PATH_MAX_BYTES);
	buf_printf(&l->out, "220 %s %s\r\n", config->hostname, is_smtp(l) ? "ESMTP" : "LMTP");
	if (buf_failed(&l->out)) {
		smtpd_free(l);
		return NULL;
	}
	return l;
}

void
smtpd_free(struct smtpd *l)
{
	if (l == NULL)
		return;
	buf_release(&l->in);
	buf_release(&l->out);
	buf_release(&l->data);
	buf_release(&l->paths);
	free(l);
}

/* A domain or an address in brackets (RFC 5321 4.1.1.1), by its characters alone. */
static bool
take_helo(struct smtpd *l, struct slice name)
{
	if (name.len == 0 || name.len > SMTPD_HELO_MAX)
		return false;
	for (size_t i = 0; i < name.len && is_smtp(l); i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c <= 0x20 || c >= 0x7F || strchr("<>()\\,;@\"", c) != NULL)
			return false;
	}
	memcpy(l->helo, name.ptr, name.len);
	l->helo[name.len] = '\0';
	return true;
}

static bool
begin(struct smtpd *l, struct slice args, const char *refusal)
{
	if (!take_helo(l, args)) {
		refuse(l, refusal);
		return false;
	}
	l->state = STATE_READY;
	reset_transaction(l);
	return true;
}

static void
on_lhlo(struct smtpd *l, struct slice args)
{
	if (!begin(l, args, "501 5.5.4 LHLO needs a name"))
		return;
	l->is_extended = true;
	buf_printf(&l->out,
	    "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
	    "250-ENHANCEDSTATUSCODES\r\n250 SIZE %zu\r\n",
	    l->config->hostname, l->size_max);
}

static void
on_ehlo(struct smtpd *l, struct slice args)
{
	if (!begin(l, args, "501 5.5.4 EHLO needs a name"))
		return;
	l->is_extended = true;
	buf_printf(&l->out,
	    "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
	    "250-ENHANCEDSTATUSCODES\r\n%s250 SIZE %zu\r\n",
	    l->config->hostname, l->config->offers_tls && !l->is_tls ? "250-STARTTLS\r\n" : "",
	    l->size_max);
}

static void
on_helo(struct smtpd *l, struct slice args)
{
	if (!begin(l, args, "501 5.5.4 HELO needs a name"))
		return;
	l->is_extended = false;
	buf_printf(&l->out, "250 %s\r\n", l->config->hostname);
}

static void
on_starttls(struct smtpd *l, struct slice args)
{
	if (args.len > 0) {
		refuse(l, "501 5.5.4 STARTTLS takes no parameter");
	} else if (!l->config->offers_tls || l->is_tls) {
		refuse(l, "502 5.5.1 command not known");
	} else if (l->state != STATE_GREETED && l->state != STATE_READY) {
		refuse(l, "503 5.5.1 not within a transaction");
	} else {
		reply(l, "220 2.0.0 go ahead");
		l->state = STATE_TLS;
	}
}

/* "FROM:<path>" -> path without brackets, rest behind it. False: not of this form. */
static bool
take_path(struct slice *args, struct slice prefix, struct slice *path)
{
	bool quoted = false;
	size_t i;

	if (!slice_starts_nocase(*args, prefix))
		return false;
	*args = slice_trim(slice_make(args->ptr + prefix.len, args->len - prefix.len));
	if (args->len == 0 || args->ptr[0] != '<')
		return false;
	for (i = 1; i < args->len; i++) {
		unsigned char c = (unsigned char)args->ptr[i];
		if (c < 0x20 || c == 0x7F || (c == ' ' && !quoted) || (c == '<' && !quoted))
			return false;
		if (c == '\\' && quoted)
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (c == '>' && !quoted)
			break;
	}
	if (i >= args->len || i - 1 > PATH_MAX_BYTES)
		return false;
	*path = slice_make(args->ptr + 1, i - 1);
	*args = slice_make(args->ptr + i + 1, args->len - i - 1);
	return args->len == 0 || args->ptr[0] == ' ';
}

/* "SIZE=n", "BODY=…" and "SMTPUTF8". NULL when fine, else the refusal. */
static const char *
take_parameters(struct smtpd *l, struct slice args)
{
	for (args = slice_trim(args); args.len > 0; args = slice_trim(args)) {
		const char *end = memchr(args.ptr, ' ', args.len);
		size_t len = end != NULL ? (size_t)(end - args.ptr) : args.len, size = 0;
		struct slice word = slice_make(args.ptr, len);

		args = slice_make(args.ptr + len, args.len - len);
		if (slice_equal_nocase(word, SLICE("BODY=7BIT")) ||
		    slice_equal_nocase(word, SLICE("BODY=8BITMIME")))
			continue;
		if (slice_equal_nocase(word, SLICE("SMTPUTF8"))) {
			l->is_utf8 = true;
			continue;
		}
		if (!slice_starts_nocase(word, SLICE("SIZE=")) || word.len == 5 || word.len > 20)
			return "555 5.5.4 parameter not known";
		for (size_t i = 5; i < word.len; i++) {
			if (word.ptr[i] < '0' || word.ptr[i] > '9')
				return "501 5.5.4 SIZE is not a number";
			size = size * 10 + (size_t)(word.ptr[i] - '0');
		}
		if (size > l->size_max)
			return "552 5.3.4 message too big";
	}
	return NULL;
}

/* An address outside ASCII needs SMTPUTF8, and to be UTF-8. */
static bool
is_spelt_well(const struct smtpd *l, struct slice path)
{
	return slice_is_ascii(path) || (l->is_utf8 && utf8_ok(path));
}

static void
on_mail(struct smtpd *l, struct slice args)
{
	struct slice path;
	const char *refusal;

	if (l->state != STATE_READY) {
		refuse(l,
		    l->state != STATE_GREETED ? "503 5.5.1 MAIL already given"
			: is_smtp(l)	      ? "503 5.5.1 EHLO first"
					      : "503 5.5.1 LHLO first");
		return;
	}
	if (l->config->requires_tls && !l->is_tls) {
		refuse(l, "530 5.7.0 STARTTLS first");
		return;
	}
	if (!take_path(&args, SLICE("FROM:"), &path)) {
		refuse(l, "501 5.1.7 bad sender address");
		return;
	}
	l->is_utf8 = false;
	refusal = take_parameters(l, args);
	if (refusal == NULL && !is_spelt_well(l, path))
		refusal = "553 5.6.7 such an address needs SMTPUTF8";
	if (refusal != NULL) {
		refuse(l, refusal);
		return;
	}
	buf_append_slice(&l->paths, path);
	l->sender_len = path.len;
	l->state = STATE_MAIL;
	reply(l, "250 2.1.0 sender ok");
}

static void
reject(struct smtpd *l, enum smtpd_verdict verdict)
{
	unsigned max = is_smtp(l) ? SMTPD_REJECTS_MAX : LMTP_REJECTS_MAX;

	reply(l,
	    verdict == SMTPD_FOREIGN ? "550 5.7.1 not a domain of ours, and we do not relay"
				     : "550 5.1.1 no such recipient here");
	if (++l->rejects > max)
		smtpd_end(l, "4.7.0 too many unknown recipients");
}

/* No mistake of a client that pipelines, until it never ends (RFC 5321 4.5.3.1.10). */
static void
too_many(struct smtpd *l)
{
	static const char text[] = "452 4.5.3 too many recipients";

	if (++l->over <= SMTPD_OVER_MAX)
		reply(l, text);
	else
		refuse(l, text);
}

static void
on_rcpt(struct smtpd *l, struct slice args)
{
	enum smtpd_verdict verdict;
	struct slice path;

	if (l->state != STATE_MAIL && l->state != STATE_RCPT) {
		refuse(l, "503 5.5.1 MAIL first");
	} else if (!take_path(&args, SLICE("TO:"), &path) || path.len == 0 ||
	    !is_spelt_well(l, path)) {
		refuse(l, "501 5.1.3 bad recipient address");
	} else if (slice_trim(args).len > 0) {
		refuse(l, "555 5.5.4 parameter not known");
	} else if (l->rcpt_count == SMTPD_RCPTS_MAX) {
		too_many(l);
	} else if ((verdict = l->config->accepts(l->config->context, path)) != SMTPD_TAKE) {
		reject(l, verdict);
	} else {
		buf_append_slice(&l->paths, path);
		l->rcpt_len[l->rcpt_count++] = path.len;
		l->state = STATE_RCPT;
		reply(l, "250 2.1.5 recipient ok");
	}
}

static void
on_data(struct smtpd *l, struct slice args)
{
	if (args.len > 0) {
		refuse(l, "501 5.5.4 DATA takes no parameter");
	} else if (l->state != STATE_RCPT) {
		refuse(l, "503 5.5.1 no valid recipients");
	} else {
		l->state = STATE_DATA;
		l->content = CONTENT_START;
		reply(l, "354 end data with <CR><LF>.<CR><LF>");
	}
}

static void
on_rset(struct smtpd *l, struct slice args)
{
	(void)args;
	reset_transaction(l);
	reply(l, "250 2.0.0 reset");
}

static void
on_noop(struct smtpd *l, struct slice args)
{
	(void)args;
	reply(l, "250 2.0.0 ok");
}

/* Who is here is told at RCPT alone (RFC 5321 3.5.3). */
static void
on_vrfy(struct smtpd *l, struct slice args)
{
	(void)args;
	reply(l, "252 2.0.0 not told, but mail is taken where it is known");
}

static void
on_quit(struct smtpd *l, struct slice args)
{
	(void)args;
	reply(l, "221 2.0.0 bye");
	l->state = STATE_OVER;
}

/* A browser that was made to speak to us; nothing else of what it says is to be read. */
static void
on_browser(struct smtpd *l, struct slice args)
{
	(void)args;
	smtpd_end(l, "5.7.0 this is not HTTP");
}

#define IN_LMTP (1u << SMTPD_LMTP)
#define IN_SMTP (1u << SMTPD_SMTP)
#define IN_BOTH (IN_LMTP | IN_SMTP)

static const struct {
	const char *verb;
	void (*on)(struct smtpd *, struct slice args);
	unsigned dialects;
	bool is_idle; /* brings no message nearer */
} commands[] = {
	{ "LHLO", on_lhlo, IN_LMTP, false },
	{ "EHLO", on_ehlo, IN_SMTP, true },
	{ "HELO", on_helo, IN_SMTP, true },
	{ "STARTTLS", on_starttls, IN_SMTP, true },
	{ "MAIL", on_mail, IN_BOTH, true },
	{ "RCPT", on_rcpt, IN_BOTH, false },
	{ "DATA", on_data, IN_BOTH, false },
	{ "RSET", on_rset, IN_BOTH, true },
	{ "NOOP", on_noop, IN_BOTH, true },
	{ "VRFY", on_vrfy, IN_BOTH, true },
	{ "QUIT", on_quit, IN_BOTH, false },
	{ "GET", on_browser, IN_SMTP, false },
	{ "POST", on_browser, IN_SMTP, false },
	{ "CONNECT", on_browser, IN_SMTP, false },
};

static void
do_command(struct smtpd *l, size_t which, struct slice args)
{
	if (is_smtp(l) && commands[which].is_idle && ++l->idle_commands > SMTPD_IDLE_COMMANDS)
		smtpd_end(l, "4.7.0 too many commands without a message");
	else
		commands[which].on(l, args);
}

/* One line without its CR LF. */
static void
on_line(struct smtpd *l, struct slice line)
{
	size_t verb = 0;

	for (size_t i = 0; i < line.len; i++) {
		if (line.ptr[i] == '\r' || line.ptr[i] == '\n' || line.ptr[i] == '\0') {
			refuse(l, "500 5.5.2 bad character in command");
			return;
		}
	}
	while (verb < line.len && line.ptr[verb] != ' ')
		verb++;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if ((commands[i].dialects & (1u << l->config->dialect)) != 0 &&
		    slice_equal_nocase(slice_make(line.ptr, verb), slice_str(commands[i].verb))) {
			do_command(l, i, slice_trim(slice_make(line.ptr + verb, line.len - verb)));
			return;
		}
	}
	refuse(l, "502 5.5.1 command not known");
}

/* Reads one command from s; bytes used, 0 when more are needed. */
static size_t
read_command(struct smtpd *l, struct slice s)
{
	const char *end = s.len > 0 ? memmem(s.ptr, s.len, "\r\n", 2) : NULL;
	size_t len = end != NULL ? (size_t)(end - s.ptr) : s.len;

	if (l->is_skipping) {
		if (end == NULL) /* a CR at the very end may be half of the line end */
			return len > 0 && s.ptr[len - 1] == '\r' ? len - 1 : len;
		l->is_skipping = false;
		return len + 2;
	}
	if (len > SMTPD_LINE_MAX - 2) {
		l->is_skipping = end == NULL;
		refuse(l, "500 5.5.2 line too long");
		if (end != NULL)
			return len + 2;
		return s.ptr[len - 1] == '\r' ? len - 1 : len;
	}
	if (end == NULL)
		return 0;
	on_line(l, slice_make(s.ptr, len));
	return len + 2;
}

static void
take_content(struct smtpd *l, const char *bytes, size_t n)
{
	/* past the limit the buffer fails and stays so; the rest of the content is dropped */
	buf_append(&l->data, bytes, n);
}

/* What is wrong with the content as a whole; NULL: nothing. */
static const char *
check_content(const struct smtpd *l)
{
	if (buf_failed(&l->data) || l->data.len > l->size_max)
		return "552 5.3.4 message too big";
	if (is_smtp(l) && l->has_bare)
		return "550 5.5.2 a line end that is not CR LF";
	if (is_smtp(l) && l->has_long)
		return "550 5.6.0 a line is too long";
	return buf_failed(&l->paths) ? "452 4.3.1 no memory" : NULL;
}

/* The content is complete: refuse it here, or hand it out. */
static void
end_content(struct smtpd *l)
{
	const char *refusal = check_content(l);
	size_t at = l->sender_len;

	l->idle_commands = 0;
	l->messages++;
	if (refusal != NULL) {
		for (size_t i = 0; i < (is_smtp(l) ? 1 : l->rcpt_count); i++)
			reply(l, refusal);
		reset_transaction(l);
		return;
	}
	for (size_t i = 0; i < l->rcpt_count; i++) {
		l->rcpts[i] = slice_make(l->paths.data + at, l->rcpt_len[i]);
		at += l->rcpt_len[i];
	}
	l->ref++;
	l->state = STATE_WAITING;
}

/* The rules for lines that SMTP alone has; `before` is where the byte was found. */
static void
watch_line(struct smtpd *l, enum content before, char c)
{
	bool after_cr = before == CONTENT_CR || before == CONTENT_DOT_CR;

	if ((c == '\n') != after_cr)
		l->has_bare = true;
	l->text_len = c == '\n' ? 0 : l->text_len + 1;
	if (l->text_len > SMTPD_TEXT_MAX)
		l->has_long = true;
}

/* One byte of content where runs of text do not help; true at the end of data. */
static bool
step_content(struct smtpd *l, char c)
{
	enum content before = l->content;

	watch_line(l, before, c);
	if (before == CONTENT_DOT_CR && c == '\n')
		return true;
	if (before == CONTENT_DOT_CR) { /* ". CR x": the dot was stuffed, the CR is content */
		take_content(l, "\r", 1);
		before = CONTENT_CR;
	}
	if (before == CONTENT_START && c == '.') {
		l->content = CONTENT_DOT;
		return false;
	}
	if (before == CONTENT_DOT && c == '\r') {
		l->content = CONTENT_DOT_CR;
		return false;
	}
	take_content(l, &c, 1);
	if (c == '\r')
		l->content = CONTENT_CR;
	else if (c == '\n' && before == CONTENT_CR)
		l->content = CONTENT_START;
	else
		l->content = CONTENT_TEXT;
	return false;
}

/* A run of content without CR. */
static void
take_text(struct smtpd *l, struct slice run)
{
	const char *lf = run.len > 0 ? memchr(run.ptr, '\n', run.len) : NULL;

	l->has_bare = l->has_bare || lf != NULL;
	l->text_len += run.len;
	if (l->text_len > SMTPD_TEXT_MAX)
		l->has_long = true;
	take_content(l, run.ptr, run.len);
}

/* Reads content from s until it is used up or the data end; bytes used. */
static size_t
read_content(struct smtpd *l, struct slice s)
{
	size_t i = 0;

	while (i < s.len) {
		if (l->content == CONTENT_TEXT) {
			const char *cr = memchr(s.ptr + i, '\r', s.len - i);
			size_t run = cr != NULL ? (size_t)(cr - s.ptr) - i : s.len - i;
			take_text(l, slice_make(s.ptr + i, run));
			i += run;
			if (cr == NULL)
				break;
		}
		if (step_content(l, s.ptr[i++])) {
			end_content(l);
			break;
		}
	}
	return i;
}

static bool
is_listening(const struct smtpd *l)
{
	return l->state != STATE_WAITING && l->state != STATE_TLS && l->state != STATE_OVER;
}

/* Reads what has come as far as the state allows. */
static void
run(struct smtpd *l)
{
	size_t at = 0;

	while (is_listening(l) && at < l->in.len && l->out.len < OUTPUT_HIGH) {
		struct slice s = slice_make(l->in.data + at, l->in.len - at);
		size_t used = l->state == STATE_DATA ? read_content(l, s) : read_command(l, s);

		if (used == 0)
			break;
		at += used;
	}
	buf_consume(&l->in, at);
	/* what waits behind STARTTLS was said in clear: it must never be read as said under TLS
	 * (CVE-2011-0411) */
	if (l->state == STATE_TLS && l->in.len > 0) {
		buf_reset(&l->in);
		smtpd_end(l, "5.5.1 nothing may follow STARTTLS");
	}
	if (buf_failed(&l->out) || buf_failed(&l->in))
		l->state = STATE_OVER;
}

int
smtpd_input(struct smtpd *l, const char *bytes, size_t n)
{
	while (n > 0 && l->state != STATE_OVER) {
		size_t chunk = n < CHUNK ? n : CHUNK;

		if (l->in.len > SMTPD_AHEAD_MAX) {
			smtpd_end(l, "4.7.0 too much input while busy");
			break;
		}
		buf_append(&l->in, bytes, chunk);
		bytes += chunk;
		n -= chunk;
		run(l);
	}
	return l->state == STATE_OVER ? -1 : 0;
}

bool
smtpd_wants_input(const struct smtpd *l)
{
	return is_listening(l) && l->out.len < OUTPUT_HIGH;
}

struct slice
smtpd_output(const struct smtpd *l)
{
	return buf_slice(&l->out);
}

void
smtpd_output_consume(struct smtpd *l, size_t n)
{
	buf_consume(&l->out, n < l->out.len ? n : l->out.len);
	run(l);
}

bool
smtpd_message(const struct smtpd *l, struct smtpd_message *message)
{
	if (l->state != STATE_WAITING)
		return false;
	message->ref = l->ref;
	message->sender = slice_make(l->paths.data, l->sender_len);
	message->rcpts = l->rcpts;
	message->rcpt_count = l->rcpt_count;
	message->data = buf_slice(&l->data);
	message->helo = slice_str(l->helo);
	message->is_tls = l->is_tls;
	message->is_extended = l->is_extended;
	return true;
}

bool
smtpd_answer(struct smtpd *l, uint64_t ref, int code, const char *text)
{
	char line[400];
	size_t n = 0;

	if (l->state != STATE_WAITING || ref != l->ref)
		return false;
	for (; text[n] != '\0' && n + 1 < sizeof(line); n++)
		line[n] = text[n] >= 0x20 && text[n] < 0x7F ? text[n] : '?';
	line[n] = '\0';
	for (size_t i = 0; i < (is_smtp(l) ? 1 : l->rcpt_count); i++)
		buf_printf(&l->out, "%d %s\r\n", code, line);
	l->errors = 0;
	reset_transaction(l);
	if (is_smtp(l) && l->messages >= SMTPD_MESSAGES_MAX)
		smtpd_end(l, "4.7.0 enough for one session");
	run(l);
	return true;
}

bool
smtpd_wants_tls(const struct smtpd *l)
{
	return l->state == STATE_TLS;
}

void
smtpd_tls_started(struct smtpd *l)
{
	if (l->state != STATE_TLS)
		return;
	l->state = STATE_GREETED;
	l->is_tls = true;
	l->helo[0] = '\0';
}

void
smtpd_end(struct smtpd *l, const char *text)
{
	if (l->state == STATE_OVER)
		return;
	buf_printf(&l->out, "421 %s\r\n", text);
	l->state = STATE_OVER;
}

bool
smtpd_is_over(const struct smtpd *l)
{
	return l->state == STATE_OVER;
}

bool
smtpd_address_known(struct slice address, const struct slice *domains, size_t domain_count,
    const struct slice *local_parts, size_t local_count)
{
	const char *at = address.len > 0 ? memrchr(address.ptr, '@', address.len) : NULL;
	struct slice local, domain;
	bool is_ours = false;

	if (at == NULL)
		return false;
	local = slice_make(address.ptr, (size_t)(at - address.ptr));
	domain = slice_make(at + 1, address.len - local.len - 1);
	for (size_t i = 0; i < domain_count; i++)
		is_ours = is_ours || slice_equal_nocase(domain, domains[i]);
	if (!is_ours)
		return false;
	if (local.len > 2 && local.ptr[1] == '+' &&
	    ((local.ptr[0] | 0x20) == 'b' || (local.ptr[0] | 0x20) == 'u'))
		return true;
	for (size_t i = 0; i < local_count; i++)
		if (slice_equal_nocase(local, local_parts[i]))
			return true;
	return false;
}
