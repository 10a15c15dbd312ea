/* SPDX-License-Identifier: Apache-2.0 */
/* notice_ses: see notice_ses.h. Owns nothing. */
#include "notice_ses.h"

#include <string.h>

#include "jsondoc.h"
#include "ses.h"
#include "sns.h"

static enum dsn_action
action_of_event(const struct feedback_event *e)
{
	switch (e->kind) {
	case OUTCOME_BOUNCED:
		return DSN_FAILED;
	case OUTCOME_DELAYED:
		return DSN_DELAYED;
	case OUTCOME_DELIVERED:
		return DSN_DELIVERED;
	case OUTCOME_SENT:
	case OUTCOME_DEFERRED:
	case OUTCOME_FAILED:
	case OUTCOME_IN_DOUBT:
	case OUTCOME_RELEASED:
	case OUTCOME_COMPLAINED:
	case OUTCOME_UNSUBSCRIBED:
	case OUTCOME_OPENED:
	case OUTCOME_CLICKED:
	case OUTCOME_REJECTED:
	case OUTCOME_ACCEPTED:
	case OUTCOME_OTHER:
		break;
	}
	return DSN_ACTION_NONE;
}

static int
from_events(struct notice *notice, const struct feedback_events *events, struct arena *arena)
{
	bool is_complaint = false;

	memset(notice, 0, sizeof(*notice));
	notice->source = "sns";
	notice->reason = "unrecognised";
	for (size_t i = 0; i < events->count; i++) {
		const struct feedback_event *e = &events->items[i];
		enum dsn_action action = action_of_event(e);
		struct notice_recipient *out;

		is_complaint = is_complaint || e->kind == OUTCOME_COMPLAINED ||
		    strcmp(e->reason, "not-spam") == 0 || strcmp(e->reason, "auth-failure") == 0;
		notice->reason = e->reason;
		if (action == DSN_ACTION_NONE && !is_complaint)
			continue;
		out = notice_add(notice, arena);
		if (out == NULL)
			return notice->count == NOTICE_RECIPIENTS_MAX ? 0 : -1;
		out->action = action;
		out->address = e->address;
		memcpy(out->enhanced, e->enhanced, sizeof(out->enhanced));
		out->code = e->code;
		out->cls = e->cls;
		out->reason = e->reason;
		out->text = e->text;
		out->remote = e->remote;
	}
	if (is_complaint) {
		notice->kind = NOTICE_COMPLAINT;
		if (strcmp(notice->reason, "complaint") != 0)
			notice->feedback_type = slice_str(notice->reason);
	} else if (notice->count > 0) {
		notice_settle(notice);
	}
	return 0;
}

bool
notice_ses_is_json(struct slice text)
{
	text = slice_trim(text);
	if (text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0)
		text = slice_trim(slice_make(text.ptr + 3, text.len - 3));
	return text.len > 1 && text.ptr[0] == '{';
}

int
notice_ses_read(struct notice *notice, struct slice text, struct arena *arena, struct err *err)
{
	static const struct token_keys no_keys;
	struct feedback_events events = { NULL, 0, 0 };
	struct ses_input in = { .keys = &no_keys };
	const struct jsondoc *root, *message;
	int result;
	const char *brace = text.len > 0 ? memchr(text.ptr, '{', text.len) : NULL;

	memset(notice, 0, sizeof(*notice));
	notice->source = "sns";
	notice->reason = "unrecognised";
	if (brace == NULL)
		return err_set(err, "not JSON");
	in.json = slice_make(brace, (size_t)(text.ptr + text.len - brace));
	root = jsondoc_parse(in.json, SNS_BODY_MAX, SNS_JSON_DEPTH_MAX, arena, err);
	message = jsondoc_get(root, "Message");
	if (jsondoc_is(message, JSONDOC_STRING))
		in.json = message->text;
	result = root != NULL ? ses_parse(&in, arena, &events, err) : -1;
	if (result < 0)
		return -1;
	return from_events(notice, &events, arena) < 0 ? err_set(err, "no memory") : 0;
}

/* JSON as the body of a mail: ends before the signature, and long lines were folded. */
static struct slice
unfold_json(struct slice text, struct arena *arena)
{
	const char *end = memmem(text.ptr, text.len, "\n\n--", 4);
	char *out;
	size_t n = 0;

	if (end != NULL)
		text.len = (size_t)(end - text.ptr);
	out = arena_alloc(arena, text.len + 1);
	for (size_t i = 0; out != NULL && i < text.len; i++) {
		if (text.ptr[i] != '\n')
			out[n++] = text.ptr[i];
		else if (i + 1 < text.len && text.ptr[i + 1] == ' ')
			i++;
	}
	return slice_make(out, n);
}

int
notice_classify(struct notice *notice, struct slice raw, struct arena *arena)
{
	struct mail mail;
	struct err err;

	if (notice_ses_is_json(raw)) {
		if (notice_ses_read(notice, raw, arena, &err) == 0)
			return 0;
		memset(notice, 0, sizeof(*notice));
		notice->source = "sns";
		notice->reason = "unrecognised";
		return 0;
	}
	if (mail_read(&mail, raw, arena) < 0 || notice_read(notice, &mail, arena) < 0)
		return -1;
	if (notice->kind == NOTICE_OTHER && mail.part_count > 0 &&
	    mail_field(&mail, "In-Reply-To").len == 0) {
		struct slice text = mail_part_text(&mail.parts[0], arena);
		struct notice inner;

		if (notice_ses_is_json(text) &&
		    notice_ses_read(&inner, unfold_json(text, arena), arena, &err) == 0)
			*notice = inner;
	}
	return 0;
}
