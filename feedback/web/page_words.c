/* SPDX-License-Identifier: Apache-2.0 */
/* page_words: see page_words.h. Reads files at the start of the program only. */
#include "page_words.h"

#include <string.h>

#include "embed.h"
#include "own_text.h"

static const char *const names[WORDS] = {
	"ask_title",
	"ask_text",
	"ask_list",
	"ask_all",
	"ask_note",
	"off_title",
	"off_text",
	"off_all_text",
	"off_note",
	"undo",
	"undone_title",
	"undone_text",
	"late_title",
	"late_text",
	"move_link",
	"move_title",
	"move_text",
	"move_old",
	"move_new",
	"move_button",
	"move_bad",
	"move_mismatch",
	"move_same",
	"asked_title",
	"asked_text",
	"limit_title",
	"limit_text",
	"confirm_title",
	"confirm_move_text",
	"confirm_join_text",
	"confirm_button",
	"confirmed_title",
	"confirmed_move_text",
	"confirmed_join_text",
	"expired_title",
	"expired_text",
	"gone_title",
	"gone_text",
	"bad_title",
	"bad_text",
	"busy_title",
	"busy_text",
};

static const struct {
	const char *name, *words;
} languages[LANGUAGES] = {
	[LANGUAGE_EN] = { "en", embed_feedback_data_words_en_txt },
	[LANGUAGE_JA] = { "ja", embed_feedback_data_words_ja_txt },
};

const char *
page_words_language_name(enum page_language language)
{
	return languages[language].name;
}

static struct slice
take_line(struct slice *text)
{
	const char *end = memchr(text->ptr, '\n', text->len);
	size_t n = end != NULL ? (size_t)(end - text->ptr) : text->len;
	struct slice line = slice_make(text->ptr, n);

	n += end != NULL;
	*text = slice_make(text->ptr + n, text->len - n);
	return line;
}

int
page_words_parse(struct page_words *words, struct slice text, struct arena *arena, struct err *err)
{
	for (unsigned number = 1; text.len > 0; number++) {
		struct slice line = slice_trim(take_line(&text)), name, value;
		const char *equals = line.len > 0 ? memchr(line.ptr, '=', line.len) : NULL;
		unsigned i;

		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (equals == NULL)
			return err_set(err, "line %u: expected name = text", number);
		name = slice_trim(slice_make(line.ptr, (size_t)(equals - line.ptr)));
		value =
		    slice_trim(slice_make(equals + 1, line.len - (size_t)(equals + 1 - line.ptr)));
		for (i = 0; i < WORDS && !slice_equal(name, slice_str(names[i])); i++)
			;
		if (i == WORDS)
			return err_set(err, "line %u: there is no word \"%.*s\"", number,
			    (int)(name.len < 40 ? name.len : 40), name.ptr);
		words->text[i] = arena_copy(arena, value);
		if (words->text[i].ptr == NULL)
			return err_set(err, "no memory");
	}
	return 0;
}

int
page_words_load(struct page_words *words, enum page_language language, const char *folder,
    struct arena *arena, struct err *err)
{
	struct slice text = { NULL, 0 };
	struct err why = { 0 };
	char path[OWN_TEXT_PATH_MAX];
	int own;

	if (page_words_parse(words, slice_str(languages[language].words), arena, err) < 0)
		return -1;
	own = own_text_read(folder, "words", languages[language].name, arena, &text, path, err);
	if (own > 0 && page_words_parse(words, text, arena, &why) < 0)
		return err_set(err, "%.200s: %.190s", path, why.msg);
	return own < 0 ? -1 : 0;
}
