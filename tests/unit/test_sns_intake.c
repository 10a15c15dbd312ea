/* SPDX-License-Identifier: Apache-2.0 */
/* sns_intake: settings that are none, and what is answered to each kind of document. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sns_intake.h"
#include "sns_sample.h"

static struct config config;
static struct token_keys keys = { .count = 1, .id = { 1 } };
static EVP_PKEY *our_key, *their_key;
static X509 *cert;
static bool network_is_down;
static const char *last_word;

static int
serve(void *context, struct slice url, struct buf *body, struct err *err)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *pem;
	long n;

	(void)context;
	(void)url;
	(void)PEM_write_bio_X509(bio, cert);
	n = BIO_get_mem_data(bio, &pem);
	buf_append(body, pem, (size_t)n);
	(void)BIO_free(bio);
	return network_is_down ? err_set(err, "no network") : 0;
}

static void
set_text(char **key, const char *text)
{
	free(*key);
	*key = strdup(text);
	assert_non_null(*key);
}

/* ---- settings ---- */

static void
test_settings(void **state)
{
	char many[SNS_INTAKE_TOPICS_MAX * 50 + 100] = "";
	struct sns_intake intake;
	struct err err;

	(void)state;
	for (int i = 0; i <= SNS_INTAKE_TOPICS_MAX; i++)
		(void)snprintf(many + strlen(many), sizeof(many) - strlen(many),
		    "arn:aws:sns:eu-west-1:123456789012:t%d, ", i);
	{
		const struct {
			const char *topics, *subjects, *buckets, *reason;
		} bad[] = {
			{ many, "sns.amazonaws.com", "", "more than 64 topics" },
			{ "arn:aws:sqs:eu-west-1:123456789012:t", "sns.amazonaws.com", "",
			    "is not like" },
			{ ARN, "", "", "one to 64 names" },
			{ ARN, many, "", "one to 64 names" },
			{ ARN, "sns.amazonaws.com", "No_Bucket", "no name of a bucket" },
		};

		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			set_text(&config.feedback_sns_topics, bad[i].topics);
			set_text(&config.feedback_sns_subjects, bad[i].subjects);
			set_text(&config.s3_buckets, bad[i].buckets);
			assert_int_equal(sns_intake_init(&intake, &config, &keys, &err), -1);
			assert_non_null(strstr(err.msg, bad[i].reason));
			sns_intake_release(&intake);
		}
	}
	set_text(&config.feedback_sns_topics, " " ARN ",\t" ARN "2\n");
	set_text(&config.feedback_sns_subjects, "sns.amazonaws.com a.example");
	set_text(&config.s3_buckets, "");
	assert_int_equal(sns_intake_init(&intake, &config, &keys, &err), 0);
	assert_int_equal(intake.policy.topic_count, 2);
	assert_int_equal(intake.cert.name_count, 2);
	assert_null(intake.cert.directory);
	assert_null(intake.cert.ca_file);
	sns_intake_release(&intake);
}

/* ---- documents ---- */

/* The answer to a document, which is taken, and the reason of the first event. */
static int
answer_to(json_t *doc, const char *header, char reason[64])
{
	char *text = json_dumps(doc, JSON_COMPACT);
	struct feedback_events events = { 0 };
	struct sns_cert_cache *cache;
	struct sns_intake intake;
	struct arena arena;
	struct err err = { 0 };
	int answer;

	arena_init(&arena, SNS_INTAKE_ARENA_MAX);
	assert_int_equal(sns_intake_init(&intake, &config, &keys, &err), 0);
	intake.cert.fetch = serve;
	cache = sns_cert_cache_new(&intake.cert, &err);
	assert_non_null(cache);
	answer = sns_intake_read(
	    &intake, cache, slice_str(text), slice_str(header), &arena, &events, &last_word, &err);
	reason[0] = '\0';
	if (answer == 200) {
		assert_true(events.count > 0);
		(void)snprintf(reason, 64, "%s", events.items[0].reason);
	} else {
		assert_true(err.msg[0] != '\0');
	}
	sns_cert_cache_free(cache);
	sns_intake_release(&intake);
	arena_release(&arena);
	free(text);
	json_decref(doc);
	return answer;
}

