/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbound: looks at one mail and says what it is. Owns nothing beyond the call. Promises that
 * no event is linked without a verified token, and that hostile MIME costs bounded stack and
 * memory: the text is cut and scanned before GMime sees it, and its tree is walked with an
 * explicit stack. Refuses only mails past INBOUND_SIZE_MAX.
 */
#include "inbound.h"

#include <gmime/gmime.h>
#include <string.h>

#include "arf.h"
#include "dsn.h"

#define RCPTS_MAX 100	    /* envelope recipients looked at */
#define TOKENS_MAX 100	    /* candidates in headers whose signature is computed */
#define UNSUBSCRIBES_MAX 20 /* unsubscribe tokens of one mail */
#define VERP_LOCAL (2 + TOKEN_CHARS)

/* What the outermost header says. First occurrence wins. */
struct top {
	struct slice message_id;
	struct slice from;
	struct slice subject;
	struct slice content_type;
	int64_t date_us;
	unsigned hops;
	bool is_auto;
	bool is_report; /* multipart/report of any kind */
};

struct unsubscribes {
	struct token items[UNSUBSCRIBES_MAX];
	size_t count;
};

struct job {
	const struct inbound_input *in;
	struct arena *arena;
	struct feedback_events *events;
	struct slice text;   /* LF only, no NUL */
	struct slice header; /* the outermost one */
	struct top top;
	bool linked; /* by the envelope */
	struct token token;
	struct unsubscribes unsubscribes;
	unsigned tokens_tried;
};

/* Parts of interest; borrowed from the message. */
struct found {
	GMimeObject *status;
	GMimeObject *feedback;
	GMimeObject *receipt;
	GMimeObject *tls;
	GMimeObject *embedded; /* the mail reported on, whole or headers */
};

/* LF line ends, blanks for NULs. A CR alone ends a line only where there is no LF at all. */
static struct slice
normalise(struct slice raw, struct arena *arena)
{
	size_t len = raw.len < INBOUND_READ_MAX ? raw.len : INBOUND_READ_MAX, n = 0;
	bool has_lf = len > 0 && memchr(raw.ptr, '\n', len) != NULL;
	char *out = arena_alloc(arena, len + 1);

	if (out == NULL)
		return (struct slice){ NULL, 0 };
	for (size_t i = 0; i < len; i++) {
		char c = raw.ptr[i];
		if (c == '\r' && !has_lf) {
			c = '\n';
		} else if (c == '\r') {
			size_t next = i;
			while (next < len && raw.ptr[next] == '\r')
				next++;
			if (next == len || raw.ptr[next] == '\n') {
				i = next - 1;
				continue;
			}
			c = ' ';
		} else if (c == '\0') {
			c = ' ';
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return (struct slice){ out, n };
}

/* The bytes before the first empty line; the "From " line of a mailbox is cut off. */
static struct slice
find_header(struct slice *text)
{
	const char *end;

	if (text->len > 5 && memcmp(text->ptr, "From ", 5) == 0) {
		end = memchr(text->ptr, '\n', text->len);
		if (end != NULL)
			*text = slice_make(end + 1, text->len - (size_t)(end + 1 - text->ptr));
	}
	end = text->len > 0 ? memmem(text->ptr, text->len, "\n\n", 2) : NULL;
	return slice_make(text->ptr, end != NULL ? (size_t)(end + 1 - text->ptr) : text->len);
}

static bool
is_atom_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '.' || c == '-' || c == '+' || c == '_' || c == '=';
}

static void
note_unsubscribe(struct job *job, struct token token)
{
	struct unsubscribes *u = &job->unsubscribes;

	for (size_t i = 0; i < u->count; i++)
		if (u->items[i].run == token.run && u->items[i].send == token.send)
			return;
	if (u->count < UNSUBSCRIBES_MAX)
		u->items[u->count++] = token;
}

/* One recipient address of the mail at hand. */
static void
note_recipient(struct job *job, struct slice address)
{
	struct slice domain = job->in->bounce_domain;
	struct token token;

	if (!job->linked &&
	    feedback_verp_verify(job->in->keys, TOKEN_BOUNCE, address, domain, &token)) {
		job->linked = true;
		job->token = token;
	} else if (feedback_verp_verify(
		       job->in->keys, TOKEN_UNSUBSCRIBE, address, domain, &token)) {
		note_unsubscribe(job, token);
	}
}

/* Every x+TOKEN@host in a header value. No address syntax is needed: a token proves itself. */
static void
note_recipients(struct job *job, struct slice value)
{
	for (size_t i = VERP_LOCAL; i < value.len; i++) {
		size_t start = i - VERP_LOCAL, end = i + 1;

		if (value.ptr[i] != '@' || value.ptr[start + 1] != '+' ||
		    (start > 0 && is_atom_char(value.ptr[start - 1])))
			continue;
		while (end < value.len && is_atom_char(value.ptr[end]))
			end++;
		if (job->tokens_tried++ >= TOKENS_MAX)
			return;
		note_recipient(job, slice_make(value.ptr + start, end - start));
	}
}

static bool
contains_word(struct slice value, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_starts_nocase(value, slice_str(words[i])))
			return true;
	return false;
}

