/* SPDX-License-Identifier: Apache-2.0 */
/* ses_request and ses_answer: bodies read back by jansson, every error name, every doubt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "ses_answer.h"
#include "ses_identity.h"
#include "ses_request.h"
#include "ses_sandbox.h"
#include "sigv4.h"

static json_t *
read_back(const struct buf *b)
{
	json_error_t why;
	json_t *j = json_loads(buf_str(b), JSON_REJECT_DUPLICATES, &why);

	if (j == NULL)
		print_message("# %s in %s\n", why.text, buf_str(b));
	assert_non_null(j);
	return j;
}

static const char *
at(json_t *j, const char *path)
{
	char part[64];

	while (*path != '\0') {
		size_t n = strcspn(path, ".");

		(void)snprintf(part, sizeof(part), "%.*s", (int)n, path);
		j = json_is_array(j) ? json_array_get(j, (size_t)(part[0] - '0'))
				     : json_object_get(j, part);
		path += n + (path[n] == '.');
	}
	return json_is_string(j) ? json_string_value(j) : "(none)";
}

static void
test_raw(void **state)
{
	static const struct ses_tag tags[] = { { { "kairan", 6 }, { "abc", 3 } } };
	struct ses_common common = { .configuration_set = SLICE("set"),
		.identity_arn = SLICE("arn:x"),
		.feedback_address = SLICE("f@x.example"),
		.tenant = SLICE("t"),
		.tags = tags,
		.tag_count = 1 };
	struct buf b;
	json_t *j;

	(void)state;
	buf_init(&b, 4096);
	ses_send_raw(&b, &common, SLICE("a\"\\\tb@x.example"), SLICE("To: x\r\n\r\nhello\r\n"));
	j = read_back(&b);
	assert_string_equal(at(j, "Content.Raw.Data"), "VG86IHgNCg0KaGVsbG8NCg==");
	assert_string_equal(at(j, "Destination.ToAddresses.0"), "a\"\\\tb@x.example");
	assert_string_equal(at(j, "EmailTags.0.Name"), "kairan");
	assert_string_equal(at(j, "EmailTags.0.Value"), "abc");
	assert_string_equal(at(j, "ConfigurationSetName"), "set");
	assert_string_equal(at(j, "FromEmailAddressIdentityArn"), "arn:x");
	assert_string_equal(at(j, "FeedbackForwardingEmailAddress"), "f@x.example");
	assert_string_equal(at(j, "TenantName"), "t");
	assert_string_equal(at(j, "FromEmailAddress"), "(none)");
	json_decref(j);
	buf_release(&b);
	/* no room: told once, at the end */
	buf_init(&b, 40);
	ses_send_raw(&b, &common, SLICE("a@x.example"), SLICE("x"));
	assert_true(buf_failed(&b));
	buf_release(&b);
}

/* Byte for byte, as the service model has the members. */
static void
test_simple(void **state)
{
	static const struct ses_tag tags[] = { { { "kairan", 6 }, { "t1", 2 } } };
	static const struct ses_tag headers[] = { { { "X-A", 3 }, { "b", 1 } } };
	struct ses_common common = { .from = SLICE("=?UTF-8?B?5Zue6Kan?= <n@x.example>"),
		.configuration_set = SLICE("set"),
		.feedback_address = SLICE("f@x.example"),
		.identity_arn = SLICE("arn:x"),
		.tenant = SLICE("t"),
		.tags = tags,
		.tag_count = 1 };
	struct ses_simple simple = { .to = SLICE("A <a@x.example>"),
		.reply_to = SLICE("r@x.example"),
		.subject = SLICE("\xE5\x9B\x9E\xE8\xA6\xA7"),
		.html = SLICE("<p>\"x\"</p>\n"),
		.headers = headers,
		.header_count = 1 };
	struct buf b;

	(void)state;
	buf_init(&b, 65536);
	ses_send_simple(&b, &common, &simple);
	assert_string_equal(buf_str(&b),
	    "{\"Content\":{\"Simple\":{\"Subject\":{\"Data\":\"\xE5\x9B\x9E\xE8\xA6\xA7\","
	    "\"Charset\":\"UTF-8\"},\"Body\":{\"Html\":{\"Data\":\"<p>\\\"x\\\"</p>\\u000a\","
	    "\"Charset\":\"UTF-8\"}},\"Headers\":[{\"Name\":\"X-A\",\"Value\":\"b\"}]}},"
	    "\"Destination\":{\"ToAddresses\":[\"A <a@x.example>\"]},"
	    "\"ReplyToAddresses\":[\"r@x.example\"],"
	    "\"FromEmailAddress\":\"=?UTF-8?B?5Zue6Kan?= <n@x.example>\","
	    "\"FromEmailAddressIdentityArn\":\"arn:x\","
	    "\"FeedbackForwardingEmailAddress\":\"f@x.example\","
	    "\"ConfigurationSetName\":\"set\",\"TenantName\":\"t\","
	    "\"EmailTags\":[{\"Name\":\"kairan\",\"Value\":\"t1\"}]}");
	buf_release(&b);
}

