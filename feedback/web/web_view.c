/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_view: the mail in a browser: the templates of its run, rendered again with the fields of the
 * customer as he is now. Two looks: the templates, then the values of the fields they use. Links are
 * not counted here. The HTML is the sender's own, so nothing of it may run: the policy allows images
 * and styles, no script, no form, no frame, and puts it into a sandbox.
 */
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "db.h"
#include "log.h"
#include "pgarray.h"
#include "web_inside.h"

#define VIEW_ARENA_MAX ((size_t)32 << 20)
#define VIEW_MAX (TEMPLATE_OUTPUT_MAX + ((size_t)64 << 10))
#define VIEW_POLICY                                                                                \
	"default-src 'none'; img-src https: http: data:; style-src 'unsafe-inline' https:; "       \
	"font-src https: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "     \
	"sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-"        \
	"activation"

enum source_column {
	S_GONE,
	S_LOCALE,
	S_CAMPAIGN,
	S_SUBJECT,
	S_HTML,
	S_BODY,
	S_FROM,
	S_UNSUBSCRIBE,
	S_PATH_DOMAIN
};

static void
give_up(struct web_job *job, unsigned status, enum page_kind kind)
{
	arena_release(&job->view_arena);
	job->view = NULL;
	web_answer_page(job, status, kind);
}

/* A text mail as a page. */
static void
wrap_text(struct buf *out, struct slice text)
{
	buf_append_str(out,
	    "<!doctype html>\n<meta charset=\"utf-8\"><meta name=\"viewport\" "
	    "content=\"width=device-width\"><pre style=\"white-space:pre-wrap;"
	    "overflow-wrap:anywhere;font:16px/1.6 sans-serif;max-width:40rem;margin:auto\">\n");
	page_put_escaped(out, text, true);
	buf_append_str(out, "</pre>\n");
}

static bool
render(struct web_job *job, const struct template_value *values, size_t count, struct buf *out)
{
	char unsubscribe[TOKEN_CHARS + 1], view[TOKEN_CHARS + 1];
	struct message_recipient to = { .values = values,
		.value_count = count,
		.blank_missing = true,
		.campaign = job->page.list };
	struct message_result result;
	struct buf body;
	bool is_html, done;

	token_make(job->web->keys, TOKEN_UNSUBSCRIBE, job->request.token, unsubscribe);
	token_make(job->web->keys, TOKEN_VIEW, job->request.token, view);
	to.unsubscribe_token = slice_str(unsubscribe);
	to.view_token = to.track_token = slice_str(view); /* of links to files */
	buf_init(&body, VIEW_MAX);
	done = message_render_view(job->view, &to, &body, &is_html, &result) == TEMPLATE_OK;
	/* the page is UTF-8 whatever its own head says, so the header says it */
	if (done && is_html)
		buf_append_slice(out, buf_slice(&body));
	else if (done)
		wrap_text(out, buf_slice(&body));
	else
		log_info("mail not shown run=%u send=%u field=\"%.*s\"", job->request.token.run,
		    job->request.token.send, SLICE_ARG(result.field));
	buf_release(&body);
	return done && !buf_failed(out);
}

static void
show(struct web_job *job, const PGresult *rows)
{
	struct web_answer a = { .status = 200, .policy = VIEW_POLICY };
	size_t count;
	const struct slice *names = message_fields(job->view, &count);
	struct template_value *values = arena_array(&job->view_arena, count + 1, sizeof(*values));

	(void)names;
	if (values == NULL || (rows != NULL && (size_t)PQntuples(rows) != count)) {
		give_up(job, values == NULL ? 503 : 410, values == NULL ? PAGE_BUSY : PAGE_GONE);
		return;
	}
	for (size_t i = 0; rows != NULL && i < count; i++)
		values[i] = (struct template_value){ slice_make(PQgetvalue(rows, (int)i, 0),
							 (size_t)PQgetlength(rows, (int)i, 0)),
			!PQgetisnull(rows, (int)i, 0) };
	buf_init(&a.body, 6 * VIEW_MAX);
	if (!render(job, values, count, &a.body)) {
		buf_release(&a.body);
		give_up(job, 404, PAGE_BAD);
		return;
	}
	arena_release(&job->view_arena);
	job->view = NULL;
	job->done(job, &a);
	buf_release(&a.body);
}

static void
on_values(void *ctx, struct pgloop_answer *a)
{
	struct web_job *job = ctx;

	if (a->verdict != PGLOOP_DONE) {
		log_warn("mail not shown run=%u send=%u error=\"%s\"", job->request.token.run,
		    job->request.token.send, a->error);
		give_up(job, 503, PAGE_BUSY);
		return;
	}
	show(job, a->result);
}

