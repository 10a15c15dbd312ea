/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page_words: the wording of the pages in each language, from feedback/data/words-LANGUAGE.txt, which
 * a file of the same name in the folder web.words may replace line by line: "name = text", "#"
 * begins a remark. {list} {sender} {address} {new} {days} in a text are filled in by the page.
 */
#ifndef KAIRAN_PAGE_WORDS_H
#define KAIRAN_PAGE_WORDS_H

#include "arena.h"
#include "err.h"
#include "web_request.h"
#include "slice.h"

enum word {
	WORD_ASK_TITLE,
	WORD_ASK_TEXT,
	WORD_ASK_LIST,
	WORD_ASK_ALL,
	WORD_ASK_NOTE,
	WORD_OFF_TITLE,
	WORD_OFF_TEXT,
	WORD_OFF_ALL_TEXT,
	WORD_OFF_NOTE,
	WORD_UNDO,
	WORD_UNDONE_TITLE,
	WORD_UNDONE_TEXT,
	WORD_LATE_TITLE,
	WORD_LATE_TEXT,
	WORD_MOVE_LINK,
	WORD_MOVE_TITLE,
	WORD_MOVE_TEXT,
	WORD_MOVE_OLD,
	WORD_MOVE_NEW,
	WORD_MOVE_BUTTON,
	WORD_MOVE_BAD,
	WORD_MOVE_MISMATCH,
	WORD_MOVE_SAME,
	WORD_ASKED_TITLE,
	WORD_ASKED_TEXT,
	WORD_LIMIT_TITLE,
	WORD_LIMIT_TEXT,
	WORD_CONFIRM_TITLE,
	WORD_CONFIRM_MOVE_TEXT,
	WORD_CONFIRM_JOIN_TEXT,
	WORD_CONFIRM_BUTTON,
	WORD_CONFIRMED_TITLE,
	WORD_CONFIRMED_MOVE_TEXT,
	WORD_CONFIRMED_JOIN_TEXT,
	WORD_EXPIRED_TITLE,
	WORD_EXPIRED_TEXT,
	WORD_GONE_TITLE,
	WORD_GONE_TEXT,
	WORD_BAD_TITLE,
	WORD_BAD_TEXT,
	WORD_BUSY_TITLE,
	WORD_BUSY_TEXT,
	WORDS
};

struct page_words {
	struct slice text[WORDS]; /* in the arena */
};

/* Takes the lines of a file; 0, or -1 with err: "line 3: …". Lines before an error stay taken. */
int page_words_parse(
    struct page_words *words, struct slice text, struct arena *arena, struct err *err) MUST_CHECK;

/* The words of a language: ours, then those of the folder (NULL or "": none). -1 with err. */
int page_words_load(struct page_words *words, enum page_language language, const char *folder,
    struct arena *arena, struct err *err) MUST_CHECK;

/* "en", "ja". */
const char *page_words_language_name(enum page_language language);

#endif