/* RFC 3834 section 5, and what is used in its place. */
static bool
is_auto_field(struct slice name, struct slice value)
{
	static const char *const present[] = { "X-Autoreply", "X-Autorespond", "X-Auto-Reply-From",
		"X-Mail-Autoreply", "X-Auto-Response-Suppress", "X-Autogenerated" };
	static const char *const precedence[] = { "auto_reply", "auto-reply", "bulk", "junk",
		"list" };

	if (slice_equal_nocase(name, SLICE("Auto-Submitted"))) {
		size_t n = 0;
		while (n < value.len && value.ptr[n] != ';' && value.ptr[n] != '(' &&
		    value.ptr[n] != ' ' && value.ptr[n] != '\t')
			n++;
		return n > 0 && !slice_equal_nocase(slice_make(value.ptr, n), SLICE("no"));
	}
	if (slice_equal_nocase(name, SLICE("Precedence")))
		return contains_word(value, precedence, sizeof(precedence) / sizeof(*precedence));
	for (size_t i = 0; i < sizeof(present) / sizeof(*present); i++)
		if (slice_equal_nocase(name, slice_str(present[i])))
			return true;
	return false;
}

static void
note_field(struct job *job, struct slice name, struct slice value)
{
	struct top *top = &job->top;
	const struct {
		struct slice name;
		struct slice *where;
	} texts[] = {
		{ SLICE("Message-ID"), &top->message_id },
		{ SLICE("From"), &top->from },
		{ SLICE("Subject"), &top->subject },
		{ SLICE("Content-Type"), &top->content_type },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (slice_equal_nocase(name, texts[i].name) && texts[i].where->len == 0)
			*texts[i].where = value;
	if (slice_equal_nocase(name, SLICE("Received")))
		top->hops++;
	else if (slice_equal_nocase(name, SLICE("Date")) && top->date_us == 0)
		top->date_us = dsn_date_parse(value);
	else if (job->in->rcpt_count == 0 &&
	    (slice_equal_nocase(name, SLICE("Delivered-To")) ||
		slice_equal_nocase(name, SLICE("X-Original-To")) ||
		slice_equal_nocase(name, SLICE("To"))))
		note_recipients(job, value);
	else if (is_auto_field(name, value))
		top->is_auto = true;
}

/* RFC 2047 words decoded. */
static struct slice
decode_words(struct slice value, struct arena *arena)
{
	struct slice plain = arena_copy(arena, value), out;
	char *decoded;

	if (plain.ptr == NULL)
		return value;
	decoded = g_mime_utils_header_decode_text(NULL, plain.ptr);
	if (decoded == NULL)
		return value;
	out = feedback_text(arena, slice_str(decoded), 500);
	g_free(decoded);
	return out;
}

static bool
is_auto_subject(struct slice subject)
{
	static const char *const words[] = { "Automatic reply", "Auto reply", "Auto-reply",
		"Autoreply", "Auto:", "Out of Office", "Out-of-Office", "自動返信", "自動応答",
		"不在" };

	for (;;) {
		subject = slice_trim(subject);
		/* opening brackets stand before the words in Japanese subjects */
		if (slice_starts_nocase(subject, SLICE("【")))
			subject = slice_make(subject.ptr + 3, subject.len - 3);
		else if (slice_starts_nocase(subject, SLICE("[")))
			subject = slice_make(subject.ptr + 1, subject.len - 1);
		else
			break;
	}
	return contains_word(subject, words, sizeof(words) / sizeof(*words));
}

static int
read_header(struct job *job)
{
	struct dsn_fields fields = { job->header };
	struct slice name, value;
	enum dsn_field_result result;

	while ((result = dsn_fields_next(&fields, job->arena, &name, &value)) == DSN_FIELD)
		note_field(job, name, value);
	if (result == DSN_FIELD_NO_MEMORY)
		return -1;
	job->top.subject = decode_words(job->top.subject, job->arena);
	if (is_auto_subject(job->top.subject))
		job->top.is_auto = true;
	job->top.is_report = slice_starts_nocase(job->top.content_type, SLICE("multipart/report"));
	for (size_t i = 0; i < job->in->rcpt_count && i < RCPTS_MAX; i++)
		note_recipient(job, job->in->rcpts[i]);
	return 0;
}

/*
 * Bounds what GMime may build. Each level of nesting needs a Content-Type field (or two levels
 * share one, in a digest), each part a line "--" + a declared boundary.
 */
static bool
is_within_limits(struct slice text)
{
	struct slice boundaries[INBOUND_PARTS_MAX];
	size_t count = 0, types = 0, parts = 0;

	for (const char *p = text.ptr; (p = strcasestr(p, "boundary=")) != NULL;) {
		const char *start = p + 9, *end;
		bool quoted = *start == '"';

		if (count == INBOUND_PARTS_MAX)
			return false;
		start += quoted;
		end = start + strcspn(start, quoted ? "\"\n" : "; \t\n");
		if (end > start)
			boundaries[count++] = slice_make(start, (size_t)(end - start));
		p = end;
	}
	for (const char *line = text.ptr; *line != '\0';) {
		struct slice rest = slice_make(line, (size_t)(text.ptr + text.len - line));

		if (slice_starts_nocase(rest, SLICE("content-type")) && ++types > INBOUND_PARTS_MAX)
			return false;
		for (size_t i = 0; i < count && rest.len > 2 && line[0] == '-' && line[1] == '-';
		     i++) {
			if (rest.len - 2 >= boundaries[i].len &&
			    memcmp(line + 2, boundaries[i].ptr, boundaries[i].len) == 0) {
				parts++;
				break;
			}
		}
		if (parts > 2 * INBOUND_PARTS_MAX)
			return false;
		line = memchr(line, '\n', rest.len);
		if (line == NULL)
			break;
		line++;
	}
	return true;
}

static bool
has_type(GMimeObject *object, const char *type, const char *subtype)
{
	GMimeContentType *ct = g_mime_object_get_content_type(object);

	return ct != NULL && g_mime_content_type_is_type(ct, type, subtype);
}

static void
note_part(struct found *found, GMimeObject *object)
{
	const struct {
		const char *type, *subtype;
		GMimeObject **where;
	} wanted[] = {
		{ "message", "delivery-status", &found->status },
		{ "message", "global-delivery-status", &found->status },
		{ "message", "feedback-report", &found->feedback },
		{ "message", "disposition-notification", &found->receipt },
		{ "message", "global-disposition-notification", &found->receipt },
		{ "application", "tlsrpt+gzip", &found->tls },
		{ "application", "tlsrpt+json", &found->tls },
		{ "text", "rfc822-headers", &found->embedded },
		{ "message", "global-headers", &found->embedded },
	};

	if (GMIME_IS_MESSAGE_PART(object)) {
		if (found->embedded == NULL)
			found->embedded = object;
		return;
	}
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (*wanted[i].where == NULL && has_type(object, wanted[i].type, wanted[i].subtype))
			*wanted[i].where = object;
}

/* Child number `next` of a multipart or of an embedded mail; NULL after the last. */
static GMimeObject *
child_of(GMimeObject *object, int next)
{
	if (GMIME_IS_MULTIPART(object)) {
		GMimeMultipart *multipart = GMIME_MULTIPART(object);
		return next < g_mime_multipart_get_count(multipart)
		    ? g_mime_multipart_get_part(multipart, next)
		    : NULL;
	}
	if (GMIME_IS_MESSAGE_PART(object) && next == 0) {
		GMimeMessage *message = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));
		return message != NULL ? g_mime_message_get_mime_part(message) : NULL;
	}
	return NULL;
}

