/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_file: see campaign_file.h. Lines are gathered into one value per key, then the row
 * of the key in the table below says what becomes of it.
 */
#include "campaign_file.h"

#include <stdio.h>

#include "addr.h"
#include "mime.h"
#include "utf8.h"

#define CANARY_WAIT_S 1800 /* when the file has a canary and no canary_wait */
#define CANARY_WAIT_MAX_S 604800
#define SECONDS_MAX (366 * 86400)

struct parser {
	struct campaign_file *f;
	struct arena *arena;
	struct err *err;
	const char *section; /* of the table; NULL before the first one */
	uint64_t seen;	     /* bit per key */
	/* the value being gathered */
	bool open;
	const struct key *key; /* NULL in [headers] */
	struct slice name;     /* header name */
	size_t line;
	char *value; /* CAMPAIGN_VALUE_MAX + 1, owned by the arena */
	size_t value_len;
};

struct key {
	const char *section;
	const char *name;
	int (*set)(struct parser *p, const struct key *key, struct slice value);
	size_t offset;	    /* of the member it fills */
	size_t line_offset; /* of the member for its line; 0: none */
	const char *choices;
};

static int set_domains(struct parser *p, const struct key *key, struct slice value);
static int set_choice(struct parser *p, const struct key *key, struct slice value);
static int set_line(struct parser *p, const struct key *key, struct slice value);
static int set_list(struct parser *p, const struct key *key, struct slice value);
static int set_name(struct parser *p, const struct key *key, struct slice value);
static int set_names(struct parser *p, const struct key *key, struct slice value);
static int set_path(struct parser *p, const struct key *key, struct slice value);
static int set_paths(struct parser *p, const struct key *key, struct slice value);
static int set_repeat(struct parser *p, const struct key *key, struct slice value);
static int set_mailbox(struct parser *p, const struct key *key, struct slice value);
static int set_segment(struct parser *p, const struct key *key, struct slice value);
static int set_time(struct parser *p, const struct key *key, struct slice value);
static int set_url(struct parser *p, const struct key *key, struct slice value);
static int set_duration(struct parser *p, const struct key *key, struct slice value);
static int set_quiet(struct parser *p, const struct key *key, struct slice value);
static int set_weight(struct parser *p, const struct key *key, struct slice value);
static int set_canary(struct parser *p, const struct key *key, struct slice value);

#define AT(member) offsetof(struct campaign_file, member)

static const struct key keys[] = {
	{ "campaign", "name", set_name, AT(name), 0, NULL },
	{ "campaign", "stream", set_line, AT(stream), AT(stream_line), NULL },
	{ "campaign", "subject", set_line, AT(subject), AT(subject_line), NULL },
	{ "campaign", "from", set_mailbox, AT(from_address), 0, NULL },
	{ "campaign", "sender", set_mailbox, AT(sender_address), 0, NULL },
	{ "campaign", "reply_to", set_mailbox, AT(reply_to), 0, NULL },
	{ "campaign", "html", set_path, AT(html), AT(html_line), NULL },
	{ "campaign", "text", set_path, AT(text), AT(text_line), NULL },
	{ "campaign", "template", set_path, AT(template), AT(template_line), NULL },
	{ "campaign", "attachments", set_paths, AT(attachments), AT(attachments_line), NULL },
	{ "campaign", "inline", set_paths, AT(inline_images), AT(inline_line), NULL },
	{ "campaign", "embed_images", set_choice, AT(embed_images), 0, "no, yes" },
	{ "campaign", "iso_2022_jp", set_domains, AT(iso_2022_jp), 0, NULL },
	{ "campaign", "list", set_list, AT(list), 0, NULL },
	{ "campaign", "segment", set_segment, AT(segment), AT(segment_line), NULL },
	{ "campaign", "origin_field", set_line, AT(origin_field), 0, NULL },
	{ "campaign", "missing_field", set_choice, AT(missing_field), 0, "fail, skip, blank" },
	{ "campaign", "bad_field", set_choice, AT(bad_field), 0, "clean, refuse" },
	{ "exclude", "campaigns", set_names, AT(exclude_campaigns), AT(exclude_campaigns_line),
	    NULL },
	{ "exclude", "segments", set_names, AT(exclude_segments), AT(exclude_segments_line), NULL },
	{ "schedule", "start", set_time, AT(start), AT(start_line), NULL },
	{ "schedule", "not_after", set_time, AT(not_after), AT(not_after_line), NULL },
	{ "schedule", "window", set_duration, AT(window_s), 0, NULL },
	{ "schedule", "spread", set_duration, AT(spread_s), 0, NULL },
	{ "schedule", "canary", set_canary, AT(canary), 0, NULL },
	{ "schedule", "canary_wait", set_duration, AT(canary_wait_s), 0, NULL },
	{ "schedule", "weight", set_weight, AT(weight), 0, NULL },
	{ "schedule", "quiet_hours", set_quiet, AT(quiet_from), 0, NULL },
	{ "schedule", "time_zone", set_line, AT(time_zone), AT(time_zone_line), NULL },
	{ "schedule", "zone_field", set_line, AT(zone_field), 0, NULL },
	{ "schedule", "repeat", set_repeat, AT(repeat), 0, NULL },
	{ "hook", "command", set_line, AT(hook_command), 0, NULL },
	{ "hook", "url", set_url, AT(hook_url), 0, NULL },
};

