/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event: the list of facts and the few helpers that every parser of feedback needs. Owns
 * nothing: all memory is the caller's arena. Refuses to grow past FEEDBACK_EVENTS_MAX.
 */
#include "event.h"

#include <openssl/evp.h>
#include <string.h>

#include "utf8.h"

struct feedback_event *
feedback_event_add(struct feedback_events *events, struct arena *arena)
{
	struct feedback_event *event;

	if (events->count >= FEEDBACK_EVENTS_MAX)
		return NULL;
	if (events->count == events->capacity) {
		size_t capacity = events->capacity == 0 ? 4 : events->capacity * 2;
		struct feedback_event *items = arena_array(arena, capacity, sizeof(*items));
		if (items == NULL)
			return NULL;
		if (events->count > 0)
			memcpy(items, events->items, events->count * sizeof(*items));
		events->items = items;
		events->capacity = capacity;
	}
	event = &events->items[events->count++];
	memset(event, 0, sizeof(*event));
	event->kind = OUTCOME_OTHER;
	event->reason = "none";
	event->source = "mail";
	return event;
}

/* C0, DEL, C1 and the two line separators of Unicode: they move a terminal or break a line. */
static bool
is_control(const unsigned char *p, size_t length)
{
	if (length == 1)
		return p[0] < 0x20 || p[0] == 0x7F;
	if (length == 2)
		return p[0] == 0xC2 && p[1] < 0xA0;
	return length == 3 && p[0] == 0xE2 && p[1] == 0x80 && (p[2] == 0xA8 || p[2] == 0xA9);
}

struct slice
feedback_text(struct arena *arena, struct slice s, size_t max)
{
	const unsigned char *p;
	char *out;
	size_t n = 0;

	s = slice_trim(s);
	if (s.len == 0)
		return (struct slice){ NULL, 0 };
	out = arena_alloc(arena, (s.len < max ? s.len : max) + 1);
	if (out == NULL)
		return (struct slice){ NULL, 0 };
	p = (const unsigned char *)s.ptr;
	for (size_t i = 0; i < s.len && n < max;) {
		size_t length;

		if (p[i] >= 0x20 && p[i] < 0x7F) {
			out[n++] = s.ptr[i++];
			continue;
		}
		length = utf8_char(s.ptr + i, s.len - i);
		if (length == 0) {
			out[n++] = '?';
			i++;
			continue;
		}
		if (length > max - n)
			break;
		if (is_control(p + i, length)) {
			if (n > 0 && out[n - 1] != ' ')
				out[n++] = ' ';
		} else {
			memcpy(out + n, p + i, length);
			n += length;
		}
		i += length;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
	return (struct slice){ out, n };
}

static struct slice
digest_hex(struct arena *arena, struct slice bytes, size_t keep)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned int size = 0;
	char *out = arena_alloc(arena, keep * 2 + 1);

	if (out == NULL ||
	    EVP_Digest(
		bytes.len > 0 ? bytes.ptr : "", bytes.len, hash, &size, EVP_sha256(), NULL) != 1 ||
	    size < keep)
		return (struct slice){ NULL, 0 };
	for (size_t i = 0; i < keep; i++) {
		out[2 * i] = hex[hash[i] >> 4];
		out[2 * i + 1] = hex[hash[i] & 15];
	}
	return (struct slice){ out, keep * 2 };
}

struct slice
feedback_digest(struct arena *arena, struct slice bytes)
{
	return digest_hex(arena, bytes, 16);
}

struct slice
feedback_key(struct arena *arena, const struct slice *parts, size_t count)
{
	size_t total = 0, n = 0;
	char *out;

	for (size_t i = 0; i < count; i++)
		total += parts[i].len + 1;
	out = arena_alloc(arena, total + 1);
	if (out == NULL)
		return (struct slice){ NULL, 0 };
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			out[n++] = '|';
		if (parts[i].len > 0)
			memcpy(out + n, parts[i].ptr, parts[i].len);
		n += parts[i].len;
	}
	if (n > FEEDBACK_KEY_MAX)
		return digest_hex(arena, (struct slice){ out, n }, 32);
	return feedback_text(arena, (struct slice){ out, n }, FEEDBACK_KEY_MAX);
}

struct slice
feedback_key_of(struct arena *arena, struct slice *parts, size_t count, size_t who)
{
	size_t total = count > 0 ? count - 1 : 0;

	for (size_t i = 0; i < count; i++)
		total += parts[i].len;
	if (total <= FEEDBACK_KEY_MAX && parts[who].len > 0 &&
	    memchr(parts[who].ptr, '@', parts[who].len) != NULL) {
		parts[who] = feedback_digest(arena, parts[who]);
		if (parts[who].len == 0)
			return (struct slice){ NULL, 0 };
	}
	return feedback_key(arena, parts, count);
}

/* JSON string body; the text is clean already, so only two characters need a backslash. */
static size_t
json_put(char *out, struct slice text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			out[n++] = '\\';
		out[n++] = text.ptr[i];
	}
	return n;
}

