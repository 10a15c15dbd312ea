/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dsn: reads the fields of a delivery report and says what they mean for one recipient.
 * Promises linear time and no memory but the arena's. Trusts nothing: the caller links.
 */
#include "dsn.h"

#include <string.h>

#include "codes.h"
#include "digit.h"
#include "utf8.h"
#include "verdict.h"

static bool
is_blank_char(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool
is_blank_line(struct slice line)
{
	for (size_t i = 0; i < line.len; i++)
		if (!is_blank_char(line.ptr[i]))
			return false;
	return true;
}

/* Cuts one line (without its line end) off the front. */
static struct slice
take_line(struct slice *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
	size_t used = end != NULL ? len + 1 : len;
	struct slice line = slice_make(rest->ptr, len);

	rest->ptr += used;
	rest->len -= used;
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	return line;
}

/* True when the next line continues a field: blank first, something behind. */
static bool
is_continued(struct slice rest)
{
	if (rest.len == 0 || (rest.ptr[0] != ' ' && rest.ptr[0] != '\t'))
		return false;
	return !is_blank_line(take_line(&rest));
}

/* The value over its continuation lines, joined by single blanks. */
static bool
unfold(struct slice *rest, struct slice *value, struct arena *arena)
{
	struct slice probe = *rest, line;
	size_t total = value->len, n;
	char *out;

	if (!is_continued(*rest)) {
		*value = slice_trim(*value);
		return true;
	}
	while (is_continued(probe))
		total += take_line(&probe).len + 1;
	out = arena_alloc(arena, total + 1);
	if (out == NULL)
		return false;
	n = value->len;
	if (n > 0)
		memcpy(out, value->ptr, n);
	while (is_continued(*rest)) {
		line = slice_trim(take_line(rest));
		out[n++] = ' ';
		memcpy(out + n, line.ptr, line.len);
		n += line.len;
	}
	*value = slice_trim(slice_make(out, n));
	return true;
}

enum dsn_field_result
dsn_fields_next(
    struct dsn_fields *fields, struct arena *arena, struct slice *name, struct slice *value)
{
	while (fields->rest.len > 0) {
		struct slice line = take_line(&fields->rest);
		const char *colon;

		if (is_blank_line(line))
			return DSN_FIELD_BLANK;
		colon = memchr(line.ptr, ':', line.len);
		if (colon == NULL || is_blank_char(line.ptr[0]))
			continue;
		*name = slice_trim(slice_make(line.ptr, (size_t)(colon - line.ptr)));
		*value = slice_make(colon + 1, line.len - (size_t)(colon - line.ptr) - 1);
		if (!unfold(&fields->rest, value, arena))
			return DSN_FIELD_NO_MEMORY;
		return DSN_FIELD;
	}
	return DSN_FIELD_END;
}

/* Skips blanks and nested comments at the front (RFC 5322 3.2.2); an open one eats the rest. */
static struct slice
skip_comments(struct slice s)
{
	unsigned depth = 0;

	while (s.len > 0) {
		char c = s.ptr[0];
		if (c == '(')
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !is_blank_char(c))
			break;
		s.ptr++;
		s.len--;
	}
	return s;
}

