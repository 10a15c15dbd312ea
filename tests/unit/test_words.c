/* SPDX-License-Identifier: Apache-2.0 */
/* words: normalised text and phrases with gaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "words.h"

static void
assert_words(const char *text, bool drop, const char *expected)
{
	char bytes[200];
	struct slice s = words_normalise(slice_str(text), bytes, drop);

	assert_int_equal(s.len, strlen(expected));
	assert_memory_equal(s.ptr, expected, s.len);
}

static void
test_normalise(void **state)
{
	(void)state;
	assert_words("  User\r\n\tUNKNOWN ", false, "user unknown");
	assert_words("couldn\xE2\x80\x99t\xC2\xA0"
		     "be",
	    false, "couldn't be");
	assert_words("<no-such-user@x.test>: full", true, "<>: full");
	assert_words("<no-such-user@x.test>: full", false, "<no-such-user@x.test>: full");
	assert_words("spam@x.test", true, "");
	assert_words("收件人（a@x.test）不存在", true, "收件人（）不存在");
	assert_words("", true, "");
}

static void
test_accents(void **state)
{
	static const char *const alike[][2] = { { "Empfänger", "empfanger" },
		{ "Größe ÜBERSCHRITTEN", "grosse uberschritten" },
		{ "boîte n'existe déjà", "boite n'existe deja" },
		{ "Œuvre Æther", "oeuvre aether" }, { "no se encontró", "no se encontro" },
		{ "não será", "nao sera" }, { "pełna skrzynką", "pelna skrzynka" },
		{ "příjemce Ž", "prijemce z" }, { "İstanbul ı", "istanbul i" },
		{ "șters ștanță", "sters stanta" }, { "Mottagare okänd Å", "mottagare okand a" },
		/* the marks by themselves, as macOS writes */
		{ "e\xCC\x81t\xCC\xA8", "et" }, { "УДАЛЁН", "удален" },
		{ "ΑΠΟΤΥΧΊΑ παράδοσης", "αποτυχια παραδοσησ" },
		/* no letters of these scripts */
		{ "宛先不明", "宛先不明" }, { "\xC3", "\xC3" }, { "\xCE ", "\xCE" } };
	char bytes[100];

	(void)state;
	for (size_t i = 0; i < sizeof(alike) / sizeof(*alike); i++)
		assert_words(alike[i][0], false, alike[i][1]);
	assert_int_equal(words_fold(SLICE(" é  x "), bytes), 6);
	assert_memory_equal(bytes, " e  x ", 6);
}

static bool
finds(const char *text, const char *phrases)
{
	return words_match(slice_str(text), phrases);
}

static void
test_match(void **state)
{
	(void)state;
	assert_true(finds("the mailbox is full now", "no|mailbox is full"));
	assert_true(finds("mailbox of a user is full", "mailbox * full"));
	assert_true(finds("mailbox full", "mailbox * full"));
	assert_false(finds("full mailbox", "mailbox * full"));
	assert_true(finds("re: x", "^re:"));
	assert_false(finds("x re:", "^re:"));
	assert_true(finds("a b a c", "a * c"));
	assert_false(finds("", "a"));
	assert_false(finds("a", "ab|"));
	{
		char far[300] = "begin ";
		memset(far + 6, 'x', 200);
		strcpy(far + 206, " end");
		assert_false(finds(far, "begin * end"));
	}
}

/* Many beginnings without an end cost no more than the text is long. */
static void
test_time(void **state)
{
	static char text[1000000];
	clock_t start = clock();

	(void)state;
	for (size_t i = 0; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "a ", 2);
	assert_false(words_match(slice_make(text, sizeof(text) - 1), "a * a * a * b"));
	assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_normalise),
		cmocka_unit_test(test_accents), cmocka_unit_test(test_match),
		cmocka_unit_test(test_time) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
