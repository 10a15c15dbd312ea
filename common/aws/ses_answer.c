/* SPDX-License-Identifier: Apache-2.0 */
/* ses_answer: see ses_answer.h. One table of error names. */
#include "ses_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "jsondoc.h"

#define DEPTH_MAX 8
#define TREE_MAX ((size_t)4 << 20) /* of an answer of SES_ANSWER_MAX */

struct rule {
	const char *name; /* without "Exception" at its end */
	enum ses_action action;
	enum outcome_kind kind; /* of SES_SETTLE */
	enum outcome_class cls;
	enum outcome_scope scope;
	const char *reason;
};

#define SETTLE(name, kind, cls, scope, reason)                                                     \
	{                                                                                          \
		name, SES_SETTLE, OUTCOME_##kind, OUTCOME_##cls, OUTCOME_SCOPE_##scope, reason     \
	}
#define ROUTE(name, action, cls, reason)                                                           \
	{                                                                                          \
		name, SES_##action, OUTCOME_RELEASED, OUTCOME_##cls, OUTCOME_SCOPE_ROUTE, reason   \
	}

/* SES API v2 service model and the errors common to all services. */
static const struct rule rules[] = {
	ROUTE("TooManyRequests", SLOW, BLOCK, "rate"),
	ROUTE("Throttling", SLOW, BLOCK, "rate"),
	ROUTE("ThrottledRequest", SLOW, BLOCK, "rate"),
	ROUTE("RequestThrottled", SLOW, BLOCK, "rate"),
	ROUTE("ServiceUnavailable", SLOW, SOFT, "system"),
	ROUTE("LimitExceeded", QUOTA, BLOCK, "rate"),
	ROUTE("AccountSuspended", HOLD, CONFIG, "config"),
	ROUTE("SendingPaused", HOLD, CONFIG, "config"),
	ROUTE("AccountSendingPaused", HOLD, CONFIG, "config"),
	ROUTE("ConfigurationSetSendingPaused", HOLD, CONFIG, "config"),
	ROUTE("MailFromDomainNotVerified", HOLD, CONFIG, "config"),
	ROUTE("NotFound", HOLD, CONFIG, "config"),
	ROUTE("ConfigurationSetDoesNotExist", HOLD, CONFIG, "config"),
	ROUTE("AccessDenied", HOLD, CONFIG, "auth"),
	ROUTE("OptInRequired", HOLD, CONFIG, "auth"),
	ROUTE("NotAuthorized", HOLD, CONFIG, "auth"),
	ROUTE("IncompleteSignature", HOLD, CONFIG, "auth"),
	ROUTE("MissingAuthenticationToken", HOLD, CONFIG, "auth"),
	ROUTE("ExpiredToken", REFRESH, CONFIG, "auth"),
	ROUTE("UnrecognizedClient", REFRESH, CONFIG, "auth"),
	ROUTE("InvalidClientTokenId", REFRESH, CONFIG, "auth"),
	ROUTE("InvalidSignature", CLOCK, CONFIG, "auth"),
	ROUTE("SignatureDoesNotMatch", CLOCK, CONFIG, "auth"),
	ROUTE("RequestExpired", CLOCK, CONFIG, "auth"),
	ROUTE("RequestTimeTooSkewed", CLOCK, CONFIG, "auth"),
	SETTLE("MessageRejected", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("BadRequest", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("Validation", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("ValidationError", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("InvalidParameterValue", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("Serialization", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("RequestEntityTooLarge", FAILED, MESSAGE, RECIPIENT, "too_large"),
	SETTLE("Conflict", DEFERRED, SOFT, RECIPIENT, "system"),
	SETTLE("ConcurrentModification", DEFERRED, SOFT, RECIPIENT, "system"),
	SETTLE("AlreadyExists", DEFERRED, SOFT, RECIPIENT, "system"),
	/* said after the work may have been done */
	SETTLE("InternalServiceError", IN_DOUBT, SOFT, RECIPIENT, "system"),
	SETTLE("InternalServerError", IN_DOUBT, SOFT, RECIPIENT, "system"),
	SETTLE("InternalFailure", IN_DOUBT, SOFT, RECIPIENT, "system"),
};

static const struct rule bulk_rules[] = {
	SETTLE("MESSAGE_REJECTED", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("INVALID_PARAMETER", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("INVALID_PARAMETER_VALUE", FAILED, MESSAGE, RECIPIENT, "content"),
	SETTLE("FAILED", FAILED, MESSAGE, RECIPIENT, "undefined"),
	SETTLE("TRANSIENT_FAILURE", DEFERRED, SOFT, RECIPIENT, "system"),
	ROUTE("MAIL_FROM_DOMAIN_NOT_VERIFIED", HOLD, CONFIG, "config"),
	ROUTE("CONFIGURATION_SET_NOT_FOUND", HOLD, CONFIG, "config"),
	ROUTE("CONFIGURATION_SET_DOES_NOT_EXIST", HOLD, CONFIG, "config"),
	ROUTE("TEMPLATE_NOT_FOUND", HOLD, CONFIG, "config"),
	ROUTE("TEMPLATE_DOES_NOT_EXIST", HOLD, CONFIG, "config"),
	ROUTE("ACCOUNT_SUSPENDED", HOLD, CONFIG, "config"),
	ROUTE("ACCOUNT_THROTTLED", SLOW, BLOCK, "rate"),
	ROUTE("ACCOUNT_DAILY_QUOTA_EXCEEDED", QUOTA, BLOCK, "rate"),
	ROUTE("INVALID_SENDING_POOL_NAME", HOLD, CONFIG, "config"),
	ROUTE("ACCOUNT_SENDING_PAUSED", HOLD, CONFIG, "config"),
	ROUTE("CONFIGURATION_SET_SENDING_PAUSED", HOLD, CONFIG, "config"),
};

/* Printable ASCII as it is, control bytes as blanks, at most max bytes; returns the length. */
static size_t
clean(char *dst, size_t max, struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len && n < max; i++)
		dst[n++] = (unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f ? ' ' : s.ptr[i];
	/* no half character at the end */
	if (n == max)
		while (n > 0 && ((unsigned char)dst[n - 1] & 0x80) != 0)
			n--;
	dst[n] = '\0';
	return n;
}

/* "com.amazonaws.sesv2#Name:http://…" -> "Name" */
static struct slice
bare_name(struct slice s)
{
	const char *mark = s.len > 0 ? memchr(s.ptr, '#', s.len) : NULL;

	if (mark != NULL) {
		s.len -= (size_t)(mark + 1 - s.ptr);
		s.ptr = mark + 1;
	}
	mark = s.len > 0 ? memchr(s.ptr, ':', s.len) : NULL;
	if (mark != NULL)
		s.len = (size_t)(mark - s.ptr);
	return slice_trim(s);
}

static struct slice
text_of(const struct jsondoc *object, const char *name)
{
	const struct jsondoc *value = jsondoc_get(object, name);

	return jsondoc_is(value, JSONDOC_STRING) ? value->text : slice_make(NULL, 0);
}

static const struct rule *
find(const struct rule *list, size_t count, struct slice name, bool with_suffix)
{
	static const struct slice suffix = { "Exception", 9 };

	if (with_suffix && name.len > suffix.len &&
	    memcmp(name.ptr + name.len - suffix.len, suffix.ptr, suffix.len) == 0)
		name.len -= suffix.len;
	for (size_t i = 0; i < count; i++)
		if (slice_equal(name, slice_str(list[i].name)))
			return &list[i];
	return NULL;
}

/* What a status without a known name says: a refusal is a refusal, whoever said it. */
static const struct rule *
by_status(int status)
{
	static const struct rule redirected = ROUTE("", HOLD, CONFIG, "config");
	static const struct rule denied = ROUTE("", HOLD, CONFIG, "auth");
	static const struct rule slow = ROUTE("", SLOW, BLOCK, "rate");
	static const struct rule too_large = SETTLE("", FAILED, MESSAGE, RECIPIENT, "too_large");
	static const struct rule refused = SETTLE("", DEFERRED, SOFT, RECIPIENT, "system");
	static const struct rule unknown = SETTLE("", IN_DOUBT, SOFT, RECIPIENT, "system");

	if (status == 429)
		return &slow;
	if (status == 413)
		return &too_large;
	if (status == 401 || status == 403 || status == 404 || status == 407)
		return &denied;
	if (status >= 300 && status < 400)
		return &redirected;
	return status >= 400 && status < 500 ? &refused : &unknown;
}

/* "Email address is not verified. The following identities failed the check in region X: a, b".
 * In a sandbox it may be the recipient alone; else it is the sender's, and everyone's. */
static bool
names_recipient_only(struct slice text, struct slice to)
{
	const char *at = text.len > 0 ? memrchr(text.ptr, ':', text.len) : NULL;
	struct slice list;

	if (at == NULL || to.len == 0)
		return false;
	list = slice_trim(slice_make(at + 1, text.len - (size_t)(at + 1 - text.ptr)));
	return slice_equal_nocase(list, to);
}

static bool
has(struct slice text, const char *words)
{
	size_t n = strlen(words);

	for (size_t i = 0; i + n <= text.len; i++)
		if (slice_equal_nocase(slice_make(text.ptr + i, n), slice_make(words, n)))
			return true;
	return false;
}

/* Where the text says more than the name. */
static const struct rule *
refine(const struct rule *rule, struct slice text, struct slice to)
{
	static const struct rule quota = ROUTE("", QUOTA, BLOCK, "rate");
	static const struct rule slow = ROUTE("", SLOW, BLOCK, "rate");
	static const struct rule sender = ROUTE("", HOLD, CONFIG, "config");
	static const struct rule paused = ROUTE("", HOLD, CONFIG, "config");
	static const struct rule sandbox = SETTLE("", FAILED, CONFIG, RECIPIENT, "config");
	static const struct rule address = SETTLE("", FAILED, MESSAGE, RECIPIENT, "bad_address");

	if (has(text, "daily message quota exceeded"))
		return &quota;
	if (has(text, "maximum sending rate exceeded"))
		return &slow;
	if (rule->action != SES_SETTLE || rule->kind != OUTCOME_FAILED)
		return rule;
	if (has(text, "is not verified"))
		return names_recipient_only(text, to) ? &sandbox : &sender;
	if (has(text, "account is paused") || has(text, "sending paused") ||
	    has(text, "configuration set does not exist"))
		return &paused;
	if (has(text, "characters in the email address") || has(text, "illegal address") ||
	    has(text, "missing final '@domain'") || has(text, "domain contains"))
		return &address;
	return rule;
}

static void
apply(struct ses_answer *a, const struct rule *rule)
{
	a->action = rule->action;
	a->outcome.kind = rule->kind;
	a->outcome.cls = rule->cls;
	a->outcome.scope = rule->scope;
	a->outcome.reason = rule->reason;
}

static void
accept(struct ses_answer *a, struct slice id)
{
	a->action = SES_SETTLE;
	a->outcome.kind = OUTCOME_SENT;
	a->outcome.cls = OUTCOME_CLASS_NONE;
	a->outcome.scope = OUTCOME_SCOPE_RECIPIENT;
	a->outcome.reason = "undefined";
	a->outcome.remote_id = slice_make(a->id, clean(a->id, SES_ID_MAX, id));
}

/* "Name: message"; the page of somebody in between is not quoted, its status says enough. */
static void
write_text(struct ses_answer *a, int status, struct slice message)
{
	char message_text[OUTCOME_TEXT_MAX - SES_NAME_MAX - 2];

	(void)clean(message_text, sizeof(message_text) - 1, message);
	if (a->name[0] == '\0')
		(void)snprintf(a->text, sizeof(a->text), "HTTP status %d without an error name%s%s",
		    status, message_text[0] != '\0' ? ": " : "", message_text);
	else
		(void)snprintf(a->text, sizeof(a->text), "%s%s%s", a->name,
		    message_text[0] != '\0' ? ": " : "", message_text);
	a->outcome.text = slice_str(a->text);
}

static void
read_failure(struct ses_answer *a, const struct ses_answer_input *in, const struct jsondoc *body)
{
	struct slice name = bare_name(in->error_type), message = text_of(body, "message");
	const struct rule *rule;

	if (name.len == 0)
		name = bare_name(text_of(body, "__type"));
	if (name.len == 0)
		name = bare_name(text_of(body, "code"));
	if (message.len == 0)
		message = text_of(body, "Message");
	(void)clean(a->name, SES_NAME_MAX, name);
	rule = find(rules, sizeof(rules) / sizeof(rules[0]), name, true);
	apply(a, refine(rule != NULL ? rule : by_status(in->status), message, in->to));
	write_text(a, in->status, message);
}

void
ses_answer_read(struct ses_answer *a, const struct ses_answer_input *in)
{
	size_t len = in->body.len < SES_ANSWER_MAX ? in->body.len : SES_ANSWER_MAX;
	const struct jsondoc *body;
	struct arena arena;
	struct slice id;

	arena_init(&arena, TREE_MAX);
	body = jsondoc_parse(slice_make(in->body.ptr, len), len, DEPTH_MAX, &arena, NULL);
	id = text_of(body, "MessageId");
	memset(a, 0, sizeof(*a));
	a->outcome.phase = in->body_left ? OUTCOME_PHASE_DOT : OUTCOME_PHASE_BODY;
	a->outcome.code = in->status >= 100 && in->status < 600 ? in->status : 0;
	if (in->status / 100 != 2) {
		read_failure(a, in, body);
	} else if (in->whole && id.len > 0 && in->body_left) {
		accept(a, id);
	} else {
		apply(a, by_status(500));
		(void)snprintf(
		    a->text, sizeof(a->text), "HTTP status %d without a message id", in->status);
		a->outcome.text = slice_str(a->text);
	}
	/* what never left whole cannot have been taken */
	if (a->outcome.kind == OUTCOME_IN_DOUBT && !in->body_left) {
		a->action = SES_HOLD;
		a->outcome.kind = OUTCOME_RELEASED;
		a->outcome.scope = OUTCOME_SCOPE_ROUTE;
	}
	arena_release(&arena);
}

bool
ses_bulk_answer_parse(struct ses_bulk_answer *list, struct slice body, struct arena *arena)
{
	const struct jsondoc *results = jsondoc_get(
	    jsondoc_parse(body, SES_ANSWER_MAX, DEPTH_MAX, arena, NULL), "BulkEmailEntryResults");

	*list = (struct ses_bulk_answer){ 0 };
	if (!jsondoc_is(results, JSONDOC_ARRAY))
		return false;
	list->count = jsondoc_count(results);
	list->entry = arena_array(arena, list->count + 1, sizeof(*list->entry));
	if (list->entry == NULL)
		return false;
	for (size_t i = 0; i < list->count; i++) {
		const struct jsondoc *item = jsondoc_at(results, i);

		list->entry[i] = (struct ses_bulk_result){ text_of(item, "Status"),
			text_of(item, "Error"), text_of(item, "MessageId") };
	}
	return true;
}

void
ses_answer_bulk_entry(struct ses_answer *a, const struct ses_bulk_result *entry, struct slice to)
{
	const struct rule *rule =
	    find(bulk_rules, sizeof(bulk_rules) / sizeof(bulk_rules[0]), entry->status, false);

	memset(a, 0, sizeof(*a));
	a->outcome.phase = OUTCOME_PHASE_DOT;
	(void)clean(a->name, SES_NAME_MAX, entry->status);
	if (slice_equal(entry->status, SLICE("SUCCESS")) && entry->id.len > 0) {
		accept(a, entry->id);
		return;
	}
	apply(a, refine(rule != NULL ? rule : by_status(500), entry->error, to));
	write_text(a, 200, entry->error);
}

/* ---- GetAccount ---- */

static bool
lists(const struct jsondoc *array, struct slice word)
{
	for (size_t i = 0; i < jsondoc_count(array); i++) {
		const struct jsondoc *item = jsondoc_at(array, i);

		if (jsondoc_is(item, JSONDOC_STRING) && slice_equal(item->text, word))
			return true;
	}
	return false;
}

/* False when it is no number; as the service writes them. */
static bool
number_of(const struct jsondoc *object, const char *name, double *number)
{
	const struct jsondoc *value = jsondoc_get(object, name);
	char text[64];

	if (!jsondoc_is(value, JSONDOC_NUMBER) || value->text.len >= sizeof(text))
		return false;
	(void)snprintf(text, sizeof(text), "%.*s", SLICE_ARG(value->text));
	*number = strtod(text, NULL);
	return true;
}

int
ses_account_parse(struct ses_account *account, struct slice json, struct err *err)
{
	const struct jsondoc *body, *quota, *reasons;
	struct arena arena;
	int result = 0;

	*account = (struct ses_account){ 0 };
	arena_init(&arena, TREE_MAX);
	body = jsondoc_parse(json, SES_ANSWER_MAX, DEPTH_MAX, &arena, NULL);
	quota = jsondoc_get(body, "SendQuota");
	if (!number_of(quota, "Max24HourSend", &account->max_24h) ||
	    !number_of(quota, "MaxSendRate", &account->max_rate)) {
		result = err_set(err, "the answer is no GetAccount answer of SES");
		goto out;
	}
	(void)number_of(quota, "SentLast24Hours", &account->sent_24h);
	account->sending = !jsondoc_is(jsondoc_get(body, "SendingEnabled"), JSONDOC_FALSE);
	account->production =
	    jsondoc_is(jsondoc_get(body, "ProductionAccessEnabled"), JSONDOC_TRUE);
	(void)clean(account->enforcement, sizeof(account->enforcement) - 1,
	    text_of(body, "EnforcementStatus"));
	reasons = jsondoc_get(jsondoc_get(body, "SuppressionAttributes"), "SuppressedReasons");
	account->suppress_bounces = lists(reasons, SLICE("BOUNCE"));
	account->suppress_complaints = lists(reasons, SLICE("COMPLAINT"));
out:
	arena_release(&arena);
	return result;
}
