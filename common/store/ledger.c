/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger: see ledger.h. Owns the buffers of one batch. Every byte is looked at once. What cannot
 * be in a text column (NUL, broken UTF-8) becomes '?', see pgarray.h.
 */
#include "ledger.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "addr.h"
#include "base64.h"
#include "pgarray.h"

enum column {
	SOURCE,
	KIND,
	KEY,
	OCCURRED,
	RUN,
	SEND,
	ATTEMPT,
	ADDRESS,
	CLASS,
	REASON,
	CODE,
	ENHANCED,
	REPLY,
	REMOTE,
	DETAIL,
	MESSAGE_ID,
	KEPT_KEY, /* behind it those of notice_keep() */
	KEPT_SOURCE,
	KEPT_REASON,
	KEPT_WHY,
	KEPT_FORM,
	KEPT_BELIEVED,
	KEPT_RCPTS,
	KEPT_CONTENT
};

/* One statement, so that both are committed or none is. */
#define LEDGER_KEPT_SQL                                                                            \
	LEDGER_SQL ", kairan.notice_keep($17::text[],$18::text[],$19::text[],$20::text[],"         \
		   "$21::text[],$22::boolean[],$23::text[],$24::text[])"

#define US_PER_S 1000000
#define TIME_MAX_US (INT64_C(253402300800) * US_PER_S) /* the year 10000 */

void
ledger_init(struct ledger_batch *batch)
{
	for (size_t i = 0; i < LEDGER_PARAMS_MAX; i++)
		buf_init(&batch->columns[i], LEDGER_COLUMN_MAX);
	batch->count = batch->kept = 0;
}

void
ledger_release(struct ledger_batch *batch)
{
	for (size_t i = 0; i < LEDGER_PARAMS_MAX; i++)
		buf_release(&batch->columns[i]);
	batch->count = batch->kept = 0;
}

void
ledger_reset(struct ledger_batch *batch)
{
	for (size_t i = 0; i < LEDGER_PARAMS_MAX; i++)
		buf_reset(&batch->columns[i]);
	batch->count = batch->kept = 0;
}

static void
put_number(struct ledger_batch *batch, enum column column, bool is_there, uint64_t value)
{
	if (is_there)
		pgarray_int(&batch->columns[column], (int64_t)value);
	else
		pgarray_null(&batch->columns[column]);
}

