/* SPDX-License-Identifier: Apache-2.0 */
/* keep: what a person should see is kept whole and once; what is understood is not. forward: line
 * ends mean the same to everybody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "forward.h"
#include "keep.h"
#include "mail_intake.h"
#include "placeholders.h"

static char folder[64];

static int
make_folder(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/kairan-keep-XXXXXX");
	return mkdtemp(folder) != NULL ? 0 : -1;
}

static int
remove_folder(void **state)
{
	char command[100];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command);
}

/* Number of files; the last one's name and content are kept. */
static unsigned
files(const char *below, char name[256], char content[2000])
{
	char path[400];
	unsigned count = 0;
	struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/box/%s", folder, below);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d)) != NULL) {
		FILE *f;
		size_t n;

		if (e->d_name[0] == '.')
			continue;
		count++;
		(void)snprintf(name, 256, "%s", e->d_name);
		(void)snprintf(path, sizeof(path), "%s/box/%s/%s", folder, below, e->d_name);
		f = fopen(path, "r");
		assert_non_null(f);
		n = fread(content, 1, 1999, f);
		content[n] = '\0';
		(void)fclose(f);
	}
	(void)closedir(d);
	return count;
}

static void
start(struct keep *keep)
{
	char path[100];
	struct err err;

	(void)snprintf(path, sizeof(path), "%s/box", folder);
	assert_int_equal(keep_init(keep, path, &err), 0);
	assert_int_equal(keep_init(keep, path, &err), 0); /* it may be there */
}

static void
test_once_and_whole(void **state)
{
	char name[256], content[2000];
	struct keep keep;
	struct err err;

	(void)state;
	start(&keep);
	assert_int_equal(
	    keep_mail(&keep, SLICE("Received: x\r\n"), SLICE("A: b\r\n\r\nc"), &err), 0);
	assert_int_equal(
	    keep_mail(&keep, SLICE("Received: y\r\n"), SLICE("A: b\r\n\r\nc"), &err), 0);
	assert_int_equal(files("tmp", name, content), 0);
	assert_int_equal(files("new", name, content), 1);
	assert_string_equal(content, "Received: x\r\nA: b\r\n\r\nc");
	assert_int_equal(keep_done(&keep, name, &err), 0);
	assert_int_equal(keep_mail(&keep, SLICE(""), SLICE("A: b\r\n\r\nc"), &err), 0);
	assert_int_equal(files("new", name, content), 0);
	assert_int_equal(files("cur", name, content), 1);
	assert_string_equal(name + strlen(name) - 4, ":2,S");
}

static void
test_folder_missing(void **state)
{
	struct keep keep;
	struct err err;

	(void)state;
	assert_int_equal(keep_init(&keep, "/nowhere/at/all", &err), -1);
	assert_non_null(strstr(err.msg, "reply.maildir"));
	start(&keep);
	(void)strcat(keep.path, "-gone");
	assert_int_equal(keep_mail(&keep, SLICE(""), SLICE("x"), &err), -1);
}

/* Which mails are for a person. The same reading for every source of mails. */
static void
test_who_is_kept(void **state)
{
	static const struct {
		const char *raw;
		bool asked, kept;
	} rows[] = {
		{ "From: a@b.test\r\nSubject: Re: your news\r\n\r\nWhen do you open?\r\n", false,
		    true },
		{ "From: a@b.test\r\nSubject: Re: x\r\n\r\n> Status: 5.1.1\n> user "
		  "unknown\n\nhm?\r\n",
		    false, true },
		{ "From: a@b.test\r\nAuto-Submitted: auto-replied\r\n\r\nI am away\r\n", false,
		    false },
		{ "From: a@b.test\r\nAuto-Submitted: auto-replied\r\n\r\nI am away\r\n", true,
		    true },
		{ "From: MAILER-DAEMON@b.test\r\nSubject: Undelivered Mail\r\n"
		  "Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n"
		  "--x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; "
		  "b\r\n\r\n"
		  "Final-Recipient: rfc822; c@b.test\r\nAction: failed\r\nStatus: "
		  "5.1.1\r\n\r\n--x--\r\n",
		    false, false },
		{ "", false, true },
	};
	struct slice rcpt = SLICE("postmaster@bounce.test");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events = { 0 };
		struct mail_intake how = { .keys = &placeholder_keys };
		struct mail_intake_mail mail = { .raw = slice_str(rows[i].raw),
			.rcpts = &rcpt,
			.rcpt_count = 1,
			.is_for_person = rows[i].asked };
		char name[256], content[2000];
		struct arena arena;
		struct keep keep;

		start(&keep);
		how.keep = &keep;
		arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
		assert_int_equal(mail_intake_read(&how, &mail, &arena, &events), 0);
		assert_true(events.count > 0);
		assert_int_equal(files("new", name, content), rows[i].kept);
		if (rows[i].kept)
			assert_string_equal(content, rows[i].raw);
		arena_release(&arena);
		assert_int_equal(remove_folder(NULL), 0);
		assert_int_equal(make_folder(NULL), 0);
	}
}

static void
test_disk_refuses(void **state)
{
	struct feedback_events events = { 0 };
	struct mail_intake_mail mail = { .raw = SLICE("From: a@b\r\n\r\nhello\r\n") };
	struct mail_intake how = { .keys = &placeholder_keys };
	struct arena arena;
	struct keep keep;

	(void)state;
	start(&keep);
	(void)strcat(keep.path, "-gone");
	how.keep = &keep;
	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	/* not acknowledged when it cannot be kept */
	assert_int_equal(mail_intake_read(&how, &mail, &arena, &events), -1);
	how.keep = NULL;
	assert_int_equal(mail_intake_read(&how, &mail, &arena, &events), 0);
	assert_non_null(strstr(events.items[0].detail.ptr, "hello"));
	arena_release(&arena);
}

static void
test_lines(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "a\r\nb\r\n", "a\r\nb\r\n" },
		{ "a\nb", "a\r\nb\r\n" },
		{ "a\r.\rb", "a\r\n.\r\nb\r\n" },
		{ "a\n.\nMAIL FROM:<x>\n", "a\r\n.\r\nMAIL FROM:<x>\r\n" },
		{ "a\r\r\nb\r", "a\r\n\r\nb\r\n" },
		{ "\n", "\r\n" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf out;

		buf_init(&out, 1000);
		forward_lines(&out, slice_str(rows[i].in));
		assert_string_equal(buf_str(&out), rows[i].out);
		buf_release(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_once_and_whole, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_folder_missing, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_who_is_kept, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_disk_refuses, make_folder, remove_folder),
		cmocka_unit_test(test_lines),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
