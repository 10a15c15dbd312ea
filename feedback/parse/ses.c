/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses: reads one notice of Amazon SES. Owns nothing beyond the call. Promises that every
 * recipient in the notice gives one event, that only a verified token links, and that what is
 * unknown changes nothing. Refuses notices without their required parts.
 */
#include "ses.h"

#include <string.h>

#include "dsn.h"
#include "jsondoc.h"

#define TYPE_MAX 64

struct notice {
	const struct ses_input *in;
	struct arena *arena;
	struct feedback_events *events;
	struct err *err;
	const struct jsondoc *mail; /* may be NULL for unknown types */
	const struct jsondoc *part; /* bounce, complaint, …; may be NULL */
	struct slice type;	    /* as in the notice */
	struct slice message_id;
	struct slice timestamp; /* of the part, else of the mail */
	bool linked;
	struct token token;
	bool has_nul; /* a field that is used holds one */
};

/* The string, or empty when it is absent or of another type. */
static struct slice
text_of(struct notice *n, const struct jsondoc *item)
{
	struct slice s = { NULL, 0 };

	if (jsondoc_is(item, JSONDOC_STRING)) {
		s = item->text;
		if (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL)
			n->has_nul = true;
	}
	return s;
}

static struct slice
get(struct notice *n, const struct jsondoc *object, const char *key)
{
	return text_of(n, jsondoc_get(object, key));
}

/* Equal without case, blanks and underscores: RENDERING_FAILURE is "Rendering Failure". */
static bool
is_word(struct slice a, const char *word)
{
	size_t i = 0, j = 0, len = strlen(word);

	for (;;) {
		while (i < a.len && (a.ptr[i] == ' ' || a.ptr[i] == '_'))
			i++;
		while (j < len && (word[j] == ' ' || word[j] == '_'))
			j++;
		if (i == a.len || j == len)
			return i == a.len && j == len;
		if (!slice_equal_nocase(slice_make(a.ptr + i, 1), slice_make(word + j, 1)))
			return false;
		i++;
		j++;
	}
}

/* "Name <a@b>" -> "a@b". */
static struct slice
bare_address(struct slice s)
{
	const char *open = s.len > 0 ? memrchr(s.ptr, '<', s.len) : NULL, *close;

	s = slice_trim(s);
	if (open == NULL)
		return s;
	close = memchr(open, '>', (size_t)(s.ptr + s.len - open));
	if (close == NULL)
		return s;
	return slice_trim(slice_make(open + 1, (size_t)(close - open - 1)));
}

static struct slice
lower(struct arena *arena, struct slice s)
{
	char *out = arena_alloc(arena, s.len + 1);

	if (out == NULL)
		return s;
	for (size_t i = 0; i < s.len; i++)
		out[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + 32) : s.ptr[i];
	return slice_make(out, s.len);
}

static bool
link_by(struct notice *n, struct slice value)
{
	const struct token_keys *keys = n->in->keys;

	value = slice_trim(value);
	return token_verify(keys, TOKEN_BOUNCE, value, &n->token) ||
	    feedback_verp_verify(
		keys, TOKEN_BOUNCE, bare_address(value), n->in->bounce_domain, &n->token);
}

static bool
link_notice(struct notice *n)
{
	const struct jsondoc *tags = jsondoc_get(n->mail, "tags"), *header;
	const struct jsondoc *common = jsondoc_get(n->mail, "commonHeaders");
	size_t tried = 0;

	if (link_by(n, text_of(n, jsondoc_at(jsondoc_get(tags, "kairan"), 0))))
		return true;
	header = jsondoc_at(jsondoc_get(n->mail, "headers"), 0);
	for (; header != NULL && tried < 10; header = header->next) {
		if (slice_equal_nocase(get(n, header, "name"), SLICE("X-Kairan-Id")) &&
		    tried++ < 10 && link_by(n, get(n, header, "value")))
			return true;
	}
	return link_by(n, get(n, n->mail, "source")) || link_by(n, get(n, common, "returnPath"));
}

