/* SPDX-License-Identifier: Apache-2.0 */
/* sqs: see sqs.h. */
#include "sqs.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define SENT_MAX_MS INT64_C(253402300800000) /* the year 10000 */

/* ---- requests --------------------------------------------------------------------------- */

/* What a queue URL and a receipt handle consist of needs no escapes, but is not ours. */
static void
append_string(struct buf *out, struct slice s)
{
	buf_append_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '"' || c == '\\')
			buf_append_char(out, '\\');
		if (c < 0x20)
			buf_printf(out, "\\u%04x", c);
		else
			buf_append_char(out, (char)c);
	}
	buf_append_char(out, '"');
}

static void
append_queue(struct buf *out, struct slice queue_url)
{
	buf_append_str(out, "{\"QueueUrl\":");
	append_string(out, queue_url);
}

int
sqs_url_check(struct slice url, struct slice *region, struct err *err)
{
	static const char allowed[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:";
	const struct slice begin = SLICE("https://sqs.");
	size_t slashes = 0, dot;

	*region = (struct slice){ NULL, 0 };
	for (size_t i = 0; i < url.len; i++) {
		if (strchr(allowed, url.ptr[i]) == NULL || url.ptr[i] == '\0')
			slashes = 100;
		slashes += url.ptr[i] == '/';
	}
	if (url.len > SQS_URL_MAX || slashes != 4 ||
	    (!slice_starts_nocase(url, SLICE("https://")) &&
		!slice_starts_nocase(url, SLICE("http://"))))
		return err_set(err,
		    "a queue is named by its URL, like "
		    "https://sqs.eu-west-1.amazonaws.com/123456789012/name");
	if (!slice_starts_nocase(url, begin))
		return 0;
	url = slice_make(url.ptr + begin.len, url.len - begin.len);
	for (dot = 0; dot < url.len && url.ptr[dot] != '.' && url.ptr[dot] != '/';)
		dot++;
	if (slice_starts_nocase(slice_make(url.ptr + dot, url.len - dot), SLICE(".amazonaws.com")))
		*region = slice_make(url.ptr, dot);
	return 0;
}

void
sqs_receive_body(struct buf *out, struct slice queue_url, long wait_s, long visibility_s)
{
	append_queue(out, queue_url);
	buf_printf(out,
	    ",\"MaxNumberOfMessages\":%d,\"WaitTimeSeconds\":%ld,\"VisibilityTimeout\":%ld,"
	    "\"MessageSystemAttributeNames\":[\"ApproximateReceiveCount\",\"SentTimestamp\"]}",
	    SQS_BATCH_MAX, wait_s, visibility_s);
}

static void
append_entries(struct buf *out, struct slice queue_url, const struct slice *receipts, size_t count,
    long visibility_s)
{
	append_queue(out, queue_url);
	buf_append_str(out, ",\"Entries\":[");
	for (size_t i = 0; i < count; i++) {
		buf_printf(out, "%s{\"Id\":\"%zu\",\"ReceiptHandle\":", i > 0 ? "," : "", i);
		append_string(out, receipts[i]);
		if (visibility_s >= 0)
			buf_printf(out, ",\"VisibilityTimeout\":%ld", visibility_s);
		buf_append_char(out, '}');
	}
	buf_append_str(out, "]}");
}

void
sqs_delete_body(struct buf *out, struct slice queue_url, const struct slice *receipts, size_t count)
{
	append_entries(out, queue_url, receipts, count, -1);
}

void
sqs_visibility_body(struct buf *out, struct slice queue_url, const struct slice *receipts,
    size_t count, long visibility_s)
{
	append_entries(out, queue_url, receipts, count, visibility_s);
}

/* ---- answers ---------------------------------------------------------------------------- */

static json_t *
load(struct slice json, struct err *err)
{
	json_t *root = NULL;
	json_error_t why;

	if (json.len <= SQS_ANSWER_MAX)
		root = json_loadb(json.len > 0 ? json.ptr : "", json.len,
		    JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &why);
	if (json_is_object(root))
		return root;
	json_decref(root);
	(void)err_set(err, "the answer of SQS is no JSON object");
	return NULL;
}

/* Empty when it is absent, no string, or longer than max. */
static struct slice
text_of(const json_t *object, const char *key, struct arena *arena, size_t max)
{
	const json_t *value = json_object_get(object, key);
	struct slice s = slice_make(json_string_value(value), json_string_length(value));

	if (!json_is_string(value) || s.len > max)
		return (struct slice){ NULL, 0 };
	return arena_copy(arena, s);
}

static bool
md5_fits(struct slice body, struct slice hex)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	char text[2 * EVP_MAX_MD_SIZE + 1];

	if (EVP_Digest(
		body.ptr != NULL ? body.ptr : "", body.len, digest, &size, EVP_md5(), NULL) != 1)
		return true; /* MD5 is not to be had here, and proves nothing anyway */
	for (unsigned i = 0; i < size; i++)
		(void)snprintf(text + (size_t)2 * i, 3, "%02x", digest[i]);
	return slice_equal_nocase(hex, slice_make(text, (size_t)2 * size));
}