/* "type; value" -> value, with the type apart; a value without type is taken whole. */
static struct slice
split_type(struct slice s, struct slice *type)
{
	size_t i = 0;

	s = skip_comments(s);
	*type = slice_make(s.ptr, 0);
	while (i < s.len &&
	    ((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') ||
		(i > 0 && ((s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '-'))))
		i++;
	if (i == 0)
		return s;
	for (size_t at = i; at < s.len; at++) {
		if (s.ptr[at] == ';') {
			*type = slice_make(s.ptr, i);
			return skip_comments(slice_make(s.ptr + at + 1, s.len - at - 1));
		}
		if (!is_blank_char(s.ptr[at]))
			break;
	}
	return s;
}

/* "\x{HEX}" of utf-8-addr-xtext and utf-8-addr-unitext (RFC 6533 section 3). */
static struct slice
decode_utf8_address(struct slice s, struct arena *arena)
{
	char *out;
	size_t n = 0;

	if (s.len == 0 || memchr(s.ptr, '\\', s.len) == NULL)
		return s;
	out = arena_alloc(arena, s.len + 1); /* an escape is longer than what it stands for */
	if (out == NULL)
		return s;
	for (size_t i = 0; i < s.len;) {
		if (s.len - i >= 6 && memcmp(s.ptr + i, "\\x{", 3) == 0) {
			uint32_t c = 0;
			size_t at = i + 3, digits = 0;
			while (at < s.len && digits < 6 && digit_hex(s.ptr[at]) >= 0) {
				c = c * 16 + (uint32_t)digit_hex(s.ptr[at++]);
				digits++;
			}
			if (digits >= 2 && at < s.len && s.ptr[at] == '}') {
				n += c >= 0x20 ? utf8_put(out + n, c) : 0;
				i = at + 1;
				continue;
			}
		}
		out[n++] = s.ptr[i++];
	}
	return slice_make(out, n);
}

/* "rfc822; <a@b> (comment)" -> "a@b". */
static struct slice
read_address(struct slice s, struct arena *arena)
{
	struct slice type;
	const char *open, *end;
	bool quoted = false;
	size_t i;

	s = split_type(s, &type);
	open = s.len > 0 ? memchr(s.ptr, '<', s.len) : NULL;
	if (open != NULL) {
		struct slice inner = slice_make(open + 1, (size_t)(s.ptr + s.len - open) - 1);

		end = memchr(inner.ptr, '>', inner.len);
		inner.len = end != NULL ? (size_t)(end - inner.ptr) : inner.len;
		/* "Name <a@b>" has no business here, and is sent */
		if (open == s.ptr || memchr(inner.ptr, '@', inner.len) != NULL)
			s = inner;
	}
	for (i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"')
			quoted = !quoted;
		else if (!quoted && (is_blank_char(s.ptr[i]) || s.ptr[i] == '('))
			break;
	}
	s.len = i;
	if (slice_equal_nocase(type, SLICE("utf-8")))
		s = decode_utf8_address(s, arena);
	return s;
}

/* RFC 3461 4: "+2B" and "+3D" are what an ordinary address must encode; some reporters leave them.
 * Anything else behind a plus is a tag. */
static struct slice
decode_xtext(struct slice s, struct arena *arena)
{
	char *out;
	size_t n = 0;

	if (arena == NULL || s.len == 0 ||
	    (memmem(s.ptr, s.len, "+2B", 3) == NULL && memmem(s.ptr, s.len, "+3D", 3) == NULL) ||
	    (out = arena_alloc(arena, s.len)) == NULL)
		return s;
	for (size_t i = 0; i < s.len; i++) {
		struct slice code = slice_make(s.ptr + i, s.len - i < 3 ? s.len - i : 3);

		out[n++] = slice_equal(code, SLICE("+3D")) ? '=' : s.ptr[i];
		if (slice_equal(code, SLICE("+2B")) || slice_equal(code, SLICE("+3D")))
			i += 2;
	}
	return slice_make(out, n);
}

static const struct {
	const char *name;
	enum dsn_action action;
} actions[] = { { "failed", DSN_FAILED },
	{ "failure", DSN_FAILED }, /* seen instead of the former */
	{ "delayed", DSN_DELAYED }, { "delivered", DSN_DELIVERED }, { "relayed", DSN_RELAYED },
	{ "expanded", DSN_EXPANDED } };

static enum dsn_action
read_action(struct slice s)
{
	size_t n = 0;

	s = skip_comments(s);
	while (n < s.len && ((s.ptr[n] | 0x20) >= 'a' && (s.ptr[n] | 0x20) <= 'z'))
		n++;
	s.len = n;
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (slice_equal_nocase(s, slice_str(actions[i].name)))
			return actions[i].action;
	return DSN_ACTION_NONE;
}

const char *
dsn_action_name(enum dsn_action action)
{
	static const char *const names[] = { "none", "failed", "delayed", "delivered", "relayed",
		"expanded" };

	return (unsigned)action < sizeof(names) / sizeof(names[0]) ? names[action] : "none";
}

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

static bool
take_number(struct slice *s, size_t digits_max, int *value)
{
	size_t n = 0;
	int v = 0;

	*s = skip_comments(*s);
	while (n < s->len && n < digits_max && s->ptr[n] >= '0' && s->ptr[n] <= '9')
		v = v * 10 + (s->ptr[n++] - '0');
	s->ptr += n;
	s->len -= n;
	*value = v;
	return n > 0;
}

static int
take_month(struct slice *s)
{
	*s = skip_comments(*s);
	if (s->len < 3)
		return 0;
	for (int i = 0; i < 12; i++) {
		if (slice_equal_nocase(slice_make(s->ptr, 3), slice_make(months + 3 * i, 3))) {
			s->ptr += 3;
			s->len -= 3;
			return i + 1;
		}
	}
	return 0;
}

/* "+0900" in seconds; names of zones mean UTC (RFC 5322 4.3). */
static int
take_zone_s(struct slice s)
{
	int value, sign;

	s = skip_comments(s);
	if (s.len < 5 || (s.ptr[0] != '+' && s.ptr[0] != '-'))
		return 0;
	sign = s.ptr[0] == '-' ? -1 : 1;
	s = slice_make(s.ptr + 1, 4);
	if (!take_number(&s, 4, &value) || s.len != 0)
		return 0;
	return sign * ((value / 100) * 3600 + (value % 100) * 60);
}

int64_t
dsn_date_parse(struct slice s)
{
	const char *comma = s.len > 0 ? memchr(s.ptr, ',', s.len) : NULL;
	int day, month, year, hour, minute, second = 0;

	if (comma != NULL)
		s = slice_make(comma + 1, s.len - (size_t)(comma + 1 - s.ptr));
	if (!take_number(&s, 2, &day) || (month = take_month(&s)) == 0 ||
	    !take_number(&s, 4, &year) || !take_number(&s, 2, &hour) || s.len == 0 ||
	    s.ptr[0] != ':')
		return 0;
	s = slice_make(s.ptr + 1, s.len - 1);
	if (!take_number(&s, 2, &minute))
		return 0;
	if (s.len > 0 && s.ptr[0] == ':') {
		s = slice_make(s.ptr + 1, s.len - 1);
		if (!take_number(&s, 2, &second))
			return 0;
	}
	if (hour > 23 || minute > 59 || second > 60)
		return 0;
	return feedback_time_us(
	    year, month, day, hour * 3600 + minute * 60 + second, take_zone_s(s));
}

enum field {
	FIELD_REPORTING_MTA,
	FIELD_ENVELOPE_ID,
	FIELD_ARRIVAL,
	FIELD_FINAL, /* from here on: of a recipient */
	FIELD_ORIGINAL,
	FIELD_ACTION,
	FIELD_STATUS,
	FIELD_REMOTE_MTA,
	FIELD_DIAGNOSTIC,
	FIELD_LAST_ATTEMPT
};

static const struct {
	const char *name;
	enum field field;
} field_names[] = {
	{ "Reporting-MTA", FIELD_REPORTING_MTA },
	{ "Original-Envelope-Id", FIELD_ENVELOPE_ID },
	{ "Arrival-Date", FIELD_ARRIVAL },
	{ "Final-Recipient", FIELD_FINAL },
	{ "Original-Recipient", FIELD_ORIGINAL },
	{ "Action", FIELD_ACTION },
	{ "Status", FIELD_STATUS },
	{ "Remote-MTA", FIELD_REMOTE_MTA },
	{ "Diagnostic-Code", FIELD_DIAGNOSTIC },
	{ "Last-Attempt-Date", FIELD_LAST_ATTEMPT },
};

static bool
find_field(struct slice name, enum field *field)
{
	for (size_t i = 0; i < sizeof(field_names) / sizeof(field_names[0]); i++) {
		if (slice_equal_nocase(name, slice_str(field_names[i].name))) {
			*field = field_names[i].field;
			return true;
		}
	}
	return false;
}

static void
set_message_field(struct dsn *dsn, enum field field, struct slice value)
{
	struct slice type;

	if (field == FIELD_REPORTING_MTA && dsn->reporting_mta.len == 0)
		dsn->reporting_mta = split_type(value, &type);
	else if (field == FIELD_ENVELOPE_ID && dsn->envelope_id.len == 0)
		dsn->envelope_id = value;
	else if (field == FIELD_ARRIVAL && dsn->arrival_us == 0)
		dsn->arrival_us = dsn_date_parse(value);
}

static void
set_recipient_field(
    struct dsn_recipient *r, enum field field, struct slice value, struct arena *arena)
{
	struct slice type;

	switch (field) {
	case FIELD_FINAL:
		r->final = read_address(value, arena);
		break;
	case FIELD_ORIGINAL:
		r->original = decode_xtext(read_address(value, arena), arena);
		break;
	case FIELD_ACTION:
		r->action = read_action(value);
		break;
	case FIELD_STATUS:
		(void)codes_read_status(skip_comments(value), r->status);
		break;
	case FIELD_REMOTE_MTA:
		r->remote_mta = split_type(value, &type);
		break;
	case FIELD_DIAGNOSTIC:
		r->diagnostic = split_type(value, &type);
		r->diagnostic_is_smtp = type.len == 0 || slice_equal_nocase(type, SLICE("smtp"));
		break;
	case FIELD_LAST_ATTEMPT:
		r->last_attempt_us = dsn_date_parse(value);
		break;
	case FIELD_REPORTING_MTA:
	case FIELD_ENVELOPE_ID:
	case FIELD_ARRIVAL:
		break;
	}
}

void
dsn_recipient_read(
    struct dsn_recipient *r, struct slice action, struct slice status, struct slice diagnostic)
{
	memset(r, 0, sizeof(*r));
	set_recipient_field(r, FIELD_ACTION, action, NULL);
	set_recipient_field(r, FIELD_STATUS, status, NULL);
	set_recipient_field(r, FIELD_DIAGNOSTIC, diagnostic, NULL);
}

/* The group under way, and which of its fields were seen. */
struct group {
	struct dsn_recipient recipient;
	unsigned seen;
};

/* Appends the group, if it says anything about a recipient. */
static int
close_group(struct dsn *dsn, struct group *g, size_t *capacity, struct arena *arena)
{
	bool useful = g->recipient.action != DSN_ACTION_NONE || g->recipient.status[0] != 0 ||
	    g->recipient.diagnostic.len > 0;
	struct dsn_recipient *items;

	if (useful && dsn->count >= DSN_RECIPIENTS_MAX) {
		dsn->truncated = true;
	} else if (useful) {
		if (dsn->count == *capacity) {
			*capacity = *capacity == 0 ? 2 : *capacity * 2;
			items = arena_array(arena, *capacity, sizeof(*items));
			if (items == NULL)
				return -1;
			if (dsn->count > 0)
				memcpy(items, dsn->recipients, dsn->count * sizeof(*items));
			dsn->recipients = items;
		}
		dsn->recipients[dsn->count++] = g->recipient;
	}
	memset(g, 0, sizeof(*g));
	return 0;
}

int
dsn_parse(struct dsn *dsn, struct slice body, struct arena *arena)
{
	struct dsn_fields fields = { body };
	struct group group = { 0 };
	size_t capacity = 0;

	memset(dsn, 0, sizeof(*dsn));
	while (!dsn->truncated) {
		struct slice name, value;
		enum field field;
		enum dsn_field_result result = dsn_fields_next(&fields, arena, &name, &value);

		if (result == DSN_FIELD_NO_MEMORY)
			return -1;
		if (result == DSN_FIELD_END)
			break;
		if (result == DSN_FIELD_BLANK) {
			if (close_group(dsn, &group, &capacity, arena) < 0)
				return -1;
			continue;
		}
		if (!find_field(name, &field))
			continue;
		if (field < FIELD_FINAL) {
			set_message_field(dsn, field, value);
			continue;
		}
		/* a repeated field begins the next group when the blank line is missing */
		if ((group.seen & (1u << field)) != 0 &&
		    (field == FIELD_FINAL || field == FIELD_ORIGINAL) &&
		    close_group(dsn, &group, &capacity, arena) < 0)
			return -1;
		if ((group.seen & (1u << field)) == 0)
			set_recipient_field(&group.recipient, field, value, arena);
		group.seen |= 1u << field;
	}
	return close_group(dsn, &group, &capacity, arena);
}

/* "550 4.4.316 Connection refused", "554 4.4.7 expired <421 4.4.0 ...>": a reply that the reporter
 * made up, so its status is no mistake. */
static bool
repeats_status(const struct dsn_recipient *r, int *code)
{
	struct slice d = slice_trim(r->diagnostic);
	uint16_t status[3];

	if (r->status[0] == 0 || d.len < 9 || d.ptr[0] < '4' || d.ptr[0] > '5' || d.ptr[1] < '0' ||
	    d.ptr[1] > '9' || d.ptr[2] < '0' || d.ptr[2] > '9' || d.ptr[3] != ' ' ||
	    codes_read_status(slice_make(d.ptr + 4, d.len - 4), status) == 0 ||
	    memcmp(status, r->status, sizeof(status)) != 0)
		return false;
	*code = (d.ptr[0] - '0') * 100 + (d.ptr[1] - '0') * 10 + (d.ptr[2] - '0');
	return true;
}

/* Code and enhanced code: those of the diagnostic win over the status field, which is often
 * generic or invented; the field serves when the diagnostic has none. */
static void
choose_codes(const struct dsn_recipient *r, struct feedback_event *event)
{
	struct codes found = codes_find(r->diagnostic);

	if (repeats_status(r, &event->code)) {
		memcpy(event->enhanced, r->status, sizeof(event->enhanced));
		return;
	}
	/* the exit status of a local program is no reply: "x-unix; 255" */
	if (!r->diagnostic_is_smtp && found.code < 400)
		found.code = 0;
	event->code = found.code;
	memcpy(event->enhanced, found.enhanced[0] != 0 ? found.enhanced : r->status,
	    sizeof(event->enhanced));
	/* a status of another class than the reply is generic or invented: "5.0.0", "4.4.7" */
	if (found.code != 0 && event->enhanced[0] != found.code / 100)
		memset(event->enhanced, 0, sizeof(event->enhanced));
}

void
dsn_quote(const struct dsn *dsn, const struct dsn_recipient *r, struct arena *arena,
    struct feedback_event *event)
{
	struct slice address = r->original.len > 0 ? r->original : r->final;
	struct slice remote = r->remote_mta.len > 0 ? r->remote_mta : dsn->reporting_mta;

	choose_codes(r, event);
	event->address = feedback_text(arena, address, FEEDBACK_ADDRESS_MAX);
	event->remote = feedback_text(arena, remote, 255);
	event->text = feedback_text(arena, r->diagnostic, OUTCOME_TEXT_MAX);
	event->occurred_at_us = r->last_attempt_us;
}

void
dsn_judge(const struct dsn *dsn, const struct dsn_recipient *r, struct arena *arena,
    struct feedback_event *event)
{
	dsn_quote(dsn, r, arena, event);
	switch (r->action) {
	case DSN_FAILED:
		event->kind = OUTCOME_BOUNCED;
		verdict_judge(event);
		break;
	case DSN_DELAYED:
		event->kind = OUTCOME_DELAYED;
		event->cls = OUTCOME_SOFT;
		event->reason = "delayed";
		break;
	case DSN_DELIVERED:
		event->kind = OUTCOME_DELIVERED;
		event->reason = "delivered";
		break;
	case DSN_RELAYED:
	case DSN_EXPANDED:
		event->kind = OUTCOME_OTHER;
		event->reason = dsn_action_name(r->action);
		break;
	case DSN_ACTION_NONE:
		event->kind = OUTCOME_OTHER; /* Action is required; its absence proves nothing */
		event->reason = "no_action";
		break;
	}
}