static const char *const sections[] = { "campaign", "exclude", "schedule", "hook", "headers" };

/* Header fields that the composer writes itself. */
static const char *const own_headers[] = { "From", "Sender", "Reply-To", "To", "Cc", "Bcc",
	"Subject", "Date", "Message-ID", "Return-Path", "Received", "MIME-Version",
	"DKIM-Signature", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post" };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char **
string_member(struct campaign_file *f, size_t offset)
{
	return (const char **)(void *)((char *)f + offset);
}

static int
put_string(struct parser *p, size_t offset, struct slice value)
{
	struct slice copy = arena_copy(p->arena, value);

	if (copy.ptr == NULL)
		return err_set(p->err, "the campaign file is too large");
	*string_member(p->f, offset) = copy.ptr;
	return 0;
}

static bool
has_control(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (mime_control_at(s.ptr + i, s.len - i) > 0)
			return true;
	return false;
}

static bool
is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
campaign_name_ok(struct slice name)
{
	if (name.len == 0 || name.len > 100 || !is_lower_or_digit(name.ptr[0]))
		return false;
	for (size_t i = 1; i < name.len; i++)
		if (!is_lower_or_digit(name.ptr[i]) && strchr("._-", name.ptr[i]) == NULL)
			return false;
	return memchr(name.ptr, '\0', name.len) == NULL;
}

bool
campaign_path_ok(struct slice path)
{
	size_t from = 0;

	if (path.len == 0 || path.len > 1000 || memchr(path.ptr, '\0', path.len) != NULL)
		return false;
	for (size_t i = 0; i <= path.len; i++) {
		if (i < path.len && path.ptr[i] != '/')
			continue;
		struct slice part = slice_make(path.ptr + from, i - from);
		if (part.len == 0 || slice_equal(part, SLICE(".")) ||
		    slice_equal(part, SLICE("..")))
			return false;
		from = i + 1;
	}
	return true;
}

/* ---------------------------------------------------------------- times */

/* count digits at *at as a number not above max; -1 if they are not there. */
static int
take_digits(struct slice s, size_t *at, size_t count, int max)
{
	int value = 0;

	if (s.len - *at < count)
		return -1;
	for (size_t i = 0; i < count; i++, (*at)++) {
		if (!is_digit(s.ptr[*at]))
			return -1;
		value = value * 10 + (s.ptr[*at] - '0');
	}
	return value <= max ? value : -1;
}

static bool
take_char(struct slice s, size_t *at, char c)
{
	if (*at >= s.len || s.ptr[*at] != c)
		return false;
	(*at)++;
	return true;
}

static bool
take_date_and_time(struct slice s, size_t *at)
{
	bool ok = take_digits(s, at, 4, 9999) >= 2000 && take_char(s, at, '-') &&
	    take_digits(s, at, 2, 12) >= 1 && take_char(s, at, '-') &&
	    take_digits(s, at, 2, 31) >= 1;

	if (!ok || *at >= s.len || (s.ptr[*at] != ' ' && s.ptr[*at] != 'T'))
		return false;
	(*at)++;
	ok = take_digits(s, at, 2, 23) >= 0 && take_char(s, at, ':') &&
	    take_digits(s, at, 2, 59) >= 0;
	if (ok && take_char(s, at, ':'))
		ok = take_digits(s, at, 2, 59) >= 0;
	return ok;
}

static bool
is_zone(struct slice zone)
{
	size_t at = 1;
	bool slash = false;

	if (slice_equal(zone, SLICE("Z")) || slice_equal(zone, SLICE("UTC")) ||
	    slice_equal(zone, SLICE("GMT")))
		return true;
	if (zone.len > 0 && (zone.ptr[0] == '+' || zone.ptr[0] == '-')) {
		if (take_digits(zone, &at, 2, 14) < 0)
			return false;
		if (at == zone.len)
			return true;
		(void)take_char(zone, &at, ':');
		return take_digits(zone, &at, 2, 59) >= 0 && at == zone.len;
	}
	if (zone.len == 0 || zone.len > 60 || !is_alpha(zone.ptr[0]))
		return false;
	for (size_t i = 0; i < zone.len; i++) {
		slash = slash || zone.ptr[i] == '/';
		if (!is_alpha(zone.ptr[i]) && !is_digit(zone.ptr[i]) &&
		    (zone.ptr[i] == '\0' || strchr("/_+-", zone.ptr[i]) == NULL))
			return false;
	}
	return slash;
}

int
campaign_time_ok(struct slice text, struct err *err)
{
	size_t at = 0;

	if (!take_date_and_time(text, &at))
		return err_set(err, "is no time; write it like 2026-12-01 10:00 Asia/Tokyo");
	if (at == text.len)
		return err_set(
		    err, "needs a time zone, like Asia/Tokyo, UTC or +09:00, behind the time");
	if (!is_zone(slice_trim(slice_make(text.ptr + at, text.len - at))))
		return err_set(err,
		    "has a time zone that is not like Asia/Tokyo, UTC or +09:00 "
		    "(abbreviations mean different things in different places)");
	return 0;
}

/* Digits at the start of s; -1 if there are none or more than 9. */
static int64_t
leading_number(struct slice *s)
{
	int64_t value = 0;
	size_t n = 0;

	while (n < s->len && is_digit(s->ptr[n])) {
		if (n == 9)
			return -1;
		value = value * 10 + (s->ptr[n++] - '0');
	}
	if (n == 0)
		return -1;
	*s = slice_make(s->ptr + n, s->len - n);
	return value;
}

int32_t
campaign_duration(struct slice text)
{
	int64_t value = leading_number(&text);
	int64_t unit = 1;

	if (value < 1 || text.len > 1)
		return -1;
	if (text.len == 1) {
		switch (text.ptr[0]) {
		case 's':
			break;
		case 'm':
			unit = 60;
			break;
		case 'h':
			unit = 3600;
			break;
		case 'd':
			unit = 86400;
			break;
		default:
			return -1;
		}
	}
	if (value > SECONDS_MAX / unit)
		return -1;
	return (int32_t)(value * unit);
}

const char *
campaign_repeat(struct slice text, struct arena *arena)
{
	static const char *const plain[] = { "daily", "weekly", "monthly" };
	static const char *const units[] = { "minute", "hour", "day" };
	char line[40];
	int64_t n;

	for (size_t i = 0; i < COUNT(plain); i++)
		if (slice_equal(text, slice_str(plain[i])))
			return arena_str(arena, plain[i]);
	if (!slice_starts_nocase(text, SLICE("every ")))
		return NULL;
	text = slice_trim(slice_make(text.ptr + 6, text.len - 6));
	n = leading_number(&text);
	text = slice_trim(text);
	if (n < 1 || n > 100000)
		return NULL;
	for (size_t i = 0; i < COUNT(units); i++) {
		struct slice unit = slice_str(units[i]);
		bool plural = text.len == unit.len + 1 && text.ptr[unit.len] == 's';

		if (slice_equal(slice_make(text.ptr, text.len - plural), unit)) {
			(void)snprintf(line, sizeof(line), "every %d %ss", (int)n, units[i]);
			return arena_str(arena, line);
		}
	}
	return NULL;
}

/* ---------------------------------------------------------------- setters */

static int
set_line(struct parser *p, const struct key *key, struct slice value)
{
	if (has_control(value))
		return err_set(p->err, "%s has a control character in it", key->name);
	return put_string(p, key->offset, value);
}

static int
set_name(struct parser *p, const struct key *key, struct slice value)
{
	if (!campaign_name_ok(value))
		return err_set(p->err,
		    "%s may have lower-case letters, digits, '.', '_' and '-', at most "
		    "100, and begins with a letter or digit",
		    key->name);
	return put_string(p, key->offset, value);
}

/* Goes into List-Id and into suppression scopes. */
static int
set_list(struct parser *p, const struct key *key, struct slice value)
{
	if (!campaign_name_ok(value) || value.len > 63 || value.ptr[value.len - 1] == '.' ||
	    memmem(value.ptr, value.len, "..", 2) != NULL)
		return err_set(p->err,
		    "%s may have lower-case letters, digits, '.', '_' and '-', at most 63",
		    key->name);
	return put_string(p, key->offset, value);
}

static int
set_path(struct parser *p, const struct key *key, struct slice value)
{
	if (!campaign_path_ok(value) || has_control(value))
		return err_set(p->err,
		    "%s names a file in the folder of the campaign file or below, "
		    "without '..'",
		    key->name);
	return put_string(p, key->offset, value);
}

static int
set_choice(struct parser *p, const struct key *key, struct slice value)
{
	struct slice rest = slice_str(key->choices);

	while (rest.len > 0) {
		const char *comma = memchr(rest.ptr, ',', rest.len);
		size_t n = comma != NULL ? (size_t)(comma - rest.ptr) : rest.len;

		if (slice_equal(slice_trim(slice_make(rest.ptr, n)), value))
			return put_string(p, key->offset, value);
		n += comma != NULL;
		rest = slice_make(rest.ptr + n, rest.len - n);
	}
	return err_set(p->err, "%s is one of: %s", key->name, key->choices);
}

/* Continued lines keep their line ends, so that "--" remarks in SQL stay remarks. */
static int
set_segment(struct parser *p, const struct key *key, struct slice value)
{
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] != '\n' && value.ptr[i] != '\t' &&
		    mime_control_at(value.ptr + i, value.len - i) > 0)
			return err_set(p->err, "%s has a control character in it", key->name);
	return put_string(p, key->offset, value);
}