struct slice
feedback_detail(struct arena *arena, const struct feedback_pair *pairs, size_t count)
{
	size_t n = 0, bound = 2;
	char *out;

	for (size_t i = 0; i < count; i++)
		bound += strlen(pairs[i].name) + 2 * pairs[i].value.len + 8;
	if (bound > FEEDBACK_DETAIL_MAX)
		bound = FEEDBACK_DETAIL_MAX;
	out = arena_alloc(arena, bound + 1);
	if (out == NULL)
		return (struct slice){ NULL, 0 };
	out[n++] = '{';
	for (size_t i = 0; i < count; i++) {
		struct slice name = slice_str(pairs[i].name);
		struct slice value = feedback_text(arena, pairs[i].value, 300);

		if (value.len == 0 || n + name.len + 2 * value.len + 8 > FEEDBACK_DETAIL_MAX)
			continue;
		if (n > 1)
			out[n++] = ',';
		out[n++] = '"';
		memcpy(out + n, name.ptr, name.len);
		n += name.len;
		memcpy(out + n, "\":\"", 3);
		n += 3;
		n += json_put(out + n, value);
		out[n++] = '"';
	}
	out[n++] = '}';
	out[n] = '\0';
	return (struct slice){ out, n };
}

/* Microseconds behind a '.', any number of digits. */
static int64_t
take_fraction(struct slice *s)
{
	int64_t us = 0, unit = 100000;
	int digit;

	if (!slice_take_char(s, ".,"))
		return 0;
	while (slice_take_digits(s, 1, &digit)) {
		us += digit * unit;
		unit /= 10;
	}
	return us;
}

/* "Z", "+09:00", "+0900" or nothing, in seconds; false for anything else. */
static bool
take_zone(struct slice *s, int *zone_s)
{
	int hours, minutes, sign;

	*zone_s = 0;
	*s = slice_trim(*s);
	if (s->len == 0)
		return true;
	if (slice_take_char(s, "Zz"))
		return s->len == 0;
	sign = s->ptr[0] == '-' ? -1 : 1;
	if (!slice_take_char(s, "+-") || !slice_take_digits(s, 2, &hours))
		return false;
	(void)slice_take_char(s, ":");
	if (!slice_take_digits(s, 2, &minutes) || hours > 23 || minutes > 59 || s->len != 0)
		return false;
	*zone_s = sign * (hours * 3600 + minutes * 60);
	return true;
}

int64_t
feedback_time_us(int year, int month, int day, int seconds_of_day, int zone_s)
{
	/* days since 1970-01-01 in the proleptic Gregorian calendar, years that begin in March */
	int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;

	if (year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31)
		return 0;
	return (days * 86400 + seconds_of_day - zone_s) * 1000000;
}

int64_t
feedback_time_parse(struct slice text)
{
	struct slice s = slice_trim(text);
	int year, month, day, hour, minute, second, zone_s;
	int64_t us, fraction;

	if (!slice_take_digits(&s, 4, &year) || !slice_take_char(&s, "-") ||
	    !slice_take_digits(&s, 2, &month) || !slice_take_char(&s, "-") ||
	    !slice_take_digits(&s, 2, &day) || !slice_take_char(&s, "Tt ") ||
	    !slice_take_digits(&s, 2, &hour) || !slice_take_char(&s, ":") ||
	    !slice_take_digits(&s, 2, &minute) || !slice_take_char(&s, ":") ||
	    !slice_take_digits(&s, 2, &second))
		return 0;
	fraction = take_fraction(&s);
	if (!take_zone(&s, &zone_s) || hour > 23 || minute > 59 || second > 60)
		return 0;
	us = feedback_time_us(year, month, day, hour * 3600 + minute * 60 + second, zone_s);
	return us > 0 ? us + fraction : 0;
}

struct slice
feedback_verp_token(enum token_purpose purpose, struct slice address, struct slice domain)
{
	struct slice none = { NULL, 0 }, host;

	address = slice_trim(address);
	if (address.len >= 2 && address.ptr[0] == '<' && address.ptr[address.len - 1] == '>')
		address = slice_make(address.ptr + 1, address.len - 2);
	if (address.len < 2 + TOKEN_CHARS + 2 || (address.ptr[0] | 0x20) != (char)purpose ||
	    address.ptr[1] != '+' || address.ptr[2 + TOKEN_CHARS] != '@')
		return none;
	host = slice_make(address.ptr + 3 + TOKEN_CHARS, address.len - 3 - TOKEN_CHARS);
	if (domain.len > 0 && !slice_equal_nocase(host, domain))
		return none;
	return slice_make(address.ptr + 2, TOKEN_CHARS);
}

bool
feedback_verp_verify(const struct token_keys *keys, enum token_purpose purpose,
    struct slice address, struct slice domain, struct token *token)
{
	struct slice text = feedback_verp_token(purpose, address, domain);

	return text.len > 0 && token_verify(keys, purpose, text, token);
}
