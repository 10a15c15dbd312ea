/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns: documents signed by a key made here; every field changed in turn; URL tricks; the
 * certificate cache with a counted fetch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sns.h"
#include "sns_cert.h"
#include "sns_sample.h"

static const struct slice topics[] = { { ARN, sizeof(ARN) - 1 } };
static const struct sns_policy policy = { topics, 1, false };
static struct arena arena;
static EVP_PKEY *rsa_key;
static X509 *rsa_cert; /* signs documents; trusts itself in most tests */
static EVP_PKEY *ca_key;
static X509 *ca_cert;

static json_t *
make_document(const char *type, const char *version, bool with_subject)
{
	return sns_sample(type, version, with_subject, rsa_key);
}

static int
verify(const struct sns_message *msg, X509 *cert, bool require_v2, struct err *err)
{
	struct sns_key *key = sns_key_new(cert, err);
	int result = key != NULL ? sns_verify(msg, key, require_v2, &arena, err) : -1;

	/* a key serves many signatures */
	if (key != NULL)
		assert_int_equal(sns_verify(msg, key, require_v2, &arena, err), result);
	sns_key_free(key);
	return result;
}

/* Parse, admit and verify: 0 passed, 1 not parsed, 2 not admitted, 3 not verified. */
static int
check_text(const char *text, size_t n, bool require_v2)
{
	struct sns_policy p = policy;
	struct sns_message msg;
	struct err err = { 0, "" };

	p.require_v2 = require_v2;
	arena_reset(&arena);
	if (sns_parse(slice_make(text, n), &arena, &msg, &err) < 0)
		return 1;
	if (sns_admit(&msg, &p, SLICE(""), &err) < 0)
		return 2;
	return verify(&msg, rsa_cert, require_v2, &err) < 0 ? 3 : 0;
}

/* Takes the document. */
static int
check(json_t *doc)
{
	char *text = json_dumps(doc, JSON_COMPACT);
	int result = check_text(text, strlen(text), false);

	free(text);
	json_decref(doc);
	return result;
}

static void
test_good(void **state)
{
	static const char *const types[] = { "Notification", "SubscriptionConfirmation",
		"UnsubscribeConfirmation" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(check(make_document(types[i], "1", false)), 0);
		assert_int_equal(check(make_document(types[i], "2", true)), 0);
		assert_int_equal(check(make_document(types[i], "1", true)), 0);
		assert_int_equal(check(make_document(types[i], "2", false)), 0);
	}
}

static void
test_version(void **state)
{
	json_t *doc;
	char *text;

	(void)state;
	doc = make_document("Notification", "1", false);
	text = json_dumps(doc, 0);
	assert_int_equal(check_text(text, strlen(text), true), 2);
	json_object_set_new(doc, "SignatureVersion", json_string("2"));
	{
		json_t *second = make_document("Notification", "2", false);
		char *good = json_dumps(second, 0);

		assert_int_equal(check_text(good, strlen(good), true), 0);
		free(good);
		json_decref(second);
	}
	free(text);
	/* an unsigned field says another version: the hash does not fit */
	json_object_set_new(doc, "SignatureVersion", json_string("2"));
	assert_int_equal(check(doc), 3);
	doc = make_document("Notification", "2", false);
	json_object_set_new(doc, "SignatureVersion", json_string("1"));
	assert_int_equal(check(doc), 3);
	doc = make_document("Notification", "2", false);
	json_object_set_new(doc, "SignatureVersion", json_string("3"));
	assert_int_equal(check(doc), 1);
	doc = make_document("Notification", "2", false);
	json_object_set_new(doc, "SignatureVersion", json_integer(2));
	assert_int_equal(check(doc), 1);
}

/* Each signed field changed by one character, removed, or given another type. */
static void
test_tampering(void **state)
{
	static const struct {
		const char *type, *key, *value;
		int result;
	} rows[] = {
		{ "Notification", "Message", "hellp", 3 },
		{ "Notification", "Message", "", 3 },
		{ "Notification", "Message", "hello\n", 3 },
		{ "Notification", "MessageId", "id-2", 3 },
		{ "Notification", "Subject", "News", 3 },
		{ "Notification", "Timestamp", "2026-11-21T17:05:42.124Z", 3 },
		{ "Notification", "Timestamp", "soon", 1 },
		{ "Notification", "TopicArn", "arn:aws:sns:eu-central-1:999999999999:kairan-events",
		    2 },
		{ "Notification", "Type", "SubscriptionConfirmation", 1 },
		{ "Notification", "Type", "notification", 1 },
		{ "Notification", "Signature", "AAAA", 3 },
		{ "Notification", "Signature", "", 3 },
		{ "Notification", "Signature", "not base64!", 3 },
		{ "Notification", "Signature", "=====", 3 },
		{ "SubscriptionConfirmation", "Token", "x", 3 },
		{ "SubscriptionConfirmation", "SubscribeURL", "https://169.254.169.254/", 3 },
		{ "SubscriptionConfirmation", "Type", "UnsubscribeConfirmation", 3 },
		{ "SubscriptionConfirmation", "Message", "x", 3 },
	};
	static const char *const required[] = { "Type", "MessageId", "TopicArn", "Message",
		"Timestamp", "SignatureVersion", "Signature", "SigningCertURL", "Token",
		"SubscribeURL" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *doc = make_document(rows[i].type, "2", true);
		json_object_set_new(doc, rows[i].key, json_string(rows[i].value));
		assert_int_equal(check(doc), rows[i].result);
	}
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		json_t *doc = make_document("SubscriptionConfirmation", "2", true);
		json_object_del(doc, required[i]);
		assert_int_equal(check(doc), 1);
		doc = make_document("SubscriptionConfirmation", "2", true);
		json_object_set_new(doc, required[i], json_integer(1));
		assert_int_equal(check(doc), 1);
	}
}