static int
set_address(struct parser *p, const struct key *key, struct slice value)
{
	struct err why = { 0 };
	struct addr a;

	if (addr_parse_sender(&a, value, &why) != 0)
		return err_set(p->err, "%s: %.300s", key->name, why.msg);
	return put_string(p, key->offset, slice_make(a.text, a.len));
}

/* Where the name of a mailbox goes. */
static size_t
name_offset(const struct key *key)
{
	if (key->offset == AT(from_address))
		return AT(from_name);
	return key->offset == AT(reply_to) ? AT(reply_to_name) : AT(sender_name);
}

/* Name <address>, "Name" <address>, <address>, or the address alone. */
static int
set_mailbox(struct parser *p, const struct key *key, struct slice value)
{
	const char *open = memrchr(value.ptr, '<', value.len);
	struct slice display;

	if (has_control(value))
		return err_set(p->err, "%s has a control character in it", key->name);
	if (open == NULL)
		return set_address(p, key, value);
	if (value.ptr[value.len - 1] != '>')
		return err_set(p->err, "%s is not of the form Name <address>", key->name);
	display = slice_trim(slice_make(value.ptr, (size_t)(open - value.ptr)));
	if (display.len >= 2 && display.ptr[0] == '"' && display.ptr[display.len - 1] == '"')
		display = slice_make(display.ptr + 1, display.len - 2);
	if (memchr(display.ptr, '<', display.len) != NULL || display.len > 200)
		return err_set(p->err,
		    "%s is not of the form Name <address>, or its name is too long", key->name);
	if (put_string(p, name_offset(key), display) != 0)
		return -1;
	return set_address(
	    p, key, slice_make(open + 1, value.len - (size_t)(open - value.ptr) - 2));
}

