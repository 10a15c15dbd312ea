/* SPDX-License-Identifier: Apache-2.0 */
/* test_campaign_file: what a campaign file may say, and where its errors are reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/campaign/campaign_file.h"
#include "cli/campaign/report.h"

#define BASE                                                                                       \
	"[campaign]\nname = news\nstream = marketing\nsubject = Hello\nfrom = a@shop.example\n"    \
	"text = t.txt\nsegment = everyone\n"

static struct arena arena;
static struct campaign_file file;
static struct err err;

static int
parse(const char *text)
{
	arena_release(&arena);
	arena_init(&arena, (size_t)8 << 20);
	err = (struct err){ 0 };
	return campaign_file_parse(&file, slice_str(text), &arena, &err);
}

/* The text must be refused at this line with these words in the message. */
static void
refused(const char *text, size_t line, const char *words)
{
	assert_int_equal(parse(text), -1);
	if (strstr(err.msg, words) == NULL)
		fail_msg("message \"%s\" has no \"%s\"", err.msg, words);
	assert_int_equal(err.offset, line);
}

static void
test_message_keys(void **state)
{
	(void)state;
	assert_int_equal(parse(BASE "sender = 事務局 <office@shop.example>\n"
				    "reply_to = \"Desk, A\" <desk@Shop.example>\n"
				    "attachments = a.pdf, docs/案内.pdf,\n"
				    "inline = logo.png\nembed_images = yes\n"
				    "iso_2022_jp = Docomo.NE.JP, 日本.example\n"),
	    0);
	assert_string_equal(file.sender_name, "事務局");
	assert_string_equal(file.sender_address, "office@shop.example");
	assert_string_equal(file.reply_to_name, "Desk, A");
	assert_string_equal(file.reply_to, "desk@shop.example");
	assert_int_equal(file.attachments.count, 2);
	assert_string_equal(file.attachments.name[1], "docs/案内.pdf");
	assert_int_equal(file.attachments_line, 10);
	assert_int_equal(file.inline_images.count, 1);
	assert_string_equal(file.embed_images, "yes");
	assert_int_equal(file.iso_2022_jp.count, 2);
	assert_string_equal(file.iso_2022_jp.name[0], "docomo.ne.jp");
	assert_string_equal(file.iso_2022_jp.name[1], "xn--wgv71a.example");
	assert_int_equal(parse(BASE), 0);
	assert_string_equal(file.sender_address, "");
	assert_string_equal(file.embed_images, "no");
	refused(BASE "attachments = a.pdf, ../b.pdf\n", 8, "without '..'");
	refused(BASE "attachments = /etc/passwd\n", 8, "without '..'");
	refused(BASE "inline = a//b.png\n", 8, "inline names files");
	refused(BASE "embed_images = maybe\n", 8, "is one of: no, yes");
	refused(BASE "iso_2022_jp = docomo\n", 8, "domain without a dot");
	refused(BASE "iso_2022_jp = a@docomo.ne.jp\n", 8, "iso_2022_jp: ");
	refused(BASE "sender = A <a@b\n", 8, "not of the form Name <address>");
}

static void
test_whole(void **state)
{
	(void)state;
	assert_int_equal(parse("\xef\xbb\xbf# remark\r\n[campaign]\r\n"
			       "name = november-news\r\nstream=marketing\n"
			       "subject = お知らせ {{name}}\n"
			       "from = 回覧 Shop <News@Shop.Example>\n"
			       "reply_to = <help@shop.example>\n"
			       "html = mail/news.html\ntext = news.txt\nlist = news\n"
			       "segment = c.locale = 'ja' -- remark\n  AND c.id > 5\n"
			       "# between\n\tAND true\n"
			       "missing_field = skip\nbad_field = refuse\n\n"
			       "[exclude]\ncampaigns = a, b-1 ,c,\nsegments = staff\n"
			       "[schedule]\nstart = 2026-12-01 10:00 Asia/Tokyo\n"
			       "not_after = 2026-12-01T12:00:00+09:00\nwindow = 2h\nspread = "
			       "6h\ncanary = 500\ncanary_wait = 45m\nweight = "
			       "3\nquiet_hours = 21:00-08:00\ntime_zone = Asia/Tokyo\n"
			       "repeat = every  2 day\n"
			       "[hook]\ncommand = /bin/true a=b\nurl = https://hook.example/x\n"
			       "[headers]\nX-One = 1\nX-Two = zwei; drei\n"),
	    0);
	assert_string_equal(file.name, "november-news");
	assert_string_equal(file.subject, "お知らせ {{name}}");
	assert_string_equal(file.from_name, "回覧 Shop");
	assert_string_equal(file.from_address, "News@shop.example");
	assert_string_equal(file.reply_to, "help@shop.example");
	assert_string_equal(file.html, "mail/news.html");
	assert_string_equal(file.segment, "c.locale = 'ja' -- remark\nAND c.id > 5\nAND true");
	assert_int_equal(file.segment_line, 11);
	assert_string_equal(file.missing_field, "skip");
	assert_string_equal(file.bad_field, "refuse");
	assert_int_equal(file.exclude_campaigns.count, 3);
	assert_string_equal(file.exclude_campaigns.name[1], "b-1");
	assert_int_equal(file.exclude_segments.count, 1);
	assert_int_equal(file.window_s, 7200);
	assert_int_equal(file.spread_s, 21600);
	assert_int_equal(file.canary, 500);
	assert_int_equal(file.canary_wait_s, 2700);
	assert_int_equal(file.weight, 3);
	assert_int_equal(file.quiet_from, 1260);
	assert_int_equal(file.quiet_till, 480);
	assert_string_equal(file.time_zone, "Asia/Tokyo");
	assert_string_equal(file.zone_field, "time_zone");
	assert_string_equal(file.repeat, "every 2 days");
	assert_string_equal(file.hook_command, "/bin/true a=b");
	assert_int_equal(file.header_count, 2);
	assert_string_equal(file.headers[1].name, "X-Two");
	assert_string_equal(file.headers[1].value, "zwei; drei");
}

