/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_compose: how many messages one core composes. The message is 10 KB of text and HTML
 * with five fields in each part and in the subject. One JSON line per case: quoted-printable
 * (Latin) is the yardstick, base64 (Japanese) is told beside it. Argument: seconds per case.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "message.h"

#define FIELDS 5

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
fill(struct buf *html, struct buf *text, size_t bytes, const char *phrase)
{
	static const char *const fields[FIELDS] = { "name", "points", "rank", "shop", "coupon" };

	buf_append_str(html, "<!doctype html>\n<html><body style=\"margin:0\">\n");
	for (size_t i = 0; html->len + text->len < bytes; i++) {
		buf_printf(html, "<p style=\"font:16px sans-serif\">%s", phrase);
		buf_printf(text, "%s", phrase);
		if (i < FIELDS) {
			buf_printf(html, " {{%s}}", fields[i]);
			buf_printf(text, " {{%s}}", fields[i]);
		}
		buf_append_str(html, ".</p>\n");
		buf_append_str(text, ".\n");
	}
	buf_append_str(html, "<p><a href=\"{{unsubscribe_url}}\">Stop</a></p></body></html>\n");
	buf_append_str(text, "Stop: {{unsubscribe_url}}\n");
}

static int
bench(const char *name, const char *phrase, const char *subject, double seconds)
{
	static const struct template_value values[FIELDS] = { { { "Jane Appleseed", 14 }, true },
		{ { "12,345", 6 }, true }, { { "gold & silver", 13 }, true },
		{ { "Main Street", 11 }, true }, { { "A1B2-C3D4", 9 }, true } };
	struct buf html, text, out;
	struct arena arena;
	struct message_plan *plan;
	struct message_result result;
	struct err err;
	size_t done = 0, bytes = 0;
	double start, spent;

	buf_init(&html, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_init(&out, MESSAGE_BUFFER_MAX);
	arena_init(&arena, (size_t)64 << 20);
	fill(&html, &text, strcmp(name, "compose_10k") == 0 ? 9000 : 7000, phrase);
	if (message_compile(&(struct message_source){ .from_name = SLICE("Example Shop"),
				.from_addr = SLICE("news@example.jp"),
				.subject = slice_str(subject),
				.html = buf_slice(&html),
				.text = buf_slice(&text),
				.list_id = SLICE("news.example.jp"),
				.unsubscribe_url_base = SLICE("https://u.example.jp/u/"),
				.unsubscribe_mailto_domain = SLICE("bounce.example.jp"),
				.message_id_domain = SLICE("mail.example.jp"),
				.zone_minutes = 540 },
		&arena, &plan, &err) != 0) {
		fprintf(stderr, "bench_compose: %s\n", err.msg);
		return 1;
	}
	start = now();
	do {
		for (int i = 0; i < 1000; i++) {
			struct message_recipient to = { .to_addr =
							    SLICE("jane.appleseed@example.com"),
				.to_name = SLICE("Jane Appleseed"),
				.values = values,
				.value_count = FIELDS,
				.message_id_left = SLICE("abcdefghijklmnopqrstuvwxyz234567ab"),
				.id_token = SLICE("abcdefghijklmnopqrstuvwxyz234567ab"),
				.unsubscribe_token = SLICE("abcdefghijklmnopqrstuvwxyz234567ab"),
				.date = 1751328000 + i,
				.run = 7,
				.campaign = SLICE("July") };

			buf_reset(&out);
			if (message_render(plan, &to, &out, &result) != TEMPLATE_OK) {
				fprintf(stderr, "bench_compose: not rendered\n");
				return 1;
			}
			bytes += out.len;
		}
		done += 1000;
		spent = now() - start;
	} while (spent < seconds);
	printf("{\"bench\":\"%s\",\"value\":%.0f,\"unit\":\"messages/s per core\","
	       "\"message_bytes\":%zu,\"mb_per_s\":%.0f,\"yardstick\":null}\n",
	    name, (double)done / spent, bytes / done, (double)bytes / spent / 1e6);
	buf_release(&html);
	buf_release(&text);
	buf_release(&out);
	arena_release(&arena);
	return 0;
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 2.0;

	return bench("compose_10k",
		   "The summer sale begins on Monday, with half of the price on everything you "
		   "like",
		   "{{name}}, your {{points}} points", seconds) != 0 ||
	    bench("compose_10k_japanese",
		"夏のセールは月曜日から始まります。会員の皆さまには特別なご案内をお届けします",
		"{{name}} 様、ポイント残高 {{points}} のお知らせ", seconds) != 0;
}