/* Checks one element of a list and gives the text to keep: itself, or *copy. 0 or -1 with err. */
typedef int check_one(
    struct parser *p, const struct key *key, struct slice *one, struct addr *copy);

/* Elements with commas between them. */
static int
set_each(struct parser *p, const struct key *key, struct slice value, check_one *check)
{
	struct campaign_names *names = (void *)((char *)p->f + key->offset);

	names->name = arena_array(p->arena, CAMPAIGN_LIST_MAX, sizeof(*names->name));
	if (names->name == NULL)
		return err_set(p->err, "the campaign file is too large");
	while (value.len > 0) {
		const char *comma = memchr(value.ptr, ',', value.len);
		size_t n = comma != NULL ? (size_t)(comma - value.ptr) : value.len;
		struct slice one = slice_trim(slice_make(value.ptr, n)), copy;
		struct addr address;

		n += comma != NULL;
		value = slice_make(value.ptr + n, value.len - n);
		if (one.len == 0)
			continue;
		if (check(p, key, &one, &address) != 0)
			return -1;
		if (names->count == CAMPAIGN_LIST_MAX)
			return err_set(
			    p->err, "%s has more than %d names", key->name, CAMPAIGN_LIST_MAX);
		copy = arena_copy(p->arena, one);
		if (copy.ptr == NULL)
			return err_set(p->err, "the campaign file is too large");
		names->name[names->count++] = copy.ptr;
	}
	return 0;
}

