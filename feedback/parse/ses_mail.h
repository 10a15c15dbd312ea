/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_mail: the notice that Amazon SES publishes for a mail that it received (SES Developer Guide,
 * "Contents of notifications for Amazon SES email receiving"): the mail itself (action SNS, up to 150 KB,
 * as text or base64), or where it lies (action S3). Pure.
 */
#ifndef KAIRAN_SES_MAIL_H
#define KAIRAN_SES_MAIL_H

#include "arena.h"
#include "err.h"
#include "slice.h"

#define SES_MAIL_RCPTS_MAX 100 /* others are not looked at */

enum ses_mail_kind {
	SES_MAIL_NONE,	 /* a notice of something else, or of an action without the mail */
	SES_MAIL_INLINE, /* content */
	SES_MAIL_S3	 /* bucket and key, which s3.h has checked */
};

struct ses_mail {
	enum ses_mail_kind kind;
	struct slice content; /* decoded; any bytes */
	struct slice bucket, key;
	const struct slice *rcpts; /* of the envelope, as far as the receipt rule names them */
	size_t rcpt_count;
};

/* Could it be such a notice at all? Cheap, so that no other notice is parsed twice. */
bool ses_mail_is_likely(struct slice json);

/*
 * 0, or -1 with err: not JSON, an encoding that is not known, no content, a bucket or key that is none.
 * SES_JSON_MAX and SES_JSON_DEPTH_MAX hold. Slices point into json and the arena.
 */
int ses_mail_parse(
    struct slice json, struct arena *arena, struct ses_mail *mail, struct err *err) MUST_CHECK;

#endif
