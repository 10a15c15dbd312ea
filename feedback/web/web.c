/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web: see web.h. Owns words and texts. A job goes one way: look at the row, act or not, answer;
 * each step that waits ends in a callback that answers or goes one step on. When the database
 * says no or is gone, nothing was promised and the page says so.
 */
#include "web_inside.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "addr.h"
#include "db.h"
#include "log.h"
#include "own_text.h"

#define WORDS_ARENA_MAX ((size_t)1024 * 1024)
#define AGENT_MAX 300

/* ---- the beginning ---------------------------------------------------------------------- */

/* form_origin: where a form may lead besides ourselves, or "". */
static const char *
make_policy(const struct web *web, const char *form_origin, struct arena *arena)
{
	char text[700];

	(void)snprintf(text, sizeof(text),
	    "default-src 'none'; style-src %s; form-action 'self'%s%s; base-uri 'none'; "
	    "frame-ancestors 'none'",
	    web->style_source, form_origin[0] != '\0' ? " " : "", form_origin);
	return arena_str(arena, text);
}

static int
fill(struct web *web, struct err *err)
{
	const struct config *c = web->config;
	struct addr from;
	struct err why = { 0 };

	web->language = web_request_language(slice_str(c->web_language));
	if (web->language == LANGUAGE_NONE)
		return err_set(err, "web.language must be en or ja, not '%s'", c->web_language);
	for (unsigned i = 0; i < LANGUAGES; i++)
		if (page_words_load(&web->words[i], (enum page_language)i, c->web_words,
			&web->arena, err) < 0 ||
		    confirm_mail_load(&web->mails[i], "address",
			page_words_language_name((enum page_language)i), c->web_words, &web->arena,
			err) < 0)
			return -1;
	if (c->web_from_address[0] != '\0' &&
	    addr_parse_sender(&from, slice_str(c->web_from_address), &why) < 0)
		return err_set(err, "web.from_address is not an address: %s", why.msg);
	web->may_move =
	    c->web_address_page && c->web_base[0] != '\0' && c->web_from_address[0] != '\0';
	page_style_source(web->style_source);
	web->policy = make_policy(web, "", &web->arena);
	(void)snprintf(web->days, sizeof(web->days), "%ld", c->web_confirm_days);
	return web->policy != NULL ? 0 : err_set(err, "no memory");
}

struct web *
web_new(uv_loop_t *loop, const struct config *config, const struct token_keys *keys,
    struct pgloop *pg, struct intake *intake, struct err *err)
{
	struct web *web = calloc(1, sizeof(*web));