static json_t *
notification(const char *message)
{
	return sns_sample_of("Notification", "2", false, message, "", our_key);
}

static void
test_what_is_taken(void **state)
{
	static const struct {
		const char *message, *reason;
	} cases[] = {
		{ "hello", "unreadable" },
		{ "{\"notificationType\":\"AmazonSnsSubscriptionSucceeded\"}", "sns_test" },
		{ "{\"notificationType\":\"Bounce\",\"bounce\":{\"bounceType\":\"Permanent\","
		  "\"bounceSubType\":\"General\",\"bouncedRecipients\":[{\"emailAddress\":"
		  "\"a@example.org\"}],\"timestamp\":\"2026-11-21T17:05:42.123Z\",\"feedbackId\":"
		  "\"f\"},\"mail\":{\"timestamp\":\"2026-11-21T17:05:42.123Z\",\"messageId\":"
		  "\"m\",\"destination\":[\"a@example.org\"]}}",
		    "" },
	};
	char reason[64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(answer_to(notification(cases[i].message), "", reason), 200);
		if (cases[i].reason[0] != '\0')
			assert_string_equal(reason, cases[i].reason);
		else
			assert_true(
			    strcmp(reason, "unreadable") != 0 && strcmp(reason, "sns_test") != 0);
	}
	/* never visited, told to a person: with its own address, or with another one */
	assert_int_equal(
	    answer_to(sns_sample("SubscriptionConfirmation", "2", false, our_key), "", reason),
	    200);
	assert_string_equal(reason, "subscription_confirmation");
	assert_int_equal(answer_to(sns_sample_of("SubscriptionConfirmation", "2", false, "m",
				       "https://169.254.169.254/", our_key),
			     "", reason),
	    200);
	assert_string_equal(reason, "subscription_confirmation");
	assert_int_equal(
	    answer_to(sns_sample("UnsubscribeConfirmation", "2", false, our_key), "", reason), 200);
	assert_string_equal(reason, "unsubscribe_confirmation");
}

static void
test_what_is_refused(void **state)
{
	X509 *good = cert;
	char reason[64];
	json_t *doc;

	(void)state;
	assert_int_equal(answer_to(json_pack("{s:s}", "a", "b"), "", reason), 400);
	assert_string_equal(last_word, "document");
	doc = notification("hello");
	(void)json_object_set_new(doc, "TopicArn", json_string(ARN "x"));
	assert_int_equal(answer_to(doc, "", reason), 403);
	assert_string_equal(last_word, "topic");
	assert_int_equal(answer_to(notification("hello"), "SubscriptionConfirmation", reason), 403);
	assert_string_equal(last_word, "type_header");
	doc = notification("hello");
	(void)json_object_set_new(doc, "SigningCertURL", json_string("https://evil.example/x.pem"));
	assert_int_equal(answer_to(doc, "", reason), 403);
	assert_string_equal(last_word, "certificate_url");
	config.feedback_sns_require_v2 = true;
	assert_int_equal(
	    answer_to(sns_sample("Notification", "1", false, our_key), "", reason), 403);
	assert_string_equal(last_word, "version");
	config.feedback_sns_require_v2 = false;
	assert_int_equal(
	    answer_to(sns_sample("Notification", "2", false, their_key), "", reason), 403);
	assert_string_equal(last_word, "signature");
	cert = make_cert(our_key, "sns.evil.example", -60, 3600, NULL, NULL);
	assert_int_equal(answer_to(notification("hello"), "", reason), 403);
	assert_string_equal(last_word, "certificate");
	X509_free(cert);
	cert = good;
	/* not now: the sender tries again */
	network_is_down = true;
	assert_int_equal(answer_to(notification("hello"), "", reason), 503);
	assert_string_equal(last_word, "certificate");
	network_is_down = false;
}