static int
check_name(struct parser *p, const struct key *key, struct slice *one, struct addr *copy)
{
	(void)copy;
	if (campaign_name_ok(*one))
		return 0;
	return err_set(p->err, "%s is a list of names with commas between them", key->name);
}

static int
set_names(struct parser *p, const struct key *key, struct slice value)
{
	return set_each(p, key, value, check_name);
}

static int
check_path(struct parser *p, const struct key *key, struct slice *one, struct addr *copy)
{
	(void)copy;
	if (campaign_path_ok(*one) && !has_control(*one))
		return 0;
	return err_set(p->err,
	    "%s names files in the folder of the campaign file or below, without '..', with commas "
	    "between them",
	    key->name);
}

static int
set_paths(struct parser *p, const struct key *key, struct slice value)
{
	return set_each(p, key, value, check_path);
}

/* A domain is right when an address there is. */
static int
check_domain(struct parser *p, const struct key *key, struct slice *one, struct addr *copy)
{
	char text[ADDR_MAX + 1] = "x@";
	struct err why = { 0 };

	if (one->len + 3 > sizeof(text))
		return err_set(p->err, "%s: a domain is too long", key->name);
	memcpy(text + 2, one->ptr, one->len);
	if (addr_parse(copy, slice_make(text, one->len + 2), &why) != 0)
		return err_set(p->err, "%s: %.100s: %.200s", key->name, text + 2, why.msg);
	*one = addr_domain(copy);
	return 0;
}

static int
set_domains(struct parser *p, const struct key *key, struct slice value)
{
	return set_each(p, key, value, check_domain);
}

static int
set_time(struct parser *p, const struct key *key, struct slice value)
{
	struct err why = { 0 };

	if (campaign_time_ok(value, &why) != 0)
		return err_set(p->err, "%s %s", key->name, why.msg);
	return put_string(p, key->offset, value);
}

/* "21:00-08:00" */
static int
set_quiet(struct parser *p, const struct key *key, struct slice value)
{
	const char *t = value.ptr;
	int32_t *to[] = { &p->f->quiet_from, &p->f->quiet_till };
	bool good = value.len == 11 && t[5] == '-';

	for (int i = 0; good && i < 2; i++, t += 6) {
		for (int k = 0; good && k < 5; k++)
			good = k == 2 ? t[k] == ':' : t[k] >= '0' && t[k] <= '9';
		*to[i] = good
		    ? ((t[0] - '0') * 10 + t[1] - '0') * 60 + (t[3] - '0') * 10 + t[4] - '0'
		    : 0;
		good = good && *to[i] < 1440 && t[3] < '6';
	}
	if (!good || p->f->quiet_from == p->f->quiet_till)
		return err_set(p->err, "%s is written as 21:00-08:00", key->name);
	return 0;
}

