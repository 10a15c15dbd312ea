/* SPDX-License-Identifier: Apache-2.0 */
/* An answer of the SES API: the first byte picks status and flags, a line the error type, the
 * rest is the body. Nothing that did not leave whole is sent or in doubt; texts are clean. */
#include <stdint.h>
#include <stdlib.h>

#include "ses_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(struct slice s, size_t max)
{
	if (s.len > max)
		abort();
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = { 200, 400, 403, 404, 409, 413, 429, 500, 503, 302, 0 };
	struct ses_answer_input in = { .to = SLICE("to@x.example") };
	struct ses_account account;
	struct ses_answer a;
	const char *end;
	struct err err;

	if (size < 1)
		return 0;
	in.status = statuses[(data[0] & 15) % (sizeof(statuses) / sizeof(statuses[0]))];
	in.whole = (data[0] & 16) == 0;
	in.body_left = (data[0] & 32) == 0;
	in.body = slice_make((const char *)data + 1, size - 1);
	end = in.body.len > 0 ? memchr(in.body.ptr, '\n', in.body.len) : NULL;
	if (end != NULL) {
		in.error_type = slice_make(in.body.ptr, (size_t)(end - in.body.ptr));
		in.body = slice_make(end + 1, in.body.len - in.error_type.len - 1);
	}
	ses_answer_read(&a, &in);
	check(a.outcome.text, OUTCOME_TEXT_MAX);
	check(a.outcome.remote_id, SES_ID_MAX);
	if (a.outcome.reason == NULL || a.outcome.cls == OUTCOME_HARD ||
	    (a.action != SES_SETTLE && a.outcome.kind != OUTCOME_RELEASED) ||
	    (a.action == SES_SETTLE && a.outcome.kind == OUTCOME_RELEASED))
		abort();
	if ((a.outcome.kind == OUTCOME_SENT || a.outcome.kind == OUTCOME_IN_DOUBT) && !in.body_left)
		abort();
	if (a.outcome.kind == OUTCOME_SENT && (!in.whole || in.status != 200))
		abort();
	if (ses_account_parse(&account, in.body, &err) == 0 && account.enforcement[31] != '\0')
		abort();
	return 0;
}
