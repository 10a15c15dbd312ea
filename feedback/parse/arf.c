/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arf: reads the fields of a complaint report. Promises linear time and no memory but the
 * arena's. Trusts nothing: Feedback-Type alone never suppresses, the caller links.
 */
#include "arf.h"

#include <string.h>

#include "dsn.h"

static const struct {
	const char *name;
	enum arf_type type;
} types[] = {
	{ "abuse", ARF_ABUSE },
	{ "fraud", ARF_FRAUD },
	{ "virus", ARF_VIRUS },
	{ "other", ARF_OTHER },
	{ "not-spam", ARF_NOT_SPAM },
	{ "auth-failure", ARF_AUTH_FAILURE },
};

const char *
arf_type_name(enum arf_type type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].name;
	return "other";
}

/* The word before parameters and comments. */
static struct slice
read_word(struct slice value)
{
	size_t n = 0;

	while (n < value.len && value.ptr[n] != ' ' && value.ptr[n] != '\t' &&
	    value.ptr[n] != ';' && value.ptr[n] != '(')
		n++;
	value.len = n;
	return value;
}

static enum arf_type
read_type(struct slice value)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (slice_equal_nocase(value, slice_str(types[i].name)))
			return types[i].type;
	return ARF_OTHER;
}

/* Without angle brackets. */
static struct slice
read_path(struct slice value)
{
	if (value.len >= 2 && value.ptr[0] == '<' && value.ptr[value.len - 1] == '>')
		return slice_make(value.ptr + 1, value.len - 2);
	return value;
}

/* "dns; host" -> "host". */
static struct slice
read_host(struct slice value)
{
	const char *semicolon = value.len > 0 ? memchr(value.ptr, ';', value.len) : NULL;

	if (semicolon == NULL)
		return value;
	return slice_trim(
	    slice_make(semicolon + 1, value.len - (size_t)(semicolon + 1 - value.ptr)));
}

static unsigned
read_count(struct slice value)
{
	unsigned n = 0;

	for (size_t i = 0; i < value.len && value.ptr[i] >= '0' && value.ptr[i] <= '9'; i++) {
		if (n >= 100000)
			return 1000000;
		n = n * 10 + (unsigned)(value.ptr[i] - '0');
	}
	return n > 0 ? n : 1;
}

/* The first of each field counts. */
static void
set_field(struct arf *arf, struct slice name, struct slice value)
{
	const struct {
		struct slice name;
		struct slice *where;
	} texts[] = {
		{ SLICE("User-Agent"), &arf->user_agent },
		{ SLICE("Original-Envelope-Id"), &arf->envelope_id },
		{ SLICE("Source-IP"), &arf->source_ip },
		{ SLICE("Auth-Failure"), &arf->auth_failure },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (slice_equal_nocase(name, texts[i].name) && texts[i].where->len == 0)
			*texts[i].where = value;
	if (slice_equal_nocase(name, SLICE("Feedback-Type")) && !arf->has_type) {
		arf->has_type = true;
		arf->type_name = read_word(value);
		arf->type = read_type(arf->type_name);
	} else if (slice_equal_nocase(name, SLICE("Original-Mail-From")) &&
	    arf->mail_from.len == 0) {
		arf->mail_from = read_path(value);
	} else if (slice_equal_nocase(name, SLICE("Original-Rcpt-To")) && arf->rcpt_to.len == 0) {
		arf->rcpt_to = read_path(value);
	} else if (slice_equal_nocase(name, SLICE("Reporting-MTA")) &&
	    arf->reporting_mta.len == 0) {
		arf->reporting_mta = read_host(value);
	} else if ((slice_equal_nocase(name, SLICE("Arrival-Date")) ||
		       slice_equal_nocase(name, SLICE("Received-Date"))) &&
	    arf->arrival_us == 0) {
		arf->arrival_us = dsn_date_parse(value);
	} else if (slice_equal_nocase(name, SLICE("Incidents"))) {
		arf->incidents = read_count(value);
	}
}

int
arf_parse(struct arf *arf, struct slice body, struct arena *arena)
{
	struct dsn_fields fields = { body };

	memset(arf, 0, sizeof(*arf));
	arf->type = ARF_OTHER;
	arf->incidents = 1;
	for (;;) {
		struct slice name, value;
		enum dsn_field_result result = dsn_fields_next(&fields, arena, &name, &value);

		if (result == DSN_FIELD_NO_MEMORY)
			return -1;
		if (result == DSN_FIELD_END)
			return 0;
		if (result == DSN_FIELD)
			set_field(arf, name, value);
	}
}

void
arf_judge(const struct arf *arf, struct arena *arena, struct feedback_event *event)
{
	bool complaint =
	    arf->has_type && arf->type != ARF_NOT_SPAM && arf->type != ARF_AUTH_FAILURE;

	event->source = "arf";
	event->kind = complaint ? OUTCOME_COMPLAINED : OUTCOME_OTHER;
	event->reason = arf->has_type ? arf_type_name(arf->type) : "no_type";
	event->address = feedback_text(arena, arf->rcpt_to, FEEDBACK_ADDRESS_MAX);
	event->remote = feedback_text(arena, arf->reporting_mta, 255);
	event->text = feedback_text(arena, arf->user_agent, OUTCOME_TEXT_MAX);
	event->occurred_at_us = arf->arrival_us;
}
