/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compose_many: composes one campaign for every line of standard input and writes the messages
 * that would go on the wire, each behind a line "ok LENGTH jis|utf8 CLEANED" or, alone, "refused
 * FIELD". A line is: address, name, subject, body, each in base64, with blanks between them.
 * With --memory the resident memory at 1/10 and at the end goes to standard error.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

#define PIECES 4
#define LINE_BYTES (1 << 20)

static struct message_plan *
compile(struct arena *arena)
{
	static const struct attach files[] = { { SLICE("logo.png"), SLICE("image/png"),
						   SLICE("logo@example.jp"), SLICE("\x89PNG") },
		{ SLICE("ご案内.pdf"), SLICE("application/pdf"), SLICE(""), SLICE("%PDF-1.4") } };
	static const struct message_header headers[] = { { SLICE("X-Note"), SLICE("春の号") } };
	static const struct slice domains[] = { SLICE("jis.example") };
	const struct message_source source = { .from_name = SLICE("回覧 \"Shop\""),
		.from_addr = SLICE("news@example.jp"),
		.sender_name = SLICE("Office, the"),
		.sender_addr = SLICE("office@example.jp"),
		.reply_to_name = SLICE("お問い合わせ"),
		.reply_to = SLICE("desk@example.jp"),
		.subject = SLICE("{{subject}}"),
		.html = SLICE("<p>Dear {{name}},</p><p>{{body}}</p>"
			      "<img src=\"cid:logo@example.jp\" alt=\"{{name}}\">"
			      "<p><a href=\"{{unsubscribe_url}}\">Stop</a></p>\n"),
		.text = SLICE("{{name}}\n{{body}}\n-- \nStop: {{unsubscribe_url}}\n"),
		.list_name = SLICE("お知らせ"),
		.list_id = SLICE("news.example.jp"),
		.unsubscribe_url_base = SLICE("https://u.example.jp/u/"),
		.unsubscribe_mailto_domain = SLICE("bounce.example.jp"),
		.message_id_domain = SLICE("mail.example.jp"),
		.feedback_id = SLICE("spring:news:marketing:kairan"),
		.auto_submitted = true,
		.zone_minutes = 540,
		.headers = headers,
		.header_count = 1,
		.files = files,
		.file_count = 2,
		.jis_domains = domains,
		.jis_domain_count = 1 };
	struct message_plan *plan;
	struct err err;

	if (message_compile(&source, arena, &plan, &err) == 0)
		return plan;
	fprintf(stderr, "compose_many: %s\n", err.msg);
	exit(1);
}

static long
resident_kb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f != NULL && fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f != NULL)
		(void)fclose(f);
	return pages * 4;
}

/* Four pieces of a line into the arena; false when it is none. */
static bool
read_pieces(char *line, struct arena *arena, struct slice piece[PIECES])
{
	char *rest = line;

	for (size_t i = 0; i < PIECES; i++) {
		const char *word = strsep(&rest, " \n");

		if (word == NULL || !attach_decode(arena, word, &piece[i]))
			return false;
	}
	return true;
}

static void
compose_one(const struct message_plan *plan, const struct slice piece[PIECES], struct buf *out)
{
	struct template_value values[3];
	struct message_result result;
	size_t count;
	const struct slice *names = message_fields(plan, &count);
	struct message_recipient to = { .to_addr = piece[0],
		.to_name = piece[1],
		.values = values,
		.value_count = count,
		.message_id_left = SLICE("left"),
		.id_token = SLICE("idtoken"),
		.unsubscribe_token = SLICE("untoken"),
		.date = 1751328307,
		.run = 7,
		.campaign = piece[2] };

	for (size_t i = 0; i < count && i < 3; i++) {
		size_t from = slice_equal(names[i], SLICE("name")) ? 1
		    : slice_equal(names[i], SLICE("subject"))	   ? 2
								   : 3;

		values[i] = (struct template_value){ piece[from], true };
	}
	buf_reset(out);
	if (message_render(plan, &to, out, &result) != TEMPLATE_OK) {
		printf("refused %.*s\n", SLICE_ARG(result.field));
		return;
	}
	printf("ok %zu %s %u\n", out->len, result.is_jis ? "jis" : "utf8", result.cleaned);
	(void)fwrite(out->data, 1, out->len, stdout);
}

int
main(int argc, char **argv)
{
	bool memory = argc > 1 && strcmp(argv[1], "--memory") == 0;
	struct arena plan_arena, arena;
	const struct message_plan *plan;
	char *line = malloc(LINE_BYTES);
	size_t n = 0;
	struct buf out;

	if (line == NULL)
		return 1;
	arena_init(&plan_arena, (size_t)64 << 20);
	arena_init(&arena, (size_t)64 << 20);
	buf_init(&out, MESSAGE_BUFFER_MAX);
	plan = compile(&plan_arena);
	while (fgets(line, LINE_BYTES, stdin) != NULL) {
		struct slice piece[PIECES];

		arena_reset(&arena);
		if (!read_pieces(line, &arena, piece)) {
			fprintf(stderr, "compose_many: line %zu is not understood\n", n + 1);
			return 1;
		}
		compose_one(plan, piece, &out);
		if (++n % 1000 == 0 && memory)
			fprintf(stderr, "%zu %ld\n", n, resident_kb());
	}
	buf_release(&out);
	arena_release(&arena);
	arena_release(&plan_arena);
	free(line);
	return 0;
}
