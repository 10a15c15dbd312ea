/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4: the vectors that Amazon publishes, and those made for SES paths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "aws_endpoint.h"
#include "sigv4.h"

#include <stdlib.h>

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
#define HOST                                                                                       \
	{                                                                                          \
		"host",                                                                            \
		{                                                                                  \
			"example.amazonaws.com", 21                                                \
		}                                                                                  \
	}
#define DATE                                                                                       \
	{                                                                                          \
		"x-amz-date",                                                                      \
		{                                                                                  \
			"20150830T123600Z", 16                                                     \
		}                                                                                  \
	}

struct vector {
	const char *name, *method, *path, *query;
	struct sigv4_header headers[4];
	size_t header_count;
	const char *body, *signature;
};

/* AWS Signature Version 4 test suite: region us-east-1, service "service". */
static const struct vector published[] = {
	{ "get-vanilla", "GET", "/", "", { HOST, DATE }, 2, "",
	    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-vanilla, no path", "GET", "", "", { HOST, DATE }, 2, "",
	    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-vanilla, headers in another order", "GET", "/", "", { DATE, HOST }, 2, "",
	    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
	{ "get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1",
	    { HOST, DATE }, 2, "",
	    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
	{ "get-unreserved", "GET",
	    "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "",
	    { HOST, DATE }, 2, "",
	    "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
	{ "post-vanilla", "POST", "/", "", { HOST, DATE }, 2, "",
	    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
	{ "post-vanilla-query", "POST", "/", "Param1=value1", { HOST, DATE }, 2, "",
	    "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11" },
	{ "post-x-www-form-urlencoded", "POST", "/", "",
	    { { "content-type", { "application/x-www-form-urlencoded", 33 } }, HOST, DATE }, 3,
	    "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a" },
	{ "get-header-value-trim", "GET", "/", "",
	    { HOST, { "my-header1", { " value1", 7 } }, { "my-header2", { " \"a   b   c\"", 12 } },
		DATE },
	    4, "", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
};

static void
sign(const struct vector *v, const char *secret, const char *region, const char *service,
    const char *date, char *signature)
{
	struct aws_credentials keys = { 0 };
	struct sigv4_request request = { .method = v->method,
		.path = slice_str(v->path),
		.query = slice_str(v->query),
		.headers = v->headers,
		.header_count = v->header_count };
	struct sigv4_signer signer;
	char hash[SIGV4_HASH_BYTES];
	struct err err;
	struct buf out;

	buf_init(&out, 4096);
	assert_int_equal(aws_credentials_set(&keys, SLICE("AKIDEXAMPLE"), slice_str(secret),
			     slice_make(NULL, 0), &err),
	    0);
	assert_int_equal(sigv4_init(&signer, &keys, region, service, &err), 0);
	sigv4_hash(slice_str(v->body), hash);
	request.body_hash = hash;
	for (int i = 0; i < 2; i++) { /* the second time by the kept key */
		buf_reset(&out);
		assert_int_equal(sigv4_sign(&signer, &request, date, &out), 0);
	}
	assert_non_null(strstr(buf_str(&out), "Credential=AKIDEXAMPLE/"));
	(void)snprintf(signature, SIGV4_HASH_BYTES, "%s",
	    strstr(buf_str(&out), "Signature=") + strlen("Signature="));
	buf_release(&out);
	sigv4_release(&signer);
}

static void
test_published(void **state)
{
	char signature[SIGV4_HASH_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
		print_message("# %s\n", published[i].name);
		sign(&published[i], SECRET, "us-east-1", "service", "20150830T123600Z", signature);
		assert_string_equal(signature, published[i].signature);
	}
}

static void
test_signing_key(void **state)
{
	static const uint8_t wanted[32] = { 0xf4, 0x78, 0x0e, 0x2d, 0x9f, 0x65, 0xfa, 0x89, 0x5f,
		0x9c, 0x67, 0xb3, 0x2c, 0xe1, 0xba, 0xf0, 0xb0, 0xd8, 0xa4, 0x35, 0x05, 0xa0, 0x00,
		0xa1, 0xa9, 0xe0, 0x90, 0xd4, 0x14, 0xdb, 0x40, 0x4d };
	static const struct sigv4_header headers[] = { HOST };
	struct aws_credentials keys = { .access_key = "A", .secret_key = SECRET };
	struct sigv4_request request = {
		.method = "GET", .headers = headers, .header_count = 1, .body_hash = ""
	};
	uint8_t sum[SHA256_BYTES], by_wanted[SHA256_BYTES];
	struct sigv4_signer signer;
	struct buf out;
	struct err err;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(sigv4_init(&signer, &keys, "us-east-1", "iam", &err), 0);
	assert_int_equal(sigv4_sign(&signer, &request, "20120215T000000Z", &out), 0);
	sha256_hmac(wanted, sizeof(wanted), SLICE("text"), by_wanted);
	sha256_key_hmac(&signer.key, SLICE("text"), sum);
	assert_memory_equal(sum, by_wanted, sizeof(sum));
	/* another day, another key */
	assert_int_equal(sigv4_sign(&signer, &request, "20120216T000000Z", &out), 0);
	sha256_key_hmac(&signer.key, SLICE("text"), sum);
	assert_memory_not_equal(sum, by_wanted, sizeof(sum));
	assert_int_equal(sigv4_sign(&signer, &request, "20120216", &out), -1);
	sigv4_release(&signer);
	buf_release(&out);
}

static void
test_ses(void **state)
{
	static const struct vector send = { "send", "POST", "/v2/email/outbound-emails", "",
		{ { "content-type", { "application/json", 16 } },
		    { "host", { "email.ap-northeast-1.amazonaws.com", 34 } },
		    { "x-amz-date", { "20260101T000000Z", 16 } } },
		3, "{\"a\":1}",
		"5cef8d4f721e0101999f493f5e6c822f0a58f9a75b6efe884e184dd34ab0cff0" };
	static const struct vector get = { "suppression", "GET",
		"/v2/email/suppression/addresses/a%2Bb%40x.example", "",
		{ { "host", { "email.ap-northeast-1.amazonaws.com", 34 } },
		    { "x-amz-date", { "20260101T000000Z", 16 } } },
		2, "", "08f9502ae7a7e5419214dbbf5dff81708e3e6dd391148a60e3ca3aae2f69eb82" };
	char signature[SIGV4_HASH_BYTES];

	(void)state;
	sign(&send, SECRET, "ap-northeast-1", "ses", "20260101T000000Z", signature);
	assert_string_equal(signature, send.signature);
	sign(&get, SECRET, "ap-northeast-1", "ses", "20260101T000000Z", signature);
	assert_string_equal(signature, get.signature);
}

static void
test_canonical(void **state)
{
	static const struct sigv4_header headers[] = { HOST };
	struct sigv4_request request = { .method = "GET",
		.path = SLICE("/a b"),
		.query = SLICE("b&a=2&a=1&&c=%20"),
		.headers = headers,
		.header_count = 1,
		.body_hash = "HASH" };
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(sigv4_canonical(&request, &out), 0);
	assert_string_equal(buf_str(&out),
	    "GET\n/a%20b\na=1&a=2&b=&c=%20\nhost:example.amazonaws.com\n\nhost\nHASH");
	request.header_count = 0;
	assert_int_equal(sigv4_canonical(&request, &out), -1);
	request.header_count = 1;
	request.query = SLICE("1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17&18&19&20&21&22&23&24&25&"
			      "26&27&28&29&30&31&32&33");
	assert_int_equal(sigv4_canonical(&request, &out), -1);
	buf_release(&out);
}

static void
test_refused(void **state)
{
	struct aws_credentials keys = { .access_key = "A", .secret_key = "S" };
	struct sigv4_signer s;
	struct err err;

	(void)state;
	assert_int_equal(sigv4_init(&s, &keys, "", "ses", &err), -1);
	assert_int_equal(sigv4_init(&s, &keys, "eu/west", "ses", &err), -1);
	assert_int_equal(sigv4_init(&s, &keys, "eu-west-1", "a-service-of-many-words", &err), -1);
}

static void
test_endpoint(void **state)
{
	struct aws_endpoint e;
	struct err err;

	(void)state;
	unsetenv("AWS_ENDPOINT_URL");
	unsetenv("AWS_ENDPOINT_URL_SESV2");
	unsetenv("AWS_REGION");
	unsetenv("AWS_DEFAULT_REGION");
	assert_int_equal(aws_endpoint_make(&e, AWS_SESV2, "", "", &err), -1);
	assert_int_equal(aws_endpoint_make(&e, AWS_SESV2, NULL, "ap-northeast-1", &err), 0);
	assert_string_equal(e.origin, "https://email.ap-northeast-1.amazonaws.com");
	assert_string_equal(e.host, "email.ap-northeast-1.amazonaws.com");
	assert_string_equal(e.signing_name, "ses");
	assert_int_equal(aws_endpoint_make(&e, AWS_SQS, "", "cn-north-1", &err), 0);
	assert_string_equal(e.host, "sqs.cn-north-1.amazonaws.com.cn");
	setenv("AWS_DEFAULT_REGION", "eu-west-1", 1);
	setenv("AWS_ENDPOINT_URL", "http://localhost:4566/", 1);
	assert_int_equal(aws_endpoint_make(&e, AWS_STS, "", "", &err), 0);
	assert_string_equal(e.origin, "http://localhost:4566");
	assert_string_equal(e.region, "eu-west-1");
	setenv("AWS_ENDPOINT_URL_SESV2", "https://ses.example:443", 1);
	assert_int_equal(aws_endpoint_make(&e, AWS_SESV2, "", "", &err), 0);
	assert_string_equal(e.host, "ses.example");
	assert_true(e.is_tls);
	assert_int_equal(aws_endpoint_make(&e, AWS_SESV2, "ftp://x", "", &err), -1);
	assert_int_equal(aws_endpoint_make(&e, AWS_SESV2, "https://x/y", "", &err), -1);
	assert_int_equal(aws_endpoint_make(&e, AWS_SESV2, "https://u@x", "", &err), -1);
	assert_int_equal(aws_endpoint_make(&e, AWS_SESV2, "https://x", "../x", &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_published),
		cmocka_unit_test(test_signing_key),
		cmocka_unit_test(test_ses),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_endpoint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