static void
ask_values(struct web_job *job)
{
	struct row_params p;
	struct buf names, json;
	size_t count;
	const struct slice *fields = message_fields(job->view, &count);
	bool taken = false;

	if (count == 0) {
		show(job, NULL);
		return;
	}
	buf_init(&names, (size_t)1 << 20);
	buf_init(&json, (size_t)1 << 16);
	for (size_t i = 0; i < count; i++) {
		pgarray_text(&names, fields[i]);
		pgarray_text(&json, message_field_is_json(job->view, i) ? SLICE("t") : SLICE("f"));
	}
	web_row_params(job, &p);
	p.values[2] = pgarray_end(&names);
	p.values[3] = pgarray_end(&json);
	if (p.values[2] != NULL && p.values[3] != NULL)
		taken = pgloop_submit(job->web->pg, "view_values",
		    "SELECT * FROM kairan.view_values($1, $2, $3, $4)", 4, p.values, on_values,
		    job);
	buf_release(&names);
	buf_release(&json);
	if (!taken)
		give_up(job, 503, PAGE_BUSY);
}

static const char *
domain_of(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : address;
}

static void
on_source(void *ctx, struct pgloop_answer *a)
{
	struct web_job *job = ctx;
	const struct config *config = job->web->config;
	struct message_source source = { 0 };
	struct err err = { 0 };
	const char *path;

	if (!web_has_row(job, a))
		return;
	web_choose_language(job, db_text(a->result, 0, S_LOCALE));
	if (db_text(a->result, 0, S_GONE)[0] == 't') {
		web_answer_page(job, 410, PAGE_GONE);
		return;
	}
	job->page.list = arena_copy(job->arena, slice_str(db_text(a->result, 0, S_CAMPAIGN)));
	path = db_text(a->result, 0, S_PATH_DOMAIN);
	source.from_addr = slice_str(db_text(a->result, 0, S_FROM));
	source.message_id_domain = slice_str(domain_of(source.from_addr.ptr));
	source.subject = slice_str(db_text(a->result, 0, S_SUBJECT));
	source.html = slice_str(db_text(a->result, 0, S_HTML));
	source.text = slice_str(db_text(a->result, 0, S_BODY));
	source.unsubscribe_url_base = slice_str(db_text(a->result, 0, S_UNSUBSCRIBE));
	source.unsubscribe_mailto_domain =
	    slice_str(path[0] != '\0' ? path : config->feedback_domain);
	source.web_base = slice_str(config->web_base);
	source.files_by_link = config->web_base[0] != '\0';
	arena_init(&job->view_arena, VIEW_ARENA_MAX);
	if (message_compile(&source, &job->view_arena, &job->view, &err) != 0) {
		log_warn("mail not shown run=%u error=\"%s\"", job->request.token.run, err.msg);
		give_up(job, 404, PAGE_BAD);
		return;
	}
	ask_values(job);
}

static void
on_file(void *ctx, struct pgloop_answer *answer)
{
	struct web_job *job = ctx;
	struct web_answer a = { .status = 200, .policy = job->policy };
	struct slice bytes = { NULL, 0 };

	if (!web_has_row(job, answer))
		return;
	arena_init(&job->view_arena, VIEW_ARENA_MAX);
	a.type = arena_copy(job->arena, slice_str(db_text(answer->result, 0, 0))).ptr;
	if (a.type == NULL ||
	    !attach_decode(&job->view_arena, db_text(answer->result, 0, 1), &bytes)) {
		give_up(job, 503, PAGE_BUSY);
		return;
	}
	buf_init(&a.body, VIEW_ARENA_MAX);
	buf_append_slice(&a.body, bytes);
	arena_release(&job->view_arena);
	job->done(job, &a);
	buf_release(&a.body);
}

void
web_view_begin(struct web_job *job)
{
	struct row_params p;
	struct slice name = arena_copy(job->arena, job->request.rest);

	web_row_params(job, &p);
	if (job->request.is_post || name.len > 200) {
		web_answer_page(job, 404, PAGE_BAD);
	} else if (name.len > 0) {
		p.values[P_REST] = name.ptr;
		web_submit(job, "view_file", "SELECT * FROM kairan.view_file($1, $2, $3, $4)",
		    P_REST + 1, &p, on_file);
	} else {
		web_submit(job, "view_source", "SELECT * FROM kairan.view_source($1, $2, $3)",
		    P_REST, &p, on_source);
	}
}