/* Mail that SES received: in the notice, or in a bucket, which is asked for it only when it is one of ours. */
static void
test_mail_that_ses_received(void **state)
{
#define RECEIVED(action, content)                                                                  \
	"{\"notificationType\":\"Received\",\"receipt\":{\"recipients\":[\"b@x.test\"],"           \
	"\"action\":"                                                                              \
	"{\"type\":" action "}}," content "\"mail\":{}}"
	static const char inside[] = RECEIVED(
	    "\"SNS\",\"encoding\":\"UTF8\"", "\"content\":\"Subject: x\\r\\n\\r\\nhi\\r\\n\","),
			  object[] = RECEIVED(
			      "\"S3\",\"bucketName\":\"our-mail\",\"objectKey\":\"in/1\"", ""),
			  nowhere[] = RECEIVED("\"S3\"", "");
	char reason[64];

	(void)state;
	assert_int_equal(answer_to(notification(inside), "", reason), 200);
	assert_string_not_equal(reason, "unreadable");
	assert_int_equal(answer_to(notification(object), "", reason), 200);
	assert_string_equal(reason, "bucket_not_allowed");
	assert_int_equal(answer_to(notification(nowhere), "", reason), 200);
	assert_string_equal(reason, "unreadable");
	set_text(&config.s3_buckets, "our-mail");
	set_text(&config.s3_region, "eu-west-1");
	set_text(&config.s3_endpoint, "https://127.0.0.1:1"); /* nobody listens there */
	(void)setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE", 1);
	(void)setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
	assert_int_equal(answer_to(notification(object), "", reason), 503);
	assert_string_equal(last_word, "mail");
	set_text(&config.s3_buckets, "");
#undef RECEIVED
}

/* With however little memory: taken whole, or asked for again. Amazon does not repeat what was
 * answered with 4xx. */
static void
test_small_arenas(void **state)
{
	json_t *doc = notification("hello");
	char *text = json_dumps(doc, JSON_COMPACT);
	struct sns_cert_cache *cache;
	struct sns_intake intake;
	struct err err = { 0 };
	unsigned again = 0, whole = 0;

	(void)state;
	assert_int_equal(sns_intake_init(&intake, &config, &keys, &err), 0);
	intake.cert.fetch = serve;
	cache = sns_cert_cache_new(&intake.cert, &err);
	assert_non_null(cache);
	for (size_t room = 0; whole < 10; room += 16) {
		struct feedback_events events = { 0 };
		struct arena arena;
		int answer;

		arena_init(&arena, room);
		answer = sns_intake_read(
		    &intake, cache, slice_str(text), SLICE(""), &arena, &events, &last_word, &err);
		assert_true(answer == 200 ? events.count == 1 : answer == 503);
		again += answer == 503;
		whole += answer == 200;
		arena_release(&arena);
	}
	assert_true(again > 0);
	sns_cert_cache_free(cache);
	sns_intake_release(&intake);
	free(text);
	json_decref(doc);
}

static char ca_path[] = "/tmp/kairan-intake-ca.XXXXXX";

static int
begin(void **state)
{
	int fd = mkstemp(ca_path);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	struct err err;

	(void)state;
	if (file == NULL || config_load(&config, "", &err) < 0)
		return -1;
	our_key = EVP_RSA_gen(2048);
	their_key = EVP_RSA_gen(2048);
	cert = make_cert(our_key, "sns.amazonaws.com", -60, 3600, NULL, NULL);
	return PEM_write_X509(file, cert) == 1 ? fclose(file) : -1;
}

static int
use_our_settings(void **state)
{
	(void)state;
	set_text(&config.feedback_sns_topics, ARN);
	set_text(&config.feedback_sns_subjects, "sns.amazonaws.com");
	set_text(&config.feedback_sns_ca_file, ca_path);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	config_release(&config);
	X509_free(cert);
	EVP_PKEY_free(our_key);
	EVP_PKEY_free(their_key);
	return unlink(ca_path);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings),
		cmocka_unit_test_setup(test_what_is_taken, use_our_settings),
		cmocka_unit_test_setup(test_what_is_refused, use_our_settings),
		cmocka_unit_test_setup(test_mail_that_ses_received, use_our_settings),
		cmocka_unit_test_setup(test_small_arenas, use_our_settings),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin, end);
}