static int
set_number(struct parser *p, const struct key *key, struct slice value, int32_t least, int32_t most)
{
	int32_t n = 0;

	for (size_t i = 0; i < value.len && n >= 0; i++)
		n = value.ptr[i] >= '0' && value.ptr[i] <= '9' && n <= most / 10
		    ? n * 10 + (value.ptr[i] - '0')
		    : -1;
	if (n < least || n > most)
		return err_set(
		    p->err, "%s is a number from %d to %d", key->name, (int)least, (int)most);
	*(int32_t *)(void *)((char *)p->f + key->offset) = n;
	return 0;
}

static int
set_weight(struct parser *p, const struct key *key, struct slice value)
{
	return set_number(p, key, value, 1, 100);
}

/* Below 50 neither a good rate nor a bad one would be certain. */
static int
set_canary(struct parser *p, const struct key *key, struct slice value)
{
	return set_number(p, key, value, 50, 1000000);
}

static int
set_duration(struct parser *p, const struct key *key, struct slice value)
{
	int32_t *seconds = (int32_t *)(void *)((char *)p->f + key->offset);

	*seconds = campaign_duration(value);
	if (*seconds < 0)
		return err_set(
		    p->err, "%s is a time like 90s, 15m, 2h or 3d, at most 366d", key->name);
	return 0;
}

static int
set_repeat(struct parser *p, const struct key *key, struct slice value)
{
	p->f->repeat = campaign_repeat(value, p->arena);
	if (p->f->repeat == NULL)
		return err_set(p->err,
		    "%s is daily, weekly, monthly, or like: every 2 days (minutes, hours, "
		    "days)",
		    key->name);
	return 0;
}

static int
set_url(struct parser *p, const struct key *key, struct slice value)
{
	bool ok = slice_starts_nocase(value, SLICE("https://")) ||
	    slice_starts_nocase(value, SLICE("http://"));

	for (size_t i = 0; i < value.len; i++)
		ok = ok && value.ptr[i] > ' ' && value.ptr[i] < 0x7f;
	if (!ok)
		return err_set(
		    p->err, "%s begins with https:// or http:// and has no blanks", key->name);
	return put_string(p, key->offset, value);
}

static int
set_header(struct parser *p, struct slice name, struct slice value)
{
	struct campaign_file *f = p->f;
	struct slice n, v;

	if (has_control(value))
		return err_set(
		    p->err, "header %.*s has a control character in it", SLICE_ARG(name));
	if (f->header_count == CAMPAIGN_HEADERS_MAX)
		return err_set(p->err, "there are more than %d headers", CAMPAIGN_HEADERS_MAX);
	for (size_t i = 0; i < f->header_count; i++)
		if (slice_equal_nocase(slice_str(f->headers[i].name), name))
			return err_set(p->err, "header %.*s was given before", SLICE_ARG(name));
	n = arena_copy(p->arena, name);
	v = arena_copy(p->arena, value);
	if (n.ptr == NULL || v.ptr == NULL)
		return err_set(p->err, "the campaign file is too large");
	f->headers[f->header_count++] = (struct campaign_header){ n.ptr, v.ptr };
	return 0;
}

/* ---------------------------------------------------------------- lines */

static int
begin_header(struct parser *p, struct slice name)
{
	if (!mime_header_name_ok(name))
		return err_set(p->err, "'%.*s' is no name of a header field",
		    (int)(name.len > 100 ? 100 : name.len), name.ptr != NULL ? name.ptr : "");
	for (size_t i = 0; i < COUNT(own_headers); i++)
		if (slice_equal_nocase(name, slice_str(own_headers[i])))
			return err_set(
			    p->err, "the header %s is written by Kairan itself", own_headers[i]);
	if (slice_starts_nocase(name, SLICE("Content-")) ||
	    slice_starts_nocase(name, SLICE("X-Kairan-")))
		return err_set(p->err,
		    "headers that begin with Content- or X-Kairan- are written by Kairan "
		    "itself");
	if (p->f->headers_line == 0)
		p->f->headers_line = p->line;
	p->key = NULL;
	p->name = name;
	return 0;
}

