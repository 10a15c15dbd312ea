/* SPDX-License-Identifier: Apache-2.0 */
/* aws_credentials: the three forms in which keys are handed out, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "aws_credentials.h"

static const char config_text[] = "# comment\n[default]\nregion = ap-northeast-1\n"
				  "[profile shop]\nrole_arn=arn:aws:iam::1:role/r\r\n"
				  "source_profile = base\nexternal_id=x\ns3 =\n  region = no\n"
				  "[shop]\nregion = not-this-one\n"
				  "[profile login]\nsso_session = corp\n";
static const char keys_text[] = "[default]\naws_access_key_id = AKIA1\n"
				"aws_secret_access_key=abc/def+=\n\n[base]\n"
				"aws_access_key_id=AKIA2\naws_secret_access_key=s2\n"
				"aws_session_token = tok==\n";

static void
test_profile(void **state)
{
	struct aws_profile p = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(aws_profile_parse(&p, slice_str(config_text), "default", true, &err), 0);
	assert_int_equal(aws_profile_parse(&p, slice_str(keys_text), "default", false, &err), 0);
	assert_true(p.found);
	assert_string_equal(p.region, "ap-northeast-1");
	assert_string_equal(p.keys.access_key, "AKIA1");
	assert_string_equal(p.keys.secret_key, "abc/def+=");
	assert_string_equal(p.keys.session_token, "");

	p = (struct aws_profile){ 0 };
	assert_int_equal(aws_profile_parse(&p, slice_str(config_text), "shop", true, &err), 0);
	assert_string_equal(p.role_arn, "arn:aws:iam::1:role/r");
	assert_string_equal(p.source_profile, "base");
	assert_string_equal(p.region, "");
	p = (struct aws_profile){ 0 };
	assert_int_equal(aws_profile_parse(&p, slice_str(keys_text), "base", false, &err), 0);
	assert_string_equal(p.keys.session_token, "tok==");
	p = (struct aws_profile){ 0 };
	assert_int_equal(aws_profile_parse(&p, slice_str(config_text), "login", true, &err), 0);
	assert_string_equal(p.unsupported, "sso_session");
	p = (struct aws_profile){ 0 };
	assert_int_equal(aws_profile_parse(&p, slice_str(config_text), "absent", true, &err), 0);
	assert_false(p.found);
}

/* What Python's configparser makes of the same texts. */
static void
test_profile_indented(void **state)
{
	static const char *const good[] = {
		"[default]\n  aws_access_key_id = A\n  aws_secret_access_key = B\n",
		"[default]\n    aws_access_key_id = A\n  aws_secret_access_key = B\n",
		"[default]\n\taws_access_key_id = A\naws_secret_access_key = B\n",
		"  [default]\n  aws_access_key_id = A\n  aws_secret_access_key = B\n",
		"[x]\n  aws_access_key_id = N\n  [default]\n  aws_access_key_id = A\n  "
		"aws_secret_access_key = B\n",
		"[default]\n  s3 =\n    region = x\n  AWS_ACCESS_KEY_ID = A\n  "
		"Aws_Secret_Access_Key: B\n",
		"[default] # note\naws_access_key_id = A\naws_secret_access_key = B\n",
		"[default]\n  # note\n  aws_access_key_id = A\n\n  aws_secret_access_key = B\n",
	};
	struct aws_profile p;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		p = (struct aws_profile){ 0 };
		assert_int_equal(
		    aws_profile_parse(&p, slice_str(good[i]), "default", false, &err), 0);
		assert_string_equal(p.keys.access_key, "A");
		assert_string_equal(p.keys.secret_key, "B");
		assert_string_equal(p.region, "");
	}
	/* a header that is indented deeper than a setting is part of that one */
	p = (struct aws_profile){ 0 };
	assert_int_equal(aws_profile_parse(&p, SLICE("[x]\na = 1\n  [default]\nregion = r\n"),
			     "default", false, &err),
	    0);
	assert_false(p.found);
}

