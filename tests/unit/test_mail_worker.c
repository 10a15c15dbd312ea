/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_worker, mail_wire: a parser in another process says what one in this process says; its
 * death costs nothing; what it says is not believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "mail_intake.h"
#include "mail_wire.h"
#include "mail_worker.h"
#include "placeholders.h"

static struct mail_worker *worker;

static int
start_worker(void **state)
{
	struct err err;

	(void)state;
	worker = mail_worker_start(&err);
	return worker != NULL ? 0 : -1;
}

static int
end_worker(void **state)
{
	(void)state;
	mail_worker_free(worker);
	return 0;
}

static void
same_text(struct slice a, struct slice b)
{
	assert_int_equal(a.len, b.len);
	if (a.len > 0)
		assert_memory_equal(a.ptr, b.ptr, a.len);
}

static void
same_events(const struct feedback_events *a, const struct feedback_events *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		const struct feedback_event *x = &a->items[i], *y = &b->items[i];

		assert_int_equal(x->kind, y->kind);
		assert_int_equal(x->cls, y->cls);
		assert_int_equal(x->code, y->code);
		assert_memory_equal(x->enhanced, y->enhanced, sizeof(x->enhanced));
		assert_int_equal(x->linked, y->linked);
		assert_int_equal(x->token.run, y->token.run);
		assert_int_equal(x->token.send, y->token.send);
		assert_int_equal(x->token.attempt, y->token.attempt);
		assert_int_equal(x->occurred_at_us, y->occurred_at_us);
		assert_string_equal(x->source, y->source);
		assert_string_equal(x->reason, y->reason);
		same_text(x->text, y->text);
		same_text(x->remote, y->remote);
		same_text(x->address, y->address);
		same_text(x->key, y->key);
		same_text(x->detail, y->detail);
	}
}

/* The same mail here and there. */
static void
compare(struct slice raw, const struct slice *rcpts, size_t rcpt_count)
{
	struct inbound_input in = { .raw = raw,
		.rcpts = rcpts,
		.rcpt_count = rcpt_count,
		.keys = &placeholder_keys,
		.bounce_domain = SLICE("bounce.test") };
	const struct mail_intake how = { .keys = &placeholder_keys,
		.bounce_domain = SLICE("bounce.test") };
	const struct mail_intake_mail mail = {
		.raw = raw, .rcpts = rcpts, .rcpt_count = rcpt_count
	};
	struct feedback_events here = { 0 }, there = { 0 };
	struct arena a, b;
	struct err err = { 0 };

	arena_init(&a, MAIL_INTAKE_ARENA_MAX);
	arena_init(&b, MAIL_INTAKE_ARENA_MAX);
	assert_int_equal(mail_intake_read(&how, &mail, &a, &here), 0);
	assert_int_equal(mail_worker_read(worker, &in, &b, &there, &err), MAIL_WORKER_READ);
	same_events(&here, &there);
	arena_release(&a);
	arena_release(&b);
}

static size_t
compare_folder(const char *path)
{
	static char bytes[1024 * 1024];
	DIR *folder = opendir(path);
	struct dirent *entry;
	size_t count = 0;

	assert_non_null(folder);
	while ((entry = readdir(folder)) != NULL) {
		char name[512];
		FILE *file;
		size_t n;

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		file = fopen(name, "re");
		assert_non_null(file);
		n = fread(bytes, 1, sizeof(bytes), file);
		(void)fclose(file);
		compare(slice_make(bytes, n), NULL, 0);
		count++;
	}
	(void)closedir(folder);
	return count;
}

static void
test_same_as_here(void **state)
{
	(void)state;
	assert_true(compare_folder("tests/fuzz/inbound.in") > 3);
	assert_true(compare_folder("tests/fuzz/classify.in") > 3);
}

static const char report[] =
    "From: MAILER-DAEMON@mx.test\nTo: b+%B@bounce.test\nMIME-Version: 1.0\n"
    "Content-Type: multipart/report; report-type=delivery-status; "
    "boundary=x\n\n--x\nContent-Type: text/plain; charset=%s\n\n"
    "%s\n--x\nContent-Type: message/delivery-status\n\n"
    "Reporting-MTA: dns; mx.test\n\nFinal-Recipient: rfc822; a@b.test\n"
    "Action: failed\nStatus: 5.1.1\n\n--x--\n";