#define BULK_BODY                                                                                  \
	"{\"DefaultContent\":{\"Template\":{\"TemplateContent\":{\"Subject\":\"Hi {{s0}}\","       \
	"\"Text\":\"x\"},\"TemplateData\":\"{}\"}},\"ReplyToAddresses\":[\"r@x.example\"],"        \
	"\"FromEmailAddress\":\"n@x.example\",\"ConfigurationSetName\":\"set\","                   \
	"\"BulkEmailEntries\":[{\"Destination\":{\"ToAddresses\":[\"a@x.example\"]},"              \
	"\"ReplacementEmailContent\":{\"ReplacementTemplate\":{"                                   \
	"\"ReplacementTemplateData\":\"{\\\"s0\\\":\\\"A\\\"}\"}},"                                \
	"\"ReplacementHeaders\":[{\"Name\":\"X-A\",\"Value\":\"b\"}],"                             \
	"\"ReplacementTags\":[{\"Name\":\"kairan\",\"Value\":\"t1\"}]},"                           \
	"{\"Destination\":{\"ToAddresses\":[\"b@x.example\"]},"                                    \
	"\"ReplacementEmailContent\":{\"ReplacementTemplate\":{"                                   \
	"\"ReplacementTemplateData\":\"{}\"}},"                                                    \
	"\"ReplacementTags\":[{\"Name\":\"kairan\",\"Value\":\"t1\"}]}]}"