/* Collects the parts that are not inside an embedded mail; false past a limit. */
static bool
walk(GMimeObject *root, struct found *found)
{
	struct level {
		GMimeObject *object;
		int next;
		bool is_inside;
	} stack[INBOUND_DEPTH_MAX];
	size_t depth = 0, parts = 1;

	note_part(found, root);
	stack[depth++] = (struct level){ root, 0, GMIME_IS_MESSAGE_PART(root) };
	while (depth > 0) {
		struct level *top = &stack[depth - 1];
		GMimeObject *child = child_of(top->object, top->next++);

		if (child == NULL) {
			depth--;
			continue;
		}
		if (++parts > INBOUND_PARTS_MAX)
			return false;
		if (!top->is_inside)
			note_part(found, child);
		if (!GMIME_IS_MULTIPART(child) && !GMIME_IS_MESSAGE_PART(child))
			continue;
		if (depth == INBOUND_DEPTH_MAX)
			return false;
		stack[depth++] =
		    (struct level){ child, 0, top->is_inside || GMIME_IS_MESSAGE_PART(child) };
	}
	return true;
}

/* The decoded bytes of a leaf; NULs become blanks again. Empty when there are none. */
static struct slice
part_content(GMimeObject *object, struct arena *arena)
{
	GMimeDataWrapper *content;
	GMimeStream *stream;
	GByteArray *bytes;
	struct slice out = { NULL, 0 };

	if (!GMIME_IS_PART(object))
		return out;
	content = g_mime_part_get_content(GMIME_PART(object));
	if (content == NULL)
		return out;
	stream = g_mime_stream_mem_new();
	(void)g_mime_data_wrapper_write_to_stream(content, stream);
	bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
	out = normalise(slice_make((const char *)bytes->data, bytes->len), arena);
	g_object_unref(stream);
	return out;
}

