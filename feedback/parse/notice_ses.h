/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice_ses: a notice of Amazon SES as a notice: bare, in the wrapping of SNS, or as EventBridge
 * sends it. Pure. Signatures are not looked at: nothing may be changed by what comes from here.
 */
#ifndef KAIRAN_NOTICE_SES_H
#define KAIRAN_NOTICE_SES_H

#include <stdbool.h>

#include "arena.h"
#include "err.h"
#include "notice.h"
#include "slice.h"

/* It begins like a JSON object. */
bool notice_ses_is_json(struct slice text);

/* 0, or -1 with err: no JSON, no notice of SES, no memory; then the notice is OTHER. */
int notice_ses_read(
    struct notice *notice, struct slice text, struct arena *arena, struct err *err) MUST_CHECK;

/* Bytes of any kind: JSON of SES, a mail, or the body of one; JSON as the body of a mail too
 * (SNS by e-mail). 0, or -1 without memory; what cannot be read is OTHER. */
int notice_classify(struct notice *notice, struct slice raw, struct arena *arena) MUST_CHECK;

#endif