static void
test_bulk(void **state)
{
	static const struct ses_tag tags[] = { { { "kairan", 6 }, { "t1", 2 } } };
	static const struct ses_tag headers[] = { { { "X-A", 3 }, { "b", 1 } } };
	static const struct ses_bulk_entry entries[] = {
		{ { "a@x.example", 11 }, { "{\"s0\":\"A\"}", 10 }, tags, 1, headers, 1 },
		{ { "b@x.example", 11 }, { "{}", 2 }, tags, 1, NULL, 0 },
	};
	struct ses_common common = { .from = SLICE("n@x.example"),
		.configuration_set = SLICE("set") };
	struct aws_credentials keys = { .access_key = "AKIDEXAMPLE",
		.secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" };
	static const struct sigv4_header signed_headers[] = { { "content-type",
								  { "application/json", 16 } },
		{ "host", { "email.ap-northeast-1.amazonaws.com", 34 } },
		{ "x-amz-date", { "20260101T000000Z", 16 } } };
	struct sigv4_request request = { .method = "POST",
		.path = SLICE(SES_BULK_PATH),
		.headers = signed_headers,
		.header_count = 3 };
	struct sigv4_signer signer;
	char hash[SIGV4_HASH_BYTES];
	struct buf b, authorization;
	struct err err;

	(void)state;
	buf_init(&b, 65536);
	buf_init(&authorization, 4096);
	ses_bulk_begin(
	    &b, &common, SLICE("r@x.example"), SLICE("{\"Subject\":\"Hi {{s0}}\",\"Text\":\"x\"}"));
	ses_bulk_entry(&b, &entries[0], true);
	ses_bulk_entry(&b, &entries[1], false);
	ses_bulk_end(&b);
	assert_string_equal(buf_str(&b), BULK_BODY);
	/* the signature is computed elsewhere, by AWS General Reference, Signature Version 4 */
	sigv4_hash(buf_slice(&b), hash);
	request.body_hash = hash;
	assert_int_equal(sigv4_init(&signer, &keys, "ap-northeast-1", "ses", &err), 0);
	assert_int_equal(sigv4_sign(&signer, &request, "20260101T000000Z", &authorization), 0);
	assert_non_null(strstr(buf_str(&authorization),
	    "Signature=78350a25b2cb0f769a0324e3275c7fa4cc9adb70d28145c105ed002ef0a84c01"));
	sigv4_release(&signer);
	buf_release(&authorization);
	buf_release(&b);
}

static void
test_suppression(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 65536);
	ses_suppression_path(&b, SLICE("a+b@x.example"));
	assert_string_equal(buf_str(&b), "/v2/email/suppression/addresses/a%2Bb%40x.example");
	buf_reset(&b);
	ses_suppression_query(&b, 1767323045, SLICE("n/x="), 100);
	assert_string_equal(
	    buf_str(&b), "NextToken=n%2Fx%3D&PageSize=100&StartDate=2026-01-02T03%3A04%3A05Z");
	buf_reset(&b);
	ses_suppression_put(&b, SLICE("a@x.example"), "BOUNCE");
	assert_string_equal(
	    buf_str(&b), "{\"EmailAddress\":\"a@x.example\",\"Reason\":\"BOUNCE\"}");
	buf_release(&b);
}

struct row {
	int status;
	const char *type, *body;
	enum ses_action action;
	enum outcome_kind kind;
	const char *reason;
};

#define UNVERIFIED(who)                                                                            \
	"{\"message\":\"Email address is not verified. The following identities failed the check " \
	"in region X: " who "\"}"

