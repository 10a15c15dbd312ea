/* SPDX-License-Identifier: Apache-2.0 */
/* ses_mail: notices of received mail; s3: where their objects are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3.h"
#include "ses.h"
#include "ses_mail.h"
#include "sigv4.h"

static struct arena arena;
static char text[8192];

static int
parse(const char *action, const char *rest, struct ses_mail *mail)
{
	struct err err = { 0 };

	arena_release(&arena);
	arena_init(&arena, SES_ARENA_MAX);
	(void)snprintf(text, sizeof(text),
	    "{\"notificationType\":\"Received\",\"receipt\":{\"recipients\":[\"b+1@x.test\",7,"
	    "\"\",\"a\\u0000b\",\"c@x.test\"],\"action\":{%s}}%s}",
	    action, rest);
	assert_true(ses_mail_is_likely(slice_str(text)));
	return ses_mail_parse(slice_str(text), &arena, mail, &err);
}

static void
assert_text(struct slice s, const char *wanted)
{
	assert_int_equal(s.len, strlen(wanted));
	assert_memory_equal(s.ptr, wanted, s.len);
}

static void
test_inline(void **state)
{
	static const char *const plain[] = { "\"type\":\"SNS\"",
		"\"type\":\"SNS\",\"encoding\":\"UTF8\"", "\"type\":\"SNS\",\"encoding\":\"utf-8\"",
		"\"type\":\"sns\",\"encoding\":\"\"" };
	struct ses_mail mail;

	(void)state;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		assert_int_equal(parse(plain[i], ",\"content\":\"A: b\\r\\n\\r\\nx\"", &mail), 0);
		assert_int_equal(mail.kind, SES_MAIL_INLINE);
		assert_text(mail.content, "A: b\r\n\r\nx");
		assert_int_equal(mail.rcpt_count, 2);
		assert_text(mail.rcpts[0], "b+1@x.test");
		assert_text(mail.rcpts[1], "c@x.test");
	}
	assert_int_equal(parse("\"type\":\"SNS\",\"encoding\":\"BASE64\"",
			     ",\"content\":\"QTogYg0KDQr/AA==\"", &mail),
	    0);
	assert_int_equal(mail.content.len, 10);
	assert_memory_equal(mail.content.ptr, "A: b\r\n\r\n\xff\0", 10);
}

static void
test_refused(void **state)
{
	struct ses_mail mail;

	(void)state;
	assert_int_equal(parse("\"type\":\"SNS\"", "", &mail), -1);
	assert_int_equal(parse("\"type\":\"SNS\"", ",\"content\":7", &mail), -1);
	assert_int_equal(parse("\"type\":\"SNS\"", ",\"content\":\"\"", &mail), -1);
	assert_int_equal(
	    parse("\"type\":\"SNS\",\"encoding\":\"EBCDIC\"", ",\"content\":\"x\"", &mail), -1);
	assert_int_equal(
	    parse("\"type\":\"SNS\",\"encoding\":\"Base64\"", ",\"content\":\"%%%\"", &mail), -1);
	assert_int_equal(parse("\"type\":\"S3\"", "", &mail), -1);
	assert_int_equal(
	    parse(
		"\"type\":\"S3\",\"bucketName\":\"evil.example/x\",\"objectKey\":\"k\"", "", &mail),
	    -1);
	assert_int_equal(
	    parse("\"type\":\"S3\",\"bucketName\":\"mail\",\"objectKey\":\"a/../b\"", "", &mail),
	    -1);
	assert_int_equal(
	    parse("\"type\":\"S3\",\"bucketName\":\"mail\",\"objectKey\":\"a\\r\\nHost: x\"", "",
		&mail),
	    -1);
}

static void
test_others(void **state)
{
	struct ses_mail mail;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(parse("\"type\":\"Lambda\"", "", &mail), 0);
	assert_int_equal(mail.kind, SES_MAIL_NONE);
	assert_false(ses_mail_is_likely(SLICE("{\"notificationType\":\"Bounce\"}")));
	assert_int_equal(
	    ses_mail_parse(
		SLICE("{\"notificationType\":\"Bounce\",\"content\":\"x\"}"), &arena, &mail, &err),
	    0);
	assert_int_equal(mail.kind, SES_MAIL_NONE);
	assert_int_equal(ses_mail_parse(SLICE("Received"), &arena, &mail, &err), -1);
}

static void
test_object(void **state)
{
	struct ses_mail mail;

	(void)state;
	assert_int_equal(
	    parse("\"type\":\"S3\",\"bucketName\":\"example-mail\",\"objectKeyPrefix\":"
		  "\"in/\",\"objectKey\":\"in/d6ii\"",
		"", &mail),
	    0);
	assert_int_equal(mail.kind, SES_MAIL_S3);
	assert_text(mail.bucket, "example-mail");
	assert_text(mail.key, "in/d6ii");
	assert_int_equal(mail.rcpt_count, 2);
}

static void
test_names(void **state)
{
	static const char *const good[] = { "abc", "a.b-c.0", "0mail" };
	static const char *const bad[] = { "", "ab", "Abc", "a_b", "-abc", "abc-", "a..b", ".abc",
		"a/b", "a%2fb",
		"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcd" };
	static const char *const bad_keys[] = { "", ".", "..", "./a", "a/..", "a/./b", "a\n",
		"\x7f" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(s3_bucket_check(slice_str(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(s3_bucket_check(slice_str(bad[i])));
	for (size_t i = 0; i < sizeof(bad_keys) / sizeof(bad_keys[0]); i++)
		assert_false(s3_key_check(slice_str(bad_keys[i])));
	assert_true(s3_key_check(SLICE("a/.../b..c/.d")));
}

static void
assert_place(const char *given, const char *bucket, const char *host, const char *path)
{
	struct aws_endpoint api, e;
	struct err err = { 0 };
	struct buf out;

	buf_init(&out, 4 * S3_KEY_MAX);
	assert_int_equal(aws_endpoint_make(&api, AWS_S3, given, "eu-west-1", &err), 0);
	assert_int_equal(
	    s3_place(&api, slice_str(bucket), SLICE("in/a b+\xc3\xa9"), &e, &out, &err), 0);
	assert_string_equal(e.host, host);
	assert_string_equal(strstr(e.origin, "://") + 3, host);
	assert_string_equal(buf_str(&out), path);
	buf_release(&out);
}

static void
test_place(void **state)
{
	(void)state;
	(void)unsetenv("AWS_ENDPOINT_URL");
	(void)unsetenv("AWS_ENDPOINT_URL_S3");
	assert_place("", "mail", "mail.s3.eu-west-1.amazonaws.com", "/in/a%20b%2B%C3%A9");
	assert_place("", "my.mail", "s3.eu-west-1.amazonaws.com", "/my.mail/in/a%20b%2B%C3%A9");
	assert_place("https://127.0.0.1:9000", "mail", "127.0.0.1:9000", "/mail/in/a%20b%2B%C3%A9");
	(void)setenv("AWS_ENDPOINT_URL_S3", "http://s3.local:4566", 1);
	assert_place("", "mail", "s3.local:4566", "/mail/in/a%20b%2B%C3%A9");
	(void)unsetenv("AWS_ENDPOINT_URL_S3");
}

/* Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header", GET object. */
static void
test_published_signature(void **state)
{
	static const struct sigv4_header headers[] = {
		{ "host", { "examplebucket.s3.amazonaws.com", 30 } },
		{ "range", { "bytes=0-9", 9 } },
		{ "x-amz-content-sha256",
		    { "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 64 } },
		{ "x-amz-date", { "20130524T000000Z", 16 } },
	};
	struct aws_credentials keys = { .access_key = "AKIAIOSFODNN7EXAMPLE",
		.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
	struct sigv4_request request = { .method = "GET",
		.path = SLICE("/test.txt"),
		.path_is_final = true,
		.headers = headers,
		.header_count = 4,
		.body_hash = headers[2].value.ptr };
	struct sigv4_signer signer;
	struct err err;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(sigv4_init(&signer, &keys, "us-east-1", "s3", &err), 0);
	assert_int_equal(sigv4_sign(&signer, &request, "20130524T000000Z", &out), 0);
	assert_non_null(strstr(buf_str(&out),
	    "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
	buf_reset(&out);
	request.path = SLICE("/a%20b");
	assert_int_equal(sigv4_canonical(&request, &out), 0);
	assert_memory_equal(buf_str(&out), "GET\n/a%20b\n", 11); /* not encoded twice */
	sigv4_release(&signer);
	buf_release(&out);
}

static int
teardown(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inline),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_object),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_published_signature),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, teardown);
}
