/* SPDX-License-Identifier: Apache-2.0 */
/* postfix_line: see postfix_line.h. Reads from the left; every step takes what it knows. */
#include "postfix_line.h"

#include <string.h>
#include <time.h>

#include "event.h"

static bool
take(struct slice *s, struct slice word)
{
	if (s->len < word.len || memcmp(s->ptr, word.ptr, word.len) != 0)
		return false;
	s->ptr += word.len;
	s->len -= word.len;
	return true;
}

/* What stands before the first `end`, which is taken, too. */
static bool
take_until(struct slice *s, struct slice end, struct slice *before)
{
	const char *at = s->len > 0 ? memmem(s->ptr, s->len, end.ptr, end.len) : NULL;

	if (at == NULL)
		return false;
	*before = slice_make(s->ptr, (size_t)(at - s->ptr));
	s->len -= before->len + end.len;
	s->ptr = at + end.len;
	return true;
}

/* "Nov 21 23:02:33 " or "2026-11-21T23:02:33.123456+00:00 " */
static bool
take_time(struct slice *s, struct slice *text)
{
	struct slice rest = *s;

	if (rest.len > 16 && rest.ptr[3] == ' ' && rest.ptr[6] == ' ' && rest.ptr[9] == ':' &&
	    rest.ptr[12] == ':' && rest.ptr[15] == ' ') {
		*text = slice_make(rest.ptr, 15);
		*s = slice_make(rest.ptr + 16, rest.len - 16);
		return true;
	}
	if (!take_until(&rest, SLICE(" "), text) || text->len < 19 || text->len > 40 ||
	    text->ptr[4] != '-' || text->ptr[10] != 'T')
		return false;
	*s = rest;
	return true;
}

/* "postfix/smtp[123]", "postfix-out/relay/smtp[123]" -> "smtp" */
static struct slice
daemon_of(struct slice tag)
{
	size_t begin = 0, end = tag.len;

	for (size_t i = 0; i < tag.len; i++) {
		if (tag.ptr[i] == '[') {
			end = i;
			break;
		}
		if (tag.ptr[i] == '/')
			begin = i + 1;
	}
	return begin > 0 && begin < end ? slice_make(tag.ptr + begin, end - begin)
					: (struct slice){ NULL, 0 };
}

/* Short ids are hexadecimal, long ones have letters and digits without vowels. */
static bool
is_queue_id(struct slice s)
{
	if (s.len < 5 || s.len > POSTFIX_QUEUE_ID_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
			return false;
	}
	return true;
}

static void
read_enhanced(struct slice s, uint16_t out[3])
{
	uint16_t parts[3] = { 0 };

	for (size_t i = 0; i < 3; i++) {
		size_t digits = 0;

		while (s.len > 0 && s.ptr[0] >= '0' && s.ptr[0] <= '9' && digits < 3) {
			parts[i] = (uint16_t)(parts[i] * 10 + (s.ptr[0] - '0'));
			digits++;
			s = slice_make(s.ptr + 1, s.len - 1);
		}
		if (digits == 0 || (i < 2 && !slice_take_char(&s, ".")))
			return;
	}
	if (s.len == 0 && (parts[0] == 2 || parts[0] == 4 || parts[0] == 5))
		memcpy(out, parts, sizeof(parts));
}

/* "host mx[1.2.3.4] said: 550 5.1.1 …", "250 2.0.0 Ok: queued" */
static int
read_code(struct slice text)
{
	struct slice before;
	int code = 0;

	(void)take_until(&text, SLICE(" said: "), &before);
	if (!slice_take_digits(&text, 3, &code) || code < 200 || code > 599 ||
	    (text.len > 0 && text.ptr[0] != ' ' && text.ptr[0] != '-'))
		return 0;
	return code;
}

static enum postfix_status
status_of(struct slice word)
{
	static const struct {
		const char *word;
		enum postfix_status status;
	} words[] = { { "sent", POSTFIX_SENT }, { "deferred", POSTFIX_DEFERRED },
		{ "bounced", POSTFIX_BOUNCED }, { "expired", POSTFIX_EXPIRED },
		{ "force-expired", POSTFIX_EXPIRED } };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (slice_equal(word, slice_str(words[i].word)))
			return words[i].status;
	return POSTFIX_STATUS_NONE;
}