/* A new event with what all events of the notice share. */
static struct feedback_event *
add(struct notice *n, struct slice address)
{
	struct feedback_event *event = feedback_event_add(n->events, n->arena);

	if (event == NULL)
		return NULL;
	event->source = "sns";
	event->linked = n->linked;
	if (n->linked)
		event->token = n->token;
	event->address = feedback_text(n->arena, bare_address(address), FEEDBACK_ADDRESS_MAX);
	event->message_id = feedback_text(n->arena, n->message_id, 128);
	event->occurred_at_us = feedback_time_parse(n->timestamp);
	return event;
}

/* Key and evidence. unique: feedbackId, or empty for message id, type and timestamp. */
static int
finish(struct notice *n, struct feedback_event *event, struct slice unique,
    const struct feedback_pair *extra, size_t extra_count)
{
	struct slice who = lower(n->arena, event->address);
	struct slice type = lower(n->arena, n->type);
	struct slice by_id[] = { SLICE("ses"), type, unique, who };
	struct slice by_time[] = { SLICE("ses"), type, n->message_id, who, n->timestamp };
	struct feedback_pair pairs[8] = { { "type", n->type }, { "message_id", n->message_id },
		{ "timestamp", n->timestamp } };
	size_t count = 3;

	for (size_t i = 0; i < extra_count && count < 8; i++)
		pairs[count++] = extra[i];
	event->key = unique.len > 0 ? feedback_key_of(n->arena, by_id, 4, 3)
				    : feedback_key_of(n->arena, by_time, 5, 3);
	event->detail = feedback_detail(n->arena, pairs, count);
	return event->key.len > 0 && event->detail.len > 0 ? 0 : -1;
}

