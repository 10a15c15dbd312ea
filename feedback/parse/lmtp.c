/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmtp: one LMTP session as a machine of bytes. Owns the session's buffers. Promises that only
 * CR LF . CR LF ends content, that nothing is acknowledged before lmtp_answer(), and bounded
 * memory. Refuses what it did not announce.
 */
#include "lmtp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX (256 * 1024)
#define OUTPUT_HIGH (64 * 1024) /* a client that does not read is not read from */
#define CHUNK (16 * 1024)
#define PATH_MAX_BYTES 320
#define REJECTS_MAX 100 /* unknown recipients in one transaction */

enum state {
	STATE_GREETED, /* before LHLO */
	STATE_READY,
	STATE_MAIL, /* sender known */
	STATE_RCPT, /* at least one recipient */
	STATE_DATA,
	STATE_WAITING, /* for lmtp_answer */
	STATE_OVER
};

/* Where in a line of content we are. A line begins after CR LF only. */
enum content { CONTENT_START, CONTENT_TEXT, CONTENT_CR, CONTENT_DOT, CONTENT_DOT_CR };

struct lmtp {
	const struct lmtp_config *config;
	enum state state;
	enum content content;
	struct buf in; /* not yet read */
	struct buf out;
	struct buf data;  /* content, unstuffed */
	struct buf paths; /* sender, then recipients, end to end */
	size_t sender_len;
	size_t rcpt_len[LMTP_RCPTS_MAX];
	struct slice rcpts[LMTP_RCPTS_MAX]; /* filled when the message is complete */
	size_t rcpt_count;
	size_t size_max;
	unsigned errors;
	unsigned rejects;
	bool is_skipping; /* rest of a line that is too long */
	uint64_t ref;
};

static void
reply(struct lmtp *l, const char *text)
{
	buf_append_str(&l->out, text);
	buf_append_str(&l->out, "\r\n");
}

static void
reset_transaction(struct lmtp *l)
{
	buf_reset(&l->data);
	buf_reset(&l->paths);
	l->sender_len = 0;
	l->rcpt_count = 0;
	l->rejects = 0;
	if (l->state != STATE_GREETED && l->state != STATE_OVER)
		l->state = STATE_READY;
}

/* A refusal that a proper client does not meet; too many end the session. */
static void
refuse(struct lmtp *l, const char *text)
{
	reply(l, text);
	if (++l->errors > LMTP_ERRORS_MAX)
		lmtp_end(l, "4.7.0 too many errors");
}

struct lmtp *
lmtp_new(const struct lmtp_config *config)
{
	struct lmtp *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->config = config;
	l->size_max = config->size_max != 0 ? config->size_max : LMTP_SIZE_MAX;
	buf_init(&l->in, LMTP_AHEAD_MAX + CHUNK + LMTP_LINE_MAX);
	buf_init(&l->out, OUTPUT_MAX);
	buf_init(&l->data, l->size_max + 2); /* one append past size_max may be a pair */
	buf_init(&l->paths, (LMTP_RCPTS_MAX + 1) * PATH_MAX_BYTES);
	buf_printf(&l->out, "220 %s LMTP\r\n", config->hostname);
	if (buf_failed(&l->out)) {
		lmtp_free(l);
		return NULL;
	}
	return l;
}

void
lmtp_free(struct lmtp *l)
{
	if (l == NULL)
		return;
	buf_release(&l->in);
	buf_release(&l->out);
	buf_release(&l->data);
	buf_release(&l->paths);
	free(l);
}

