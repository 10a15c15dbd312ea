/* SPDX-License-Identifier: Apache-2.0 */
/* ses_mail: see ses_mail.h. */
#include "ses_mail.h"

#include <string.h>

#include "jsondoc.h"
#include "mail_text.h"
#include "s3.h"
#include "ses.h"

bool
ses_mail_is_likely(struct slice json)
{
	static const char word[] = "\"Received\"";

	return json.len > 0 && memmem(json.ptr, json.len, word, sizeof(word) - 1) != NULL;
}

static struct slice
text_of(const struct jsondoc *object, const char *key)
{
	const struct jsondoc *value = jsondoc_get(object, key);

	return jsondoc_is(value, JSONDOC_STRING) ? value->text : slice_make(NULL, 0);
}

/* Strings without a NUL; others are passed over. */
static int
read_rcpts(const struct jsondoc *list, struct arena *arena, struct ses_mail *mail, struct err *err)
{
	size_t count = jsondoc_count(list);
	struct slice *rcpts;

	count = count < SES_MAIL_RCPTS_MAX ? count : SES_MAIL_RCPTS_MAX;
	if (count == 0)
		return 0;
	rcpts = arena_alloc(arena, count * sizeof(*rcpts));
	if (rcpts == NULL)
		return err_set(err, "no memory");
	for (const struct jsondoc *item = list->first; item != NULL && mail->rcpt_count < count;
	     item = item->next)
		if (jsondoc_is(item, JSONDOC_STRING) && item->text.len > 0 &&
		    memchr(item->text.ptr, '\0', item->text.len) == NULL)
			rcpts[mail->rcpt_count++] = item->text;
	mail->rcpts = rcpts;
	return 0;
}

/* "UTF-8" and "Base64" in the rule, "UTF8" and "BASE64" in notices; none means UTF-8. */
static int
read_content(const struct jsondoc *root, struct slice encoding, struct arena *arena,
    struct ses_mail *mail, struct err *err)
{
	const struct jsondoc *content = jsondoc_get(root, "content");

	if (!jsondoc_is(content, JSONDOC_STRING) || content->text.len == 0)
		return err_set(err, "content is missing");
	mail->kind = SES_MAIL_INLINE;
	mail->content = content->text;
	if (slice_equal_nocase(encoding, SLICE("base64"))) {
		mail->content = mail_text_decode(arena, content->text, SLICE("base64"));
		if (mail->content.ptr == content->text.ptr)
			return err_set(err, "content is not base64");
		return 0;
	}
	if (encoding.len == 0 || slice_equal_nocase(encoding, SLICE("utf-8")) ||
	    slice_equal_nocase(encoding, SLICE("utf8")))
		return 0;
	return err_set(err, "receipt.action.encoding is not known");
}

int
ses_mail_parse(struct slice json, struct arena *arena, struct ses_mail *mail, struct err *err)
{
	const struct jsondoc *root, *receipt, *action;

	*mail = (struct ses_mail){ .kind = SES_MAIL_NONE };
	root = jsondoc_parse(json, SES_JSON_MAX, SES_JSON_DEPTH_MAX, arena, err);
	if (root == NULL)
		return -1;
	if (!slice_equal_nocase(text_of(root, "notificationType"), SLICE("Received")))
		return 0;
	receipt = jsondoc_get(root, "receipt");
	action = jsondoc_get(receipt, "action");
	if (read_rcpts(jsondoc_get(receipt, "recipients"), arena, mail, err) < 0)
		return -1;
	if (slice_equal_nocase(text_of(action, "type"), SLICE("SNS")))
		return read_content(root, text_of(action, "encoding"), arena, mail, err);
	if (!slice_equal_nocase(text_of(action, "type"), SLICE("S3")))
		return 0;
	mail->kind = SES_MAIL_S3;
	mail->bucket = text_of(action, "bucketName");
	mail->key = text_of(action, "objectKey");
	if (!s3_bucket_check(mail->bucket))
		return err_set(err, "receipt.action.bucketName is no bucket");
	if (!s3_key_check(mail->key))
		return err_set(err, "receipt.action.objectKey is no key that is taken");
	return 0;
}
