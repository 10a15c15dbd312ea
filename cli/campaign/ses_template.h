/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_template: the file of an e-mail template as Amazon SES takes and gives it, in each of its
 * forms:
 *
 *   {"TemplateName": "..", "SubjectPart": "..", "HtmlPart": "..", "TextPart": ".."}
 *   {"Template": {..the same..}}                                  aws ses create-, get-template
 *   {"TemplateName": "..", "TemplateContent": {"Subject": "..", "Html": "..", "Text": ".."}}
 *                                           aws sesv2 create-email-template, get-email-template
 *
 * Other members (tags, times, ARNs) are passed over. Pure.
 */
#ifndef KAIRAN_SES_TEMPLATE_H
#define KAIRAN_SES_TEMPLATE_H

#include "arena.h"
#include "err.h"
#include "slice.h"

/* Owned by the arena; NUL-terminated; empty when absent. */
struct ses_template {
	struct slice subject;
	struct slice html;
	struct slice text;
};

/* 0, or -1 with err (offset = line, 0 when it is about the whole). */
int ses_template_parse(
    struct ses_template *t, struct slice file, struct arena *arena, struct err *err) MUST_CHECK;

#endif