static void
on_lhlo(struct lmtp *l, struct slice args)
{
	if (args.len == 0) {
		refuse(l, "501 5.5.4 LHLO needs a name");
		return;
	}
	l->state = STATE_READY;
	reset_transaction(l);
	buf_printf(&l->out,
	    "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
	    "250 SIZE %zu\r\n",
	    l->config->hostname, l->size_max);
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
		if (c < 0x20 || c > 0x7E || (c == ' ' && !quoted) || (c == '<' && !quoted))
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

/* "SIZE=n" and "BODY=…". NULL when fine, else the refusal. */
static const char *
check_parameters(const struct lmtp *l, struct slice args)
{
	for (args = slice_trim(args); args.len > 0; args = slice_trim(args)) {
		const char *end = memchr(args.ptr, ' ', args.len);
		size_t len = end != NULL ? (size_t)(end - args.ptr) : args.len, size = 0;
		struct slice word = slice_make(args.ptr, len);

		args = slice_make(args.ptr + len, args.len - len);
		if (slice_equal_nocase(word, SLICE("BODY=7BIT")) ||
		    slice_equal_nocase(word, SLICE("BODY=8BITMIME")))
			continue;
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

static void
on_mail(struct lmtp *l, struct slice args)
{
	struct slice path;
	const char *refusal;

	if (l->state != STATE_READY) {
		refuse(l,
		    l->state == STATE_GREETED ? "503 5.5.1 LHLO first"
					      : "503 5.5.1 MAIL already given");
		return;
	}
	if (!take_path(&args, SLICE("FROM:"), &path)) {
		refuse(l, "501 5.1.7 bad sender address");
		return;
	}
	refusal = check_parameters(l, args);
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
on_rcpt(struct lmtp *l, struct slice args)
{
	struct slice path;

	if (l->state != STATE_MAIL && l->state != STATE_RCPT) {
		refuse(l, "503 5.5.1 MAIL first");
	} else if (!take_path(&args, SLICE("TO:"), &path) || path.len == 0) {
		refuse(l, "501 5.1.3 bad recipient address");
	} else if (slice_trim(args).len > 0) {
		refuse(l, "555 5.5.4 parameter not known");
	} else if (l->rcpt_count == LMTP_RCPTS_MAX) {
		refuse(l, "452 4.5.3 too many recipients");
	} else if (!l->config->accepts(l->config->context, path)) {
		reply(l, "550 5.1.1 no such recipient here");
		if (++l->rejects > REJECTS_MAX)
			lmtp_end(l, "4.7.0 too many unknown recipients");
	} else {
		buf_append_slice(&l->paths, path);
		l->rcpt_len[l->rcpt_count++] = path.len;
		l->state = STATE_RCPT;
		reply(l, "250 2.1.5 recipient ok");
	}
}

static void
on_data(struct lmtp *l, struct slice args)
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
on_rset(struct lmtp *l, struct slice args)
{
	(void)args;
	reset_transaction(l);
	reply(l, "250 2.0.0 reset");
}

static void
on_noop(struct lmtp *l, struct slice args)
{
	(void)args;
	reply(l, "250 2.0.0 ok");
}

static void
on_quit(struct lmtp *l, struct slice args)
{
	(void)args;
	reply(l, "221 2.0.0 bye");
	l->state = STATE_OVER;
}

static const struct {
	const char *verb;
	void (*on)(struct lmtp *, struct slice args);
} commands[] = {
	{ "LHLO", on_lhlo },
	{ "MAIL", on_mail },
	{ "RCPT", on_rcpt },
	{ "DATA", on_data },
	{ "RSET", on_rset },
	{ "NOOP", on_noop },
	{ "QUIT", on_quit },
};

/* One line without its CR LF. */
static void
on_line(struct lmtp *l, struct slice line)
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
		if (slice_equal_nocase(slice_make(line.ptr, verb), slice_str(commands[i].verb))) {
			commands[i].on(l, slice_trim(slice_make(line.ptr + verb, line.len - verb)));
			return;
		}
	}
	refuse(l, "502 5.5.1 command not known");
}

/* Reads one command from s; bytes used, 0 when more are needed. */
static size_t
read_command(struct lmtp *l, struct slice s)
{
	const char *end = s.len > 0 ? memmem(s.ptr, s.len, "\r\n", 2) : NULL;
	size_t len = end != NULL ? (size_t)(end - s.ptr) : s.len;

	if (l->is_skipping) {
		if (end == NULL) /* a CR at the very end may be half of the line end */
			return len > 0 && s.ptr[len - 1] == '\r' ? len - 1 : len;
		l->is_skipping = false;
		return len + 2;
	}
	if (len > LMTP_LINE_MAX - 2) {
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
take_content(struct lmtp *l, const char *bytes, size_t n)
{
	/* past the limit the buffer fails and stays so; the rest of the content is dropped */
	buf_append(&l->data, bytes, n);
}

/* The content is complete: refuse it here, or hand it out. */
static void
end_content(struct lmtp *l)
{
	bool is_too_big = buf_failed(&l->data) || l->data.len > l->size_max;
	size_t at = l->sender_len;

	if (is_too_big || buf_failed(&l->paths)) {
		for (size_t i = 0; i < l->rcpt_count; i++)
			reply(l, is_too_big ? "552 5.3.4 message too big" : "452 4.3.1 no memory");
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

/* One byte of content where runs of text do not help; true at the end of data. */
static bool
step_content(struct lmtp *l, char c)
{
	enum content before = l->content;

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

/* Reads content from s until it is used up or the data end; bytes used. */
static size_t
read_content(struct lmtp *l, struct slice s)
{
	size_t i = 0;

	while (i < s.len) {
		if (l->content == CONTENT_TEXT) {
			const char *cr = memchr(s.ptr + i, '\r', s.len - i);
			size_t run = cr != NULL ? (size_t)(cr - s.ptr) - i : s.len - i;
			take_content(l, s.ptr + i, run);
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

/* Reads what has come as far as the state allows. */
static void
run(struct lmtp *l)
{
	size_t at = 0;

	while (l->state != STATE_WAITING && l->state != STATE_OVER && at < l->in.len &&
	    l->out.len < OUTPUT_HIGH) {
		struct slice s = slice_make(l->in.data + at, l->in.len - at);
		size_t used = l->state == STATE_DATA ? read_content(l, s) : read_command(l, s);

		if (used == 0)
			break;
		at += used;
	}
	buf_consume(&l->in, at);
	if (buf_failed(&l->out) || buf_failed(&l->in))
		l->state = STATE_OVER;
}

int
lmtp_input(struct lmtp *l, const char *bytes, size_t n)
{
	while (n > 0 && l->state != STATE_OVER) {
		size_t chunk = n < CHUNK ? n : CHUNK;

		if (l->in.len > LMTP_AHEAD_MAX) {
			lmtp_end(l, "4.7.0 too much input while busy");
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
lmtp_wants_input(const struct lmtp *l)
{
	return l->state != STATE_WAITING && l->state != STATE_OVER && l->out.len < OUTPUT_HIGH;
}

struct slice
lmtp_output(const struct lmtp *l)
{
	return buf_slice(&l->out);
}

void
lmtp_output_consume(struct lmtp *l, size_t n)
{
	buf_consume(&l->out, n < l->out.len ? n : l->out.len);
	run(l);
}

bool
lmtp_message(const struct lmtp *l, struct lmtp_message *message)
{
	if (l->state != STATE_WAITING)
		return false;
	message->ref = l->ref;
	message->sender = slice_make(l->paths.data, l->sender_len);
	message->rcpts = l->rcpts;
	message->rcpt_count = l->rcpt_count;
	message->data = buf_slice(&l->data);
	return true;
}

bool
lmtp_answer(struct lmtp *l, uint64_t ref, int code, const char *text)
{
	char line[400];
	size_t n = 0;

	if (l->state != STATE_WAITING || ref != l->ref)
		return false;
	for (; text[n] != '\0' && n + 1 < sizeof(line); n++)
		line[n] = text[n] >= 0x20 && text[n] < 0x7F ? text[n] : '?';
	line[n] = '\0';
	for (size_t i = 0; i < l->rcpt_count; i++)
		buf_printf(&l->out, "%d %s\r\n", code, line);
	l->errors = 0;
	reset_transaction(l);
	run(l);
	return true;
}

void
lmtp_end(struct lmtp *l, const char *text)
{
	if (l->state == STATE_OVER)
		return;
	buf_printf(&l->out, "421 %s\r\n", text);
	l->state = STATE_OVER;
}

bool
lmtp_is_over(const struct lmtp *l)
{
	return l->state == STATE_OVER;
}

bool
lmtp_address_known(struct slice address, const struct slice *domains, size_t domain_count,
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