/* A token in a value of the embedded mail: bare, or as VERP address. */
static bool
verify_any(struct job *job, struct slice value, struct token *token)
{
	value = slice_trim(value);
	if (job->tokens_tried++ >= TOKENS_MAX)
		return false;
	if (value.len >= 2 && value.ptr[0] == '<' && value.ptr[value.len - 1] == '>')
		value = slice_make(value.ptr + 1, value.len - 2);
	return token_verify(job->in->keys, TOKEN_BOUNCE, value, token) ||
	    feedback_verp_verify(job->in->keys, TOKEN_BOUNCE, value, job->in->bounce_domain, token);
}

static const char *const id_fields[] = { "X-Kairan-Id", "Return-Path", "X-Original-Return-Path" };

/* The mail reported on, or its headers. */
static bool
link_embedded(struct job *job, GMimeObject *embedded, struct token *token)
{
	struct dsn_fields fields;
	struct slice name, value;

	if (embedded == NULL)
		return false;
	if (GMIME_IS_MESSAGE_PART(embedded)) {
		GMimeMessage *message =
		    g_mime_message_part_get_message(GMIME_MESSAGE_PART(embedded));
		for (size_t i = 0; message != NULL && i < sizeof(id_fields) / sizeof(*id_fields);
		     i++) {
			const char *text =
			    g_mime_object_get_header(GMIME_OBJECT(message), id_fields[i]);
			if (text != NULL && verify_any(job, slice_str(text), token))
				return true;
		}
		return false;
	}
	fields = (struct dsn_fields){ part_content(embedded, job->arena) };
	while (dsn_fields_next(&fields, job->arena, &name, &value) == DSN_FIELD)
		for (size_t i = 0; i < sizeof(id_fields) / sizeof(*id_fields); i++)
			if (slice_equal_nocase(name, slice_str(id_fields[i])) &&
			    verify_any(job, value, token))
				return true;
	return false;
}

/* The envelope first, then the given values, then the embedded mail. */
static bool
link_report(struct job *job, const struct slice *values, size_t count, GMimeObject *embedded,
    struct token *token)
{
	if (job->linked) {
		*token = job->token;
		return true;
	}
	for (size_t i = 0; i < count; i++)
		if (values[i].len > 0 && verify_any(job, values[i], token))
			return true;
	return link_embedded(job, embedded, token);
}

