/* SPDX-License-Identifier: Apache-2.0 */
/* page and words: every page in every language whole and escaped; own wording by file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "own_text.h"
#include "page.h"

static struct arena arena;
static struct page_words words[LANGUAGES];

static const char hostile[] = "\"><script>alert(1)</script>{new}'&\r\n";

static struct buf
render(struct page p)
{
	struct buf out;

	p.words = &words[p.language];
	buf_init(&out, PAGE_MAX);
	page_render(&p, &out);
	assert_false(buf_failed(&out));
	return out;
}

static void
A35_every_page_escapes_everything(void **state)
{
	struct slice evil = slice_str(hostile);

	(void)state;
	for (unsigned i = 0; i < PAGE_KINDS * LANGUAGES; i++) {
		struct page p = { .kind = i % PAGE_KINDS,
			.language = i / PAGE_KINDS,
			.list = evil,
			.sender = evil,
			.address = evil,
			.new_address = evil,
			.old_address = evil,
			.token = evil,
			.days = 7,
			.may_undo = true,
			.may_move = true,
			.mistake = WORD_MOVE_BAD };
		struct buf out = render(p);

		assert_null(strstr(buf_str(&out), "<script"));
		assert_null(strstr(buf_str(&out), "\"><s"));
		assert_null(strstr(buf_str(&out), "http"));
		assert_null(strchr(buf_str(&out), '\r'));
		assert_non_null(strstr(buf_str(&out), "</html>\n"));
		/* a value is no place: what looks like one in it stays text */
		if (strstr(buf_str(&out), "&lt;script") != NULL)
			assert_non_null(strstr(buf_str(&out), "{new}"));
		buf_release(&out);
	}
}

static void
every_place_is_filled(void **state)
{
	(void)state;
	for (unsigned i = 0; i < PAGE_KINDS * LANGUAGES; i++) {
		struct buf out = render((struct page){ .kind = i % PAGE_KINDS,
		    .language = i / PAGE_KINDS,
		    .list = SLICE("news"),
		    .sender = SLICE("Shop"),
		    .address = SLICE("a@b"),
		    .new_address = SLICE("c@d"),
		    .days = 7,
		    .mistake = WORDS });
		const char *body = strstr(buf_str(&out), "<body>");

		assert_non_null(body);
		assert_null(strchr(body, '{'));
		buf_release(&out);
	}
}

static void
buttons_post(void **state)
{
	struct buf out = render((struct page){ .kind = PAGE_ASK, .mistake = WORDS });

	(void)state;
	assert_non_null(
	    strstr(buf_str(&out), "<form method=\"post\"><button name=\"scope\" value=\"list\">"));
	assert_non_null(strstr(buf_str(&out), "name=\"scope\" value=\"all\""));
	assert_null(strstr(buf_str(&out), "do\" value=\"undo"));
	buf_release(&out);
	out = render((struct page){ .kind = PAGE_OFF, .may_undo = true, .mistake = WORDS });
	assert_non_null(strstr(buf_str(&out), "name=\"do\" value=\"undo\""));
	buf_release(&out);
	out = render((struct page){ .kind = PAGE_OFF, .mistake = WORDS });
	assert_null(strstr(buf_str(&out), "undo\""));
	buf_release(&out);
}

/* The policy lets in exactly the style that the page has. */
static void
policy_fits_the_style(void **state)
{
	struct buf out = render((struct page){ .kind = PAGE_BAD, .mistake = WORDS });
	const char *from = strstr(buf_str(&out), "<style>"),
		   *to = strstr(buf_str(&out), "</style>");
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned char text[64];
	char source[64], want[80];
	unsigned n = 0;

	(void)state;
	assert_true(from != NULL && to != NULL);
	from += 7;
	assert_int_equal(EVP_Digest(from, (size_t)(to - from), digest, &n, EVP_sha256(), NULL), 1);
	(void)EVP_EncodeBlock(text, digest, (int)n);
	(void)snprintf(want, sizeof(want), "'sha256-%s'", (char *)text);
	page_style_source(source);
	assert_string_equal(source, want);
	buf_release(&out);
}

static void
all_words_are_there(void **state)
{
	(void)state;
	for (unsigned l = 0; l < LANGUAGES; l++)
		for (unsigned i = 0; i < WORDS; i++)
			assert_true(words[l].text[i].len > 0);
}

