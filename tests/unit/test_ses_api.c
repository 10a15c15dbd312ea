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
#include "ses_request.h"

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

static void
test_simple_and_bulk(void **state)
{
	static const struct ses_tag tags[] = { { { "kairan", 6 }, { "t1", 2 } } };
	static const struct ses_bulk_entry entries[] = {
		{ { "a@x.example", 11 }, { "{\"name\":\"A\"}", 12 }, tags, 1 },
		{ { "b@x.example", 11 }, { "{}", 2 }, tags, 1 },
	};
	struct ses_common common = { .from = SLICE("n@x.example"), .tags = tags, .tag_count = 1 };
	struct ses_simple simple = { .to = SLICE("a@x.example"),
		.reply_to = SLICE("r@x.example"),
		.subject = SLICE("\xE5\x9B\x9E\xE8\xA6\xA7"),
		.html = SLICE("<p>\"x\"</p>\n") };
	struct buf b;
	json_t *j;

	(void)state;
	buf_init(&b, 65536);
	ses_send_simple(&b, &common, &simple);
	j = read_back(&b);
	assert_string_equal(at(j, "Content.Simple.Subject.Data"), "\xE5\x9B\x9E\xE8\xA6\xA7");
	assert_string_equal(at(j, "Content.Simple.Subject.Charset"), "UTF-8");
	assert_string_equal(at(j, "Content.Simple.Body.Html.Data"), "<p>\"x\"</p>\n");
	assert_string_equal(at(j, "Content.Simple.Body.Text.Data"), "(none)");
	assert_string_equal(at(j, "ReplyToAddresses.0"), "r@x.example");
	assert_string_equal(at(j, "FromEmailAddress"), "n@x.example");
	json_decref(j);
	buf_reset(&b);
	assert_int_equal(ses_send_bulk(&b, &common, SLICE("news"), SLICE("{}"), entries, 2), 0);
	j = read_back(&b);
	assert_string_equal(at(j, "DefaultContent.Template.TemplateName"), "news");
	assert_string_equal(at(j, "BulkEmailEntries.1.Destination.ToAddresses.0"), "b@x.example");
	assert_string_equal(at(j,
				"BulkEmailEntries.0.ReplacementEmailContent.ReplacementTemplate."
				"ReplacementTemplateData"),
	    "{\"name\":\"A\"}");
	assert_string_equal(at(j, "BulkEmailEntries.0.ReplacementTags.0.Value"), "t1");
	json_decref(j);
	assert_int_equal(ses_send_bulk(&b, &common, SLICE("n"), SLICE("{}"), entries, 0), -1);
	assert_int_equal(ses_send_bulk(&b, &common, SLICE("n"), SLICE("{}"), entries, 51), -1);
	buf_reset(&b);
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
	assert_true(ses_tag_is_good(SLICE("a-Z_9")));
	assert_false(ses_tag_is_good(SLICE("a.b")));
	assert_false(ses_tag_is_good(SLICE("")));
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
	ses_answer_bulk_entry(&a, SLICE("SUCCESS"), slice_make(NULL, 0), SLICE("0102-b"));
	assert_int_equal(a.outcome.kind, OUTCOME_SENT);
	ses_answer_bulk_entry(&a, SLICE("SUCCESS"), slice_make(NULL, 0), slice_make(NULL, 0));
	assert_int_equal(a.outcome.kind, OUTCOME_IN_DOUBT);
	ses_answer_bulk_entry(&a, SLICE("ACCOUNT_DAILY_QUOTA_EXCEEDED"), SLICE("x"), SLICE(""));
	assert_int_equal(a.action, SES_QUOTA);
	ses_answer_bulk_entry(&a, SLICE("TRANSIENT_FAILURE"), SLICE("x"), SLICE(""));
	assert_int_equal(a.outcome.kind, OUTCOME_DEFERRED);
	ses_answer_bulk_entry(&a, SLICE("SOMETHING_NEW"), SLICE("x"), SLICE(""));
	assert_int_equal(a.outcome.kind, OUTCOME_IN_DOUBT);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_simple_and_bulk),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_answer_texts),
		cmocka_unit_test(test_account),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
