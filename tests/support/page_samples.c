/* SPDX-License-Identifier: Apache-2.0 */
/* page_samples FOLDER: writes every page for recipients in every language, for `make check-pages`. */
#include <stdio.h>

#include "page.h"

static const char *const names[PAGE_KINDS] = { [PAGE_ASK] = "ask",
	[PAGE_OFF] = "off",
	[PAGE_UNDONE] = "undone",
	[PAGE_LATE] = "late",
	[PAGE_MOVE] = "move",
	[PAGE_ASKED] = "asked",
	[PAGE_LIMIT] = "limit",
	[PAGE_CONFIRM_MOVE] = "confirm-move",
	[PAGE_CONFIRM_JOIN] = "confirm-join",
	[PAGE_CONFIRMED_MOVE] = "confirmed-move",
	[PAGE_CONFIRMED_JOIN] = "confirmed-join",
	[PAGE_EXPIRED] = "expired",
	[PAGE_GONE] = "gone",
	[PAGE_BAD] = "bad",
	[PAGE_BUSY] = "busy" };

static int
write_page(const struct page *p, const char *folder)
{
	char path[400];
	struct buf out;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s-%s.html", folder, names[p->kind],
	    words_language_name(p->language));
	buf_init(&out, PAGE_MAX);
	page_render(p, &out);
	file = fopen(path, "w");
	if (file == NULL || buf_failed(&out) || fwrite(out.data, 1, out.len, file) != out.len ||
	    fclose(file) != 0) {
		perror(path);
		return -1;
	}
	buf_release(&out);
	return 0;
}

int
main(int argc, char **argv)
{
	static struct words words[LANGUAGES];
	struct err err = { 0 };
	struct arena arena;
	int result = 0;

	if (argc != 2)
		return 2;
	arena_init(&arena, (size_t)1024 * 1024);
	for (unsigned i = 0; i < LANGUAGES * PAGE_KINDS && result == 0; i++) {
		struct page p = { .kind = i % PAGE_KINDS,
			.language = i / PAGE_KINDS,
			.words = &words[i / PAGE_KINDS],
			.list = i / PAGE_KINDS == LANGUAGE_JA ? SLICE("週刊おすすめ")
							      : SLICE("weekly offers"),
			.sender = SLICE("回覧 Shop"),
			.address = SLICE("t•••@softbank.example"),
			.new_address = SLICE("taro.yamada-1985@mail.a-new-phone.example"),
			.old_address = SLICE("taro@softbank.example"),
			.token = SLICE("abcdefghijklmnopqrstuvwxyz234567ab"),
			.days = 7,
			.may_undo = true,
			.may_move = i % PAGE_KINDS == PAGE_ASK || i % PAGE_KINDS == PAGE_OFF,
			.mistake = WORD_MOVE_MISMATCH };

		if (i % PAGE_KINDS == 0 &&
		    words_load(&words[i / PAGE_KINDS], p.language, NULL, &arena, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err.msg);
			result = -1;
			break;
		}
		result = write_page(&p, argv[1]);
	}
	arena_release(&arena);
	return result == 0 ? 0 : 1;
}
