/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns_intake: see sns_intake.h. Owns the lists made from the configuration. Blocks in
 * sns_cert_get() and ses_inbox_read() alone. Logs what an operator has to do something about: subscriptions.
 */
#include "sns_intake.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "intake.h"
#include "log.h"
#include "ses.h"

/* Splits text at commas, in place: every item is trimmed and ends in a NUL. -1 past max. */
static int
split(char *text, const char **items, size_t max)
{
	size_t count = 0;
	char *rest = NULL;

	for (char *at = strtok_r(text, ", \t\r\n", &rest); at != NULL;
	     at = strtok_r(NULL, ", \t\r\n", &rest)) {
		if (count == max)
			return -1;
		items[count++] = at;
	}
	return (int)count;
}

int
sns_intake_init(struct sns_intake *intake, const struct config *config,
    const struct token_keys *keys, struct err *err)
{
	const char *topics[SNS_INTAKE_TOPICS_MAX];
	int count;

	*intake = (struct sns_intake){ .keys = keys };
	intake->bounce_domain = slice_str(config->feedback_domain);
	intake->topics_text = strdup(config->feedback_sns_topics);
	intake->names_text = strdup(config->feedback_sns_subjects);
	if (intake->topics_text == NULL || intake->names_text == NULL)
		return err_set(err, "no memory");
	count = split(intake->topics_text, topics, SNS_INTAKE_TOPICS_MAX);
	if (count < 0)
		return err_set(
		    err, "feedback.sns_topics names more than %d topics", SNS_INTAKE_TOPICS_MAX);
	for (int i = 0; i < count; i++) {
		intake->topics[i] = slice_str(topics[i]);
		if (sns_topic_region(intake->topics[i]).len == 0)
			return err_set(err,
			    "feedback.sns_topics: '%s' is not like "
			    "arn:aws:sns:eu-west-1:123456789012:name",
			    topics[i]);
	}
	intake->policy = (struct sns_policy){ .topics = intake->topics,
		.topic_count = (size_t)count,
		.require_v2 = config->feedback_sns_require_v2 };
	count = split(intake->names_text, intake->names, SNS_INTAKE_TOPICS_MAX);
	if (count <= 0)
		return err_set(
		    err, "feedback.sns_subjects must name one to %d names", SNS_INTAKE_TOPICS_MAX);
	intake->cert = (struct sns_cert_config){
		.directory =
		    config->feedback_sns_cert_dir[0] != '\0' ? config->feedback_sns_cert_dir : NULL,
		.ca_file =
		    config->feedback_sns_ca_file[0] != '\0' ? config->feedback_sns_ca_file : NULL,
		.names = intake->names,
		.name_count = (size_t)count,
	};
	intake->inbox = ses_inbox_new(config, keys, err);
	return intake->inbox != NULL ? 0 : -1;
}

void
sns_intake_release(struct sns_intake *intake)
{
	ses_inbox_free(intake->inbox);
	free(intake->topics_text);
	free(intake->names_text);
	*intake = (struct sns_intake){ 0 };
}

/* One event of kind other that keeps the document; 503 when the arena is full. */
static int
keep(const struct sns_message *msg, const char *reason, const char *why, struct arena *arena,
    struct feedback_events *events)
{
	struct slice parts[] = { SLICE("sns"), msg->message_id };
	struct slice key = feedback_key(arena, parts, 2);
	struct feedback_event *e =
	    intake_quarantine_event(arena, "sns", reason, key, why, msg->message);

	if (key.len == 0 || e == NULL)
		return 503;
	e->occurred_at_us = msg->timestamp_us;
	*events = (struct feedback_events){ .items = e, .count = 1, .capacity = 1 };
	return 200;
}

/* The same with the notice of a verified document as a whole, to be read again. */
static int
keep_whole(const struct sns_message *msg, const char *reason, const char *why, struct arena *arena,
    struct feedback_events *events)
{
	int status = keep(msg, reason, why, arena, events);

	if (status == 200)
		intake_keep_whole(arena, &events->items[0],
		    &(struct feedback_kept){
			.form = "notice", .is_believed = true, .content = msg->message });
	return status;
}

static int
read_notification(const struct sns_intake *intake, const struct sns_message *msg,
    struct arena *arena, struct feedback_events *events, struct err *err)
{
	struct ses_input in = {
		.json = msg->message, .keys = intake->keys, .bounce_domain = intake->bounce_domain
	};
	struct err why = { 0 };
	const char *reason;

