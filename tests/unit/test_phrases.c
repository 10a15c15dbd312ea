/* SPDX-License-Identifier: Apache-2.0 */
/* phrases: what words_match() finds list by list is found for all lists at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "phrases.h"
#include "words.h"

static const char *const lists[] = { "no|mailbox is full", "mailbox * full", "^re:|^fwd:", "a * c",
	"<>|ab", "a * b * c||宛先|ab", NULL, "user unknown|unknown user|user * not found",
	"ull n|x y", "mailbox * full~ shut~d * c", "宛先*不明~x" };
#define LISTS (sizeof(lists) / sizeof(lists[0]))

static struct phrases all;

static int
compile(void **state)
{
	(void)state;
	for (size_t i = 0; i < LISTS; i++)
		if (!phrases_add(&all, i, lists[i]))
			return -1;
	return 0;
}

static void
assert_alike(struct slice text)
{
	struct phrases_found found;

	phrases_find(&all, text, &found);
	for (size_t i = 0; i < LISTS; i++)
		if (phrases_has(&found, i) != (lists[i] != NULL && words_match(text, lists[i])))
			fail_msg("list %zu in \"%.*s\"", i, SLICE_ARG(text));
}

static void
test_examples(void **state)
{
	static const char *const texts[] = { "the mailbox is full now", "mailbox of a user is full",
		"mailbox full", "full mailbox", "re: x", "x re:", "a b a c", "", "a", "ab", "<>",
		"宛先が不明", "user a was not found", "mailbox is ful", "mailbox is shut",
		"mailbox d c", "mailbox d full", "mailbox shut c", "宛先x" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_alike(slice_str(texts[i]));
}

/* Phrases with accents are found in texts as people write them. */
static void
test_accents(void **state)
{
	static struct phrases own;
	static const char *const found_in[] = { "Empfänger unbekannt", "EMPFAENGER UNBEKANNT",
		"empfanger unbekannt", "boîte aux lettres pleine", "boite pleine", "Größe" };
	struct phrases_found found;
	char bytes[100];

	(void)state;
	assert_true(phrases_add(&own, 0, "nichts|empfänger unbekannt|boîte * pleine|größe"));
	for (size_t i = 0; i < sizeof(found_in) / sizeof(*found_in); i++) {
		phrases_find(&own, words_normalise(slice_str(found_in[i]), bytes, false), &found);
		assert_true(phrases_has(&found, 0));
	}
	phrases_find(&own, words_normalise(SLICE("empfunger unbekannt"), bytes, false), &found);
	assert_false(phrases_has(&found, 0));
}

/* '*' between blanks needs none in the text where the script has none. */
static void
test_unspaced(void **state)
{
	static struct phrases own;
	static const char *const found_in[] = { "宛先が不明", "宛先 不明", "この宛先は不明です",
		"宛先が未登録", "mailbox いっぱい", "받는 주소가 잘못됨" };
	static const char *const not_in[] = { "不明な宛先", "mailboxいっぱい", "hộp thưđầy",
		"宛不明" };
	struct phrases_found found;

	(void)state;
	assert_true(phrases_add(
	    &own, 0, "宛先 * 不明~ 未登録|mailbox * いっぱい|hộp thư * đầy|주소 * 잘못"));
	for (size_t i = 0; i < sizeof(found_in) / sizeof(*found_in); i++) {
		phrases_find(&own, slice_str(found_in[i]), &found);
		assert_true(phrases_has(&found, 0));
	}
	for (size_t i = 0; i < sizeof(not_in) / sizeof(*not_in); i++) {
		phrases_find(&own, slice_str(not_in[i]), &found);
		assert_false(phrases_has(&found, 0));
	}
}

/* Texts made of pieces of the phrases. */
static void
test_random(void **state)
{
	static const char *const pieces[] = { "mailbox", " ", "is", "full", "re:", "a", "b", "c",
		"<>", "no", "user", "unknown", "not found", "宛先", "x y", "ull n",
		"----------------------------------------" };

	(void)state;
	srandom(20261122);
	for (int round = 0; round < 20000; round++) {
		char text[400];
		size_t len = 0;

		for (long n = random() % 9; n > 0; n--) {
			const char *piece =
			    pieces[(size_t)random() % (sizeof(pieces) / sizeof(pieces[0]))];

			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		assert_alike(slice_make(text, len));
	}
}

static void
test_alternatives(void **state)
{
	(void)state;
	assert_true(words_match(SLICE("account of a user is locked"), "account * closed~ locked"));
	assert_true(words_match(SLICE("account closed"), "account * closed~ locked"));
	assert_false(words_match(SLICE("account is here"), "account * closed~ locked"));
	assert_true(words_match(SLICE("a x b y"), "a * w~x * z~y"));
	assert_false(words_match(SLICE("a y b x"), "a * w~x * z~y"));
}

static void
test_names(void **state)
{
	static const char *const texts[] = { "user 'joe' unknown", "user <> is not known",
		"user joe.d unknown", "user joe unknown", "user joe. unknown",
		"user 'joe' is unknown", "user 'joe'", "user 'joe' 'jim' unknown", "user unknown" };
	static const bool is_match[] = { true, true, true, false, false, false, false, false,
		false };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		static struct phrases p;
		struct phrases_found found;

		memset(&p, 0, sizeof(p));
		assert_true(phrases_add(&p, 0, "user % unknown~ is not known"));
		phrases_find(&p, slice_str(texts[i]), &found);
		assert_int_equal(phrases_has(&found, 0), is_match[i]);
		assert_int_equal(
		    words_match(slice_str(texts[i]), "user % unknown~ is not known"), is_match[i]);
	}
}

static void
test_limits(void **state)
{
	static struct phrases p;
	bool is_full = false;

	(void)state;
	assert_false(phrases_add(&p, PHRASES_LISTS_MAX, "ab"));
	assert_false(phrases_add(&p, 0, "a"));
	assert_false(phrases_add(&p, 0, "*b"));
	assert_true(phrases_add(&p, 0, ""));
	for (int i = 0; i <= PHRASES_MAX && !is_full; i++)
		is_full = !phrases_add(&p, 0, "abcd");
	assert_true(is_full);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_accents),
		cmocka_unit_test(test_unspaced),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_alternatives),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_limits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, compile, NULL);
}