	if (web == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	web->config = config;
	web->keys = keys;
	web->pg = pg;
	web->intake = intake;
	arena_init(&web->arena, WORDS_ARENA_MAX);
	if (fill(web, err) < 0 || web_track_init(web, loop, err) < 0) {
		web_free(web);
		return NULL;
	}
	return web;
}

void
web_free(struct web *web)
{
	if (web == NULL)
		return;
	hits_free(web->hits);
	arena_release(&web->arena);
	free(web);
}

void
web_stop(struct web *web)
{
	if (web != NULL)
		hits_stop(web->hits);
}

size_t
web_waiting(const struct web *web)
{
	return web != NULL ? hits_waiting(web->hits) : 0;
}

/* ---- answers ---------------------------------------------------------------------------- */

static void
redirect(struct web_job *job, const char *url)
{
	struct web_answer a = { .status = 303, .policy = job->policy, .location = url };

	buf_init(&a.body, PAGE_MAX);
	job->done(job, &a);
}

static bool
is_true(const struct pgloop_answer *a, int column)
{
	return db_text(a->result, 0, column)[0] == 't';
}

static struct slice
keep(struct web_job *job, const struct pgloop_answer *a, int column)
{
	return arena_copy(job->arena, slice_str(db_text(a->result, 0, column)));
}

/* ---- unsubscribe ------------------------------------------------------------------------ */

enum look_column {
	L_ADDRESS,
	L_LOCALE,
	L_LIST,
	L_SENDER,
	L_LIST_OFF,
	L_ALL_OFF,
	L_MAY_UNDO,
	L_IS_REPEAT
};

static void
on_unsubscribed(struct intake_item *item, enum intake_result result)
{
	struct web_job *job =
	    (struct web_job *)(void *)((char *)item - offsetof(struct web_job, item));

	if (result != INTAKE_COMMITTED) {
		web_answer_page(job, 503, PAGE_BUSY);
		return;
	}
	job->page.is_all = job->request.all;
	job->page.may_undo = true;
	web_answer_page(job, 200, PAGE_OFF);
}

static bool
make_event(struct web_job *job)
{
	struct feedback_event *e = feedback_event_add(&job->events, job->arena);
	const struct web_request *r = &job->request;
	const char *via = r->is_from_page ? "page" : "one_click";
	const struct feedback_pair detail[] = { { "via", slice_str(via) },
		{ "user_agent", job->agent } };
	struct timespec now;
	char row[40], time[32];

	if (e == NULL)
		return false;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(row, sizeof(row), "%u.%u", r->token.run, r->token.send);
	(void)snprintf(time, sizeof(time), "%lld.%09ld", (long long)now.tv_sec, (long)now.tv_nsec);
	/* what is off already does not come here, so after an undo the same link works anew */
	const struct slice key[] = { SLICE("web"), SLICE("unsubscribed"), slice_str(row),
		slice_str(time) };
	e->kind = OUTCOME_UNSUBSCRIBED;
	e->source = "web";
	e->reason = r->all ? "all" : via;
	e->linked = true;
	e->token = r->token;
	e->key = feedback_key(job->arena, key, sizeof(key) / sizeof(key[0]));
	e->detail = feedback_detail(job->arena, detail, sizeof(detail) / sizeof(detail[0]));
	return e->key.len > 0 && e->detail.len > 0;
}

static void
unsubscribe(struct web_job *job)
{
	if (!make_event(job)) {
		web_answer_page(job, 503, PAGE_BUSY);
		return;
	}
	job->item = (struct intake_item){ .events = job->events.items,
		.count = 1,
		.bytes = job->arena->used_total,
		.done = on_unsubscribed };
	if (!intake_add(job->web->intake, &job->item))
		web_answer_page(job, 503, PAGE_BUSY);
}

static void
on_undone(void *ctx, struct pgloop_answer *a)
{
	struct web_job *job = ctx;

	if (web_has_row(job, a))
		web_answer_page(job, 200, is_true(a, 0) ? PAGE_UNDONE : PAGE_LATE);
}

static void
undo(struct web_job *job)
{
	struct row_params p;

	web_row_params(job, &p);
	p.values[P_REST] = WEB_UNDO_MINUTES;
	web_submit(job, "unsubscribe_undo", "SELECT kairan.unsubscribe_undo($1, $2, $3, $4)",
	    P_REST + 1, &p, on_undone);
}

static void
serve_unsubscribe(struct web_job *job, const struct pgloop_answer *a)
{
	const struct web_request *r = &job->request;
	bool list_off = is_true(a, L_LIST_OFF), all_off = is_true(a, L_ALL_OFF);
	bool is_off = r->is_post && r->all ? all_off : list_off || (all_off && !r->is_post);

	job->page.is_all = all_off;
	job->page.may_undo = is_true(a, L_MAY_UNDO);
	if (r->is_post && r->undo)
		undo(job);
	else if (is_off)
		web_answer_page(job, 200, PAGE_OFF);
	/* a replay of what was obeyed before a newer consent asks again instead (RFC 8058 knows no
	 * such case; the page's own button still acts) */
	else if (!r->is_post || (is_true(a, L_IS_REPEAT) && !r->is_from_page))
		web_answer_page(job, 200, PAGE_ASK);
	else
		unsubscribe(job);
}

/* ---- change of address ------------------------------------------------------------------ */

static void
on_asked(void *ctx, struct pgloop_answer *a)
{
	struct web_job *job = ctx;
	const char *said;

	if (!web_has_row(job, a))
		return;
	said = db_text(a->result, 0, 0);
	if (strcmp(said, "asked") == 0) {
		web_answer_page(job, 200, PAGE_ASKED);
	} else if (strcmp(said, "limit") == 0) {
		web_answer_page(job, 429, PAGE_LIMIT);
	} else if (strcmp(said, "mismatch") == 0 || strcmp(said, "same") == 0) {
		job->page.mistake = said[0] == 'm' ? WORD_MOVE_MISMATCH : WORD_MOVE_SAME;
		web_answer_page(job, 422, PAGE_MOVE);
	} else {
		web_answer_page(job, 404, PAGE_BAD);
	}
}

static void
ask_address(struct web_job *job)
{
	const struct config *c = job->web->config;
	const struct confirm_mail *mail = &job->web->mails[job->page.language];
	struct addr from, to;
	struct row_params p;
	char campaign[40];

	if (addr_parse(&from, job->request.old_address, NULL) < 0 ||
	    addr_parse(&to, job->request.new_address, NULL) < 0) {
		job->page.mistake = WORD_MOVE_BAD;
		web_answer_page(job, 422, PAGE_MOVE);
		return;
	}
	(void)snprintf(campaign, sizeof(campaign), "kairan-address-%s",
	    page_words_language_name(job->page.language));
	web_row_params(job, &p);
	p.values[3] = from.key;
	p.values[4] = to.text;
	p.values[5] = to.key;
	p.values[6] = campaign;
	p.values[7] = c->web_from_name;
	p.values[8] = c->web_from_address;
	p.values[9] = mail->subject;
	p.values[10] = mail->body;
	p.values[11] = mail->html;
	web_submit(job, "address_ask",
	    "SELECT kairan.address_ask($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", 12, &p,
	    on_asked);
}

static void
serve_address(struct web_job *job)
{
	job->page.may_move = false;
	job->page.new_address = job->request.new_address;
	job->page.old_address = job->request.old_address;
	if (!job->web->may_move)
		web_answer_page(job, 404, PAGE_BAD);
	else if (!job->request.is_post)
		web_answer_page(job, 200, PAGE_MOVE);
	else
		ask_address(job);
}

static void
on_looked(void *ctx, struct pgloop_answer *a)
{
	struct web_job *job = ctx;

	if (!web_has_row(job, a))
		return;
	web_choose_language(job, db_text(a->result, 0, L_LOCALE));
	job->page.address = keep(job, a, L_ADDRESS);
	job->page.list = keep(job, a, L_LIST);
	job->page.sender = keep(job, a, L_SENDER);
	job->page.token = job->request.token_text;
	job->page.may_move = job->web->may_move;
	if (job->request.page == WEB_ADDRESS)
		serve_address(job);
	else
		serve_unsubscribe(job, a);
}

/* ---- confirm ---------------------------------------------------------------------------- */

enum confirm_column { C_KIND, C_STATE, C_ADDRESS, C_LOCALE, C_SENDER, C_SUCCESS, C_FAILURE };

static void
confirmed(struct web_job *job)
{
	if (job->success_url[0] != '\0')
		redirect(job, job->success_url);
	else
		web_answer_page(job, 200,
		    job->page.kind == PAGE_CONFIRM_MOVE ? PAGE_CONFIRMED_MOVE
							: PAGE_CONFIRMED_JOIN);
}

static void
expired(struct web_job *job)
{
	if (job->failure_url[0] != '\0')
		redirect(job, job->failure_url);
	else
		web_answer_page(job, 410, PAGE_EXPIRED);
}

static void
on_confirmed(void *ctx, struct pgloop_answer *a)
{
	struct web_job *job = ctx;
	const char *said;

	if (!web_has_row(job, a))
		return;
	said = db_text(a->result, 0, 0);
	if (strcmp(said, "confirmed") == 0 || strcmp(said, "done") == 0)
		confirmed(job);
	else
		expired(job);
}

static void
confirm(struct web_job *job)
{
	struct row_params p;
	struct slice agent = feedback_text(job->arena, job->agent, AGENT_MAX);

	web_row_params(job, &p);
	p.values[3] = job->web->days;
	p.values[4] = agent.len > 0 ? agent.ptr : "";
	web_submit(
	    job, "confirm_do", "SELECT kairan.confirm_do($1, $2, $3, $4, $5)", 5, &p, on_confirmed);
}

/* "https://host:port" of a URL, for the policy; "" of anything odd. */
static const char *
origin_of(const char *url, struct arena *arena)
{
	size_t n = strncmp(url, "https://", 8) == 0 ? 8 : 0;
	const char *origin;

	if (n == 0)
		return "";
	n += strspn(url + n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:");
	if (n > 300 || (url[n] != '\0' && strchr("/?#", url[n]) == NULL))
		return "";
	origin = arena_copy(arena, slice_make(url, n)).ptr;
	return origin != NULL ? origin : "";
}

static void
on_confirm_looked(void *ctx, struct pgloop_answer *a)
{
	struct web_job *job = ctx;
	const char *state, *policy;
	bool is_move;

	if (!web_has_row(job, a))
		return;
	web_choose_language(job, db_text(a->result, 0, C_LOCALE));
	is_move = strcmp(db_text(a->result, 0, C_KIND), "address") == 0;
	state = db_text(a->result, 0, C_STATE);
	job->page.kind = is_move ? PAGE_CONFIRM_MOVE : PAGE_CONFIRM_JOIN;
	job->page.new_address = keep(job, a, C_ADDRESS);
	job->page.sender = keep(job, a, C_SENDER);
	job->success_url = keep(job, a, C_SUCCESS).ptr;
	job->failure_url = keep(job, a, C_FAILURE).ptr;
	if (job->success_url == NULL || job->failure_url == NULL) {
		web_answer_page(job, 503, PAGE_BUSY);
		return;
	}
	policy = make_policy(job->web, origin_of(job->success_url, job->arena), job->arena);
	if (policy != NULL)
		job->policy = policy;
	if (strcmp(state, "expired") == 0)
		expired(job);
	else if (strcmp(state, "done") == 0)
		confirmed(job);
	else if (job->request.is_post)
		confirm(job);
	else
		web_answer_page(job, 200, job->page.kind);
}

/* ---- every request ---------------------------------------------------------------------- */

void
web_begin(struct web *web, struct web_job *job)
{
	struct row_params p;

	job->web = web;
	job->policy = web->policy;
	web_request_parse(&job->request, &job->in, web->keys, job->arena);
	job->page = (struct page){ .days = web->config->web_confirm_days, .mistake = WORDS };
	web_choose_language(job, "");
	if (!job->request.has_token) {
		web_answer_page(job, 404, PAGE_BAD);
		return;
	}
	if (job->request.page == WEB_OPEN || job->request.page == WEB_CLICK) {
		web_track_begin(job);
		return;
	}
	if (!intake_is_open(web->intake)) {
		web_answer_page(job, 503, PAGE_BUSY);
		return;
	}
	if (job->request.page == WEB_VIEW) {
		web_view_begin(job);
		return;
	}
	web_row_params(job, &p);
	if (job->request.page == WEB_CONFIRM) {
		p.values[P_REST] = web->days;
		web_submit(job, "confirm_look", "SELECT * FROM kairan.confirm_look($1, $2, $3, $4)",
		    P_REST + 1, &p, on_confirm_looked);
	} else {
		p.values[P_REST] = WEB_UNDO_MINUTES;
		web_submit(job, "page_look", "SELECT * FROM kairan.page_look($1, $2, $3, $4)",
		    P_REST + 1, &p, on_looked);
	}
}