	switch (ses_inbox_read(intake->inbox, msg->message, arena, events, &reason, &why)) {
	case SES_INBOX_READ:
		return 200;
	case SES_INBOX_KEEP:
		return keep_whole(msg, reason, why.msg, arena, events);
	case SES_INBOX_AGAIN:
		*err = why;
		return 503;
	case SES_INBOX_OTHER:
	default:
		break;
	}
	if (ses_parse(&in, arena, events, &why) < 0) {
		log_warn(
		    "sns notice is authentic but cannot be read, kept aside error=\"%s\"", why.msg);
		return keep_whole(msg, "unreadable", why.msg, arena, events);
	}
	if (events->count == 0)
		return keep(msg, "sns_test", "", arena, events);
	return 200;
}

/* The URL is checked against the document's own topic and token before a person is shown it. */
static int
read_confirmation(
    const struct sns_message *msg, struct arena *arena, struct feedback_events *events)
{
	if (msg->type == SNS_UNSUBSCRIBE_CONFIRMATION) {
		log_error(
		    "sns subscription was ended: feedback from this topic has stopped topic=%.*s",
		    SLICE_ARG(msg->topic_arn)); /* LCOV_EXCL_BR_LINE: admitted, so not empty */
		return keep(msg, "unsubscribe_confirmation", "", arena, events);
	}
	if (sns_subscribe_url_check(msg))
		log_warn("sns subscription waits to be confirmed: visit this address within two "
			 "days topic=%.*s url=%.*s",
		    SLICE_ARG(msg->topic_arn),	    /* LCOV_EXCL_BR_LINE: admitted, so not empty */
		    SLICE_ARG(msg->subscribe_url)); /* LCOV_EXCL_BR_LINE: checked, so not empty */
	else
		log_error("sns subscription has an address that is not of SNS; do not visit it "
			  "topic=%.*s",
		    SLICE_ARG(msg->topic_arn)); /* LCOV_EXCL_BR_LINE: admitted, so not empty */
	return keep(msg, "subscription_confirmation", "", arena, events);
}

/* The check of sns_admit() that it failed. */
static const char *
admission_word(
    const struct sns_intake *intake, const struct sns_message *msg, struct slice type_header)
{
	const struct sns_policy *policy = &intake->policy;

	if (!sns_topic_allowed(msg->topic_arn, policy->topics, policy->topic_count))
		return "topic";
	if (!sns_type_header_check(msg, type_header))
		return "type_header";
	return policy->require_v2 && msg->signature_version != 2 ? "version" : "certificate_url";
}

int
sns_intake_check(const struct sns_intake *intake, struct sns_cert_cache *cache, struct slice body,
    struct slice type_header, struct arena *arena, struct sns_message *msg, const char **why,
    struct err *err)
{
	struct sns_key *key;
	int status;

	*why = "memory";
	if (sns_parse(body, arena, msg, err) < 0) {
		if (!arena->failed)
			*why = "document";
		return arena->failed ? 503 : 400;
	}
	if (sns_admit(msg, &intake->policy, type_header, err) < 0) {
		*why = admission_word(intake, msg, type_header);
		return 403;
	}
	*why = "certificate";
	switch (sns_cert_get(cache, msg->cert_url, (int64_t)time(NULL), &key, err)) {
	case SNS_CERT_OK:
		break;
	case SNS_CERT_TEMPORARY:
		return 503;
	case SNS_CERT_REFUSED:
	default:
		return 403;
	}
	status = sns_verify(msg, key, intake->policy.require_v2, arena, err);
	*why = status == SNS_NOT_NOW ? "memory" : "signature";
	if (status < 0)
		return status == SNS_NOT_NOW ? 503 : 403;
	return 200;
}

bool
sns_intake_fetches(
    const struct sns_intake *intake, const struct sns_message *msg, struct arena *arena)
{
	return msg->type == SNS_NOTIFICATION &&
	    ses_inbox_fetches(intake->inbox, msg->message, arena);
}

int
sns_intake_take(const struct sns_intake *intake, const struct sns_message *msg, struct arena *arena,
    struct feedback_events *events, const char **why, struct err *err)
{
	int status = msg->type != SNS_NOTIFICATION
	    ? read_confirmation(msg, arena, events)
	    : read_notification(intake, msg, arena, events, err);

	*why = status == 200 ? "recorded" : arena->failed ? "memory" : "mail";
	return status;
}

int
sns_intake_read(const struct sns_intake *intake, struct sns_cert_cache *cache, struct slice body,
    struct slice type_header, struct arena *arena, struct feedback_events *events, const char **why,
    struct err *err)
{
	struct sns_message msg;
	int status = sns_intake_check(intake, cache, body, type_header, arena, &msg, why, err);

	return status == 200 ? sns_intake_take(intake, &msg, arena, events, why, err) : status;
}