static int
begin_key(struct parser *p, struct slice name)
{
	for (size_t i = 0; i < COUNT(keys); i++) {
		const struct key *key = &keys[i];

		if (strcmp(key->section, p->section) != 0 ||
		    !slice_equal(slice_str(key->name), name))
			continue;
		if (p->seen & (UINT64_C(1) << i))
			return err_set(p->err, "%s was given before", key->name);
		p->seen |= UINT64_C(1) << i;
		p->key = key;
		if (key->line_offset != 0)
			*(size_t *)(void *)((char *)p->f + key->line_offset) = p->line;
		return 0;
	}
	return err_set(p->err, "there is no key '%.*s' in [%s]",
	    (int)(name.len > 100 ? 100 : name.len), name.ptr != NULL ? name.ptr : "", p->section);
}

/* The separator comes before s unless the value is still empty. */
static int
value_append(struct parser *p, struct slice s)
{
	if (p->value_len + s.len + 1 > CAMPAIGN_VALUE_MAX)
		return err_set(p->err, "the value is longer than %zu bytes", CAMPAIGN_VALUE_MAX);
	if (p->value_len > 0)
		p->value[p->value_len++] =
		    p->key != NULL && p->key->set == set_segment ? '\n' : ' ';
	if (s.len > 0)
		memcpy(p->value + p->value_len, s.ptr, s.len);
	p->value_len += s.len;
	return 0;
}

/* The value is complete: checks and stores it. Errors belong to the line of the key. */
static int
finish_value(struct parser *p)
{
	struct slice value = slice_trim(slice_make(p->value, p->value_len));

	if (!p->open)
		return 0;
	p->open = false;
	p->err->offset = p->line;
	if (value.len == 0)
		return err_set(p->err, "%.*s has no value",
		    p->key != NULL ? (int)strlen(p->key->name) : (int)p->name.len,
		    p->key != NULL ? p->key->name : p->name.ptr);
	return p->key != NULL ? p->key->set(p, p->key, value) : set_header(p, p->name, value);
}

static int
begin_section(struct parser *p, struct slice line)
{
	if (line.ptr[line.len - 1] != ']')
		return err_set(p->err, "the name of a section ends with ]");
	line = slice_trim(slice_make(line.ptr + 1, line.len - 2));
	for (size_t i = 0; i < COUNT(sections); i++) {
		if (slice_equal(line, slice_str(sections[i]))) {
			p->section = sections[i];
			return 0;
		}
	}
	return err_set(p->err,
	    "there is no section [%.*s]; there are campaign, exclude, schedule, hook "
	    "and headers",
	    (int)(line.len > 100 ? 100 : line.len), line.ptr);
}

static int
parse_line(struct parser *p, struct slice raw, size_t number)
{
	struct slice line = slice_trim(raw);
	const char *equals;
	struct slice name;

	p->err->offset = number;
	if (line.len > 0 && (raw.ptr[0] == ' ' || raw.ptr[0] == '\t')) {
		if (!p->open)
			return err_set(p->err,
			    "the line begins with a blank, which continues a value, but "
			    "there is none above it");
		return value_append(p, line);
	}
	if (line.len > 0 && (line.ptr[0] == '#' || line.ptr[0] == ';'))
		return 0;
	if (finish_value(p) != 0)
		return -1;
	p->err->offset = number;
	p->line = number;
	if (line.len == 0)
		return 0;
	if (line.ptr[0] == '[')
		return begin_section(p, line);
	equals = memchr(line.ptr, '=', line.len);
	if (equals == NULL)
		return err_set(p->err, "the line is not of the form key = value");
	if (p->section == NULL)
		return err_set(p->err, "a section like [campaign] must come first");
	name = slice_trim(slice_make(line.ptr, (size_t)(equals - line.ptr)));
	if ((strcmp(p->section, "headers") == 0 ? begin_header(p, name) : begin_key(p, name)) != 0)
		return -1;
	p->open = true;
	p->value_len = 0;
	return value_append(
	    p, slice_trim(slice_make(equals + 1, line.len - (size_t)(equals - line.ptr) - 1)));
}