static int
read_message(const json_t *item, struct arena *arena, struct sqs_message *m, struct err *err)
{
	const json_t *attributes = json_object_get(item, "Attributes");
	const json_t *receives = json_object_get(attributes, "ApproximateReceiveCount");
	const json_t *sent = json_object_get(attributes, "SentTimestamp");
	struct slice md5 = text_of(item, "MD5OfBody", arena, 64);
	unsigned long count = 0;

	*m = (struct sqs_message){ .id = text_of(item, "MessageId", arena, 100),
		.receipt = text_of(item, "ReceiptHandle", arena, SQS_HANDLE_MAX) };
	if (m->id.len == 0 || m->receipt.len == 0 || !json_is_string(json_object_get(item, "Body")))
		return err_set(err, "a message of SQS lacks MessageId, ReceiptHandle or Body");
	m->body = text_of(item, "Body", arena, SQS_BODY_MAX);
	m->is_cut = json_string_length(json_object_get(item, "Body")) > SQS_BODY_MAX;
	if (!m->is_cut && m->body.len != json_string_length(json_object_get(item, "Body")))
		return err_set(err, "no memory for a message of SQS");
	if (json_is_string(receives))
		count = strtoul(json_string_value(receives), NULL, 10);
	if (json_is_string(sent))
		m->sent_us = strtoll(json_string_value(sent), NULL, 10);
	m->sent_us = m->sent_us > 0 && m->sent_us < SENT_MAX_MS ? m->sent_us * 1000 : 0;
	m->receives = count > 1000000 ? 1000000 : (unsigned)count;
	m->is_intact = md5.len == 0 || md5_fits(m->body, md5);
	return 0;
}

int
sqs_received(struct slice json, struct arena *arena, struct sqs_message messages[SQS_BATCH_MAX],
    size_t *count, struct err *err)
{
	json_t *root = load(json, err);
	const json_t *list = json_object_get(root, "Messages");
	int result = 0;

	*count = 0;
	if (root == NULL)
		return -1;
	if (list != NULL && !json_is_null(list) &&
	    (!json_is_array(list) || json_array_size(list) > SQS_BATCH_MAX))
		result = err_set(err, "Messages of SQS is no list of at most %d", SQS_BATCH_MAX);
	for (size_t i = 0; result == 0 && i < json_array_size(list); i++) {
		result = read_message(json_array_get(list, i), arena, &messages[i], err);
		*count += result == 0;
	}
	json_decref(root);
	return result;
}

static void
note_failure(const json_t *item, bool *failed, size_t count, struct err *err)
{
	const char *id = json_string_value(json_object_get(item, "Id"));
	const char *code = json_string_value(json_object_get(item, "Code"));
	char *end = NULL;
	unsigned long i = id != NULL ? strtoul(id, &end, 10) : count;

	if (id == NULL || end == id || *end != '\0' || i >= count)
		return;
	failed[i] = true;
	if (err->msg[0] == '\0') {
		(void)err_set(err, "%.100s", code != NULL && code[0] != '\0' ? code : "no code");
		for (char *c = err->msg; *c != '\0'; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
	}
}

int
sqs_batch_answer(struct slice json, bool *failed, size_t count, struct err *err)
{
	json_t *root = load(json, err);
	const json_t *list = json_object_get(root, "Failed");

	if (root == NULL)
		return -1;
	err->msg[0] = '\0';
	for (size_t i = 0; i < count; i++)
		failed[i] = false;
	for (size_t i = 0; i < json_array_size(list); i++)
		note_failure(json_array_get(list, i), failed, count, err);
	json_decref(root);
	return 0;
}

void
sqs_refusal(int status, struct slice json, struct err *err)
{
	struct err none;
	json_t *root = load(json, &none);
	const char *type = json_string_value(json_object_get(root, "__type"));
	const char *words = json_string_value(json_object_get(root, "message"));
	const char *hash = type != NULL ? strrchr(type, '#') : NULL;

	if (words == NULL)
		words = json_string_value(json_object_get(root, "Message"));
	(void)err_set(err, "SQS answers %d %.100s%s%.200s", status,
	    hash != NULL       ? hash + 1
		: type != NULL ? type
			       : "without a name",
	    words != NULL ? ": " : "", words != NULL ? words : "");
	for (char *c = err->msg; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	json_decref(root);
}