static const struct row rows[] = {
	{ 200, "", "{\"MessageId\":\"0102-1\"}", SES_SETTLE, OUTCOME_SENT, "undefined" },
	{ 429, "TooManyRequestsException:http://x/",
	    "{\"message\":\"Maximum sending rate exceeded.\"}", SES_SLOW, OUTCOME_RELEASED,
	    "rate" },
	{ 400, "LimitExceededException", "{\"message\":\"Daily message quota exceeded.\"}",
	    SES_QUOTA, OUTCOME_RELEASED, "rate" },
	{ 400, "ThrottlingException", "{\"message\":\"Daily Message Quota Exceeded\"}", SES_QUOTA,
	    OUTCOME_RELEASED, "rate" },
	{ 400, "Throttling", "{\"message\":\"maximum sending rate exceeded\"}", SES_SLOW,
	    OUTCOME_RELEASED, "rate" },
	{ 400, "AccountSuspendedException", "{}", SES_HOLD, OUTCOME_RELEASED, "config" },
	{ 400, "SendingPausedException", "{}", SES_HOLD, OUTCOME_RELEASED, "config" },
	{ 400, "MailFromDomainNotVerifiedException", "{}", SES_HOLD, OUTCOME_RELEASED, "config" },
	{ 404, "NotFoundException", "{\"message\":\"Configuration set does not exist\"}", SES_HOLD,
	    OUTCOME_RELEASED, "config" },
	{ 400, "MessageRejected", "{\"message\":\"Invalid content\"}", SES_SETTLE, OUTCOME_FAILED,
	    "content" },
	{ 400, "MessageRejected", UNVERIFIED("news@example.org"), SES_HOLD, OUTCOME_RELEASED,
	    "config" },
	{ 400, "MessageRejected", UNVERIFIED("To@x.example"), SES_SETTLE, OUTCOME_FAILED,
	    "config" },
	{ 400, "MessageRejected", UNVERIFIED("to@x.example, news@example.org"), SES_HOLD,
	    OUTCOME_RELEASED, "config" },
	{ 400, "BadRequestException", "{\"message\":\"x\"}", SES_SETTLE, OUTCOME_FAILED,
	    "content" },
	{ 400, "BadRequestException",
	    "{\"message\":\"There are non-ASCII characters in the email address\"}", SES_SETTLE,
	    OUTCOME_FAILED, "bad_address" },
	{ 400, "MessageRejected", "{\"message\":\"Account is paused\"}", SES_HOLD, OUTCOME_RELEASED,
	    "config" },
	{ 409, "ConflictException", "{}", SES_SETTLE, OUTCOME_DEFERRED, "system" },
	{ 500, "ConcurrentModificationException", "{}", SES_SETTLE, OUTCOME_DEFERRED, "system" },
	{ 500, "InternalServiceErrorException", "{}", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 500, "InternalFailure", "{}", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 400, "AlreadyExistsException", "{}", SES_SETTLE, OUTCOME_DEFERRED, "system" },
	{ 503, "ServiceUnavailable", "{}", SES_SLOW, OUTCOME_RELEASED, "system" },
	{ 403, "AccessDeniedException", "{}", SES_HOLD, OUTCOME_RELEASED, "auth" },
	{ 400, "AccessDeniedException", "{}", SES_HOLD, OUTCOME_RELEASED, "auth" },
	{ 403, "ExpiredTokenException", "{}", SES_REFRESH, OUTCOME_RELEASED, "auth" },
	{ 400, "", "{\"__type\":\"com.amazon.coral.service#ExpiredTokenException\"}", SES_REFRESH,
	    OUTCOME_RELEASED, "auth" },
	{ 403, "UnrecognizedClientException", "{}", SES_REFRESH, OUTCOME_RELEASED, "auth" },
	{ 403, "InvalidClientTokenId", "{}", SES_REFRESH, OUTCOME_RELEASED, "auth" },
	{ 403, "InvalidSignatureException", "{\"message\":\"Signature expired: …\"}", SES_CLOCK,
	    OUTCOME_RELEASED, "auth" },
	{ 403, "SignatureDoesNotMatch", "{}", SES_CLOCK, OUTCOME_RELEASED, "auth" },
	{ 400, "RequestExpired", "{}", SES_CLOCK, OUTCOME_RELEASED, "auth" },
	{ 400, "IncompleteSignature", "{}", SES_HOLD, OUTCOME_RELEASED, "auth" },
	{ 403, "MissingAuthenticationTokenException", "{}", SES_HOLD, OUTCOME_RELEASED, "auth" },
	{ 403, "OptInRequired", "{}", SES_HOLD, OUTCOME_RELEASED, "auth" },
	{ 400, "ValidationException", "{}", SES_SETTLE, OUTCOME_FAILED, "content" },
	{ 400, "ValidationError", "{}", SES_SETTLE, OUTCOME_FAILED, "content" },
	/* whoever is in between */
	{ 500, "", "<html>", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 502, "", "", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 503, "", "<html>busy</html>", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 429, "", "", SES_SLOW, OUTCOME_RELEASED, "rate" },
	{ 413, "", "", SES_SETTLE, OUTCOME_FAILED, "too_large" },
	{ 403, "", "<html>", SES_HOLD, OUTCOME_RELEASED, "auth" },
	{ 302, "", "", SES_HOLD, OUTCOME_RELEASED, "config" },
	{ 418, "TeapotException", "{\"message\":\"x\"}", SES_SETTLE, OUTCOME_DEFERRED, "system" },
	/* nobody can tell */
	{ 200, "", "{\"MessageId\":\"01", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 200, "", "{}", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 200, "", "{\"MessageId\":7}", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 200, "", "", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	{ 0, "", "", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
};

static void
test_answers(void **state)
{
	struct ses_answer a;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct ses_answer_input in = { .status = r->status,
			.error_type = slice_str(r->type),
			.body = slice_str(r->body),
			.whole = true,
			.body_left = true,
			.to = SLICE("to@x.example") };

		ses_answer_read(&a, &in);
		if (a.action != r->action || a.outcome.kind != r->kind ||
		    strcmp(a.outcome.reason, r->reason) != 0)
			print_message("# row %zu: %d %s %s\n", i, r->status, r->type, r->body);
		assert_int_equal(a.action, r->action);
		assert_int_equal(a.outcome.kind, r->kind);
		assert_string_equal(a.outcome.reason, r->reason);
		/* nothing is sent and in doubt that never left whole */
		in.body_left = false;
		ses_answer_read(&a, &in);
		assert_int_not_equal(a.outcome.kind, OUTCOME_SENT);
		assert_int_not_equal(a.outcome.kind, OUTCOME_IN_DOUBT);
		assert_int_not_equal(a.outcome.cls, OUTCOME_HARD);
	}
}

static void
test_answer_texts(void **state)
{
	struct ses_answer_input in = {
		.status = 200, .body = SLICE("{\"MessageId\":\"0102-a\"}"), .body_left = true
	};
	char page[5000];
	struct ses_answer a;

	(void)state;
	ses_answer_read(&a, &in); /* cut short: not whole */
	assert_int_equal(a.outcome.kind, OUTCOME_IN_DOUBT);
	in.whole = true;
	ses_answer_read(&a, &in);
	assert_string_equal(a.id, "0102-a");
	assert_true(slice_equal(a.outcome.remote_id, SLICE("0102-a")));
	in = (struct ses_answer_input){ .status = 400,
		.error_type = SLICE("MessageRejected:http://internal.amazon.com/"),
		.body = SLICE("{\"message\":\"bad\\u0000\\nthing\"}"),
		.whole = true,
		.body_left = true };
	ses_answer_read(&a, &in);
	assert_string_equal(a.text, "MessageRejected: bad  thing");
	memset(page, 'x', sizeof(page));
	memcpy(page, "{\"message\":\"", 12);
	memcpy(page + sizeof(page) - 2, "\"}", 2);
	in.body = slice_make(page, sizeof(page));
	ses_answer_read(&a, &in);
	assert_true(a.outcome.text.len <= OUTCOME_TEXT_MAX);
}

/* Every name of the service model's BulkEmailStatus, those of its prose, and what is none. */
static void
test_bulk_answers(void **state)
{
	static const struct {
		const char *status, *error, *id;
		enum ses_action action;
		enum outcome_kind kind;
		const char *reason;
	} statuses[] = {
		{ "SUCCESS", "", "0102-b", SES_SETTLE, OUTCOME_SENT, "undefined" },
		{ "SUCCESS", "", "", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
		{ "MESSAGE_REJECTED", "x", "", SES_SETTLE, OUTCOME_FAILED, "content" },
		{ "MESSAGE_REJECTED",
		    "Email address is not verified. The following identities failed the check in "
		    "region X: To@x.example",
		    "", SES_SETTLE, OUTCOME_FAILED, "config" },
		{ "MESSAGE_REJECTED",
		    "Email address is not verified. The following identities failed the check in "
		    "region X: news@y.example",
		    "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "MAIL_FROM_DOMAIN_NOT_VERIFIED", "x", "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "CONFIGURATION_SET_NOT_FOUND", "x", "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "CONFIGURATION_SET_DOES_NOT_EXIST", "x", "", SES_HOLD, OUTCOME_RELEASED,
		    "config" },
		{ "TEMPLATE_NOT_FOUND", "x", "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "TEMPLATE_DOES_NOT_EXIST", "x", "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "ACCOUNT_SUSPENDED", "x", "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "ACCOUNT_THROTTLED", "x", "", SES_SLOW, OUTCOME_RELEASED, "rate" },
		{ "ACCOUNT_DAILY_QUOTA_EXCEEDED", "x", "", SES_QUOTA, OUTCOME_RELEASED, "rate" },
		{ "INVALID_SENDING_POOL_NAME", "x", "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "ACCOUNT_SENDING_PAUSED", "x", "", SES_HOLD, OUTCOME_RELEASED, "config" },
		{ "CONFIGURATION_SET_SENDING_PAUSED", "x", "", SES_HOLD, OUTCOME_RELEASED,
		    "config" },
		{ "INVALID_PARAMETER", "x", "", SES_SETTLE, OUTCOME_FAILED, "content" },
		{ "INVALID_PARAMETER_VALUE", "x", "", SES_SETTLE, OUTCOME_FAILED, "content" },
		{ "TRANSIENT_FAILURE", "x", "", SES_SETTLE, OUTCOME_DEFERRED, "system" },
		{ "FAILED", "x", "", SES_SETTLE, OUTCOME_FAILED, "undefined" },
		{ "SOMETHING_NEW", "x", "", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
		{ "", "", "", SES_SETTLE, OUTCOME_IN_DOUBT, "system" },
	};
	enum { COUNT = sizeof(statuses) / sizeof(statuses[0]) };
	struct ses_bulk_answer list;
	struct ses_answer a;
	struct arena arena;
	struct buf b;

	(void)state;
	arena_init(&arena, SES_ANSWER_ARENA_MAX);
	buf_init(&b, 65536);
	buf_append_str(&b, "{\"BulkEmailEntryResults\":[");
	for (size_t i = 0; i < COUNT; i++)
		buf_printf(&b, "%s{\"Status\":\"%s\",\"Error\":\"%s\",\"MessageId\":%s%s%s}",
		    i > 0 ? "," : "", statuses[i].status, statuses[i].error,
		    statuses[i].id[0] != '\0' ? "\"" : "",
		    statuses[i].id[0] != '\0' ? statuses[i].id : "null",
		    statuses[i].id[0] != '\0' ? "\"" : "");
	buf_append_str(&b, "]}");
	assert_true(ses_bulk_answer_parse(&list, buf_slice(&b), &arena));
	assert_int_equal(list.count, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		print_message("# %s %s\n", statuses[i].status, statuses[i].error);
		ses_answer_bulk_entry(&a, &list.entry[i], SLICE("to@x.example"));
		assert_int_equal(a.action, statuses[i].action);
		assert_int_equal(a.outcome.kind, statuses[i].kind);
		assert_string_equal(a.outcome.reason, statuses[i].reason);
		assert_true(slice_equal(a.outcome.remote_id, slice_str(statuses[i].id)));
	}
	assert_false(ses_bulk_answer_parse(&list, SLICE("{}"), &arena));
	assert_false(ses_bulk_answer_parse(&list, SLICE(""), &arena));
	assert_false(ses_bulk_answer_parse(&list, SLICE("<html>"), &arena));
	assert_false(
	    ses_bulk_answer_parse(&list, slice_make(buf_str(&b), b.len - 1), &arena)); /* cut */
	assert_false(ses_bulk_answer_parse(&list, SLICE("{\"BulkEmailEntryResults\":{}}"), &arena));
	/* entries of another kind are entries that say nothing */
	assert_true(ses_bulk_answer_parse(&list, SLICE("{\"BulkEmailEntryResults\":[1]}"), &arena));
	ses_answer_bulk_entry(&a, &list.entry[0], SLICE("to@x.example"));
	assert_int_equal(a.outcome.kind, OUTCOME_IN_DOUBT);
	buf_release(&b);
	arena_release(&arena);
}

static void
test_account(void **state)
{
	static const char text[] =
	    "{\"DedicatedIpAutoWarmupEnabled\":false,\"EnforcementStatus\":\"HEALTHY\","
	    "\"ProductionAccessEnabled\":true,\"SendQuota\":{\"Max24HourSend\":50000.0,"
	    "\"MaxSendRate\":14.5,\"SentLast24Hours\":3.0},\"SendingEnabled\":true,"
	    "\"SuppressionAttributes\":{\"SuppressedReasons\":[\"BOUNCE\"]}}";
	struct ses_account a;
	struct err err;

	(void)state;
	assert_int_equal(ses_account_parse(&a, slice_str(text), &err), 0);
	assert_true(a.max_rate > 14.4 && a.max_rate < 14.6);
	assert_true(a.max_24h > 49999 && a.sent_24h > 2);
	assert_true(a.sending && a.production && a.suppress_bounces && !a.suppress_complaints);
	assert_string_equal(a.enforcement, "HEALTHY");
	assert_int_equal(ses_account_parse(&a, SLICE("{}"), &err), -1);
	assert_int_equal(ses_account_parse(&a, SLICE("<html>"), &err), -1);
	assert_int_equal(ses_account_parse(&a, SLICE(""), &err), -1);
}

static void
test_identities(void **state)
{
	static const char text[] =
	    "{\"EmailIdentities\":[{\"IdentityType\":\"DOMAIN\",\"IdentityName\":\"x.example\","
	    "\"SendingEnabled\":true,\"VerificationStatus\":\"SUCCESS\"},"
	    "{\"IdentityType\":\"EMAIL_ADDRESS\",\"IdentityName\":\"a@y.example\","
	    "\"SendingEnabled\":true,\"VerificationStatus\":\"TEMPORARY_FAILURE\"},"
	    "{\"IdentityName\":\"b@y.example\",\"SendingEnabled\":true},"
	    "{\"IdentityName\":\"c@y.example\",\"SendingEnabled\":false}],"
	    "\"NextToken\":\"n/x=\"}";
	struct ses_identity_page page;
	struct arena arena;
	struct buf query;
	struct err err;

	(void)state;
	arena_init(&arena, (size_t)16 << 20);
	buf_init(&query, 1000);
	assert_int_equal(ses_identities_parse(slice_str(text), &arena, &page, &err), 0);
	assert_int_equal(page.count, 2);
	assert_true(slice_equal(page.names[0], SLICE("x.example")));
	assert_true(slice_equal(page.names[1], SLICE("b@y.example")));
	ses_identities_query(&query, SLICE(""));
	assert_string_equal(buf_str(&query), "PageSize=1000");
	buf_reset(&query);
	ses_identities_query(&query, page.next);
	assert_string_equal(buf_str(&query), "NextToken=n%2Fx%3D&PageSize=1000");
	assert_int_equal(ses_identities_parse(SLICE("{}"), &arena, &page, &err), 0);
	assert_int_equal(page.count, 0);
	assert_int_equal(page.next.len, 0);
	assert_int_equal(ses_identities_parse(SLICE(""), &arena, &page, &err), -1);
	assert_int_equal(
	    ses_identities_parse(SLICE("{\"EmailIdentities\":{}}"), &arena, &page, &err), -1);
	assert_int_equal(
	    ses_identities_parse(SLICE("{\"EmailIdentities\":[{\"IdentityType\":\"DOMAIN\"}]}"),
		&arena, &page, &err),
	    -1);
	buf_release(&query);
	arena_release(&arena);
}

static bool
sandbox_allows(struct ses_sandbox *s, const char *address)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_str(address), NULL), 0);
	return ses_sandbox_allows(s, &a);
}

static void
test_sandbox(void **state)
{
	char identities[] = "\na@y.example\nx.example\n";
	struct ses_sandbox s = { .text = identities };

	(void)state;
	assert_true(sandbox_allows(&s, "anybody@z.example"));
	s.is_on = true;
	assert_true(sandbox_allows(&s, "A@Y.example"));
	assert_true(sandbox_allows(&s, "b@x.example"));
	assert_true(sandbox_allows(&s, "b@mail.X.example"));
	assert_true(sandbox_allows(&s, "bounce+label@simulator.amazonses.com"));
	assert_false(sandbox_allows(&s, "b@y.example"));
	assert_false(sandbox_allows(&s, "b@notx.example"));
	assert_false(sandbox_allows(&s, "b@x.example.com"));
	assert_false(sandbox_allows(&s, "a@y.example.com"));
	assert_false(sandbox_allows(&s, "b@sub.simulator.amazonses.com"));
	identities[0] = '\n'; /* nothing is verified */
	identities[1] = '\n';
	identities[2] = '\0';
	assert_false(sandbox_allows(&s, "b@x.example"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_simple),
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_suppression),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_answer_texts),
		cmocka_unit_test(test_bulk_answers),
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_identities),
		cmocka_unit_test(test_sandbox),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