/* Where verifiers of others have gone wrong: the string to sign. */
static void
test_canonical(void **state)
{
	static const struct {
		const char *json, *expected;
	} rows[] = {
		/* 1 Subject absent, 2 null, 3 empty, 4 present */
		{ "",
		    "Message\nm\nMessageId\ni\nTimestamp\n2026-01-01T00:00:00Z\nTopicArn\nt\nType\n"
		    "Notification\n" },
		{ ",\"Subject\":null",
		    "Message\nm\nMessageId\ni\nTimestamp\n2026-01-01T00:00:00Z\nTopicArn\nt\nType\n"
		    "Notification\n" },
		{ ",\"Subject\":\"\"",
		    "Message\nm\nMessageId\ni\nSubject\n\nTimestamp\n2026-01-01T00:00:00Z\n"
		    "TopicArn\nt\nType\nNotification\n" },
		{ ",\"Subject\":\"s\"",
		    "Message\nm\nMessageId\ni\nSubject\ns\nTimestamp\n2026-01-01T00:00:00Z\n"
		    "TopicArn\nt\nType\nNotification\n" },
		/* 5 a newline inside a value stays as it is */
		{ ",\"Subject\":\"a\\nTimestamp\\nb\"",
		    "Message\nm\nMessageId\ni\nSubject\na\nTimestamp\nb\nTimestamp\n"
		    "2026-01-01T00:00:00Z\nTopicArn\nt\nType\nNotification\n" },
		/* 6 escapes are decoded, 7 nothing is trimmed */
		{ ",\"Subject\":\"\\u3042\\/\\\"\"",
		    "Message\nm\nMessageId\ni\nSubject\n\xE3\x81\x82/\"\nTimestamp\n"
		    "2026-01-01T00:00:00Z\nTopicArn\nt\nType\nNotification\n" },
		{ ",\"Subject\":\" s \"",
		    "Message\nm\nMessageId\ni\nSubject\n s \nTimestamp\n2026-01-01T00:00:00Z\n"
		    "TopicArn\nt\nType\nNotification\n" },
		/* 8 fields that are not signed stay out, those of other types too */
		{ ",\"UnsubscribeURL\":\"u\",\"MessageAttributes\":{\"a\":{}},\"Token\":\"k\","
		  "\"SubscribeURL\":\"s\"",
		    "Message\nm\nMessageId\ni\nTimestamp\n2026-01-01T00:00:00Z\nTopicArn\nt\nType\n"
		    "Notification\n" },
	};
	struct sns_message msg;
	struct slice text;
	struct err err;
	char doc[2000];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		arena_reset(&arena);
		(void)snprintf(doc, sizeof(doc),
		    "{\"Type\":\"Notification\",\"MessageId\":\"i\",\"TopicArn\":\"t\",\"Message\":"
		    "\"m\",\"Timestamp\":\"2026-01-01T00:00:00Z\",\"SignatureVersion\":\"1\","
		    "\"Signature\":\"AA==\",\"SigningCertURL\":\"c\"%s}",
		    rows[i].json);
		assert_int_equal(sns_parse(slice_str(doc), &arena, &msg, &err), 0);
		assert_int_equal(sns_canonical(&msg, &arena, &text), 0);
		assert_string_equal(text.ptr, rows[i].expected);
		assert_int_equal(text.len, strlen(rows[i].expected));
	}
	/* 9 the confirmations have another list, and no Subject even if one is there */
	(void)snprintf(doc, sizeof(doc),
	    "{\"Subject\":\"x\",\"SubscribeURL\":\"u\",\"Token\":\"k\",\"Type\":"
	    "\"SubscriptionConfirmation\",\"MessageId\":\"i\",\"TopicArn\":\"t\",\"Message\":\"m\","
	    "\"Timestamp\":\"2026-01-01T00:00:00Z\",\"SignatureVersion\":\"1\",\"Signature\":"
	    "\"AA==\",\"SigningCertURL\":\"c\"}");
	assert_int_equal(sns_parse(slice_str(doc), &arena, &msg, &err), 0);
	assert_int_equal(sns_canonical(&msg, &arena, &text), 0);
	assert_string_equal(text.ptr,
	    "Message\nm\nMessageId\ni\nSubscribeURL\nu\nTimestamp\n2026-01-01T00:00:00Z\nToken\nk\n"
	    "TopicArn\nt\nType\nSubscriptionConfirmation\n");
	/* 10 a NUL in Message counts as a byte of what is signed */
	(void)snprintf(doc, sizeof(doc),
	    "{\"Type\":\"Notification\",\"MessageId\":\"i\",\"TopicArn\":\"t\",\"Message\":"
	    "\"a\\u0000b\",\"Timestamp\":\"2026-01-01T00:00:00Z\",\"SignatureVersion\":\"1\","
	    "\"Signature\":\"AA==\",\"SigningCertURL\":\"c\"}");
	assert_int_equal(sns_parse(slice_str(doc), &arena, &msg, &err), 0);
	assert_int_equal(sns_canonical(&msg, &arena, &text), 0);
	assert_memory_equal(text.ptr, "Message\na\0b\nMessageId\n", 22);
	assert_int_equal(msg.message.len, 3);
}

