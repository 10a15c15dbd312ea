/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_compose: how many messages one core composes. The message is 10 KB of text and HTML
 * with five fields in each part and in the subject. One JSON line per case: quoted-printable
 * (Latin) and base64 (Japanese). Argument: seconds per case, or --mail, which prints what is
 * composed as JSON for the yardstick (compose_nodemailer.js).
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "message.h"

#define FIELDS 5
#define URL_BASE "https://u.example.jp/u/"
#define TOKEN "abcdefghijklmnopqrstuvwxyz234567ab"

static const char *const field_names[FIELDS] = { "name", "points", "rank", "shop", "coupon" };
static const char *const field_values[FIELDS] = { "Jane Appleseed", "12,345", "gold & silver",
	"Main Street", "A1B2-C3D4" };

static const struct bench_case {
	const char *name;
	size_t bytes; /* of the templates */
	const char *phrase;
	const char *subject;
} cases[] = { { "compose_10k", 9000,
		  "The summer sale begins on Monday, with half of the price on everything you like",
		  "{{name}}, your {{points}} points" },
	{ "compose_10k_japanese", 7000,
	    "夏のセールは月曜日から始まります。会員の皆さまには特別なご案内をお届けします",
	    "{{name}} 様、ポイント残高 {{points}} のお知らせ" } };

#define CASES (sizeof(cases) / sizeof(cases[0]))

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
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

static void
fill(struct buf *html, struct buf *text, size_t bytes, const char *phrase)
{
	buf_append_str(html, "<!doctype html>\n<html><body style=\"margin:0\">\n");
	for (size_t i = 0; html->len + text->len < bytes; i++) {
		buf_printf(html, "<p style=\"font:16px sans-serif\">%s", phrase);
		buf_printf(text, "%s", phrase);
		if (i < FIELDS) {
			buf_printf(html, " {{%s}}", field_names[i]);
			buf_printf(text, " {{%s}}", field_names[i]);
		}
		buf_append_str(html, ".</p>\n");
		buf_append_str(text, ".\n");
	}
	buf_append_str(html, "<p><a href=\"{{unsubscribe_url}}\">Stop</a></p></body></html>\n");
	buf_append_str(text, "Stop: {{unsubscribe_url}}\n");
}

static int
bench(const struct bench_case *c, double seconds)
{
	struct template_value values[FIELDS];
	struct buf html, text, out;
	struct arena arena;
	struct message_plan *plan;
	struct message_result result;
	struct err err;
	size_t done = 0, bytes = 0;
	long resident = 0;
	double start, spent;

	buf_init(&html, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_init(&out, MESSAGE_BUFFER_MAX);
	arena_init(&arena, (size_t)64 << 20);
	for (size_t i = 0; i < FIELDS; i++)
		values[i] = (struct template_value){ slice_str(field_values[i]), true };
	fill(&html, &text, c->bytes, c->phrase);
	if (message_compile(&(struct message_source){ .from_name = SLICE("Example Shop"),
				.from_addr = SLICE("news@example.jp"),
				.subject = slice_str(c->subject),
				.html = buf_slice(&html),
				.text = buf_slice(&text),
				.list_id = SLICE("news.example.jp"),
				.unsubscribe_url_base = SLICE(URL_BASE),
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
				.message_id_left = SLICE(TOKEN),
				.id_token = SLICE(TOKEN),
				.unsubscribe_token = SLICE(TOKEN),
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
		if (done == 1000)
			resident = resident_kb();
		spent = now() - start;
	} while (spent < seconds);
	printf("{\"bench\":\"%s\",\"value\":%.0f,\"unit\":\"messages/s per core\","
	       "\"message_bytes\":%zu,\"mb_per_s\":%.0f,\"resident_growth_kb\":%ld}\n",
	    c->name, (double)done / spent, bytes / done, (double)bytes / spent / 1e6,
	    resident_kb() - resident);
	buf_release(&html);
	buf_release(&text);
	buf_release(&out);
	arena_release(&arena);
	return 0;
}

static void
print_mails(void)
{
	json_t *mails = json_array();

	for (size_t i = 0; i < CASES; i++) {
		const struct bench_case *c = &cases[i];
		json_t *values = json_object();
		struct buf html, text;

		buf_init(&html, 1 << 20);
		buf_init(&text, 1 << 20);
		fill(&html, &text, c->bytes, c->phrase);
		for (size_t k = 0; k < FIELDS; k++)
			(void)json_object_set_new(
			    values, field_names[k], json_string(field_values[k]));
		(void)json_object_set_new(values, "unsubscribe_url", json_string(URL_BASE TOKEN));
		(void)json_array_append_new(mails,
		    json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "name", c->name,
			"from_name", "Example Shop", "from", "news@example.jp", "to_name",
			"Jane Appleseed", "to", "jane.appleseed@example.com", "subject", c->subject,
			"html", buf_str(&html), "text", buf_str(&text), "values", values));
		buf_release(&html);
		buf_release(&text);
	}
	(void)json_dumpf(mails, stdout, JSON_COMPACT);
	json_decref(mails);
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 2.0;

	if (argc > 1 && strcmp(argv[1], "--mail") == 0) {
		print_mails();
		return 0;
	}
	for (size_t i = 0; i < CASES; i++)
		if (bench(&cases[i], seconds) != 0)
			return 1;
	return 0;
}