static struct slice
format_token(struct arena *arena, const struct token *token)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%u.%u.%u", token->run, token->send, token->attempt);

	return arena_copy(arena, slice_make(text, n > 0 ? (size_t)n : 0));
}

/* Key, link and time of an event; `unique` names the report, `what` the fact. */
static int
finish(struct job *job, struct feedback_event *event, bool linked, struct token token,
    struct slice what, struct slice status)
{
	struct arena *arena = job->arena;
	struct slice report =
	    job->top.message_id.len > 0 ? job->top.message_id : feedback_digest(arena, job->text);
	struct slice who;

	event->linked = linked;
	if (linked)
		event->token = token;
	who = linked ? format_token(arena, &token) : event->address;
	{
		struct slice parts[] = { slice_str(event->source), who, what, status, report };
		event->key = feedback_key(arena, parts, sizeof(parts) / sizeof(*parts));
	}
	return event->key.len > 0 && (event->detail.len > 0) ? 0 : -1;
}

/* The same key twice says nothing new. */
static void
drop_repeat(struct feedback_events *events)
{
	const struct feedback_event *last = &events->items[events->count - 1];

	for (size_t i = 0; i + 1 < events->count; i++) {
		if (slice_equal(events->items[i].key, last->key)) {
			events->count--;
			return;
		}
	}
}

static int
emit_other(struct job *job, const char *reason, bool linked, struct token token)
{
	const struct feedback_pair pairs[] = { { "message_id", job->top.message_id },
		{ "from", job->top.from }, { "subject", job->top.subject } };
	struct feedback_event *event = feedback_event_add(job->events, job->arena);

	if (event == NULL)
		return -1;
	event->reason = reason;
	event->occurred_at_us = job->top.date_us;
	event->detail = feedback_detail(job->arena, pairs, sizeof(pairs) / sizeof(*pairs));
	return finish(job, event, linked, token, slice_str(reason), SLICE(""));
}

static int
emit_unsubscribes(struct job *job)
{
	for (size_t i = 0; i < job->unsubscribes.count; i++) {
		if (emit_other(job, "mail", true, job->unsubscribes.items[i]) < 0)
			return -1;
		job->events->items[job->events->count - 1].kind = OUTCOME_UNSUBSCRIBED;
	}
	return 0;
}

static int
emit_recipient(struct job *job, const struct dsn *dsn, const struct dsn_recipient *r, bool linked,
    struct token token)
{
	struct feedback_event *event = feedback_event_add(job->events, job->arena);
	char text[24];
	int n = snprintf(text, sizeof(text), "%u.%u.%u", r->status[0], r->status[1], r->status[2]);
	struct slice status = slice_make(text, n > 0 ? (size_t)n : 0);
	const struct feedback_pair pairs[] = {
		{ "action", slice_str(dsn_action_name(r->action)) },
		{ "status", status },
		{ "final_recipient", r->final },
		{ "original_recipient", r->original },
		{ "remote_mta", r->remote_mta },
		{ "reporting_mta", dsn->reporting_mta },
		{ "envelope_id", dsn->envelope_id },
		{ "message_id", job->top.message_id },
		{ "from", job->top.from },
	};

	if (event == NULL)
		return job->events->count >= FEEDBACK_EVENTS_MAX ? 0 : -1;
	event->source = "dsn";
	dsn_judge(dsn, r, job->arena, event);
	if (event->occurred_at_us == 0)
		event->occurred_at_us = job->top.date_us;
	event->detail = feedback_detail(job->arena, pairs, sizeof(pairs) / sizeof(*pairs));
	if (finish(job, event, linked, token, slice_str(dsn_action_name(r->action)), status) < 0)
		return -1;
	drop_repeat(job->events);
	return 0;
}