static void
test_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse(BASE), 0);
	assert_string_equal(file.missing_field, "fail");
	assert_string_equal(file.bad_field, "clean");
	assert_string_equal(file.from_name, "");
	assert_string_equal(file.html, "");
	assert_string_equal(file.start, "");
	assert_int_equal(file.window_s, 0);
	assert_int_equal(file.spread_s, 0);
	assert_int_equal(file.weight, 1);
	assert_int_equal(file.canary, 0);
	assert_int_equal(file.canary_wait_s, 0);
	assert_int_equal(parse(BASE "[campaign]\nlist = x"), 0); /* no final line end */
	assert_string_equal(file.list, "x");
}

static void
test_structure(void **state)
{
	(void)state;
	refused("name = x\n", 1, "section");
	refused(BASE "nonsense\n", 8, "key = value");
	refused(BASE "[campain]\n", 8, "no section [campain]");
	refused(BASE "[campaign\n", 8, "]");
	refused(BASE "colour = red\n", 8, "no key 'colour'");
	refused(BASE "\nname = again\n", 9, "given before");
	refused(BASE "list =\n", 8, "has no value");
	refused(BASE "list =\n\n[hook]\n", 8, "has no value");
	refused("[campaign]\n  name = x\n", 2, "begins with a blank");
	refused(BASE "\n  continued\n", 9, "begins with a blank");
	refused(BASE "# \xff\n", 0, "UTF-8");
	refused("", 0, "name is missing");
}

static void
test_required(void **state)
{
	(void)state;
	refused("[campaign]\nname = a\n", 0, "stream is missing");
	refused("[campaign]\nname=a\nstream=b\nsubject=c\nfrom=a@b.example\ntext=t\n", 0,
	    "segment = everyone");
	refused("[campaign]\nname=a\nstream=b\nsubject=c\nfrom=a@b.example\nsegment=d\n", 0,
	    "html or text");
	refused(BASE "template = t.json\n", 0, "come from the template");
	refused(BASE "[schedule]\nrepeat = daily\n", 0, "needs a start");
}

static void
test_values(void **state)
{
	(void)state;
	refused("[campaign]\nname = News\n", 2, "lower-case");
	refused("[campaign]\nname = -a\n", 2, "lower-case");
	refused("[campaign]\nsubject = a\x01z\n", 2, "control");
	refused("[campaign]\nsubject = a\xe2\x80\xa8z\n", 2, "control");
	refused("[campaign]\nfrom = Shop <nobody>\n", 2, "from");
	refused("[campaign]\nfrom = Shop <a@b.example> x\n", 2, "form");
	refused("[campaign]\nfrom = A <x@y.example> <a@b.example>\n", 2, "form");
	refused("[campaign]\nreply_to = a@b\n", 2, "reply_to");
	refused("[campaign]\nmissing_field = skipp\n", 2, "fail, skip, blank");
	refused("[campaign]\nmissing_field = ,\n", 2, "fail, skip, blank");
	refused("[exclude]\ncampaigns = a b\n", 2, "commas");
	refused("[hook]\nurl = file:///etc/passwd\n", 2, "https");
	refused("[campaign]\nlist = a..b\n", 2, "list");
	assert_int_equal(parse("[campaign]\nfrom = \"Shop, Ltd\" <a@b.example>\n"), -1);
	assert_string_equal(file.from_name, "Shop, Ltd");
}