static void
test_profile_refused(void **state)
{
	static const char *const bad[] = { "[default]\naws_access_key_id\n",
		"[default]\naws_access_key_id=A\n", "[default]\naws_secret_access_key=geheim\n",
		"[default]\naws_access_key_id=A\aB\naws_secret_access_key=s\n" };
	char big[400] = "[default]\naws_secret_access_key=";
	struct aws_profile p;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		p = (struct aws_profile){ 0 };
		assert_int_equal(
		    aws_profile_parse(&p, slice_str(bad[i]), "default", false, &err), -1);
		assert_null(strstr(err.msg, "geheim"));
	}
	memset(big + strlen(big), 'x', 300);
	p = (struct aws_profile){ 0 };
	assert_int_equal(aws_profile_parse(&p, slice_str(big), "default", false, &err), -1);
	assert_int_equal(err.offset, 2);
	assert_null(strstr(err.msg, "xxx"));
}

static void
test_json(void **state)
{
	struct aws_credentials c = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(
	    aws_json_answer_parse(&c,
		SLICE("{\"Code\":\"Success\",\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":\"s\","
		      "\"Token\":\"t\",\"Expiration\":\"2026-01-02T03:04:05Z\"}"),
		&err),
	    0);
	assert_string_equal(c.access_key, "ASIA");
	assert_string_equal(c.session_token, "t");
	assert_int_equal(c.expires_s, 1767323045);
	assert_int_equal(aws_json_answer_parse(&c, SLICE("{\"Code\":\"Failed\"}"), &err), -1);
	assert_int_equal(aws_json_answer_parse(&c, SLICE("[]"), &err), -1);
	assert_int_equal(aws_json_answer_parse(&c, SLICE("<html>"), &err), -1);
	assert_int_equal(aws_json_answer_parse(&c,
			     SLICE("{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\","
				   "\"Expiration\":\"soon\"}"),
			     &err),
	    -1);
	/* a failure leaves what was there */
	assert_string_equal(c.access_key, "ASIA");
}

static void
test_sts(void **state)
{
	static const char good[] =
	    "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
	    "<AccessKeyId>ASIA9</AccessKeyId><SecretAccessKey>k/+</SecretAccessKey>\n"
	    "<SessionToken> tt== </SessionToken><Expiration>2026-01-02T03:04:05.123Z</Expiration>"
	    "</Credentials></AssumeRoleResult></AssumeRoleResponse>";
	struct aws_credentials c = { 0 };
	struct err err;

	(void)state;
	assert_int_equal(aws_sts_answer_parse(&c, slice_str(good), &err), 0);
	assert_string_equal(c.session_token, "tt==");
	assert_int_equal(c.expires_s, 1767323045);
	assert_int_equal(aws_sts_answer_parse(&c,
			     SLICE("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied"
				   "</Code></Error></ErrorResponse>"),
			     &err),
	    -1);
	assert_string_equal(err.msg, "STS says AccessDenied");
	assert_int_equal(aws_sts_answer_parse(&c, SLICE("<Credentials>"), &err), -1);
	assert_int_equal(
	    aws_sts_answer_parse(&c,
		SLICE("<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>a&amp;b"
		      "</SecretAccessKey></Credentials>"),
		&err),
	    -1);
}

static void
test_time(void **state)
{
	(void)state;
	assert_int_equal(aws_time_parse(SLICE("1970-01-01T00:00:00Z")), 0);
	assert_int_equal(aws_time_parse(SLICE("2026-01-02T03:04:05.5Z")), 1767323045);
	assert_int_equal(aws_time_parse(SLICE("2026-13-02T03:04:05Z")), -1);
	assert_int_equal(aws_time_parse(SLICE("2026-01-02T03:04:05+00:00")), -1);
	assert_int_equal(aws_time_parse(SLICE("")), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_profile),
		cmocka_unit_test(test_profile_indented),
		cmocka_unit_test(test_profile_refused),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_sts),
		cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