static int
emit_dsn(struct job *job, const struct found *found)
{
	struct dsn dsn;
	struct token token = { 0, 0, 0 };
	bool linked;

	if (dsn_parse(&dsn, part_content(found->status, job->arena), job->arena) < 0)
		return -1;
	linked = link_report(job, &dsn.envelope_id, 1, found->embedded, &token);
	if (dsn.count == 0)
		return emit_other(job, "report_unreadable", linked, token);
	for (size_t i = 0; i < dsn.count; i++)
		if (emit_recipient(job, &dsn, &dsn.recipients[i], linked, token) < 0)
			return -1;
	return 0;
}

static int
emit_arf(struct job *job, const struct found *found)
{
	struct arf arf;
	struct token token = { 0, 0, 0 };
	struct feedback_event *event;
	bool linked;

	if (arf_parse(&arf, part_content(found->feedback, job->arena), job->arena) < 0)
		return -1;
	{
		struct slice values[] = { arf.envelope_id, arf.mail_from };
		linked = link_report(job, values, 2, found->embedded, &token);
	}
	event = feedback_event_add(job->events, job->arena);
	if (event == NULL)
		return -1;
	arf_judge(&arf, job->arena, event);
	if (job->top.date_us != 0) /* Arrival-Date is that of the mail complained about */
		event->occurred_at_us = job->top.date_us;
	{
		const struct feedback_pair pairs[] = {
			{ "feedback_type", slice_str(arf_type_name(arf.type)) },
			{ "user_agent", arf.user_agent },
			{ "source_ip", arf.source_ip },
			{ "rcpt_to", arf.rcpt_to },
			{ "auth_failure", arf.auth_failure },
			{ "reporting_mta", arf.reporting_mta },
			{ "message_id", job->top.message_id },
			{ "from", job->top.from },
		};
		event->detail = feedback_detail(job->arena, pairs, sizeof(pairs) / sizeof(*pairs));
	}
	return finish(job, event, linked, token, slice_str(event->reason), SLICE(""));
}

static int
emit_report(struct job *job, const struct found *found)
{
	if (found->status != NULL)
		return emit_dsn(job, found);
	if (found->feedback != NULL)
		return emit_arf(job, found);
	if (job->unsubscribes.count > 0 && !job->top.is_auto && !job->top.is_report &&
	    found->receipt == NULL)
		return emit_unsubscribes(job);
	if (found->receipt != NULL)
		return emit_other(job, "read_receipt", job->linked, job->token);
	if (found->tls != NULL)
		return emit_other(job, "tls_report", job->linked, job->token);
	if (job->top.is_auto)
		return emit_other(job, "auto_reply", job->linked, job->token);
	return emit_other(job, "unrecognised", job->linked, job->token);
}

static int
read_mime(struct job *job)
{
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(job->text.ptr, job->text.len);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
	GMimeObject *root = message != NULL ? g_mime_message_get_mime_part(message) : NULL;
	struct found found = { NULL, NULL, NULL, NULL, NULL };
	int result;

	if (root != NULL && !walk(root, &found))
		result = emit_other(job, "too_complex", job->linked, job->token);
	else
		result = emit_report(job, &found);
	if (message != NULL)
		g_object_unref(message);
	g_object_unref(parser);
	g_object_unref(stream);
	return result;
}

int
inbound_parse(const struct inbound_input *in, struct arena *arena, struct feedback_events *events,
    struct err *err)
{
	struct job job = { .in = in, .arena = arena, .events = events };
	bool is_too_complex;
	int result;

	if (in->raw.len > INBOUND_SIZE_MAX)
		return err_set(err, "the mail is larger than %d bytes", INBOUND_SIZE_MAX);
	job.text = normalise(in->raw, arena);
	if (job.text.ptr == NULL)
		return err_set(err, "the mail needs more memory than its arena has");
	job.header = find_header(&job.text);
	is_too_complex = job.header.len > INBOUND_HEADER_MAX;
	if (is_too_complex)
		job.header.len = INBOUND_HEADER_MAX;
	if (read_header(&job) < 0)
		return err_set(err, "the mail needs more memory than its arena has");
	if (is_too_complex || !is_within_limits(job.text))
		result = emit_other(&job, "too_complex", job.linked, job.token);
	else if (job.top.hops > INBOUND_HOPS_MAX)
		result = emit_other(&job, "mail_loop", job.linked, job.token);
	else
		result = read_mime(&job);
	if (result < 0)
		return err_set(err, "the mail needs more memory than its arena has");
	return 0;
}