static void
test_json(void **state)
{
	static const char *const bad[] = { "", "[]", "x", "{", "null", "\xEF\xBB\xBF{}", "{} x",
		"{\"Type\":\"Notification\",\"Type\":\"Notification\"}",
		"{\"Message\":\"a\",\"Mess\\u0061ge\":\"b\"}", "{\"a\":1e99999}",
		"{\"a\":\"\\ud800\"}", "{\"a\":\"\xFF\"}",
		"{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}",
		"{\"notificationType\":\"Bounce\",\"mail\":{}}" };
	static const char *const nul_keys[] = { "MessageId", "TopicArn", "Timestamp", "Signature",
		"SigningCertURL", "Type" };
	json_t *doc;
	char *text;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(check_text(bad[i], strlen(bad[i]), false), 1);
	for (size_t i = 0; i < sizeof(nul_keys) / sizeof(nul_keys[0]); i++) {
		doc = make_document("Notification", "2", false);
		json_object_set_new(doc, nul_keys[i], json_stringn("a\0b", 3));
		assert_int_equal(check(doc), 1);
	}
	doc = make_document("Notification", "2", false);
	json_object_set_new(doc, "MessageId",
	    json_string("a\x01"
			"b"));
	assert_int_equal(check(doc), 3);
	/* a good document with a key twice, with something deep in a field that nobody reads */
	doc = make_document("Notification", "2", false);
	text = json_dumps(doc, JSON_COMPACT);
	{
		char twice[4000], deep[4000];
		(void)snprintf(twice, sizeof(twice), "{\"Message\":\"other\",%s", text + 1);
		assert_int_equal(check_text(twice, strlen(twice), false), 1);
		(void)snprintf(deep, sizeof(deep), "{\"MessageAttributes\":%s%s,%s",
		    "[[[[[[[[[[[[[[[[[[[[", "]]]]]]]]]]]]]]]]]]]]", text + 1);
		assert_int_equal(check_text(deep, strlen(deep), false), 1);
		(void)snprintf(
		    deep, sizeof(deep), "{\"MessageAttributes\":%s%s,%s", "[[[[", "]]]]", text + 1);
		assert_int_equal(check_text(deep, strlen(deep), false), 0);
	}
	free(text);
	json_decref(doc);
	/* size and depth */
	text = malloc(SNS_BODY_MAX + 2);
	memset(text, ' ', SNS_BODY_MAX + 1);
	assert_int_equal(check_text(text, SNS_BODY_MAX + 1, false), 1);
	memset(text, '[', SNS_BODY_MAX);
	assert_int_equal(check_text(text, SNS_BODY_MAX, false), 1);
	free(text);
}

