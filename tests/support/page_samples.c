/* SPDX-License-Identifier: Apache-2.0 */
/* page_samples FOLDER: writes every page for recipients in every language, and a mail as it is shown in
 * a browser, for `make check-pages`. */
#include <stdio.h>

#include "message.h"
#include "page.h"

#define MAIL "docs/examples/newsletter.html"

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
	    page_words_language_name(p->language));
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

/* The example mail, every field with its own name, as feedback/web/web_view.c shows it. */
static int
write_view(const char *folder, struct arena *arena)
{
	struct message_source source = { .from_addr = SLICE("news@example.jp"),
		.subject = SLICE("News"),
		.message_id_domain = SLICE("example.jp"),
		.unsubscribe_url_base = SLICE("https://u.example.jp/u"),
		.web_base = SLICE("https://u.example.jp/") };
	struct message_recipient to = { .unsubscribe_token = SLICE("token"),
		.view_token = SLICE("token"),
		.blank_missing = true,
		.campaign = SLICE("november") };
	struct template_value values[TEMPLATE_FIELDS_MAX] = { 0 };
	char text[65536], path[400];
	struct message_plan *plan;
	struct message_result result;
	struct err err = { 0 };
	struct buf out;
	FILE *file = fopen(MAIL, "re");
	bool is_html = false;
	int status = -1;

	source.html = slice_make(text, file != NULL ? fread(text, 1, sizeof(text), file) : 0);
	if (file != NULL)
		(void)fclose(file);
	if (source.html.len == 0 || message_compile(&source, arena, &plan, &err) != 0) {
		(void)fprintf(stderr, "%s: %s\n", MAIL, err.msg);
		return -1;
	}
	const struct slice *fields = message_fields(plan, &to.value_count);

	for (size_t i = 0; i < to.value_count; i++)
		values[i] = (struct template_value){ fields[i], !message_field_is_json(plan, i) };
	to.values = values;
	buf_init(&out, MESSAGE_BUFFER_MAX);
	(void)snprintf(path, sizeof(path), "%s/view-mail.html", folder);
	if (message_render_view(plan, &to, &out, &is_html, &result) == TEMPLATE_OK && is_html &&
	    (file = fopen(path, "we")) != NULL) {
		status = fwrite(out.data, 1, out.len, file) == out.len ? 0 : -1;
		status = fclose(file) == 0 ? status : -1;
	}
	if (status != 0)
		(void)fprintf(stderr, "%s cannot be shown\n", MAIL);
	buf_release(&out);
	return status;
}

int
main(int argc, char **argv)
{
	static struct page_words words[LANGUAGES];
	struct err err = { 0 };
	struct arena arena;
	int result = 0;

	if (argc != 2)
		return 2;
	arena_init(&arena, (size_t)64 << 20);
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
		    page_words_load(&words[i / PAGE_KINDS], p.language, NULL, &arena, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err.msg);
			result = -1;
			break;
		}
		result = write_page(&p, argv[1]);
	}
	if (result == 0)
		result = write_view(argv[1], &arena);
	arena_release(&arena);
	return result == 0 ? 0 : 1;
}