/* Nothing but the signed Message-ID of what came back says whose it is. */
static void
test_linked_by_message_id(void **state)
{
	static const char text[] =
	    "From: MAILER-DAEMON@mx.test\nTo: postmaster@bounce.test\nMIME-Version: 1.0\n"
	    "Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n"
	    "Content-Type: text/plain\n\nSorry.\n--x\nContent-Type: message/delivery-status\n\n"
	    "Reporting-MTA: dns; mx.test\n\nFinal-Recipient: rfc822; a@b.test\nAction: failed\n"
	    "Status: 5.1.1\n\n--x\nContent-Type: text/rfc822-headers\n\n"
	    "Message-ID: <%M@news.test>\n\n--x--\n";
	static char filled[20 * sizeof(text)];
	const struct mail_intake how = { .keys = &placeholder_keys, .worker = worker };
	const struct mail_intake_mail mail = { .raw = placeholders_fill(text, filled) };
	struct feedback_events events = { 0 };
	struct arena arena;

	(void)state;
	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	assert_int_equal(mail_intake_read(&how, &mail, &arena, &events), 0);
	assert_int_equal(events.count, 1);
	assert_true(events.items[0].linked);
	assert_int_equal(events.items[0].token.send, 42);
	arena_release(&arena);
	compare(mail.raw, NULL, 0);
}

/* Encodings are loaded before the parser may open no file. */
static void
test_encodings_and_tokens(void **state)
{
	static const char *const texts[][2] = { { "utf-8", "x" },
		{ "iso-2022-jp", "\033$B$\"\033(B" }, { "shift_jis", "\x82\xa0" },
		{ "koi8-r", "\xc1" }, { "gb18030", "\xb0\xa1" }, { "iso-8859-15", "\xa4" },
		{ "windows-1252", "\x80" }, { "euc-kr", "\xb0\xa1" }, { "big5", "\xa4\x40" },
		{ "no-such-charset", "x" } };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		char text[2048], filled[40000];
		const char *p = report;
		size_t n = 0, given = 0;

		for (; *p != '\0'; p++) {
			if (p[0] == '%' && p[1] == 's') {
				n += (size_t)snprintf(
				    text + n, sizeof(text) - n, "%s", texts[i][given++]);
				p++;
			} else {
				text[n++] = *p;
			}
		}
		text[n] = '\0';
		compare(placeholders_fill(text, filled), NULL, 0);
	}
}

static void
test_large(void **state)
{
	char *mail = malloc(INBOUND_SIZE_MAX);
	struct slice rcpts[100];

	(void)state;
	memset(mail, 'a', INBOUND_SIZE_MAX);
	for (size_t i = 0; i + 80 < INBOUND_SIZE_MAX; i += 80)
		mail[i] = '\n';
	for (size_t i = 0; i < 100; i++)
		rcpts[i] = SLICE("b+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@bounce.test");
	compare(slice_make(mail, INBOUND_SIZE_MAX), rcpts, 100);
	free(mail);
}

/* ---- death ------------------------------------------------------------------------------ */

/* The only child of a process; 0: none. */
static pid_t
child_of(pid_t pid)
{
	char path[64];
	FILE *file;
	int child = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	file = fopen(path, "re");
	if (file == NULL || fscanf(file, "%d", &child) != 1)
		child = 0;
	if (file != NULL)
		(void)fclose(file);
	return (pid_t)child;
}

static void
test_killed_between_mails(void **state)
{
	char filled[4096];
	struct slice raw = placeholders_fill("Subject: x\n\nb+%B@bounce.test\n", filled);
	pid_t parser;

	(void)state;
	compare(raw, NULL, 0);
	parser = child_of(child_of(getpid()));
	if (parser == 0) {
		print_message("# skipped: this kernel does not list children\n");
		return;
	}
	assert_int_equal(kill(parser, SIGKILL), 0);
	compare(raw, NULL, 0);
	assert_int_not_equal(child_of(child_of(getpid())), parser);
}

