/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_lint: input = html, NUL, text, NUL, subject. Templates that compile are linted; every
 * finding must be fit to be printed and point into its file.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lint/lint.h"
#include "cli/lint/lint_html.h"
#include "mime.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
lines(struct slice s)
{
	size_t n = 1;

	for (size_t i = 0; i < s.len; i++)
		n += s.ptr[i] == '\n';
	return n;
}

static void
check(const struct campaign_source *source, const struct lint_report *report)
{
	size_t sum = 0;

	for (size_t i = 0; i < report->count; i++) {
		const struct lint_finding *f = &report->findings[i];
		struct slice text = slice_str(f->text);

		if (f->rule == NULL || f->file == NULL || text.len == 0 || !utf8_ok(text))
			abort();
		for (size_t k = 0; k < text.len; k++)
			if (mime_control_at(text.ptr + k, text.len - k) > 0)
				abort();
		if (strcmp(f->file, "html") == 0 && f->line > lines(source->html))
			abort();
		if (strcmp(f->file, "text") == 0 && f->line > lines(source->text))
			abort();
	}
	for (size_t i = 0; i < LINT_SEVERITIES; i++)
		sum += report->by_severity[i];
	if (sum != report->count)
		abort();
}

/* Every slice of the walk lies in the source. */
static void
check_walk(struct slice source, struct arena *arena)
{
	struct lint_html html;
	struct err err = { 0 };

	if (lint_html_read(&html, source, arena, &err) != 0)
		return;
	for (size_t i = 0; i < html.count; i++) {
		const struct lint_node *n = &html.nodes[i];

		if (n->text.len > 0 &&
		    (n->text.ptr < source.ptr ||
			n->text.ptr + n->text.len > source.ptr + source.len))
			abort();
		for (const struct lint_attr *a = n->attrs; a != NULL; a = a->next)
			if (a->value.len > 0 &&
			    (a->value.ptr < source.ptr ||
				a->value.ptr + a->value.len > source.ptr + source.len))
				abort();
	}
}

static struct slice
next_part(struct slice *rest)
{
	const char *nul = memchr(rest->ptr, '\0', rest->len);
	size_t n = nul != NULL ? (size_t)(nul - rest->ptr) : rest->len;
	struct slice part = slice_make(rest->ptr, n);

	*rest = slice_make(rest->ptr + n + (nul != NULL), rest->len - n - (nul != NULL));
	return part;
}

static void
lint(struct campaign_source *source, struct arena *arena)
{
	static char none[] = "";
	struct config config = { .message_id_domain = none, .feedback_domain = none };
	struct campaign_templates templates;
	struct campaign_mail mail = { 0 };
	struct lint_report report;
	struct err err = { 0 };
	struct lint_input input = { .source = source,
		.templates = &templates,
		.mail = &mail,
		.not_asked = "this is a test" };

	if (campaign_templates(&templates, source, &err) == 0 &&
	    campaign_compose(&mail, source, &config, SLICE(""), NULL, NULL, &err) == 0 &&
	    lint_run(&report, &input, arena, &err) == 0)
		check(source, &report);
	campaign_mail_release(&mail);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char head[] = "[campaign]\nname = n\nstream = s\nsubject = s\nfrom = A B "
				   "<no-reply@gmail.com>\nhtml = h\ntext = t\nsegment = everyone\n";
	struct campaign_source source = { .unsubscribe_base = "", .return_path_domain = "" };
	struct slice rest = slice_make((const char *)data, size), subject;
	struct arena arena;
	struct err err = { 0 };

	if (size == 0)
		return 0;
	arena_init(&source.arena, (size_t)64 << 20);
	arena_init(&arena, LINT_ARENA_MAX);
	if (campaign_file_parse(&source.file, SLICE(head), &source.arena, &err) != 0)
		abort();
	source.html = arena_copy(&source.arena, next_part(&rest));
	source.text = arena_copy(&source.arena, next_part(&rest));
	subject = arena_copy(&source.arena, next_part(&rest));
	if (subject.len > 0)
		source.file.subject = subject.ptr;
	check_walk(source.html, &arena);
	lint(&source, &arena);
	arena_release(&arena);
	campaign_source_release(&source);
	return 0;
}
