/* SPDX-License-Identifier: Apache-2.0 */
/* relay: see relay.h. */
#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* Throttled again within this time after a rest, the next rest is longer. */
#define THROTTLE_MEMORY_MS 60000

/* ---- the list ---- */

static int
read_port(struct relay *r, struct slice text, struct err *err)
{
	int port;

	if (text.len == 0 || text.len > 5 || !slice_take_digits(&text, text.len, &port) ||
	    port < 1 || port > 65535)
		return err_set(err, "relay.host: the port of %s must be 1 to 65535", r->name);
	r->port = (unsigned)port;
	return 0;
}

static int
set_name(struct relay *r, struct slice name, struct err *err)
{
	if (name.len == 0 || name.len > RELAY_NAME_MAX)
		return err_set(
		    err, "relay.host: a name is empty or longer than %d bytes", RELAY_NAME_MAX);
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)
			return err_set(err, "relay.host: blanks and control characters in a name");
	memcpy(r->name, name.ptr, name.len);
	return 0;
}

/* HOST, HOST:PORT, [IPv6], [IPv6]:PORT, a bare IPv6, unix:/path */
static int
read_place(struct relay *r, struct slice place, struct err *err)
{
	const char *colon = memchr(place.ptr, ':', place.len), *bracket;
	size_t n;

	if (slice_starts_nocase(place, SLICE("unix:"))) {
		r->local = true;
		if (place.len < 6 || place.ptr[5] != '/' ||
		    place.len - 5 >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return err_set(err, "relay.host: unix: needs an absolute, short path");
		return set_name(r, slice_make(place.ptr + 5, place.len - 5), err);
	}
	if (place.ptr[0] == '[') {
		bracket = memchr(place.ptr, ']', place.len);
		if (bracket == NULL)
			return err_set(err, "relay.host: '[' without ']'");
		n = (size_t)(bracket - place.ptr);
		if (set_name(r, slice_make(place.ptr + 1, n - 1), err) < 0)
			return -1;
		place = slice_make(bracket + 1, place.len - n - 1);
		if (place.len == 0)
			return 0;
		if (place.ptr[0] != ':')
			return err_set(err, "relay.host: only a port may follow ']'");
		return read_port(r, slice_make(place.ptr + 1, place.len - 1), err);
	}
	n = colon != NULL ? (size_t)(colon - place.ptr) : place.len;
	if (colon != NULL && memchr(colon + 1, ':', place.len - n - 1) != NULL)
		return set_name(r, place, err); /* two colons: an address of IPv6 */
	if (set_name(r, slice_make(place.ptr, n), err) < 0)
		return -1;
	return colon != NULL ? read_port(r, slice_make(colon + 1, place.len - n - 1), err) : 0;
}

static int
read_word(struct relay *r, struct slice word, struct err *err)
{
	int weight;

	if (slice_equal(word, SLICE("backup"))) {
		r->backup = true;
		return 0;
	}
	if (slice_starts_nocase(word, SLICE("weight="))) {
		word = slice_make(word.ptr + 7, word.len - 7);
		if (word.len > 0 && word.len <= 3 && slice_take_digits(&word, word.len, &weight) &&
		    weight >= 1 && weight <= 100) {
			r->weight = (unsigned)weight;
			return 0;
		}
	}
	return err_set(
	    err, "relay.host: behind a host may stand weight=1 to weight=100, or backup");
}

static int
read_entry(struct relay *r, struct slice entry, long default_port, struct err *err)
{
	bool first = true;

	*r = (struct relay){ .weight = 1,
		.port = (unsigned)default_port,
		.rest_ms = RELAY_FIRST_REST_MS,
		.throttle_ms = 2 * RELAY_FIRST_REST_MS };
	for (entry = slice_trim(entry); entry.len > 0; entry = slice_trim(entry)) {
		size_t n = 0;

		while (n < entry.len && entry.ptr[n] != ' ' && entry.ptr[n] != '\t')
			n++;
		if ((first ? read_place(r, slice_make(entry.ptr, n), err)
			   : read_word(r, slice_make(entry.ptr, n), err)) < 0)
			return -1;
		first = false;
		entry = slice_make(entry.ptr + n, entry.len - n);
	}
	r->tls_name = r->name;
	return first ? err_set(err, "relay.host has an empty entry") : 0;
}

int
relay_parse_list(struct relay list[RELAYS_MAX], size_t *count, const char *text, long default_port,
    struct err *err)
{
	bool all_backup = true;

	for (*count = 0;; text++) {
		size_t n = strcspn(text, ",");

		if (*count == RELAYS_MAX)
			return err_set(err, "relay.host: at most %d hosts", RELAYS_MAX);
		if (read_entry(&list[*count], slice_make(text, n), default_port, err) < 0)
			return -1;
		all_backup = all_backup && list[*count].backup;
		(*count)++;
		text += n;
		if (*text == '\0')
			break;
	}
	return all_backup ? err_set(err, "relay.host: one host at least must not be a backup") : 0;
}

/* ---- choice ---- */

bool
relay_may_begin(const struct relay *r, uint64_t now_ms)
{
	return now_ms >= r->begin_after_ms;
}

static bool
may_open(const struct relay *r, uint64_t now_ms)
{
	return now_ms >= r->open_after_ms && relay_may_begin(r, now_ms);
}

bool
relay_is_usable(const struct relay *r, uint64_t now_ms)
{
	return relay_may_begin(r, now_ms) && (r->working > 0 || may_open(r, now_ms));
}

bool
relay_needs_proof(const struct relay *r)
{
	return r->connections > 0 && r->silent > RELAY_SILENT_MAX;
}

struct relay *
relay_choose(struct relay *list, size_t count, uint64_t now_ms)
{
	struct relay *best = NULL;
	bool primary = false;

	for (size_t i = 0; i < count; i++)
		primary = primary || (!list[i].backup && relay_is_usable(&list[i], now_ms));
	for (size_t i = 0; i < count; i++) {
		struct relay *r = &list[i];

		if (!may_open(r, now_ms) || (r->backup && primary) || r->resolving)
			continue;
		if ((r->connections > 0 && r->working == 0) || relay_needs_proof(r))
			continue; /* one connection shows whether it works */
		/* fewer connections for the weight: a/b < c/d without division */
		if (best == NULL ||
		    (r->connections + 1) * best->weight < (best->connections + 1) * r->weight)
			best = r;
	}
	return best;
}

bool
relay_takes(const struct relay *r, size_t bytes)
{
	return r->size == 0 || bytes <= r->size;
}

struct relay *
relay_choose_for(struct relay *list, size_t count, size_t bytes, uint64_t now_ms)
{
	struct relay *best = NULL;

	for (size_t i = 0; i < count; i++) {
		struct relay *r = &list[i];

		if (!relay_takes(r, bytes) || (r->backup && r->connections == 0))
			continue;
		if (best == NULL || (!relay_is_usable(best, now_ms) && relay_is_usable(r, now_ms)))
			best = r;
	}
	return best;
}

/* ---- health ---- */

/* 75 to 125 % of it, so that many do not come back at the same time. */
static uint64_t
with_chance(uint64_t ms, unsigned chance)
{
	return ms * (75 + chance % 51) / 100;
}

bool
relay_unwell(struct relay *r, const struct outcome *why, uint64_t now_ms, unsigned chance)
{
	if (now_ms < r->open_after_ms)
		return false; /* several were being opened: one failure, told once */
	if (why->phase == OUTCOME_PHASE_CONNECT && ++r->failed < r->address_count) {
		r->at = (r->at + 1) % r->address_count;
		return false;
	}
	r->failed = 0;
	r->address_count = 0; /* the name may point elsewhere by then */
	r->open_after_ms = now_ms + with_chance(r->rest_ms, chance);
	r->rest_ms =
	    r->rest_ms * 2 < RELAY_LONGEST_REST_MS ? r->rest_ms * 2 : RELAY_LONGEST_REST_MS;
	return true;
}

static bool
has_word(struct slice text, struct slice word)
{
	for (size_t i = 0; i + word.len <= text.len; i++)
		if (slice_starts_nocase(slice_make(text.ptr + i, text.len - i), word))
			return true;
	return false;
}

bool
relay_throttled(struct relay *r, const struct outcome *why, uint64_t now_ms, unsigned chance)
{
	uint64_t rest = r->throttle_ms;

	if (now_ms < r->begin_after_ms)
		return false; /* what was under way meanwhile says it again */
	/* "454 Throttling failure: Daily message quota exceeded" */
	if (has_word(why->text, SLICE("quota")))
		rest = RELAY_QUOTA_REST_MS;
	r->begin_after_ms = now_ms + with_chance(rest, chance);
	r->throttle_ms =
	    r->throttle_ms * 2 < RELAY_LONGEST_REST_MS ? r->throttle_ms * 2 : RELAY_LONGEST_REST_MS;
	return true;
}

void
relay_works(struct relay *r)
{
	r->rest_ms = RELAY_FIRST_REST_MS;
	r->open_after_ms = 0;
	r->failed = 0;
}

void
relay_took(struct relay *r, uint64_t now_ms)
{
	if (r->begin_after_ms != 0 && now_ms >= r->begin_after_ms + THROTTLE_MEMORY_MS) {
		r->throttle_ms = 2 * RELAY_FIRST_REST_MS;
		r->begin_after_ms = 0;
	}
}

bool
relay_hear(struct relay *r, const struct outcome *o)
{
	if (o->kind == OUTCOME_IN_DOUBT)
		return ++r->silent == RELAY_SILENT_MAX + 1;
	if (o->phase == OUTCOME_PHASE_DOT && o->code > 0)
		r->silent = 0;
	return false;
}

bool
relay_is_to_blame(const struct outcome *o)
{
	if (o->code == 530 || o->code == 535 || o->code == 538)
		return true; /* RFC 4954 6: the login was lost */
	if (o->kind == OUTCOME_DEFERRED && o->scope == OUTCOME_SCOPE_ROUTE && o->code == 554 &&
	    o->cls == OUTCOME_CONFIG)
		return true; /* relay_take_blame() */
	return o->kind == OUTCOME_DEFERRED && o->scope == OUTCOME_SCOPE_ROUTE &&
	    o->phase >= OUTCOME_PHASE_MAIL && strcmp(o->reason, "rate") == 0;
}

/* "...failed the check in region X: a, b": the recipient is the only one that did. */
static bool
names_only(struct slice text, struct slice address)
{
	const char *at = text.len > 0 ? memrchr(text.ptr, ':', text.len) : NULL;

	return at != NULL &&
	    slice_equal_nocase(
		slice_trim(slice_make(at + 1, text.len - (size_t)(at + 1 - text.ptr))), address);
}

bool
relay_take_blame(struct outcome *o, struct slice to)
{
	const char *at, *end;

	if (o->kind != OUTCOME_FAILED || o->code != 554)
		return false;
	if (has_word(o->text, SLICE("Email address is not verified"))) {
		if (names_only(o->text, to))
			return false;
	} else if (!has_word(o->text, SLICE("MAIL FROM domain not verified")) &&
	    !(has_word(o->text, SLICE("Access denied")) &&
		has_word(o->text, SLICE("not authorized to perform")))) {
		return false;
	}
	o->kind = OUTCOME_DEFERRED;
	o->cls = OUTCOME_CONFIG;
	o->scope = OUTCOME_SCOPE_ROUTE;
	o->reason = "config";
	at = memchr(o->text.ptr, '@', o->text.len);
	end = at != NULL ? memrchr(o->text.ptr, ':', (size_t)(at - o->text.ptr)) : NULL;
	if (at != NULL)
		o->text.len = end != NULL ? (size_t)(end - o->text.ptr) : 0;
	return true;
}