static int
check_whole(struct campaign_file *f, struct err *err)
{
	err->offset = 0;
	if (f->name[0] == '\0')
		return err_set(err, "name is missing in [campaign]");
	if (f->stream[0] == '\0')
		return err_set(
		    err, "stream is missing in [campaign], for example: stream = marketing");
	if (f->template[0] != '\0' && f->subject[0] + f->html[0] + f->text[0] != 0)
		return err_set(err,
		    "subject, html and text come from the template: take them or template out of "
		    "[campaign]");
	if (f->subject[0] == '\0' && f->template[0] == '\0')
		return err_set(err, "subject is missing in [campaign]");
	if (f->from_address[0] == '\0')
		return err_set(err, "from is missing in [campaign]");
	if (f->html[0] == '\0' && f->text[0] == '\0' && f->template[0] == '\0')
		return err_set(err, "html or text (or both) is needed in [campaign]");
	if (f->segment[0] == '\0')
		return err_set(err,
		    "segment is missing in [campaign]; to write to every customer say: "
		    "segment = everyone");
	if (f->repeat[0] != '\0' && f->start[0] == '\0')
		return err_set(err, "repeat in [schedule] needs a start");
	if (f->window_s > 0 && f->start[0] == '\0')
		return err_set(err, "window in [schedule] needs a start");
	if (f->spread_s > 0 && f->spread_s < 60)
		return err_set(err, "spread in [schedule] is at least 1m");
	if (f->canary_wait_s > 0 && f->canary == 0)
		return err_set(err,
		    "canary_wait in [schedule] needs a canary: how many are sent to before the "
		    "wait");
	if (f->canary_wait_s > CANARY_WAIT_MAX_S || (f->canary > 0 && f->canary_wait_s < 60))
		return err_set(err, "canary_wait in [schedule] is at least 1m and at most 7d");
	return 0;
}

static void
set_defaults(struct campaign_file *f)
{
	*f = (struct campaign_file){ .name = "",
		.stream = "",
		.subject = "",
		.from_name = "",
		.from_address = "",
		.sender_name = "",
		.sender_address = "",
		.reply_to_name = "",
		.reply_to = "",
		.html = "",
		.text = "",
		.template = "",
		.list = "",
		.segment = "",
		.embed_images = "no",
		.missing_field = "fail",
		.bad_field = "clean",
		.start = "",
		.not_after = "",
		.repeat = "",
		.time_zone = "",
		.zone_field = "time_zone",
		.origin_field = "",
		.weight = 1,
		.hook_command = "",
		.hook_url = "" };
}

int
campaign_file_parse(
    struct campaign_file *f, struct slice text, struct arena *arena, struct err *err)
{
	struct parser p = { .f = f, .arena = arena, .err = err };
	size_t number = 0;

	set_defaults(f);
	err->offset = 0;
	if (text.len > CAMPAIGN_FILE_MAX)
		return err_set(err, "the file is longer than %zu bytes", CAMPAIGN_FILE_MAX);
	if (!utf8_ok(text))
		return err_set(err, "the file is not UTF-8 text");
	if (slice_starts_nocase(text, SLICE("\xef\xbb\xbf")))
		text = slice_make(text.ptr + 3, text.len - 3);
	p.value = arena_alloc(arena, CAMPAIGN_VALUE_MAX + 1);
	if (p.value == NULL)
		return err_set(err, "there is not enough memory");
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t n = end != NULL ? (size_t)(end - text.ptr) : text.len;

		if (parse_line(&p, slice_make(text.ptr, n), ++number) != 0)
			return -1;
		n += end != NULL;
		text = slice_make(text.ptr + n, text.len - n);
	}
	if (finish_value(&p) != 0)
		return -1;
	if (f->canary > 0 && f->canary_wait_s == 0)
		f->canary_wait_s = CANARY_WAIT_S;
	return check_whole(f, err);
}
