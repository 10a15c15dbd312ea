/* SPDX-License-Identifier: Apache-2.0 */
/* webhook: see webhook.h. Owns nothing beyond the call. */
#include "webhook.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "codes.h"
#include "jsondoc.h"
#include "verdict.h"

#define DEPTH_MAX 4
#define MAC_BYTES 32
#define TIMESTAMP_MAX 12

/* ---- signature -------------------------------------------------------------------------- */

static bool
parse_timestamp(struct slice text, int64_t *seconds)
{
	int64_t value = 0;

	if (text.len == 0 || text.len > TIMESTAMP_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		value = value * 10 + (text.ptr[i] - '0');
	}
	*seconds = value;
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The next "v1=HEX"; other versions are passed over. False at the end, and for what is neither. */
static bool
next_signature(struct slice *rest, unsigned char mac[MAC_BYTES])
{
	while (rest->len > 0) {
		const char *comma = memchr(rest->ptr, ',', rest->len);
		size_t n = comma != NULL ? (size_t)(comma - rest->ptr) : rest->len;
		struct slice one = slice_trim(slice_make(rest->ptr, n));
		int bad = 0;

		n += comma != NULL;
		*rest = slice_make(rest->ptr + n, rest->len - n);
		if (one.len != 3 + 2 * (size_t)MAC_BYTES || memcmp(one.ptr, "v1=", 3) != 0)
			continue;
		for (size_t i = 0; i < MAC_BYTES; i++) {
			int high = hex_digit(one.ptr[3 + 2 * i]);
			int low = hex_digit(one.ptr[4 + 2 * i]);

			bad |= high | low; /* negative when one is */
			mac[i] = (unsigned char)((high & 15) * 16 + (low & 15));
		}
		if (bad >= 0)
			return true;
	}
	return false;
}

static bool
sign(const unsigned char *key, struct slice timestamp, struct slice body,
    unsigned char mac[MAC_BYTES])
{
	EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
	char digest[] = "SHA256";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end() };
	size_t n = 0;
	bool good = ctx != NULL && EVP_MAC_init(ctx, key, TOKEN_KEY_BYTES, params) == 1 &&
	    EVP_MAC_update(ctx, (const unsigned char *)timestamp.ptr, timestamp.len) == 1 &&
	    EVP_MAC_update(ctx, (const unsigned char *)".", 1) == 1 &&
	    (body.len == 0 ||
		EVP_MAC_update(ctx, (const unsigned char *)body.ptr, body.len) == 1) &&
	    EVP_MAC_final(ctx, mac, &n, MAC_BYTES) == 1 && n == MAC_BYTES;

	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(hmac);
	return good;
}

int
webhook_verify(const struct token_keys *keys, const struct webhook_head *head, struct slice body,
    int64_t now_s, long window_s, int *status, struct err *err)
{
	unsigned char ours[TOKEN_KEYS_MAX][MAC_BYTES], theirs[MAC_BYTES];
	struct slice timestamp = slice_trim(head->timestamp), rest = head->signature;
	int64_t at;
	unsigned count = 0;
	int found = 0;

	*status = 401;
	if (!parse_timestamp(timestamp, &at))
		return err_set(err, "no X-Kairan-Timestamp, or not in seconds");
	for (unsigned i = 0; i < keys->count; i++)
		if (!sign(keys->key[i], timestamp, body, ours[i]))
			return err_set(err, "no memory");
	while (count < WEBHOOK_SIGNATURES_MAX && next_signature(&rest, theirs)) {
		count++;
		for (unsigned i = 0; i < keys->count; i++)
			found |= CRYPTO_memcmp(ours[i], theirs, MAC_BYTES) == 0;
	}
	if (found == 0)
		return err_set(
		    err, count == 0 ? "no X-Kairan-Signature" : "the signature is wrong");
	*status = 403; /* only who has a key learns about the clock */
	if (at > now_s + window_s || at < now_s - window_s)
		return err_set(err, "the timestamp is %lld s away",
		    (long long)(at > now_s ? at - now_s : now_s - at));
	return 0;
}

/* ---- document --------------------------------------------------------------------------- */

struct job {
	const struct webhook_input *in;
	struct arena *arena;
	struct feedback_events *events;
	struct err *err;
	size_t number; /* of the event, from 1 */
};

enum field {
	FIELD_ID,
	FIELD_EVENT,
	FIELD_TOKEN,
	FIELD_MESSAGE_ID,
	FIELD_ADDRESS,
	FIELD_STATUS,
	FIELD_DIAGNOSTIC,
	FIELD_REMOTE,
	FIELD_TIME,
	FIELDS
};

