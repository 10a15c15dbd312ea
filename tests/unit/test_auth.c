/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void
test_good_files(void **state)
{
	static const struct {
		const char *text, *user, *secret;
		unsigned mechanisms;
	} cases[] = {
		{ "user = me@example.org\npassword = a = b # c \n", "me@example.org", "a = b # c",
		    AUTH_PLAIN | AUTH_LOGIN },
		{ "# for the relay\r\n\r\nuser=u\r\npassword=p\r\nmechanism = LOGIN\r\n", "u", "p",
		    AUTH_LOGIN },
		{ "token = ya29.abc\nuser = u", "u", "ya29.abc", AUTH_XOAUTH2 },
		{ "user = AKIDEXAMPLE\nses_secret_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
		  "ses_region = us-east-1\n",
		    "AKIDEXAMPLE", "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9",
		    AUTH_PLAIN | AUTH_LOGIN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };
		struct auth a;

		if (auth_parse(&a, slice_str(cases[i].text), &err) < 0)
			fail_msg("case %zu: %s", i, err.msg);
		assert_string_equal(a.user, cases[i].user);
		assert_string_equal(a.secret, cases[i].secret);
		assert_int_equal(a.mechanisms, cases[i].mechanisms);
	}
}

/* What is wrong is said, and no value with it. */
static void
test_bad_files(void **state)
{
	static const struct {
		const char *text, *word;
	} cases[] = {
		{ "", "user" },
		{ "user = u", "one of password" },
		{ "password = SECRET", "user" },
		{ "user = u\npassword = SECRET\ntoken = SECRET", "one of password" },
		{ "user = u\nuser = SECRET\npassword = p", "line 2: user is given twice" },
		{ "user = u\npassword =\n", "line 2: password has no value" },
		{ "user = u\nSECRET\n", "line 2: expected name = value" },
		{ "user = u\nSECRET = p\n", "line 2: expected user" },
		{ "user = u\nses_secret_key = SECRET", "together" },
		{ "user = u\npassword = SECRET\nses_region = r", "together" },
		{ "user = u\npassword = SECRET\nmechanism = xoauth2", "mechanism" },
		{ "user = u\npassword = SEC\x01RET", "control" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err err = { 0 };
		struct auth a;

		assert_int_equal(auth_parse(&a, slice_str(cases[i].text), &err), -1);
		if (strstr(err.msg, cases[i].word) == NULL || strstr(err.msg, "SECRET") != NULL)
			fail_msg("case %zu: %s", i, err.msg);
		assert_string_equal(a.secret, "");
	}
}

static void
test_file_modes(void **state)
{
	static const char text[] = "user = u\npassword = p\n";
	char path[] = "/tmp/test_auth.XXXXXX";
	int fd = mkstemp(path);
	struct err err = { 0 };
	struct auth a;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
	assert_int_equal(auth_load(&a, path, &err), 0);
	assert_string_equal(a.secret, "p");
	auth_wipe(&a);
	assert_string_equal(a.secret, "");
	assert_int_equal(fchmod(fd, 0640), 0);
	assert_int_equal(auth_load(&a, path, &err), -1);
	assert_non_null(strstr(err.msg, "chmod 600"));
	close(fd);
	unlink(path);
	assert_int_equal(auth_load(&a, path, &err), -1);
	assert_int_equal(auth_load(&a, "/tmp", &err), -1);
}

/* Vectors made with the algorithm of the Amazon SES Developer Guide. */
static void
test_ses_password(void **state)
{
	static const struct slice key = { "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 40 };
	char password[AUTH_SES_PASSWORD_CHARS + 1], longest[300] = "";

	(void)state;
	assert_int_equal(auth_ses_password(key, SLICE("us-east-1"), password), 0);
	assert_string_equal(password, "BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9");
	assert_int_equal(auth_ses_password(key, SLICE("ap-northeast-1"), password), 0);
	assert_string_equal(password, "BEBMrlH2tcrvRtSfkd6WbOlpfHSCPAV60ZayJ9ZqHS5c");
	assert_int_equal(
	    auth_ses_password(slice_make(longest, sizeof(longest)), SLICE("r"), password), -1);
	assert_int_equal(auth_ses_password(key, SLICE(""), password), -1);
}

static void
test_choice(void **state)
{
	struct auth password = { "u", "p", AUTH_PLAIN | AUTH_LOGIN },
		    token = { "u", "t", AUTH_XOAUTH2 };

	(void)state;
	assert_int_equal(auth_choose(&password, AUTH_PLAIN | AUTH_LOGIN), AUTH_PLAIN);
	assert_int_equal(auth_choose(&password, AUTH_LOGIN | AUTH_XOAUTH2), AUTH_LOGIN);
	assert_int_equal(auth_choose(&password, AUTH_XOAUTH2), AUTH_NONE);
	assert_int_equal(auth_choose(&token, AUTH_PLAIN | AUTH_XOAUTH2), AUTH_XOAUTH2);
	assert_int_equal(auth_choose(&token, AUTH_PLAIN), AUTH_NONE);
	assert_int_equal(auth_mechanism_of(SLICE("plain")), AUTH_PLAIN);
	assert_int_equal(auth_mechanism_of(SLICE("PLAINER")), AUTH_NONE);
}

/* The longest credentials fit in a line. */
static void
test_longest_line(void **state)
{
	struct auth a = { .mechanisms = AUTH_XOAUTH2 };
	struct buf out;

	(void)state;
	memset(a.user, 'u', AUTH_USER_MAX);
	memset(a.secret, 's', AUTH_SECRET_MAX);
	buf_init(&out, AUTH_LINE_MAX);
	auth_put(&out, &a, AUTH_XOAUTH2, 0);
	assert_false(buf_failed(&out));
	assert_true(out.len > AUTH_SECRET_MAX * 4 / 3 && out.len < 12288);
	buf_release(&out);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_files),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_file_modes),
		cmocka_unit_test(test_ses_password),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_longest_line),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