static void
put_time(struct ledger_batch *batch, enum column column, int64_t us)
{
	char text[64];
	time_t seconds = (time_t)(us / US_PER_S);
	struct tm tm;
	int n;

	if (us <= 0 || us >= TIME_MAX_US || gmtime_r(&seconds, &tm) == NULL) {
		pgarray_null(&batch->columns[column]);
		return;
	}
	n = snprintf(text, sizeof(text), "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(us % US_PER_S));
	pgarray_text(&batch->columns[column], slice_make(text, n > 0 ? (size_t)n : 0));
}

/* The key of what is an address, NULL of anything else. */
static void
put_address(struct ledger_batch *batch, struct slice text)
{
	struct addr addr;

	if (text.len > 0 && addr_parse(&addr, slice_trim(text), NULL) == 0)
		pgarray_text(&batch->columns[ADDRESS], slice_make(addr.key, addr.len));
	else
		pgarray_null(&batch->columns[ADDRESS]);
}

static void
put_enhanced(struct ledger_batch *batch, const uint16_t enhanced[3])
{
	struct outcome o = { .enhanced = { enhanced[0], enhanced[1], enhanced[2] } };
	char text[12];

	pgarray_optional(&batch->columns[ENHANCED], slice_str(outcome_enhanced_str(&o, text)));
}

static void
put_kept(struct ledger_batch *batch, const struct feedback_event *e)
{
	struct buf *content = &batch->columns[KEPT_CONTENT];
	size_t n = BASE64_SIZE(e->kept->content.len);

	pgarray_text(&batch->columns[KEPT_KEY], e->key);
	pgarray_text(&batch->columns[KEPT_SOURCE], slice_str(e->source));
	pgarray_text(&batch->columns[KEPT_REASON], slice_str(e->reason));
	pgarray_text(&batch->columns[KEPT_WHY], e->text);
	pgarray_text(&batch->columns[KEPT_FORM], slice_str(e->kept->form));
	pgarray_int(&batch->columns[KEPT_BELIEVED], e->kept->is_believed);
	pgarray_text(&batch->columns[KEPT_RCPTS], e->kept->rcpts);
	buf_append_char(content, content->len == 0 ? '{' : ',');
	buf_append_char(content, '"');
	if (buf_reserve(content, n)) {
		(void)base64_put(
		    content->data + content->len, e->kept->content.ptr, e->kept->content.len);
		buf_commit(content, n);
	}
	buf_append_char(content, '"');
	batch->kept++;
}

static bool
is_whole(const struct ledger_batch *batch)
{
	for (size_t i = 0; i < LEDGER_PARAMS_MAX; i++)
		if (buf_failed(&batch->columns[i]))
			return false;
	return true;
}

bool
ledger_add(struct ledger_batch *batch, const struct feedback_event *event)
{
	pgarray_text(&batch->columns[SOURCE], slice_str(event->source));
	pgarray_text(&batch->columns[KIND], slice_str(outcome_kind_name(event->kind)));
	pgarray_text(&batch->columns[KEY], event->key);
	put_time(batch, OCCURRED, event->occurred_at_us);
	put_number(batch, RUN, event->linked, event->token.run);
	put_number(batch, SEND, event->linked, event->token.send);
	put_number(batch, ATTEMPT, event->linked, event->token.attempt);
	put_address(batch, event->address);
	pgarray_optional(&batch->columns[CLASS], slice_str(outcome_class_name(event->cls)));
	pgarray_optional(&batch->columns[REASON], slice_str(event->reason));
	put_number(batch, CODE, event->code > 0, (uint64_t)event->code);
	put_enhanced(batch, event->enhanced);
	pgarray_optional(&batch->columns[REPLY], event->text);
	pgarray_optional(&batch->columns[REMOTE], event->remote);
	pgarray_optional(&batch->columns[DETAIL], event->detail);
	pgarray_optional(&batch->columns[MESSAGE_ID], event->message_id);
	if (event->kept != NULL)
		put_kept(batch, event);
	batch->count++;
	return is_whole(batch);
}

bool
ledger_add_smtp(struct ledger_batch *batch, uint32_t run, uint32_t send, unsigned attempt,
    struct slice address, const struct outcome *outcome, int64_t now_us)
{
	char key[64];
	int n = snprintf(key, sizeof(key), "smtp|%u|%u|%u", run, send, attempt);

	return ledger_add(batch,
	    &(struct feedback_event){
		.kind = OUTCOME_BOUNCED,
		.cls = outcome->cls,
		.reason = outcome->reason,
		.code = outcome->code,
		.enhanced = { outcome->enhanced[0], outcome->enhanced[1], outcome->enhanced[2] },
		.text = outcome->text,
		.remote = outcome->remote,
		.linked = true,
		.token = { .run = run, .send = send, .attempt = (uint16_t)attempt },
		.address = address,
		.source = "smtp",
		.key = slice_make(key, n > 0 ? (size_t)n : 0),
		.occurred_at_us = now_us,
	    });
}

size_t
ledger_bytes(const struct ledger_batch *batch)
{
	size_t total = 0;

	for (size_t i = 0; i < LEDGER_PARAMS_MAX; i++)
		total += batch->columns[i].len;
	return total;
}

bool
ledger_params(struct ledger_batch *batch, const char *params[LEDGER_COLUMNS])
{
	for (size_t i = 0; i < LEDGER_COLUMNS; i++) {
		params[i] = pgarray_end(&batch->columns[i]);
		if (params[i] == NULL)
			return false;
	}
	return true;
}

const char *
ledger_statement(struct ledger_batch *batch, const char *params[LEDGER_PARAMS_MAX], int *count)
{
	*count = batch->kept > 0 ? LEDGER_PARAMS_MAX : LEDGER_COLUMNS;
	if (!ledger_params(batch, params))
		return NULL;
	for (int i = LEDGER_COLUMNS; i < *count; i++) {
		params[i] = pgarray_end(&batch->columns[i]);
		if (params[i] == NULL)
			return NULL;
	}
	return batch->kept > 0 ? LEDGER_KEPT_SQL : LEDGER_SQL;
}

bool
ledger_submit(struct ledger_batch *batch, struct pgloop *pg, pgloop_done *done, void *ctx)
{
	const char *params[LEDGER_PARAMS_MAX], *sql;
	int count;

	sql = ledger_statement(batch, params, &count);
	return sql != NULL &&
	    pgloop_submit(
		pg, batch->kept > 0 ? "ingest_kept" : "ingest", sql, count, params, done, ctx);
}