/* "relay=…, delay=…, dsn=2.0.0, status=sent (text)" behind the recipient. */
static bool
read_delivery(struct postfix_line *p, struct slice rest)
{
	struct slice pair, text = { NULL, 0 };

	while (!take(&rest, SLICE("status="))) {
		if (!take_until(&rest, SLICE(", "), &pair))
			return false;
		if (take(&pair, SLICE("relay=")))
			p->relay = pair;
		else if (take(&pair, SLICE("dsn=")))
			read_enhanced(pair, p->enhanced);
	}
	if (take_until(&rest, SLICE(" ("), &pair))
		text = rest;
	else
		pair = rest;
	p->status = status_of(pair);
	if (text.len > 0 && text.ptr[text.len - 1] == ')')
		text.len--;
	p->text = text;
	p->code = read_code(text);
	return p->status != POSTFIX_STATUS_NONE && p->status != POSTFIX_EXPIRED;
}

static enum postfix_kind
read_qmgr(struct postfix_line *p, struct slice rest)
{
	struct slice word;

	if (slice_equal(rest, SLICE("removed")))
		return POSTFIX_REMOVED;
	if (!take(&rest, SLICE("from=<")) || !take_until(&rest, SLICE(">, "), &p->address))
		return POSTFIX_OTHER;
	if (!take(&rest, SLICE("status=")))
		return POSTFIX_FROM;
	if (!take_until(&rest, SLICE(","), &word) || status_of(word) != POSTFIX_EXPIRED)
		return POSTFIX_OTHER;
	p->status = POSTFIX_EXPIRED;
	p->text = slice_trim(rest);
	return POSTFIX_STATUS;
}

static enum postfix_kind
read_rest(struct postfix_line *p, struct slice daemon, struct slice rest)
{
	if (slice_equal(daemon, SLICE("qmgr")))
		return read_qmgr(p, rest);
	if (slice_equal(daemon, SLICE("cleanup"))) {
		if (!take(&rest, SLICE("message-id=<")) || rest.len == 0 ||
		    rest.ptr[rest.len - 1] != '>')
			return POSTFIX_OTHER;
		p->message_id = slice_make(rest.ptr, rest.len - 1);
		return POSTFIX_MESSAGE_ID;
	}
	if (!take(&rest, SLICE("to=<")) || !take_until(&rest, SLICE(">, "), &p->address))
		return POSTFIX_OTHER;
	return read_delivery(p, rest) ? POSTFIX_STATUS : POSTFIX_OTHER;
}

bool
postfix_line_parse(struct postfix_line *p, struct slice line)
{
	struct slice host, tag, daemon;

	*p = (struct postfix_line){ 0 };
	if (line.len > POSTFIX_LINE_MAX || !take_time(&line, &p->time) ||
	    !take_until(&line, SLICE(" "), &host) || !take_until(&line, SLICE(": "), &tag) ||
	    memchr(tag.ptr, ' ', tag.len) != NULL)
		return false;
	daemon = daemon_of(tag);
	if (daemon.len == 0 || !take_until(&line, SLICE(": "), &p->queue_id) ||
	    !is_queue_id(p->queue_id))
		return false;
	p->kind = read_rest(p, daemon, line);
	return p->kind != POSTFIX_OTHER;
}

/* ---- time ------------------------------------------------------------------------------- */

static int64_t
local_time(struct slice s, int64_t now_s)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *at = s.len == 15 ? memmem(months, 36, s.ptr, 3) : NULL;
	int day, hour, minute, second;
	time_t now = (time_t)now_s, then = -1;
	struct tm tm, today;
	struct slice rest;

	if (at == NULL || (at - months) % 3 != 0 || localtime_r(&now, &today) == NULL)
		return 0;
	rest = slice_make(s.ptr + 4, s.len - 4);
	if (slice_take_char(&rest, " ")) {
		if (!slice_take_digits(&rest, 1, &day))
			return 0;
	} else if (!slice_take_digits(&rest, 2, &day)) {
		return 0;
	}
	if (!slice_take_char(&rest, " ") || !slice_take_digits(&rest, 2, &hour) ||
	    !slice_take_char(&rest, ":") || !slice_take_digits(&rest, 2, &minute) ||
	    !slice_take_char(&rest, ":") || !slice_take_digits(&rest, 2, &second) || day < 1 ||
	    day > 31 || hour > 23 || minute > 59 || second > 60)
		return 0;
	for (int years = -1; years < 8; years++) { /* 29 February may be years ago */
		tm = (struct tm){ .tm_year = today.tm_year - years,
			.tm_mon = (int)(at - months) / 3,
			.tm_mday = day,
			.tm_hour = hour,
			.tm_min = minute,
			.tm_sec = second,
			.tm_isdst = -1 };
		then = mktime(&tm);
		if (then > 0 && tm.tm_mday == day && then <= now + 86400)
			return (int64_t)then * 1000000;
	}
	return 0;
}

int64_t
postfix_line_time(struct slice time, int64_t now_s)
{
	return time.len == 15 ? local_time(time, now_s) : feedback_time_parse(time);
}