static void
test_headers(void **state)
{
	static const char *const own[] = { "From", "to", "SUBJECT", "Content-Type", "X-Kairan-Id",
		"List-Unsubscribe", "bcc", "DKIM-Signature", "return-path" };
	char text[600];

	(void)state;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		(void)snprintf(text, sizeof(text), "[headers]\n%s = x\n", own[i]);
		refused(text, 2, "written by Kairan");
	}
	refused("[headers]\nX Y = 1\n", 2, "no name");
	refused("[headers]\nX-A = 1\nx-a = 2\n", 3, "given before");
	refused("[headers]\nX-A = 1\n  \x7f\n", 2, "control");
	/* continued header values become one line */
	assert_int_equal(parse(BASE "[headers]\nX-A = 1\n 2\n"), 0);
	assert_string_equal(file.headers[0].value, "1 2");
}

static void
test_paths(void **state)
{
	static const char *const bad[] = { "", "/etc/passwd", "..", "../x", "a/../b", "a/..", "./a",
		"a//b", "a/", ".", "/" };
	static const char *const good[] = { "a", "a/b.html", "..a", "a..b/...", ".hidden" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (campaign_path_ok(slice_str(bad[i])))
			fail_msg("accepted %s", bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!campaign_path_ok(slice_str(good[i])))
			fail_msg("refused %s", good[i]);
	assert_false(campaign_path_ok(slice_make("a\0b", 3)));
	refused("[campaign]\nhtml = ../x.html\n", 2, "..");
}

static void
test_times(void **state)
{
	static const char *const good[] = { "2026-12-01 10:00 Asia/Tokyo", "2026-12-01T10:00:59Z",
		"2026-12-01T10:00:00+09:00", "2026-12-01 10:00 +0900", "2026-12-01 10:00-05",
		"2026-01-31 00:00 UTC", "2026-12-01 10:00 America/Argentina/Buenos_Aires",
		"2026-12-01 10:00 Etc/GMT+9" };
	static const char *const bad[] = { "", "tomorrow", "2026-12-01", "2026-12-01 10:00",
		"2026-12-01T10:00:00", "2026-13-01 10:00 UTC", "2026-00-01 10:00 UTC",
		"2026-12-32 10:00 UTC", "2026-12-01 24:00 UTC", "2026-12-01 10:60 UTC",
		"2026-12-01 10:00 JST", "2026-12-01 10:00 UTC+9", "2026-12-01 10:00 +99:00",
		"2026-12-01 10:00 +9", "26-12-01 10:00 UTC", "2026-12-01 10:00 a/b'c",
		"2026-12-01 10:00 UTC UTC", "2026-12-01 10:00:0 UTC", "1999-12-01 10:00 UTC" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (campaign_time_ok(slice_str(good[i]), &err) != 0)
			fail_msg("refused %s: %s", good[i], err.msg);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (campaign_time_ok(slice_str(bad[i]), &err) == 0)
			fail_msg("accepted %s", bad[i]);
}

static void
test_durations(void **state)
{
	(void)state;
	assert_int_equal(campaign_duration(SLICE("90")), 90);
	assert_int_equal(campaign_duration(SLICE("90s")), 90);
	assert_int_equal(campaign_duration(SLICE("15m")), 900);
	assert_int_equal(campaign_duration(SLICE("2h")), 7200);
	assert_int_equal(campaign_duration(SLICE("366d")), 366 * 86400);
	assert_int_equal(campaign_duration(SLICE("367d")), -1);
	assert_int_equal(campaign_duration(SLICE("999999999d")), -1);
	assert_int_equal(campaign_duration(SLICE("99999999999999999999")), -1);
	assert_int_equal(campaign_duration(SLICE("0")), -1);
	assert_int_equal(campaign_duration(SLICE("")), -1);
	assert_int_equal(campaign_duration(SLICE("2 h")), -1);
	assert_int_equal(campaign_duration(SLICE("2w")), -1);
	assert_int_equal(campaign_duration(SLICE("-1")), -1);
}

static void
test_repeats(void **state)
{
	static const char *const bad[] = { "", "yearly", "every", "every day", "every 0 days",
		"every 2 weeks", "every 2 dayss", "every -1 days", "every 1000000 days", "Daily" };

	(void)state;
	assert_string_equal(campaign_repeat(SLICE("weekly"), &arena), "weekly");
	assert_string_equal(campaign_repeat(SLICE("every 1 minute"), &arena), "every 1 minutes");
	assert_string_equal(campaign_repeat(SLICE("every 36 hours"), &arena), "every 36 hours");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (campaign_repeat(slice_str(bad[i]), &arena) != NULL)
			fail_msg("accepted %s", bad[i]);
}

static void
test_limits(void **state)
{
	size_t size = CAMPAIGN_VALUE_MAX + 2000;
	char *text = malloc(size), *p;

	(void)state;
	assert_non_null(text);
	p = text + snprintf(text, size, "[campaign]\nsegment = ");
	memset(p, 'x', CAMPAIGN_VALUE_MAX);
	p[CAMPAIGN_VALUE_MAX] = '\0';
	refused(text, 2, "longer");
	/* in pieces, too */
	memset(p, 'x', CAMPAIGN_VALUE_MAX + 1000);
	p[CAMPAIGN_VALUE_MAX + 1000] = '\0';
	for (size_t i = 99; i < CAMPAIGN_VALUE_MAX; i += 100)
		memcpy(p + i - 1, "\n ", 2);
	assert_int_equal(parse(text), -1);
	assert_non_null(strstr(err.msg, "longer"));
	p = text + snprintf(text, size, "[headers]\n");
	for (int i = 0; i <= CAMPAIGN_HEADERS_MAX; i++)
		p += snprintf(p, size - (size_t)(p - text), "X-%d = 1\n", i);
	refused(text, CAMPAIGN_HEADERS_MAX + 2, "more than");
	p = text + snprintf(text, size, "[exclude]\ncampaigns = a");
	for (int i = 0; i < CAMPAIGN_LIST_MAX; i++)
		p += snprintf(p, size - (size_t)(p - text), ",a");
	refused(text, 2, "more than");
	free(text);
	text = calloc(1, CAMPAIGN_FILE_MAX + 1);
	assert_non_null(text);
	assert_int_equal(
	    campaign_file_parse(&file, slice_make(text, CAMPAIGN_FILE_MAX + 1), &arena, &err), -1);
	assert_non_null(strstr(err.msg, "longer"));
	free(text);
}

/* Cut anywhere, the file is refused or whole, and memory is never left. */
static void
test_cuts(void **state)
{
	static const char text[] =
	    BASE "[headers]\nX-A = 1\n[schedule]\nstart = 2026-12-01 10:00 UTC\n";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy = malloc(n + 1);

		assert_non_null(copy);
		memcpy(copy, text, n);
		arena_release(&arena);
		arena_init(&arena, (size_t)8 << 20);
		if (campaign_file_parse(&file, slice_make(copy, n), &arena, &err) == 0)
			assert_true(n >= sizeof(BASE) - 10);
		free(copy);
	}
}

static void
test_canary(void **state)
{
	(void)state;
	assert_int_equal(parse(BASE "[schedule]\ncanary = 50\n"), 0);
	assert_int_equal(file.canary, 50);
	assert_int_equal(file.canary_wait_s, 1800); /* the default */
	assert_int_equal(parse(BASE "[schedule]\ncanary = 1000000\ncanary_wait = 7d\n"), 0);
	assert_int_equal(file.canary, 1000000);
	refused(BASE "[schedule]\ncanary = 49\n", 9, "canary is a number from 50 to 1000000");
	refused(BASE "[schedule]\ncanary = 1000001\n", 9, "from 50 to 1000000");
	refused(BASE "[schedule]\ncanary = 9999999999\n", 9, "from 50 to 1000000");
	refused(BASE "[schedule]\ncanary = half\n", 9, "canary is a number");
	refused(BASE "[schedule]\ncanary_wait = 30m\n", 0, "needs a canary");
	refused(BASE "[schedule]\ncanary = 50\ncanary_wait = 59s\n", 0, "at least 1m");
	refused(BASE "[schedule]\ncanary = 50\ncanary_wait = 8d\n", 0, "at most 7d");
	refused(BASE "[schedule]\nweight = 101\n", 9, "weight is a number from 1 to 100");
}

static void
test_report_escape(void **state)
{
	char *out = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);

	(void)state;
	assert_non_null(f);
	report_put_escaped(f, "<a href=\"x\" title='y'>&\x1b[2J回</a>");
	fclose(f);
	assert_string_equal(
	    out, "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp; [2J回&lt;/a&gt;");
	free(out);
}

static void
test_report_round_up(void **state)
{
	static const int64_t pairs[][2] = { { -5, 1 }, { 0, 1 }, { 1, 1 }, { 2, 2 }, { 3, 4 },
		{ 5, 6 }, { 9, 10 }, { 10, 10 }, { 11, 20 }, { 599, 600 }, { 601, 800 },
		{ 801, 1000 } };

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		assert_int_equal(report_round_up(pairs[i][0]), pairs[i][1]);
	assert_true(report_round_up(INT64_MAX / 100) >= INT64_MAX / 100);
}

static int
tear_down(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_message_keys),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_structure),
		cmocka_unit_test(test_required),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_repeats),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_canary),
		cmocka_unit_test(test_report_escape),
		cmocka_unit_test(test_report_round_up),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, tear_down);
}