static void
own_words(void **state)
{
	struct page_words w = words[LANGUAGE_EN];
	struct err err = { 0 };

	(void)state;
	assert_int_equal(
	    page_words_parse(&w, SLICE("# mine\n\nask_title = Really? = yes\n"), &arena, &err), 0);
	assert_true(slice_equal(w.text[WORD_ASK_TITLE], SLICE("Really? = yes")));
	assert_true(slice_equal(w.text[WORD_ASK_ALL], words[LANGUAGE_EN].text[WORD_ASK_ALL]));
	assert_int_equal(page_words_parse(&w, SLICE("\nask_titel = x\n"), &arena, &err), -1);
	assert_string_equal(err.msg, "line 2: there is no word \"ask_titel\"");
	assert_int_equal(page_words_parse(&w, SLICE("nothing"), &arena, &err), -1);
	assert_string_equal(err.msg, "line 1: expected name = text");
}

static void
own_words_by_file(void **state)
{
	char folder[] = "/tmp/kairan.XXXXXX", file[64];
	struct page_words w = { 0 };
	struct err err = { 0 };
	FILE *out;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(file, sizeof(file), "%s/words-en.txt", folder);
	out = fopen(file, "w");
	assert_non_null(out);
	(void)fputs("ask_title = Sure?\n", out);
	(void)fclose(out);
	assert_int_equal(page_words_load(&w, LANGUAGE_EN, folder, &arena, &err), 0);
	assert_true(slice_equal(w.text[WORD_ASK_TITLE], SLICE("Sure?")));
	assert_int_equal(page_words_load(&w, LANGUAGE_JA, folder, &arena, &err), 0);
	out = fopen(file, "w");
	assert_non_null(out);
	(void)fputs("wrong\n", out);
	(void)fclose(out);
	assert_int_equal(page_words_load(&w, LANGUAGE_EN, folder, &arena, &err), -1);
	assert_non_null(strstr(err.msg, "words-en.txt: line 1"));
	(void)unlink(file);
	(void)rmdir(folder);
}

static void
mails_that_ask(void **state)
{
	static const char *const bad[] = { "", "Hello", "Subject: x\n",
		"Subject:\n\n{{confirm_url}}", "Subject: x\n\nno link" };
	struct confirm_mail mail;
	struct err err = { 0 };

	(void)state;
	for (unsigned l = 0; l < LANGUAGES; l++) {
		const char *language = page_words_language_name((enum page_language)l);

		assert_int_equal(
		    confirm_mail_load(&mail, "address", language, "", &arena, &err), 0);
		assert_int_equal(
		    confirm_mail_load(&mail, "invite", language, NULL, &arena, &err), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(confirm_mail_parse(&mail, slice_str(bad[i]), &arena, &err), -1);
	assert_int_equal(confirm_mail_parse(&mail,
			     SLICE("Subject: A b\r\n\r\nsee {{confirm_url}}\r\n"), &arena, &err),
	    0);
	assert_string_equal(mail.subject, "A b");
	assert_string_equal(mail.body, "see {{confirm_url}}");
	assert_string_equal(mail.html, "");
	assert_int_equal(confirm_mail_html(&mail, SLICE("<p>no link"), &arena, &err), -1);
	assert_int_equal(
	    confirm_mail_html(&mail, SLICE("<p>\n<a href={{confirm_url}}>x</a>"), &arena, &err),
	    -1);
	assert_non_null(strstr(err.msg, "line 2, column"));
	assert_int_equal(
	    confirm_mail_html(&mail, SLICE("<a href=\"{{confirm_url}}\">x</a>"), &arena, &err), 0);
	assert_string_equal(mail.html, "<a href=\"{{confirm_url}}\">x</a>");
	assert_int_equal(
	    confirm_mail_parse(&mail, SLICE("Subject: x\n\n{{confirm_url}}{{#if}}"), &arena, &err),
	    -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(A35_every_page_escapes_everything),
		cmocka_unit_test(every_place_is_filled), cmocka_unit_test(buttons_post),
		cmocka_unit_test(policy_fits_the_style), cmocka_unit_test(all_words_are_there),
		cmocka_unit_test(own_words), cmocka_unit_test(own_words_by_file),
		cmocka_unit_test(mails_that_ask) };
	struct err err = { 0 };
	int failed;

	arena_init(&arena, (size_t)1024 * 1024);
	for (unsigned i = 0; i < LANGUAGES; i++)
		if (page_words_load(&words[i], (enum page_language)i, NULL, &arena, &err) < 0) {
			printf("Bail out! %s\n", err.msg);
			return 1;
		}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_release(&arena);
	return failed;
}