static const struct {
	const char *name;
	size_t max; /* bytes */
} fields[FIELDS] = {
	[FIELD_ID] = { "id", WEBHOOK_ID_MAX },
	[FIELD_EVENT] = { "event", 20 },
	[FIELD_TOKEN] = { "token", FEEDBACK_ADDRESS_MAX },
	[FIELD_MESSAGE_ID] = { "message_id", 998 },
	[FIELD_ADDRESS] = { "address", FEEDBACK_ADDRESS_MAX },
	[FIELD_STATUS] = { "status", 20 },
	[FIELD_DIAGNOSTIC] = { "diagnostic", 4096 },
	[FIELD_REMOTE] = { "remote", 255 },
	[FIELD_TIME] = { "time", 40 },
};

static const struct {
	const char *word;
	enum outcome_kind kind;
	const char *reason;
} kinds[] = {
	{ "delivered", OUTCOME_DELIVERED, "delivered" },
	{ "bounced", OUTCOME_BOUNCED, "undefined" },
	{ "delayed", OUTCOME_DELAYED, "delayed" },
	{ "complained", OUTCOME_COMPLAINED, "abuse" },
	{ "unsubscribed", OUTCOME_UNSUBSCRIBED, "webhook" },
	{ "opened", OUTCOME_OPENED, "opened" },
	{ "clicked", OUTCOME_CLICKED, "clicked" },
};

/* An SMTP code as three digits. */
static bool
read_code(const struct jsondoc *value, int *code)
{
	const struct slice t = value->text;

	if (!jsondoc_is(value, JSONDOC_NUMBER) || t.len != 3 || t.ptr[0] < '2' || t.ptr[0] > '5' ||
	    t.ptr[1] < '0' || t.ptr[1] > '9' || t.ptr[2] < '0' || t.ptr[2] > '9')
		return false;
	*code = (t.ptr[0] - '0') * 100 + (t.ptr[1] - '0') * 10 + (t.ptr[2] - '0');
	return true;
}

/* The texts of one event, in the order of `fields`; absent ones are empty. */
static int
read_fields(struct job *job, const struct jsondoc *item, struct slice text[FIELDS], int *code)
{
	for (const struct jsondoc *value = item->first; value != NULL; value = value->next) {
		size_t i = 0;

		if (slice_equal(value->key, SLICE("code"))) {
			if (!read_code(value, code))
				return err_set(
				    job->err, "event %zu: code must be 200 to 599", job->number);
			continue;
		}
		while (i < FIELDS && !slice_equal(value->key, slice_str(fields[i].name)))
			i++;
		if (i == FIELDS)
			return err_set(job->err, "event %zu: unknown field '%.*s'", job->number,
			    (int)(value->key.len < 40 ? value->key.len : 40), value->key.ptr);
		if (!jsondoc_is(value, JSONDOC_STRING) || value->text.len > fields[i].max)
			return err_set(job->err,
			    "event %zu: %s must be a text of at most %zu bytes", job->number,
			    fields[i].name, fields[i].max);
		text[i] = value->text;
		if (text[i].len > 0 && memchr(text[i].ptr, '\0', text[i].len) != NULL)
			return err_set(
			    job->err, "event %zu: %s holds a NUL", job->number, fields[i].name);
	}
	return 0;
}

/* "<TOKEN@domain>", with or without brackets. */
static bool
link_message_id(const struct job *job, struct slice id, struct token *token)
{
	id = slice_trim(id);
	if (id.len > 0 && id.ptr[0] == '<')
		id = slice_make(id.ptr + 1, id.len - 1);
	return id.len > TOKEN_CHARS && id.ptr[TOKEN_CHARS] == '@' &&
	    token_verify(job->in->keys, TOKEN_MESSAGE, slice_make(id.ptr, TOKEN_CHARS), token);
}

static void
link_event(const struct job *job, struct feedback_event *e, const struct slice text[FIELDS])
{
	const struct token_keys *keys = job->in->keys;
	struct slice name = slice_trim(text[FIELD_TOKEN]);

	e->linked = token_verify(keys, TOKEN_BOUNCE, name, &e->token) ||
	    token_verify(keys, TOKEN_UNSUBSCRIBE, name, &e->token) ||
	    feedback_verp_verify(keys, TOKEN_BOUNCE, name, job->in->bounce_domain, &e->token) ||
	    link_message_id(job, text[FIELD_MESSAGE_ID], &e->token);
	if (!e->linked)
		e->token = (struct token){ 0 };
}