static void
test_poison_is_kept_aside(void **state)
{
#ifdef KAIRAN_CRASH_POINTS
	const struct mail_intake how = { .keys = &placeholder_keys, .worker = worker };
	const struct slice rcpts[] = { SLICE("a@example.com"), SLICE("b@example.com") };
	const struct mail_intake_mail mail = {
		.raw = SLICE("X-Kairan-Crash: parser\n\nx\n"), .rcpts = rcpts, .rcpt_count = 2
	};
	struct feedback_events events = { 0 };
	struct arena arena;

	(void)state;
	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	assert_int_equal(mail_intake_read(&how, &mail, &arena, &events), 0);
	assert_int_equal(events.count, 1);
	assert_int_equal(events.items[0].kind, OUTCOME_OTHER);
	assert_string_equal(events.items[0].reason, "unreadable");
	assert_false(events.items[0].linked);
	assert_non_null(strstr(events.items[0].text.ptr, "ended on it 2 times"));
	assert_non_null(events.items[0].kept);
	assert_string_equal(events.items[0].kept->form, "mail");
	assert_true(slice_equal(events.items[0].kept->content, mail.raw));
	assert_true(
	    slice_equal(events.items[0].kept->rcpts, SLICE("a@example.com\nb@example.com\n")));
	arena_release(&arena);
	compare(SLICE("Subject: the next\n\nx\n"), NULL, 0);
#else
	(void)state;
	print_message("# skipped: this build has no mail that kills a parser\n");
#endif
}

static void
test_without_nursery(void **state)
{
	struct err err = { 0 };
	struct mail_worker *alone = mail_worker_start(&err);
	const struct mail_intake how = { .keys = &placeholder_keys, .worker = alone };
	const struct mail_intake_mail mail = { .raw = SLICE("Subject: x\n\nx\n") };
	struct feedback_events events = { 0 };
	struct arena arena;
	FILE *file;
	char path[64];
	int children[8], count = 0;

	(void)state;
	assert_non_null(alone);
	(void)snprintf(
	    path, sizeof(path), "/proc/%d/task/%d/children", (int)getpid(), (int)getpid());
	file = fopen(path, "re");
	while (file != NULL && count < 8 && fscanf(file, "%d", &children[count]) == 1)
		count++;
	if (file != NULL)
		(void)fclose(file);
	if (count < 2) {
		mail_worker_free(alone);
		print_message("# skipped: this kernel does not list children\n");
		return;
	}
	assert_int_equal(kill((pid_t)children[count - 1], SIGKILL), 0);
	(void)usleep(100000);
	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	assert_int_equal(mail_intake_read(&how, &mail, &arena, &events), -1); /* again later */
	arena_release(&arena);
	mail_worker_free(alone);
}

/* ---- what is said is not believed ------------------------------------------------------- */

static struct feedback_event
an_event(void)
{
	return (struct feedback_event){ .kind = OUTCOME_BOUNCED,
		.cls = OUTCOME_HARD,
		.reason = "user_unknown",
		.source = "dsn",
		.key = SLICE("dsn|1"),
		.detail = SLICE("{\"a\":\"b\"}") };
}

static bool
accepts(struct feedback_event e, const struct mail_wire_token *tokens, size_t count)
{
	struct feedback_events events = { .items = &e, .count = 1 }, back;
	struct arena arena;
	struct buf wire;
	bool result;

	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	buf_init(&wire, MAIL_WIRE_PAYLOAD_MAX);
	mail_wire_put_events(&wire, &events);
	result = mail_wire_get_events(buf_slice(&wire), tokens, count, &arena, &back);
	for (size_t n = 0; n < wire.len; n++) /* cut off anywhere: never taken */
		assert_false(
		    mail_wire_get_events(slice_make(wire.data, n), tokens, count, &arena, &back));
	buf_append_char(&wire, 'x'); /* nor with something behind it */
	assert_false(mail_wire_get_events(buf_slice(&wire), tokens, count, &arena, &back));
	buf_release(&wire);
	arena_release(&arena);
	return result;
}