/* What SES says about a bounce, before the recipient's own status is looked at. */
static const struct verdict {
	const char *type, *subtype;
	enum outcome_kind kind;
	enum outcome_class cls;
	const char *reason;
	bool is_open; /* a status or diagnostic may say better */
} verdicts[] = {
	{ "Permanent", "NoEmail", OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", false },
	{ "Permanent", "Suppressed", OUTCOME_BOUNCED, OUTCOME_HARD, "on_global_suppression_list",
	    false },
	{ "Permanent", "OnAccountSuppressionList", OUTCOME_BOUNCED, OUTCOME_HARD,
	    "on_account_suppression_list", false },
	{ "Permanent", "OnTenantSuppressionList", OUTCOME_BOUNCED, OUTCOME_HARD,
	    "on_tenant_suppression_list", false },
	{ "Permanent", "EmailValidationSuppressed", OUTCOME_BOUNCED, OUTCOME_HARD,
	    "validation_suppressed", false },
	{ "Permanent", "UnsubscribedRecipient", OUTCOME_UNSUBSCRIBED, OUTCOME_CLASS_NONE,
	    "contact_list", false },
	{ "Permanent", NULL, OUTCOME_BOUNCED, OUTCOME_HARD, "undefined", true },
	{ "Transient", "MailboxFull", OUTCOME_BOUNCED, OUTCOME_SOFT, "mailbox_full", false },
	{ "Transient", "MessageTooLarge", OUTCOME_BOUNCED, OUTCOME_MESSAGE, "too_large", false },
	{ "Transient", "ContentRejected", OUTCOME_BOUNCED, OUTCOME_MESSAGE, "content", false },
	{ "Transient", "AttachmentRejected", OUTCOME_BOUNCED, OUTCOME_MESSAGE, "content", false },
	{ "Transient", "CustomTimeoutExceeded", OUTCOME_BOUNCED, OUTCOME_SOFT, "expired", false },
	{ "Transient", NULL, OUTCOME_BOUNCED, OUTCOME_SOFT, "undefined", true },
	{ "Undetermined", NULL, OUTCOME_BOUNCED, OUTCOME_SOFT, "undefined", true },
	{ NULL, NULL, OUTCOME_BOUNCED, OUTCOME_SOFT, "undefined", true },
};

static const struct verdict *
find_verdict(struct slice type, struct slice subtype)
{
	const struct verdict *v = verdicts;

	while ((v->type != NULL && !is_word(type, v->type)) ||
	    (v->subtype != NULL && !is_word(subtype, v->subtype)))
		v++;
	return v;
}

/*
 * Joins SES's verdict with the recipient's action and status, which may only make it milder, or
 * name the fault: a record may mix failed and delayed recipients. A transient or undetermined
 * bounce becomes hard for an undetermined 5.1.x alone.
 */
static void
judge_bounce(struct feedback_event *event, const struct verdict *v, bool undetermined)
{
	bool has_code = event->code != 0 || event->enhanced[0] != 0;
	enum outcome_class said = event->cls;

	if (event->kind != OUTCOME_BOUNCED)
		return; /* dsn_judge has decided */
	if (v->is_open && has_code && strcmp(event->reason, "undefined") != 0) {
		bool is_hard_allowed = v->cls == OUTCOME_HARD ||
		    (undetermined && event->enhanced[0] == 5 && event->enhanced[1] == 1);
		event->cls = said == OUTCOME_HARD && !is_hard_allowed ? v->cls : said;
	} else {
		event->cls = v->cls;
		event->reason = v->reason;
	}
	event->kind = v->kind;
	/* a code of class 4 is never hard, whatever the record says */
	if (event->cls == OUTCOME_HARD && v->is_open && event->enhanced[0] == 4)
		event->cls = OUTCOME_SOFT;
}

static int
read_bounced(
    struct notice *n, const struct jsondoc *item, const struct verdict *v, bool undetermined)
{
	static const struct dsn no_report;
	struct slice subtype = get(n, n->part, "bounceSubType");
	struct slice action = get(n, item, "action");
	struct slice remote = get(n, n->part, "remoteMtaIp");
	struct dsn_recipient r;
	struct feedback_event *event;
	struct slice address =
	    jsondoc_is(item, JSONDOC_STRING) ? text_of(n, item) : get(n, item, "emailAddress");
	const struct feedback_pair extra[] = {
		{ "bounce_type", get(n, n->part, "bounceType") },
		{ "bounce_subtype", subtype },
		{ "action", action },
		{ "status", get(n, item, "status") },
		{ "feedback_id", get(n, n->part, "feedbackId") },
	};

	dsn_recipient_read(&r, action, get(n, item, "status"), get(n, item, "diagnosticCode"));
	if (r.action == DSN_ACTION_NONE)
		r.action = DSN_FAILED;
	event = add(n, address);
	if (event == NULL)
		return -1;
	{
		struct slice kept = event->address;
		int64_t at = event->occurred_at_us;
		dsn_judge(&no_report, &r, n->arena, event);
		event->address = kept;
		event->occurred_at_us = at;
	}
	if (remote.len == 0)
		remote = get(n, n->part, "reportingMTA");
	event->remote = feedback_text(n->arena, remote, 255);
	judge_bounce(event, v, undetermined);
	return finish(n, event, get(n, n->part, "feedbackId"), extra, 5);
}

/* Calls for each recipient of a list (or for a single object), else for each destination. */
static int
each_recipient(struct notice *n, const char *list, size_t max,
    int (*read)(struct notice *, const struct jsondoc *, const void *), const void *context)
{
	const struct jsondoc *items = list != NULL ? jsondoc_get(n->part, list) : NULL;
	size_t count;

	if (jsondoc_is(items, JSONDOC_OBJECT))
		return read(n, items, context);
	if (jsondoc_count(items) == 0)
		items = jsondoc_get(n->mail, "destination");
	count = jsondoc_count(items);
	if (count == 0)
		return read(n, NULL, context);
	for (size_t i = 0; i < count && i < max && n->events->count < FEEDBACK_EVENTS_MAX; i++)
		if (read(n, jsondoc_at(items, i), context) < 0)
			return -1;
	return 0;
}

static int
read_one_bounced(struct notice *n, const struct jsondoc *item, const void *context)
{
	struct slice type = get(n, n->part, "bounceType");

	(void)context;
	return read_bounced(n, item, find_verdict(type, get(n, n->part, "bounceSubType")),
	    !is_word(type, "Permanent") && !is_word(type, "Transient"));
}

static int
read_bounce(struct notice *n)
{
	return each_recipient(n, "bouncedRecipients", FEEDBACK_EVENTS_MAX, read_one_bounced, NULL);
}

/* Not a new complaint: SES knew the address as a complainer and did not send. */
static const struct {
	const char *subtype, *reason;
} complaint_subtypes[] = {
	{ "OnAccountSuppressionList", "on_account_suppression_list" },
	{ "OnTenantSuppressionList", "on_tenant_suppression_list" },
	{ NULL, "not_sent" },
};

static const char *const complaint_types[] = { "abuse", "fraud", "virus", "other", "not-spam",
	"auth-failure", NULL };

static void
judge_complaint(struct feedback_event *event, struct slice subtype, struct slice type)
{
	size_t i = 0;

	if (subtype.len > 0) {
		while (complaint_subtypes[i].subtype != NULL &&
		    !is_word(subtype, complaint_subtypes[i].subtype))
			i++;
		event->kind = OUTCOME_BOUNCED;
		event->cls = OUTCOME_HARD;
		event->reason = complaint_subtypes[i].reason;
		return;
	}
	while (complaint_types[i] != NULL && !is_word(type, complaint_types[i]))
		i++;
	event->reason = complaint_types[i] != NULL ? complaint_types[i] : "complaint";
	event->kind = is_word(type, "not-spam") || is_word(type, "auth-failure")
	    ? OUTCOME_OTHER
	    : OUTCOME_COMPLAINED;
}

static int
read_one_complained(struct notice *n, const struct jsondoc *item, const void *context)
{
	struct slice subtype = get(n, n->part, "complaintSubType");
	struct slice type = get(n, n->part, "complaintFeedbackType");
	struct slice address =
	    jsondoc_is(item, JSONDOC_STRING) ? text_of(n, item) : get(n, item, "emailAddress");
	struct feedback_event *event = add(n, address);
	const struct feedback_pair extra[] = {
		{ "feedback_type", type },
		{ "complaint_subtype", subtype },
		{ "user_agent", get(n, n->part, "userAgent") },
		{ "feedback_id", get(n, n->part, "feedbackId") },
	};

	(void)context;
	if (event == NULL)
		return -1;
	judge_complaint(event, subtype, type);
	event->text = feedback_text(n->arena, get(n, n->part, "userAgent"), OUTCOME_TEXT_MAX);
	return finish(n, event, get(n, n->part, "feedbackId"), extra, 4);
}

static int
read_complaint(struct notice *n)
{
	return each_recipient(
	    n, "complainedRecipients", FEEDBACK_EVENTS_MAX, read_one_complained, NULL);
}

/* "250 2.6.0 …": the code and the enhanced code at the front. */
static int
read_one_delivered(struct notice *n, const struct jsondoc *item, const void *context)
{
	static const struct dsn no_report;
	struct feedback_event *event = add(n, text_of(n, item));
	struct dsn_recipient r;
	struct feedback_event said = { .reason = "none" };

	(void)context;
	if (event == NULL)
		return -1;
	dsn_recipient_read(&r, SLICE("delivered"), SLICE(""), get(n, n->part, "smtpResponse"));
	dsn_judge(&no_report, &r, n->arena, &said);
	event->kind = OUTCOME_DELIVERED;
	event->reason = "delivered";
	event->code = said.code;
	memcpy(event->enhanced, said.enhanced, sizeof(event->enhanced));
	event->text = said.text;
	event->remote = feedback_text(n->arena, get(n, n->part, "remoteMtaIp"), 255);
	return finish(n, event, SLICE(""), NULL, 0);
}

static int
read_delivery(struct notice *n)
{
	return each_recipient(n, "recipients", FEEDBACK_EVENTS_MAX, read_one_delivered, NULL);
}

static int
read_one_delayed(struct notice *n, const struct jsondoc *item, const void *context)
{
	static const struct dsn no_report;
	struct slice address =
	    jsondoc_is(item, JSONDOC_STRING) ? text_of(n, item) : get(n, item, "emailAddress");
	struct feedback_event *event = add(n, address);
	struct feedback_event said = { .reason = "none" };
	struct dsn_recipient r;
	const struct feedback_pair extra[] = {
		{ "delay_type", get(n, n->part, "delayType") },
		{ "status", get(n, item, "status") },
		{ "expires", get(n, n->part, "expirationTime") },
	};

	(void)context;
	if (event == NULL)
		return -1;
	dsn_recipient_read(
	    &r, SLICE("delayed"), get(n, item, "status"), get(n, item, "diagnosticCode"));
	dsn_judge(&no_report, &r, n->arena, &said);
	event->kind = OUTCOME_DELAYED;
	event->cls = OUTCOME_SOFT;
	event->reason = "delayed";
	event->code = said.code;
	memcpy(event->enhanced, said.enhanced, sizeof(event->enhanced));
	event->text = said.text;
	event->remote = feedback_text(n->arena, get(n, n->part, "reportingMTA"), 255);
	return finish(n, event, SLICE(""), extra, 3);
}

static int
read_delay(struct notice *n)
{
	return each_recipient(n, "delayedRecipients", FEEDBACK_EVENTS_MAX, read_one_delayed, NULL);
}

/* Kinds that carry a kind, a reason and one field of text. */
struct plain {
	enum outcome_kind kind;
	enum outcome_class cls;
	const char *reason;
	const char *text_key; /* in the part; or NULL */
	const char *more_key;
};

static int
read_one_plain(struct notice *n, const struct jsondoc *item, const void *context)
{
	const struct plain *plain = context;
	struct feedback_event *event = add(n, text_of(n, item));
	struct feedback_pair extra[] = { { "detail", { NULL, 0 } }, { "more", { NULL, 0 } } };

	if (event == NULL)
		return -1;
	event->kind = plain->kind;
	event->cls = plain->cls;
	event->reason = plain->reason;
	if (plain->text_key != NULL) {
		extra[0].value = get(n, n->part, plain->text_key);
		event->text = feedback_text(n->arena, extra[0].value, OUTCOME_TEXT_MAX);
	}
	if (plain->more_key != NULL)
		extra[1].value = get(n, n->part, plain->more_key);
	return finish(n, event, SLICE(""), extra, 2);
}

static int
read_plain(struct notice *n, size_t max, struct plain plain)
{
	return each_recipient(n, NULL, max, read_one_plain, &plain);
}

static int
read_send(struct notice *n)
{
	return read_plain(n, FEEDBACK_EVENTS_MAX,
	    (struct plain){ OUTCOME_ACCEPTED, OUTCOME_CLASS_NONE, "accepted", NULL, NULL });
}

static int
read_reject(struct notice *n)
{
	return read_plain(n, FEEDBACK_EVENTS_MAX,
	    (struct plain){ OUTCOME_REJECTED, OUTCOME_MESSAGE, "content", "reason", NULL });
}

static int
read_failure(struct notice *n)
{
	return read_plain(n, FEEDBACK_EVENTS_MAX,
	    (struct plain){ OUTCOME_REJECTED, OUTCOME_MESSAGE, "rendering_failure", "errorMessage",
		"templateName" });
}

static int
read_open(struct notice *n)
{
	return read_plain(n, 1,
	    (struct plain){
		OUTCOME_OPENED, OUTCOME_CLASS_NONE, "opened", "userAgent", "ipAddress" });
}

static int
read_click(struct notice *n)
{
	return read_plain(n, 1,
	    (struct plain){ OUTCOME_CLICKED, OUTCOME_CLASS_NONE, "clicked", "link", "userAgent" });
}

static int
read_subscription(struct notice *n)
{
	const struct jsondoc *preferences = jsondoc_get(n->part, "newTopicPreferences");
	bool all = jsondoc_is(jsondoc_get(preferences, "unsubscribeAll"), JSONDOC_TRUE);

	return read_plain(n, 1,
	    (struct plain){ all ? OUTCOME_UNSUBSCRIBED : OUTCOME_OTHER, OUTCOME_CLASS_NONE,
		all ? "all" : "subscription", "contactList", "source" });
}

static const struct {
	const char *name;
	const char *part; /* NULL: none needed */
	int (*read)(struct notice *);
} types[] = {
	{ "Bounce", "bounce", read_bounce },
	{ "Complaint", "complaint", read_complaint },
	{ "Delivery", "delivery", read_delivery },
	{ "Send", NULL, read_send },
	{ "Reject", "reject", read_reject },
	{ "Open", "open", read_open },
	{ "Click", "click", read_click },
	{ "RenderingFailure", "failure", read_failure },
	{ "DeliveryDelay", "deliveryDelay", read_delay },
	{ "Subscription", "subscription", read_subscription },
};

/* A type we do not know, or an account's own news: kept, without effect. */
static int
read_unknown(struct notice *n, const char *reason)
{
	struct feedback_event *event;

	if (n->type.len > TYPE_MAX)
		n->type.len = TYPE_MAX;
	event = add(n, text_of(n, jsondoc_at(jsondoc_get(n->mail, "destination"), 0)));
	if (event == NULL)
		return -1;
	event->reason = reason;
	return finish(n, event, feedback_digest(n->arena, n->in->json), NULL, 0);
}

static int
read_known(struct notice *n, const struct jsondoc *root, size_t type)
{
	if (!jsondoc_is(n->mail, JSONDOC_OBJECT))
		return err_set(n->err, "mail is missing");
	if (types[type].part != NULL) {
		n->part = jsondoc_get(root, types[type].part);
		if (!jsondoc_is(n->part, JSONDOC_OBJECT))
			return err_set(n->err, "%s is missing", types[type].part);
	}
	n->message_id = get(n, n->mail, "messageId");
	if (n->message_id.len == 0)
		return err_set(n->err, "mail.messageId is missing");
	n->timestamp = get(n, n->part, "timestamp");
	if (n->timestamp.len == 0)
		n->timestamp = get(n, n->mail, "timestamp");
	n->type = slice_str(types[type].name);
	n->linked = link_notice(n);
	return types[type].read(n);
}

static int
read_notice(struct notice *n, const struct jsondoc *root)
{
	const struct jsondoc *detail = jsondoc_get(root, "detail");
	bool is_bridge =
	    jsondoc_is(detail, JSONDOC_OBJECT) && jsondoc_get(root, "detail-type") != NULL;
	const char *key;

	if (is_bridge && !slice_equal(get(n, root, "source"), SLICE("aws.ses")))
		return err_set(n->err, "an EventBridge event that is not of SES");
	if (is_bridge) {
		n->timestamp = get(n, root, "time");
		n->type = get(n, root, "detail-type");
		root = detail;
	}
	key = jsondoc_get(root, "eventType") != NULL ? "eventType" : "notificationType";
	if (jsondoc_get(root, key) == NULL && is_bridge)
		return read_unknown(n, "account");
	n->type = get(n, root, key);
	if (n->type.len == 0)
		return err_set(n->err, "not a notice of SES");
	if (is_word(n->type, "AmazonSnsSubscriptionSucceeded"))
		return 0;
	n->mail = jsondoc_get(root, "mail");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (is_word(n->type, types[i].name))
			return read_known(n, root, i);
	return read_unknown(n, "unknown_type");
}

/* SNS says so in plain words when a topic is connected. */
static bool
is_test_message(struct slice text)
{
	text = slice_trim(text);
	return slice_starts_nocase(text, SLICE("Successfully validated SNS topic")) ||
	    slice_starts_nocase(
		text, SLICE("You have successfully subscribed your Amazon SNS topic"));
}

int
ses_parse(const struct ses_input *in, struct arena *arena, struct feedback_events *events,
    struct err *err)
{
	struct notice n = { .in = in, .arena = arena, .events = events, .err = err };
	const struct jsondoc *root;
	int result;

	if (is_test_message(in->json))
		return 0;
	root = jsondoc_parse(in->json, SES_JSON_MAX, SES_JSON_DEPTH_MAX, arena, err);
	if (root == NULL)
		return -1;
	(void)err_set(err, "the notice needs more memory than its arena has");
	result = read_notice(&n, root);
	if (result == 0 && arena->failed)
		return -1; /* texts and evidence would be missing */
	if (result == 0 && n.has_nul)
		return err_set(err, "a field holds a NUL");
	return result;
}