static int
judge(struct job *job, struct feedback_event *e, const struct slice text[FIELDS])
{
	size_t i = 0;

	while (i < sizeof(kinds) / sizeof(kinds[0]) &&
	    !slice_equal(text[FIELD_EVENT], slice_str(kinds[i].word)))
		i++;
	if (i == sizeof(kinds) / sizeof(kinds[0]))
		return err_set(job->err,
		    "event %zu: event must be one of delivered, bounced, delayed, complained, "
		    "unsubscribed, opened, clicked",
		    job->number);
	if (text[FIELD_STATUS].len > 0 &&
	    codes_read_status(text[FIELD_STATUS], e->enhanced) != text[FIELD_STATUS].len)
		return err_set(job->err, "event %zu: status must be like 5.1.1", job->number);
	if (text[FIELD_TIME].len > 0 &&
	    (e->occurred_at_us = feedback_time_parse(text[FIELD_TIME])) == 0)
		return err_set(
		    job->err, "event %zu: time must be like 2026-11-20T10:00:00Z", job->number);
	e->kind = kinds[i].kind;
	if (e->kind == OUTCOME_BOUNCED)
		verdict_judge(e);
	else
		e->reason = kinds[i].reason;
	return 0;
}

static int
read_event(struct job *job, const struct jsondoc *item)
{
	struct slice text[FIELDS] = { 0 };
	struct feedback_event *e;
	int code = 0;

	if (!jsondoc_is(item, JSONDOC_OBJECT))
		return err_set(job->err, "event %zu: not an object", job->number);
	if (read_fields(job, item, text, &code) < 0)
		return -1;
	if (text[FIELD_ID].len == 0)
		return err_set(job->err, "event %zu: id is missing", job->number);
	e = feedback_event_add(job->events, job->arena);
	if (e == NULL)
		return err_set(job->err, "no memory");
	e->source = "webhook";
	e->code = code;
	e->text = feedback_text(job->arena, text[FIELD_DIAGNOSTIC], OUTCOME_TEXT_MAX);
	e->remote = feedback_text(job->arena, text[FIELD_REMOTE], 255);
	e->address = feedback_text(job->arena, text[FIELD_ADDRESS], FEEDBACK_ADDRESS_MAX);
	if (judge(job, e, text) < 0)
		return -1;
	link_event(job, e, text);
	{
		const struct slice key[] = { SLICE("webhook"),
			feedback_text(job->arena, text[FIELD_ID], WEBHOOK_ID_MAX * 3) };
		const struct feedback_pair pairs[] = { { "id", text[FIELD_ID] },
			{ "status", text[FIELD_STATUS] },
			{ "message_id", text[FIELD_MESSAGE_ID] } };

		e->key = feedback_key(job->arena, key, 2);
		e->detail = feedback_detail(job->arena, pairs, 3);
	}
	return e->key.len > 0 && e->detail.len > 0 ? 0 : err_set(job->err, "no memory");
}

static int
read_document(struct job *job, const struct jsondoc *root)
{
	const struct jsondoc *version = jsondoc_get(root, "version");
	const struct jsondoc *list = jsondoc_get(root, "events");

	if (!jsondoc_is(version, JSONDOC_NUMBER) || !slice_equal(version->text, SLICE("1")))
		return err_set(job->err, "version must be 1");
	if (root->count != 2 || !jsondoc_is(list, JSONDOC_ARRAY))
		return err_set(job->err, "besides version there must be events, a list, alone");
	if (list->count == 0 || list->count > FEEDBACK_EVENTS_MAX)
		return err_set(
		    job->err, "events must be 1 to %d in a document", FEEDBACK_EVENTS_MAX);
	job->number = 0;
	for (const struct jsondoc *item = list->first; item != NULL; item = item->next) {
		job->number++;
		if (read_event(job, item) < 0)
			return -1;
	}
	return 0;
}

int
webhook_parse(const struct webhook_input *in, struct arena *arena, struct feedback_events *events,
    struct err *err)
{
	struct job job = { .in = in, .arena = arena, .events = events, .err = err };
	const struct jsondoc *root =
	    jsondoc_parse(in->json, WEBHOOK_BODY_MAX, DEPTH_MAX, arena, err);

	if (root == NULL || read_document(&job, root) < 0)
		return -1;
	return arena->failed ? err_set(err, "the document needs more memory than its arena has")
			     : 0;
}