static void
test_lies(void **state)
{
	const struct mail_wire_token bounce = { TOKEN_BOUNCE, { 7, 8, 1 } },
				     unsubscribe = { TOKEN_UNSUBSCRIBE, { 7, 8, 0 } };
	struct feedback_event e = an_event();

	(void)state;
	assert_true(accepts(e, NULL, 0));
	e.linked = true;
	e.token = bounce.token;
	assert_false(accepts(e, NULL, 0)); /* no token was verified */
	assert_true(accepts(e, &bounce, 1));
	e.token.send = 9;
	assert_false(accepts(e, &bounce, 1)); /* another row */
	e.token = unsubscribe.token;
	assert_false(accepts(e, &unsubscribe, 1)); /* a token to unsubscribe does not bounce */
	e.kind = OUTCOME_UNSUBSCRIBED;
	assert_true(accepts(e, &unsubscribe, 1));
	e.token = bounce.token;
	assert_false(accepts(e, &bounce, 1));
	e = an_event();
	e.token.run = 1; /* a token, but not linked */
	assert_false(accepts(e, &bounce, 1));
	e = an_event();
	e.source = "sns"; /* would be believed without a token */
	assert_false(accepts(e, NULL, 0));
	e = an_event();
	e.kind = OUTCOME_SENT;
	assert_false(accepts(e, NULL, 0));
	e = an_event();
	e.reason = "a'b";
	assert_false(accepts(e, NULL, 0));
	e = an_event();
	e.detail = SLICE("[1]");
	assert_false(accepts(e, NULL, 0));
	e.detail = SLICE("{\"a\":");
	assert_false(accepts(e, NULL, 0));
	e = an_event();
	e.key = SLICE("");
	assert_false(accepts(e, NULL, 0));
}

static void
test_headers(void **state)
{
	unsigned char h[MAIL_WIRE_HEADER];
	enum mail_wire_kind kind;
	size_t n;

	(void)state;
	mail_wire_header(h, MAIL_WIRE_EVENTS, 1234567);
	assert_true(mail_wire_header_read(h, &kind, &n));
	assert_int_equal(kind, MAIL_WIRE_EVENTS);
	assert_int_equal(n, 1234567);
	mail_wire_header(h, MAIL_WIRE_EVENTS, MAIL_WIRE_PAYLOAD_MAX + 1);
	assert_false(mail_wire_header_read(h, &kind, &n));
	mail_wire_header(h, (enum mail_wire_kind)'Z', 1);
	assert_false(mail_wire_header_read(h, &kind, &n));
	mail_wire_header(h, MAIL_WIRE_EVENTS, 1);
	h[2] = 1;
	assert_false(mail_wire_header_read(h, &kind, &n));
}

static void
test_answers(void **state)
{
	unsigned char answer[MAIL_WIRE_ANSWER];
	char question[MAIL_WIRE_QUESTION];
	struct token token = { 1, 2, 3 }, back = { 0, 0, 0 };
	enum token_purpose purpose;
	struct slice text;
	bool is_ours;

	(void)state;
	mail_wire_put_answer(answer, true, &token);
	assert_true(mail_wire_get_answer(
	    slice_make((const char *)answer, sizeof(answer)), &is_ours, &back));
	assert_true(is_ours);
	assert_int_equal(back.run, 1);
	assert_int_equal(back.send, 2);
	assert_int_equal(back.attempt, 3);
	assert_false(mail_wire_get_answer(SLICE("x"), &is_ours, &back));
	mail_wire_put_question(question, TOKEN_BOUNCE, SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	assert_true(
	    mail_wire_get_question(slice_make(question, sizeof(question)), &purpose, &text));
	assert_int_equal(purpose, TOKEN_BOUNCE);
	assert_int_equal(text.len, TOKEN_CHARS);
	question[0] = 'c'; /* a parser has no business with links */
	assert_false(
	    mail_wire_get_question(slice_make(question, sizeof(question)), &purpose, &text));
	assert_false(mail_wire_get_question(SLICE("b"), &purpose, &text));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_same_as_here),
		cmocka_unit_test(test_linked_by_message_id), cmocka_unit_test(test_large),
		cmocka_unit_test(test_encodings_and_tokens), cmocka_unit_test(test_large),
		cmocka_unit_test(test_killed_between_mails),
		cmocka_unit_test(test_poison_is_kept_aside), cmocka_unit_test(test_without_nursery),
		cmocka_unit_test(test_lies), cmocka_unit_test(test_headers),
		cmocka_unit_test(test_answers) };

	return cmocka_run_group_tests(tests, start_worker, end_worker);
}
