/* SPDX-License-Identifier: Apache-2.0 */
/* compose: see compose.h. */
#include "compose.h"

#include <time.h>

#include "db.h"
#include "message.h"

/* Values of the template's fields from the claimed row; NULL is a missing field. */
static size_t
read_values(const struct flight *f, struct template_value *values)
{
	const struct live_run *run = flight_run(f);
	const PGresult *rows = f->batch->rows;
	int column = CLAIM_FIELDS + run->has_name;

	for (size_t i = 0; i < run->field_count; i++, column++) {
		values[i].present = !PQgetisnull(rows, f->row, column);
		values[i].text = slice_make(
		    PQgetvalue(rows, f->row, column), (size_t)PQgetlength(rows, f->row, column));
	}
	return run->field_count;
}

/* {{confirm_url}}: the page where this recipient confirms, web.base/c/TOKEN. */
static void
fill_confirm_url(const struct token_keys *keys, struct token token, const struct live_run *run,
    struct template_value *values, char *url, size_t size)
{
	char text[TOKEN_CHARS + 1];
	size_t n = strlen(run->web_base);
	int length;

	if (run->confirm_field == SIZE_MAX)
		return;
	token_make(keys, TOKEN_CONFIRM, token, text);
	length = snprintf(url, size, "%s%sc/%s", run->web_base,
	    n > 0 && run->web_base[n - 1] == '/' ? "" : "/", text);
	values[run->confirm_field].present = n > 0 && length > 0 && (size_t)length < size;
	values[run->confirm_field].text = slice_str(url);
}

/* Tokens of what the templates alone ask for. */
static void
fill_web_tokens(const struct token_keys *keys, struct token token, const struct live_run *run,
    char view[TOKEN_CHARS + 1], char track[TOKEN_CHARS + 1], struct message_recipient *to)
{
	if (message_uses(run->plan, MESSAGE_VIEW_URL)) {
		token_make(keys, TOKEN_VIEW, token, view);
		to->view_token = slice_str(view);
	}
	if (message_uses(run->plan, MESSAGE_TRACK_TOKEN)) {
		token_make(keys, TOKEN_TRACK, token, track);
		to->track_token = slice_str(track);
	}
}

/* Of a single mail without a return path of ours: who handed it in, else the campaign's address. */
static const char *
own_sender(const struct flight *f)
{
	const struct live_run *run = flight_run(f);
	const char *sender = run->is_mail ? db_text(f->batch->rows, f->row, CLAIM_MAIL_SENDER) : "";

	return sender[0] != '\0' ? sender : run->from_address;
}

static void
write_return_path(struct flight *f)
{
	const struct live_run *run = flight_run(f);

	if (run->path_domain[0] != '\0')
		(void)snprintf(
		    f->return_path, sizeof(f->return_path), "b+%s@%s", f->token, run->path_domain);
	else
		(void)snprintf(f->return_path, sizeof(f->return_path), "%s", own_sender(f));
}

/* A mail that was handed in whole: our fields in front, the rest as it is. */
static bool
put_mail(struct flight *f, struct compose_refusal *why)
{
	const struct live_run *run = flight_run(f);
	const PGresult *rows = f->batch->rows;
	struct slice content = { PQgetvalue(rows, f->row, CLAIM_MAIL_CONTENT),
		(size_t)PQgetlength(rows, f->row, CLAIM_MAIL_CONTENT) };

	why->reason = "mail_gone"; /* forgotten, and asked for again */
	if (content.len == 0)
		return false;
	buf_printf(f->message, "X-Kairan-Id: %s\r\n", f->token);
	if (run->ses_tags)
		buf_printf(f->message, "X-SES-MESSAGE-TAGS: kairan=%s\r\n", f->token);
	if (run->ses_configuration_set[0] != '\0')
		buf_printf(
		    f->message, "X-SES-CONFIGURATION-SET: %s\r\n", run->ses_configuration_set);
	buf_append_slice(f->message, content);
	why->reason = "too_large";
	write_return_path(f);
	return !buf_failed(f->message);
}

/* pieces NULL: the whole message. */
static bool
compose(const struct token_keys *keys, struct flight *f, struct message_pieces *pieces,
    struct compose_refusal *why)
{
	/* 24 kB, of which few are used: not to be cleared for each message */
	__attribute__((uninitialized)) struct template_value values[TEMPLATE_FIELDS_MAX];
	const struct live_run *run = flight_run(f);
	const PGresult *rows = f->batch->rows;
	struct token token = { (uint32_t)run->id, (uint32_t)f->id, (uint16_t)f->attempt };
	char unsubscribe[TOKEN_CHARS + 1], message_id[TOKEN_CHARS + 1], confirm[600];
	char view[TOKEN_CHARS + 1], track[TOKEN_CHARS + 1];
	struct message_result result = { 0 };
	enum template_status status;
	struct message_recipient to = {
		.values = values, .date = time(NULL), .run = (uint64_t)run->id
	};

	*why = (struct compose_refusal){ 0 };
	token_make(keys, TOKEN_BOUNCE, token, f->token);
	if (run->is_mail)
		return put_mail(f, why);
	if (db_text(rows, f->row, CLAIM_CUSTOMER)[0] != 't') {
		why->skip = true;
		why->reason = "customer_gone";
		return false;
	}
	token_make(keys, TOKEN_UNSUBSCRIBE, token, unsubscribe);
	token_make(keys, TOKEN_MESSAGE, (struct token){ token.run, token.send, 0 }, message_id);
	to.to_addr = slice_str(db_text(rows, f->row, CLAIM_ADDRESS));
	if (run->has_name)
		to.to_name = slice_str(db_text(rows, f->row, CLAIM_FIELDS));
	to.value_count = read_values(f, values);
	to.blank_missing = run->missing_field == RUN_FIELD_BLANK;
	fill_confirm_url(keys, token, run, values, confirm, sizeof(confirm));
	fill_web_tokens(keys, token, run, view, track, &to);
	to.message_id_left = slice_str(message_id);
	to.id_token = slice_str(f->token);
	to.unsubscribe_token = slice_str(unsubscribe);
	to.campaign = slice_str(run->campaign);
	status = pieces != NULL ? message_render_pieces(run->plan, &to, f->message, pieces, &result)
				: message_render(run->plan, &to, f->message, &result);
	if (status == TEMPLATE_OK && (result.cleaned == 0 || !run->refuse_bad_field)) {
		write_return_path(f);
		return true;
	}
	why->text = result.field;
	why->reason = result.status == TEMPLATE_MISSING_FIELD ? "missing_field"
	    : result.status == TEMPLATE_TOO_LARGE	      ? "too_large"
							      : "bad_data";
	why->skip = result.status == TEMPLATE_MISSING_FIELD && run->missing_field == RUN_FIELD_SKIP;
	return false;
}

/* For want of memory nobody is refused. */
static bool
compose_or_wait(const struct token_keys *keys, struct flight *f, struct message_pieces *pieces,
    struct compose_refusal *why)
{
	f->message->starved = false;
	if (compose(keys, f, pieces, why))
		return true;
	if (f->message->starved)
		*why = (struct compose_refusal){ .later = true, .reason = "no_memory" };
	return false;
}

bool
compose_flight(const struct token_keys *keys, struct flight *f, struct compose_refusal *why)
{
	return compose_or_wait(keys, f, NULL, why);
}

bool
compose_pieces(const struct token_keys *keys, struct flight *f, struct message_pieces *pieces,
    struct compose_refusal *why)
{
	return compose_or_wait(keys, f, pieces, why);
}