/* A certificate from anywhere else is not even fetched. */
static void
test_admits_certificates_of_sns(void **state)
{
	static const struct {
		const char *url;
		int result;
	} cases[] = {
		{ CERT_URL, 0 },
		{ "https://sns.eu-central-1.amazonaws.com.example/"
		  "SimpleNotificationService-0123abcdef.pem",
		    -1 },
		{ "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcdef.pem",
		    -1 },
		{ "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcdef.pem",
		    -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sns_message msg = { .type = SNS_NOTIFICATION,
			.signature_version = 2,
			.topic_arn = SLICE(ARN),
			.cert_url = slice_str(cases[i].url) };
		struct err err = { 0 };

		assert_int_equal(sns_admit(&msg, &policy, SLICE(""), &err), cases[i].result);
	}
}

static void
test_cert_urls(void **state)
{
	static const char *const bad[] = { "",
		"http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com.cn/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com.evil.test/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com@evil.test/SimpleNotificationService-0.pem",
		"https://evil.test/sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"https://evil.s3.amazonaws.com/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com:443/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com./SimpleNotificationService-0.pem",
		"https://SNS.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"HTTPS://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"https:\\\\sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com\\SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem?x=1",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem#x",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem/",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-%30.pem",
		"https://sns.eu-central-1.amazonaws.com/../SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com//SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com/a/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.PEM",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-AB.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem\n",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0\t.pem",
		" https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws\xE3\x80\x82"
		"com/SimpleNotificationService-0.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0g.pem",
		"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0/.pem",
		"https://sns.eu-central-1.amazonaws.com/" };
	static const char nul[] =
	    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem\0x";
	char longer[700];

	(void)state;
	assert_true(sns_cert_url_check(SLICE(CERT_URL), SLICE("eu-central-1")));
	assert_true(sns_cert_url_check(
	    SLICE("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0f.pem"),
	    SLICE("cn-north-1")));
	assert_false(sns_cert_url_check(
	    SLICE("https://sns.cn-north-1.amazonaws.com/SimpleNotificationService-0f.pem"),
	    SLICE("cn-north-1")));
	assert_false(sns_cert_url_check(
	    SLICE("https://sns..amazonaws.com/SimpleNotificationService-0f.pem"), SLICE("")));
	assert_false(sns_cert_url_check(slice_make(nul, sizeof(nul) - 1), SLICE("eu-central-1")));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(sns_cert_url_check(slice_str(bad[i]), SLICE("eu-central-1")));
	(void)snprintf(longer, sizeof(longer),
	    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-%0128d.pem", 0);
	assert_true(sns_cert_url_check(slice_str(longer), SLICE("eu-central-1")));
	(void)snprintf(longer, sizeof(longer),
	    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-%0129d.pem", 0);
	assert_false(sns_cert_url_check(slice_str(longer), SLICE("eu-central-1")));
	(void)snprintf(longer, sizeof(longer),
	    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-%0500d.pem", 0);
	assert_false(sns_cert_url_check(slice_str(longer), SLICE("eu-central-1")));
}

static void
test_topics(void **state)
{
	static const char *const none[] = { "", "arn", "xrn:aws:sns:eu-central-1:123456789012:x",
		"arn:a:sns:eu-central-1:123456789012:x", "arn:AWS:sns:eu-central-1:123456789012:x",
		"arn:aws:sns:EU-central-1:123456789012:x",
		"arn:aws:sns:eu{central-1:123456789012:x", "arn:aws:sns:eu:123456789012:x",
		"arn:aws:sns:eu-central-1-eu-central-1-eu-cent:123456789012:x",
		"arn:aws:sns:eu-central-1:12345678901x:x",
		"arn:aws:sns:eu-central-1:12345678901/:x",
		"arn:aws:sns:eu-central-1:123456789012:a/b",
		"arn:aws:sns:eu-central-1:123456789012:a b",
		"arn:aws:sns:eu-central-1:123456789012:{",
		"arn:aws:sns:eu-central-1:123456789012" };
	struct sns_message msg = { .type = SNS_NOTIFICATION };
	char longest[400];

	(void)state;
	assert_int_equal(
	    sns_topic_region(SLICE("arn:aws-cn:sns:cn-north-1:123456789012:Az_0-9.fifo")).len, 10);
	assert_true(sns_topic_allowed(SLICE(ARN), topics, 1));
	assert_false(sns_topic_allowed(SLICE(ARN "x"), topics, 1));
	assert_false(sns_topic_allowed(SLICE(""), topics, 1));
	assert_false(sns_topic_allowed(SLICE(ARN), topics, 0));
	assert_true(slice_equal(sns_topic_region(SLICE(ARN)), SLICE("eu-central-1")));
	assert_int_equal(sns_topic_region(SLICE("arn:aws:sqs:eu-central-1:123456789012:x")).len, 0);
	assert_int_equal(sns_topic_region(SLICE("arn:aws:sns:eu-central-1:12345678901:x")).len, 0);
	assert_int_equal(sns_topic_region(SLICE("arn:aws:sns:evil.test/:123456789012:x")).len, 0);
	assert_int_equal(sns_topic_region(SLICE("arn:aws:sns:eu-central-1:123456789012:")).len, 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_int_equal(sns_topic_region(slice_str(none[i])).len, 0);
	(void)snprintf(longest, sizeof(longest), "arn:aws:sns:eu-central-1:123456789012:%0256d", 0);
	assert_int_equal(sns_topic_region(slice_str(longest)).len, 12);
	(void)snprintf(longest, sizeof(longest), "arn:aws:sns:eu-central-1:123456789012:%0257d", 0);
	assert_int_equal(sns_topic_region(slice_str(longest)).len, 0);
	assert_false(sns_topic_allowed(SLICE(""), &(struct slice){ "", 0 }, 1));
	assert_string_equal(sns_type_name((enum sns_type)7), "");
	assert_true(sns_type_header_check(&msg, SLICE("")));
	assert_true(sns_type_header_check(&msg, SLICE("Notification")));
	assert_false(sns_type_header_check(&msg, SLICE("SubscriptionConfirmation")));
}

static void
test_subscribe_urls(void **state)
{
	struct sns_message msg = { .type = SNS_SUBSCRIPTION_CONFIRMATION,
		.topic_arn = SLICE(ARN),
		.token = SLICE(TOKEN_TEXT),
		.subscribe_url = SLICE(SUBSCRIBE_URL) };
	static const char *const bad[] = { "http://169.254.169.254/latest/meta-data/",
		"https://sns.eu-central-1.amazonaws.com",
		"https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic&TopicArn=" ARN
		"&Token=" TOKEN_TEXT,
		SUBSCRIBE_URL "&x=y", "https://sns.eu-central-1.amazonaws.com@evil.test/?Action=x",
		"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" ARN
		"&Token=" TOKEN_TEXT,
		"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" ARN
		"2&Token=" TOKEN_TEXT,
		"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="
		"arn:aws:sns:eu-central-1:999999999999:of-others&Token=" TOKEN_TEXT,
		"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" ARN
		"&token=" TOKEN_TEXT };
	static const struct {
		const char *text;
		bool good;
	} tokens[] = { { "aZ09-_", true }, { "", false }, { "a&b", false }, { "a/b", false },
		{ "a:b", false }, { "a@b", false }, { "a[b", false }, { "a`b", false },
		{ "a{b", false } };

	(void)state;
	assert_true(sns_subscribe_url_check(&msg));
	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		struct sns_message other = msg;
		char url[400];

		(void)snprintf(url, sizeof(url),
		    "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn="
		    "%s&Token=%s",
		    ARN, tokens[i].text);
		other.token = slice_str(tokens[i].text);
		other.subscribe_url = slice_str(url);
		assert_int_equal(sns_subscribe_url_check(&other), tokens[i].good);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sns_message other = msg;
		other.subscribe_url = slice_str(bad[i]);
		assert_false(sns_subscribe_url_check(&other));
	}
	msg.type = SNS_UNSUBSCRIBE_CONFIRMATION;
	assert_false(sns_subscribe_url_check(&msg));
}

/* Limits of fields, and a Subject of another kind. */
static void
test_fields(void **state)
{
	static const struct {
		const char *key;
		size_t max;
	} fields[] = { { "MessageId", 256 }, { "TopicArn", 512 }, { "Timestamp", 256 },
		{ "Signature", 2048 }, { "SigningCertURL", 512 }, { "Subject", 4096 },
		{ "Message", SNS_MESSAGE_MAX } };
	char *text = calloc(1, SNS_MESSAGE_MAX + 2);
	json_t *doc;

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		memset(text, 'x', fields[i].max + 1);
		text[fields[i].max + 1] = '\0';
		doc = make_document("Notification", "2", true);
		json_object_set_new(doc, fields[i].key, json_string(text));
		assert_int_equal(check(doc), 1);
	}
	doc = make_document("Notification", "2", false);
	json_object_set_new(doc, "Subject", json_integer(1));
	assert_int_equal(check(doc), 1);
	free(text);
}

/* Every length and padding but the strict ones is no signature. */
static void
test_base64(void **state)
{
	static const char *const bad[] = { "A", "AA", "AAA", "AAAAA", "====", "A===", "AA=A",
		"AAA-", "AA_A", "AAA:", "AA[A", "A`AA", "{AAA", "AA==AAAA", "AA A" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *doc = make_document("Notification", "2", false);

		json_object_set_new(doc, "Signature", json_string(bad[i]));
		assert_int_equal(check(doc), 3);
	}
}

/* A caller that did not admit the document first gets no yes either. */
static void
test_versions_are_checked_again(void **state)
{
	json_t *doc = make_document("Notification", "1", false);
	char *text = json_dumps(doc, 0), longest[4096];
	struct sns_message msg;
	struct err err;

	(void)state;
	memset(longest, 'A', sizeof(longest));
	assert_int_equal(sns_parse(slice_str(text), &arena, &msg, &err), 0);
	assert_int_equal(verify(&msg, rsa_cert, false, &err), 0);
	assert_int_equal(verify(&msg, rsa_cert, true, &err), -1);
	msg.signature_version = 3;
	assert_int_equal(verify(&msg, rsa_cert, false, &err), -1);
	msg.signature_version = 1;
	msg.signature = slice_make(longest, sizeof(longest));
	assert_int_equal(verify(&msg, rsa_cert, false, &err), -1);
	assert_string_equal(err.msg, "Signature is not base64");
	free(text);
	json_decref(doc);
}

/* The certificate's own key: another one, too short, of another kind. */
static void
test_keys(void **state)
{
	EVP_PKEY *keys[] = { EVP_RSA_gen(2048), EVP_RSA_gen(1024), EVP_EC_gen("P-256") };
	json_t *doc = make_document("Notification", "2", false);
	char *text = json_dumps(doc, 0);
	EVP_PKEY *usual = rsa_key;
	struct sns_message msg;
	struct err err;
	X509 *small;

	(void)state;
	assert_int_equal(sns_parse(slice_str(text), &arena, &msg, &err), 0);
	assert_int_equal(verify(&msg, rsa_cert, true, &err), 0);
	/* a true signature, by a key that is too short */
	free(text);
	json_decref(doc);
	rsa_key = keys[1];
	doc = make_document("Notification", "2", false);
	rsa_key = usual;
	text = json_dumps(doc, 0);
	assert_int_equal(sns_parse(slice_str(text), &arena, &msg, &err), 0);
	small = make_cert(keys[1], "sns.amazonaws.com", -60, 3600, NULL, NULL);
	assert_int_equal(verify(&msg, small, false, &err), -1);
	X509_free(small);
	small = X509_new(); /* there is no key in it */
	assert_int_equal(verify(&msg, small, false, &err), -1);
	X509_free(small);
	for (size_t i = 0; i < 3; i++) {
		X509 *cert = make_cert(keys[i], "sns.amazonaws.com", -60, 3600, NULL, NULL);
		assert_int_equal(verify(&msg, cert, false, &err), -1);
		X509_free(cert);
		EVP_PKEY_free(keys[i]);
	}
	free(text);
	json_decref(doc);
}

struct fetcher {
	X509 *cert;
	int calls;
	bool fails;
};

static int
fetch(void *context, struct slice url, struct buf *body, struct err *err)
{
	struct fetcher *f = context;
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long n;

	(void)url;
	f->calls++;
	if (f->cert != NULL)
		(void)PEM_write_bio_X509(bio, f->cert);
	n = BIO_get_mem_data(bio, &data);
	if (n > 0)
		buf_append(body, data, (size_t)n);
	(void)BIO_free(bio);
	return f->fails ? err_set(err, "no network") : 0;
}

static int
fetch_many(void *context, struct slice url, struct buf *body, struct err *err)
{
	X509 **certs = context;

	for (size_t i = 0; i < 12 && certs[i] != NULL; i++) {
		struct fetcher f = { .cert = certs[i] };

		(void)fetch(&f, url, body, err);
	}
	return 0;
}

static char ca_path[] = "/tmp/kairan-test-ca-XXXXXX";

static void
test_cache(void **state)
{
	struct fetcher f = { rsa_cert, 0, false };
	struct sns_cert_config config = { NULL, ca_path, NULL, 0, fetch, &f };
	struct err err = { 0, "" };
	struct sns_cert_cache *cache = sns_cert_cache_new(&config, &err);
	int64_t now = (int64_t)time(NULL);
	struct sns_key *key;
	char url[100];

	(void)state;
	assert_non_null(cache);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(
		    sns_cert_get(cache, SLICE(CERT_URL), now + i, &key, &err), SNS_CERT_OK);
		assert_non_null(key);
	}
	assert_int_equal(f.calls, 1);
	/* kept for a day at most, and never past its own end */
	assert_int_equal(
	    sns_cert_get(cache, SLICE(CERT_URL), now + SNS_CERT_CACHE_S, &key, &err), SNS_CERT_OK);
	assert_int_equal(f.calls, 2);
	assert_int_equal(
	    sns_cert_get(cache, SLICE(CERT_URL), now + SNS_CERT_CACHE_S + 4000 * 24, &key, &err),
	    SNS_CERT_REFUSED);
	assert_null(key);
	/* failures: temporary, remembered for a minute */
	f.fails = true;
	f.calls = 0;
	for (int i = 0; i < 5; i++)
		assert_int_equal(
		    sns_cert_get(cache, SLICE("u"), now + i, &key, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(f.calls, 1);
	f.fails = false;
	assert_int_equal(
	    sns_cert_get(cache, SLICE("u"), now + SNS_CERT_NEGATIVE_S, &key, &err), SNS_CERT_OK);
	/* a flood of addresses does not become a flood of fetches, nor of memory */
	f.calls = 0;
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(url, sizeof(url), "u%d", i);
		(void)!sns_cert_get(cache, slice_str(url), now + 200, &key, &err);
	}
	assert_in_range(f.calls, 1, 10);
	sns_cert_cache_free(cache);
}

/* Strangers who know a topic make up names on the right host: what was good before is renewed all the same. */
static void
test_cache_renewal(void **state)
{
	struct fetcher f = { rsa_cert, 0, false };
	struct sns_cert_config config = { NULL, ca_path, NULL, 0, fetch, &f };
	struct err err = { 0, "" };
	struct sns_cert_cache *cache = sns_cert_cache_new(&config, &err);
	int64_t now = (int64_t)time(NULL), later = now + SNS_CERT_CACHE_S;
	struct sns_key *key;
	char url[100];

	(void)state;
	assert_int_equal(sns_cert_get(cache, SLICE(CERT_URL), now, &key, &err), SNS_CERT_OK);
	f.fails = true;
	for (int i = 0; i < 100; i++) {
		(void)snprintf(url, sizeof(url), "u%d", i);
		assert_int_equal(
		    sns_cert_get(cache, slice_str(url), later, &key, &err), SNS_CERT_TEMPORARY);
	}
	assert_in_range(f.calls, 2, 11);
	/* one failure a minute, and not the strangers' */
	f.calls = 0;
	for (int i = 0; i < 5; i++)
		assert_int_equal(sns_cert_get(cache, SLICE(CERT_URL), later + i, &key, &err),
		    SNS_CERT_TEMPORARY);
	assert_int_equal(f.calls, 1);
	for (int i = 100; i < 200; i++) {
		(void)snprintf(url, sizeof(url), "u%d", i);
		(void)!sns_cert_get(cache, slice_str(url), later + SNS_CERT_NEGATIVE_S, &key, &err);
	}
	f.fails = false;
	assert_int_equal(
	    sns_cert_get(cache, SLICE(CERT_URL), later + SNS_CERT_NEGATIVE_S, &key, &err),
	    SNS_CERT_OK);
	assert_non_null(key);
	sns_cert_cache_free(cache);
}

/* Addresses that were never checked, and clocks that go back. */
static void
test_cache_edges(void **state)
{
	struct fetcher f = { rsa_cert, 0, false };
	struct sns_cert_config config = { NULL, ca_path, NULL, 0, fetch, &f };
	struct err err = { 0, "" };
	struct sns_cert_cache *cache = sns_cert_cache_new(&config, &err);
	int64_t now = (int64_t)time(NULL);
	char longest[600];
	struct sns_key *key;

	(void)state;
	memset(longest, 'u', sizeof(longest));
	assert_int_equal(sns_cert_get(cache, SLICE(""), now, &key, &err), SNS_CERT_REFUSED);
	assert_int_equal(
	    sns_cert_get(cache, slice_make(longest, 513), now, &key, &err), SNS_CERT_REFUSED);
	assert_int_equal(sns_cert_get(cache, SLICE("a\0b"), now, &key, &err), SNS_CERT_REFUSED);
	assert_int_equal(f.calls, 0);
	assert_int_equal(
	    sns_cert_get(cache, slice_make(longest, 512), now, &key, &err), SNS_CERT_OK);
	assert_int_equal(f.calls, 1);
	/* the clock is set back by an hour, then by less than the life of a failure */
	assert_int_equal(
	    sns_cert_get(cache, slice_make(longest, 512), now - 30, &key, &err), SNS_CERT_OK);
	assert_int_equal(f.calls, 2);
	f.fails = true;
	assert_int_equal(sns_cert_get(cache, SLICE("u"), now, &key, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(sns_cert_get(cache, SLICE("u"), now - 10, &key, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(f.calls, 4);
	sns_cert_cache_free(cache);
	sns_cert_cache_free(NULL);
	config.ca_file = "/nonexistent/ca.pem";
	assert_null(sns_cert_cache_new(&config, &err));
	assert_non_null(strstr(err.msg, "/nonexistent/ca.pem"));
}

/* What a file or a server may hold instead of one certificate. */
static void
test_bundles(void **state)
{
	X509 *many[12], *noise = make_cert(ca_key, "noise.example", -60, 3600, NULL, NULL);
	struct sns_cert_config config = { NULL, ca_path, NULL, 0, fetch_many, many };
	struct err err = { 0, "" };
	int64_t now = (int64_t)time(NULL);
	struct sns_cert_cache *cache;
	struct sns_key *key;

	(void)state;
	/* ours and more behind it than are read; ours behind another one; none */
	for (size_t i = 0; i < 12; i++)
		many[i] = i == 0 ? rsa_cert : noise;
	cache = sns_cert_cache_new(&config, &err);
	assert_int_equal(sns_cert_get(cache, SLICE("a"), now, &key, &err), SNS_CERT_OK);
	many[0] = noise;
	many[1] = rsa_cert;
	assert_int_equal(sns_cert_get(cache, SLICE("b"), now, &key, &err), SNS_CERT_REFUSED);
	memset(many, 0, sizeof(many));
	assert_int_equal(sns_cert_get(cache, SLICE("c"), now, &key, &err), SNS_CERT_REFUSED);
	assert_string_equal(err.msg, "the certificate is not PEM");
	/* a life that is none */
	for (int i = 0; i < 2; i++) {
		many[0] = make_cert(ca_key, "sns.amazonaws.com", -60, 3600, NULL, NULL);
		(void)ASN1_STRING_set(
		    i == 0 ? X509_getm_notBefore(many[0]) : X509_getm_notAfter(many[0]), "soon", 4);
		assert_true(X509_sign(many[0], ca_key, EVP_sha256()) > 0);
		assert_int_equal(
		    sns_cert_get(cache, i == 0 ? SLICE("d") : SLICE("e"), now, &key, &err),
		    SNS_CERT_REFUSED);
		X509_free(many[0]);
	}
	/* its life ends while it is in the cache */
	many[0] = make_cert(rsa_key, "sns.amazonaws.com", -60, 100, ca_cert, ca_key);
	assert_int_equal(sns_cert_get(cache, SLICE("f"), now, &key, &err), SNS_CERT_OK);
	assert_int_equal(sns_cert_get(cache, SLICE("f"), now + 200, &key, &err), SNS_CERT_REFUSED);
	X509_free(many[0]);
	sns_cert_cache_free(cache);
	X509_free(noise);
}

static void
test_certificates(void **state)
{
	EVP_PKEY *small = EVP_RSA_gen(1024), *other = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");
	X509 *certs[] = {
		make_cert(other, "sns.amazonaws.com", -60, 3600, ca_cert, ca_key),
		make_cert(other, "sns.evil.test", -60, 3600, ca_cert, ca_key),
		make_cert(other, "sns.amazonaws.com", -7200, -3600, ca_cert, ca_key),
		make_cert(other, "sns.amazonaws.com", 3600, 7200, ca_cert, ca_key),
		make_cert(small, "sns.amazonaws.com", -60, 3600, ca_cert, ca_key),
		make_cert(ec, "sns.amazonaws.com", -60, 3600, ca_cert, ca_key),
		make_cert(other, "sns.amazonaws.com", -60, 3600, NULL, NULL), /* self-signed */
		make_cert(other, "*.amazonaws.com", -60, 3600, ca_cert, ca_key),
		NULL,
	};
	struct err err = { 0, "" };
	struct sns_key *key;

	(void)state;
	for (size_t i = 0; i < sizeof(certs) / sizeof(certs[0]); i++) {
		struct fetcher f = { certs[i], 0, false };
		struct sns_cert_config config = { NULL, ca_path, NULL, 0, fetch, &f };
		struct sns_cert_cache *cache = sns_cert_cache_new(&config, &err);

		assert_int_equal(
		    sns_cert_get(cache, SLICE(CERT_URL), (int64_t)time(NULL), &key, &err),
		    i == 0 ? SNS_CERT_OK : SNS_CERT_REFUSED);
		sns_cert_cache_free(cache);
		/* without ca_file: self-signed is refused, a missing intermediate is not */
		config.ca_file = NULL;
		cache = sns_cert_cache_new(&config, &err);
		assert_int_equal(
		    sns_cert_get(cache, SLICE(CERT_URL), (int64_t)time(NULL), &key, &err),
		    i == 0 ? SNS_CERT_OK : SNS_CERT_REFUSED);
		sns_cert_cache_free(cache);
		X509_free(certs[i]);
	}
	EVP_PKEY_free(small);
	EVP_PKEY_free(other);
	EVP_PKEY_free(ec);
}

/* Valid from the first second of its life (RFC 5280 4.1.2.5), and not in the second of its end. */
static void
test_certificate_life(void **state)
{
	EVP_PKEY *other = EVP_RSA_gen(2048);
	struct fetcher f = { make_cert(other, "sns.amazonaws.com", 100, 200, ca_cert, ca_key), 0,
		false };
	struct sns_cert_config config = { NULL, ca_path, NULL, 0, fetch, &f };
	struct err err = { 0, "" };
	struct tm from, until;

	(void)state;
	assert_int_equal(ASN1_TIME_to_tm(X509_get0_notBefore(f.cert), &from), 1);
	assert_int_equal(ASN1_TIME_to_tm(X509_get0_notAfter(f.cert), &until), 1);
	for (int i = 0; i < 4; i++) {
		int64_t now_s = (int64_t)timegm(i < 2 ? &from : &until) - (i % 2 == 0);
		struct sns_cert_cache *cache = sns_cert_cache_new(&config, &err);
		struct sns_key *key;

		assert_int_equal(sns_cert_get(cache, SLICE(CERT_URL), now_s, &key, &err),
		    i == 1 || i == 2 ? SNS_CERT_OK : SNS_CERT_REFUSED);
		sns_cert_cache_free(cache);
	}
	X509_free(f.cert);
	EVP_PKEY_free(other);
}

static void
test_directory(void **state)
{
	char directory[] = "/tmp/kairan-test-certs-XXXXXX", path[200];
	struct fetcher f = { NULL, 0, true };
	static const char *const names[] = { "sns.amazonaws.com" };
	struct sns_cert_config config = { directory, ca_path, names, 1, fetch, &f };
	struct err err;
	struct sns_cert_cache *cache = sns_cert_cache_new(&config, &err);
	int64_t now = (int64_t)time(NULL);
	char longest[1100];
	struct sns_key *key;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(
	    path, sizeof(path), "%s/SimpleNotificationService-0123abcdef.pem", directory);
	file = fopen(path, "w");
	assert_non_null(file);
	(void)PEM_write_X509(file, rsa_cert);
	(void)fclose(file);
	assert_int_equal(
	    sns_cert_get(cache, SLICE(CERT_URL), (int64_t)time(NULL), &key, &err), SNS_CERT_OK);
	assert_int_equal(f.calls, 0);
	/* not there, no name of a file, empty, larger than a certificate, a path that is too long: the
	 * network is asked */
	assert_int_equal(
	    sns_cert_get(cache, SLICE("https://x/other.pem"), now, &key, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(sns_cert_get(cache, SLICE("other"), now, &key, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(
	    sns_cert_get(cache, SLICE("https://x/SimpleNotificationService-0123abcdef.pem"), now,
		&key, &err),
	    SNS_CERT_TEMPORARY);
	assert_int_equal(truncate(path, SNS_CERT_SIZE_MAX + 1), 0);
	assert_int_equal(
	    sns_cert_get(cache, SLICE("https://y/SimpleNotificationService-0123abcdef.pem"), now,
		&key, &err),
	    SNS_CERT_TEMPORARY);
	memset(longest, 'd', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	config.directory = longest;
	assert_int_equal(
	    sns_cert_get(cache, SLICE("https://z/other.pem"), now, &key, &err), SNS_CERT_TEMPORARY);
	assert_int_equal(f.calls, 5);
	sns_cert_cache_free(cache);
	(void)unlink(path);
	(void)rmdir(directory);
}

static void
test_public_addresses(void **state)
{
	static const struct {
		const char *text;
		bool is_public;
	} rows[] = {
		{ "8.8.8.8", true },
		{ "52.94.5.1", true },
		{ "127.0.0.1", false },
		{ "10.1.2.3", false },
		{ "172.16.0.1", false },
		{ "172.31.255.255", false },
		{ "172.32.0.1", true },
		{ "192.168.1.1", false },
		{ "169.254.169.254", false },
		{ "100.64.0.1", false },
		{ "0.0.0.0", false },
		{ "224.0.0.1", false },
		{ "255.255.255.255", false },
		{ "::1", false },
		{ "fe80::1", false },
		{ "fd00::1", false },
		{ "::ffff:10.0.0.1", false },
		{ "2002:a00:1::", false },
		{ "2001:db8::1", false },
		{ "2001:dff::1", true },
		{ "2001:0::1", false },
		{ "2001:200::1", true },
		{ "2003::1", true },
		{ "2102::1", true },
		{ "2600:1f00::1", true },
		{ "::", false },
	};

	(void)state;
	assert_false(sns_cert_address_is_public(&(struct sockaddr){ .sa_family = AF_UNIX }));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sockaddr_storage s = { 0 };
		struct sockaddr_in *in = (struct sockaddr_in *)&s;
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s;

		if (inet_pton(AF_INET, rows[i].text, &in->sin_addr) == 1) {
			s.ss_family = AF_INET;
		} else {
			assert_int_equal(inet_pton(AF_INET6, rows[i].text, &in6->sin6_addr), 1);
			s.ss_family = AF_INET6;
		}
		if (sns_cert_address_is_public((struct sockaddr *)&s) != rows[i].is_public)
			fail_msg("%s", rows[i].text);
	}
}

static int
setup(void **state)
{
	int fd = mkstemp(ca_path);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	(void)state;
	if (file == NULL)
		return -1;
	arena_init(&arena, 1 << 20);
	rsa_key = EVP_RSA_gen(2048);
	rsa_cert = make_cert(rsa_key, "sns.amazonaws.com", -60, 2L * 24 * 3600, NULL, NULL);
	ca_key = EVP_RSA_gen(2048);
	ca_cert = make_cert(ca_key, "Test CA", -60, 2L * 24 * 3600, NULL, NULL);
	(void)PEM_write_X509(file, rsa_cert);
	(void)PEM_write_X509(file, ca_cert);
	return fclose(file);
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(ca_path);
	X509_free(rsa_cert);
	X509_free(ca_cert);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(rsa_key);
	arena_release(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_tampering),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_admits_certificates_of_sns),
		cmocka_unit_test(test_cert_urls),
		cmocka_unit_test(test_topics),
		cmocka_unit_test(test_subscribe_urls),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_versions_are_checked_again),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_cache_renewal),
		cmocka_unit_test(test_cache_edges),
		cmocka_unit_test(test_bundles),
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_certificate_life),
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_public_addresses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
