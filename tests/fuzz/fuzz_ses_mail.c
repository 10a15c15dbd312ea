/* SPDX-License-Identifier: Apache-2.0 */
/* A notice of a mail that SES received: must end, in bounds, and give only buckets and keys that may be
 * asked for. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "s3.h"
#include "ses.h"
#include "ses_mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_object(const struct ses_mail *mail)
{
	static const struct aws_endpoint api = { .host = "s3.eu-west-1.amazonaws.com",
		.origin = "https://s3.eu-west-1.amazonaws.com" };
	struct aws_endpoint e;
	struct err err;
	struct buf path;

	if (!s3_bucket_check(mail->bucket) || !s3_key_check(mail->key))
		abort();
	buf_init(&path, 4 * S3_KEY_MAX);
	if (s3_place(&api, mail->bucket, mail->key, &e, &path, &err) < 0)
		abort();
	if (strpbrk(buf_str(&path), " ?#\r\n") != NULL || strstr(buf_str(&path), "/../") != NULL)
		abort();
	buf_release(&path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice json = { (const char *)data, size };
	struct ses_mail mail;
	struct arena arena;
	struct err err;

	arena_init(&arena, SES_ARENA_MAX);
	(void)ses_mail_is_likely(json);
	if (ses_mail_parse(json, &arena, &mail, &err) == 0) {
		if (mail.rcpt_count > SES_MAIL_RCPTS_MAX)
			abort();
		for (size_t i = 0; i < mail.rcpt_count; i++)
			if (mail.rcpts[i].len == 0 ||
			    memchr(mail.rcpts[i].ptr, '\0', mail.rcpts[i].len) != NULL)
				abort();
		if (mail.kind == SES_MAIL_INLINE && mail.content.len > size)
			abort();
		if (mail.kind == SES_MAIL_S3)
			check_object(&mail);
	}
	arena_release(&arena);
	return 0;
}
