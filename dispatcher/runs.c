/* SPDX-License-Identifier: Apache-2.0 */
/* runs: see runs.h. */
#include "runs.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "customer_field.h"
#include "db.h"
#include "dkim_store.h"
#include "embed.h"
#include "journal.h"
#include "log.h"
#include "options.h"
#include "pgarray.h"

#define RUN_ARENA_MAX ((size_t)64 << 20)
#define SQL_MAX ((size_t)256 << 10)

struct runs {
	struct dispatcher *d;
	struct live_run *first;
	uv_timer_t timer;
	bool looking; /* a look is under way */
	bool lost;    /* PostgreSQL has lost commits */
};

/* Columns of load_run.sql. */
enum load_column {
	L_CAMPAIGN,
	L_STREAM,
	L_SUBJECT,
	L_HTML,
	L_TEXT,
	L_FROM_NAME,
	L_FROM,
	L_REPLY_TO,
	L_LIST,
	L_HEADERS,
	L_MISSING,
	L_BAD,
	L_UNSUBSCRIBE,
	L_PATH_DOMAIN,
	L_SCOPES,
	L_STARTED,
	L_COLUMNS,
	L_OPTIONS,
	L_AUTO_SUBMITTED,
	L_TRACK_OPENS,
	L_TRACK_CLICKS,
	L_IS_MAIL,
	L_FILE_NAME, /* NULL: there is none */
	L_FILE_TYPE,
	L_FILE_ID,
	L_FILE_BYTES,
	L_LANES,
	L_SES_CONTENT,
	L_HAS_ORIGINS
};

static void
run_free(struct live_run *run)
{
	arena_release(&run->arena);
	dkim_free(run->dkim);
	free(run);
}

/* PostgreSQL keeps them, with their plans, as long as the connection. */
static void
forget_statements(struct dispatcher *d, const struct live_run *run)
{
	if (!run->loaded)
		return;
	pgloop_forget(d->claims, run->claim.name);
	pgloop_forget(d->records, run->record.name);
	pgloop_forget(d->records, run->release.name);
	pgloop_forget(d->records, run->unsend.name);
	pgloop_forget(d->records, run->recheck.name);
}

struct runs *
runs_new(struct dispatcher *d)
{
	struct runs *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->d = d;
	(void)uv_timer_init(&d->loop, &r->timer);
	r->timer.data = r;
	return r;
}

void
runs_free(struct runs *r)
{
	if (r == NULL)
		return;
	while (r->first != NULL) {
		struct live_run *run = r->first;

		r->first = run->next;
		run_free(run);
	}
	free(r);
}

struct live_run *
runs_first(const struct runs *r)
{
	return r->first;
}

static const char *
domain_of(const char *address)
{
	const char *at = strrchr(address, '@');

	return at != NULL ? at + 1 : address;
}

static bool
make_statement(struct live_run *run, struct run_sql *s, const char *what, const char *text)
{
	return run_sql_make(s, &run->arena, what, text, run->id, run->has_origins);
}

/* The statements of this run; its claim with its template's fields in the select list. */
static int
build_statements(struct live_run *run, const char *columns, const char *base, struct err *err)
{
	static const char mark[] = "/*fields*/";
	const char *text = embed_dispatcher_sql_claim_sql, *at = strstr(text, mark);
	const struct slice *fields = message_fields(run->plan, &run->field_count);
	struct buf sql;
	bool good;

	buf_init(&sql, SQL_MAX);
	buf_append(&sql, text, (size_t)(at - text));
	run->has_name = !run->is_mail && customer_has_column(columns, SLICE("name"));
	run->web_base = base;
	run->confirm_field = SIZE_MAX;
	for (size_t i = 0; i < run->field_count; i++)
		if (slice_equal(fields[i], SLICE("confirm_url")))
			run->confirm_field = i; /* ours to fill, whatever the customer row has */
	if (run->has_name)
		buf_append_str(&sql, ", cu.name::text");
	if (run->is_mail)
		buf_append_str(&sql, embed_dispatcher_sql_mail_fields_sql);
	for (size_t i = 0; i < run->field_count && !run->is_mail; i++) {
		buf_append_str(&sql, ", ");
		customer_field_sql(
		    &sql, columns, "cu", fields[i], message_field_is_json(run->plan, i));
	}
	buf_append_str(&sql, at + sizeof(mark) - 1);
	good = !buf_failed(&sql) && make_statement(run, &run->claim, "claim", buf_str(&sql)) &&
	    make_statement(run, &run->record, "record", embed_dispatcher_sql_record_sql) &&
	    make_statement(run, &run->release, "release", embed_dispatcher_sql_release_sql) &&
	    make_statement(run, &run->unsend, "unsend", embed_dispatcher_sql_unsend_sql) &&
	    make_statement(run, &run->recheck, "recheck", embed_dispatcher_sql_recheck_sql);
	buf_release(&sql);
	return good ? 0 : err_set(err, "no memory");
}

static bool
has_header(const struct message_source *source, struct slice name)
{
	for (size_t i = 0; i < source->header_count; i++)
		if (slice_equal_nocase(source->headers[i].name, name))
			return true;
	return false;
}

/* What Amazon SES wants to read in a mail, unless the campaign says it itself; there is room for
 * one more header. */
static void
add_ses_headers(
    const struct config *config, struct message_header *headers, struct message_source *source)
{
	const struct slice set = SLICE("X-SES-CONFIGURATION-SET");

	source->ses_tags =
	    config->relay_ses_tags && !has_header(source, SLICE("X-SES-MESSAGE-TAGS"));
	if (config->relay_ses_configuration_set[0] != '\0' && !has_header(source, set))
		headers[source->header_count++] =
		    (struct message_header){ set, slice_str(config->relay_ses_configuration_set) };
}

/* {"X-Name":"value"} -> array in the arena. */
static int
read_headers(struct runs *r, struct live_run *run, const char *text, struct message_source *source,
    struct err *err)
{
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *value;
	struct message_header *headers;
	const char *name;

	if (!json_is_object(object) || json_object_size(object) > MESSAGE_HEADERS_MAX) {
		json_decref(object);
		return err_set(err, "the campaign's headers are not understood");
	}
	headers = arena_array(&run->arena, json_object_size(object) + 2, sizeof(*headers));
	if (headers == NULL) {
		json_decref(object);
		return err_set(err, "no memory");
	}
	source->headers = headers;
	json_object_foreach(object, name, value)
	{
		headers[source->header_count].name = arena_copy(&run->arena, slice_str(name));
		headers[source->header_count++].value =
		    arena_copy(&run->arena, slice_str(json_string_value(value)));
	}
	json_decref(object);
	if (run->content == SES_CONTENT_RAW) /* else the request says it */
		add_ses_headers(r->d->config, headers, source);
	return 0;
}

/* One file a row; the arrays live in the arena of the run, like the plan. */
static int
read_files(
    struct live_run *run, const PGresult *rows, struct message_source *source, struct err *err)
{
	size_t count = PQgetisnull(rows, 0, L_FILE_NAME) ? 0 : (size_t)PQntuples(rows);
	struct attach *files = arena_array(&run->arena, count + 1, sizeof(*files));

	if (files == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < count; i++) {
		files[i].name = slice_str(db_text(rows, (int)i, L_FILE_NAME));
		files[i].type = slice_str(db_text(rows, (int)i, L_FILE_TYPE));
		files[i].content_id = slice_str(db_text(rows, (int)i, L_FILE_ID));
		if (!attach_decode(
			&run->arena, db_text(rows, (int)i, L_FILE_BYTES), &files[i].bytes))
			return err_set(err, "no memory for the files");
	}
	source->files = files;
	source->file_count = count;
	return 0;
}

static int
read_options(
    struct live_run *run, const PGresult *row, struct message_source *source, struct err *err)
{
	struct options o;

	if (options_read(&o, db_text(row, 0, L_OPTIONS), &run->arena, err) != 0)
		return -1;
	source->sender_name = o.sender_name;
	source->sender_addr = o.sender_addr;
	source->reply_to_name = o.reply_to_name;
	source->jis_domains = o.jis_domains;
	source->jis_domain_count = o.jis_domain_count;
	source->auto_submitted = db_text(row, 0, L_AUTO_SUBMITTED)[0] == 't';
	return 0;
}

/* Where the pages are, and what of the stream is counted. */
static void
read_tracking(const struct config *config, const struct live_run *run, const PGresult *row,
    struct message_source *source)
{
	bool opens = db_text(row, 0, L_TRACK_OPENS)[0] == 't';
	bool clicks = db_text(row, 0, L_TRACK_CLICKS)[0] == 't';

	source->web_base = slice_str(config->web_base);
	source->keep_ses_no_track =
	    source->ses_tags || strcmp(config->dispatcher_transport, "ses") == 0;
	if ((opens || clicks) && source->web_base.len == 0) {
		log_warn(
		    "web.base is not set: opens and clicks of run=%d are not counted", run->id);
		return;
	}
	source->track_opens = opens;
	source->track_clicks = clicks;
}

/* How its mail goes to Amazon SES, and whether it can. */
static int
check_content(struct live_run *run, struct err *err)
{
	struct buf text;

	if (ses_content_check(run->plan, run->content, run->dkim != NULL, run->stream, err) != 0)
		return -1;
	buf_init(&text, SES_BULK_BODY_MAX);
	if (run->content == SES_CONTENT_BULK) {
		ses_content_template(run->plan, &text);
		run->ses_template = arena_copy(&run->arena, buf_slice(&text));
	}
	buf_release(&text);
	return run->content == SES_CONTENT_BULK && run->ses_template.ptr == NULL
	    ? err_set(err, "no memory")
	    : 0;
}

static int
compile(struct runs *r, struct live_run *run, const PGresult *row, struct err *err)
{
	const struct config *config = r->d->config;
	const char *id_domain = config->message_id_domain;
	struct message_source source = {
		.from_name = slice_str(db_text(row, 0, L_FROM_NAME)),
		.from_addr = slice_str(run->from_address),
		.reply_to = slice_str(db_text(row, 0, L_REPLY_TO)),
		.subject = slice_str(db_text(row, 0, L_SUBJECT)),
		.html = slice_str(db_text(row, 0, L_HTML)),
		.text = slice_str(db_text(row, 0, L_TEXT)),
		.unsubscribe_url_base = slice_str(db_text(row, 0, L_UNSUBSCRIBE)),
		.unsubscribe_mailto_domain = slice_str(run->path_domain),
		.message_id_domain = slice_str(id_domain[0] != '\0' ? id_domain : run->from_domain),
	};
	struct buf list_id;
	int result;

	buf_init(&list_id, 1024);
	buf_printf(&list_id, "%s.%s", db_text(row, 0, L_LIST), run->from_domain);
	source.list_id = buf_slice(&list_id);
	source.feedback_id = message_feedback_id(&run->arena, run->campaign,
	    db_text(row, 0, L_LIST), run->stream, config->message_sender_id);
	result = read_headers(r, run, db_text(row, 0, L_HEADERS), &source, err);
	if (result == 0)
		result = read_options(run, row, &source, err);
	if (result == 0)
		result = read_files(run, row, &source, err);
	read_tracking(config, run, row, &source);
	source.slots = run->content == SES_CONTENT_BULK;
	if (result == 0)
		result = message_compile(&source, &run->arena, &run->plan, err);
	if (result == 0)
		result = check_content(run, err);
	buf_release(&list_id);
	return result == 0
	    ? build_statements(run, db_text(row, 0, L_COLUMNS), config->web_base, err)
	    : -1;
}

/* List 0, which holds what has no route, and those of lanes. */
static size_t
count_lists(const struct dispatcher *d, const char *lanes)
{
	size_t count = d->config->dispatcher_route[0] == '\0' ? 1 : 0;

	count += lanes[0] != '\0' ? 1 : 0;
	for (const char *p = lanes; *p != '\0'; p++)
		count += *p == ' ';
	return count;
}

/* "3 17": the lanes of our route that have a list of their own. */
static int
read_lanes(const struct dispatcher *d, struct live_run *run, const char *text, struct err *err)
{
	size_t count = count_lists(d, text);
	char *end;

	run->lanes = arena_array(&run->arena, count + 1, sizeof(*run->lanes));
	if (run->lanes == NULL)
		return err_set(err, "no memory");
	run->lane_count = 0;
	if (d->config->dispatcher_route[0] == '\0')
		run->lanes[run->lane_count++] = 0;
	for (; run->lane_count < count; text = end)
		run->lanes[run->lane_count++] = (int)strtol(text, &end, 10);
	return 0;
}

static int
fill(struct runs *r, struct live_run *run, const PGresult *row, struct err *err)
{
	const char *path = db_text(row, 0, L_PATH_DOMAIN), *missing = db_text(row, 0, L_MISSING);

	arena_init(&run->arena, RUN_ARENA_MAX);
	run->campaign = arena_str(&run->arena, db_text(row, 0, L_CAMPAIGN));
	run->stream = arena_str(&run->arena, db_text(row, 0, L_STREAM));
	run->scopes = arena_str(&run->arena, db_text(row, 0, L_SCOPES));
	run->from_address = arena_str(&run->arena, db_text(row, 0, L_FROM));
	run->path_domain =
	    arena_str(&run->arena, path[0] != '\0' ? path : r->d->config->feedback_domain);
	if (run->campaign == NULL || run->stream == NULL || run->scopes == NULL ||
	    run->from_address == NULL || run->path_domain == NULL)
		return err_set(err, "no memory");
	run->from_domain = domain_of(run->from_address);
	run->missing_field = strcmp(missing, "skip") == 0 ? RUN_FIELD_SKIP
	    : strcmp(missing, "blank") == 0		  ? RUN_FIELD_BLANK
							  : RUN_FIELD_FAIL;
	run->refuse_bad_field = strcmp(db_text(row, 0, L_BAD), "refuse") == 0;
	run->started_s = db_number(row, 0, L_STARTED);
	run->is_mail = db_text(row, 0, L_IS_MAIL)[0] == 't';
	run->has_origins = db_text(row, 0, L_HAS_ORIGINS)[0] == 't';
	if (!run->is_mail && strcmp(r->d->config->dispatcher_transport, "ses") == 0)
		run->content = ses_content_of(db_text(row, 0, L_SES_CONTENT));
	run->ses_tags = r->d->config->relay_ses_tags;
	run->ses_configuration_set = r->d->config->relay_ses_configuration_set;
	/* a few small files, once a run: a key that was put in place counts from the next run on */
	if (dkim_store_load(r->d->config->dkim_dir, run->from_domain, r->d->config->dkim_also,
		&run->dkim, err) < 0)
		return -1;
	if (read_lanes(r->d, run, db_text(row, 0, L_LANES), err) < 0)
		return -1;
	return compile(r, run, row, err);
}

static void
on_refused(void *ctx, struct pgloop_answer *answer)
{
	struct live_run *run = ctx;

	run->flights--;
	if (answer->verdict != PGLOOP_DONE)
		log_warn("run not paused run=%d error=\"%s\"", run->id, answer->error);
}

/* Nobody could send it: pause it, so that a person sees why. */
static void
refuse(struct runs *r, struct live_run *run, const char *why)
{
	const char *params[] = { run->id_text, why };

	log_error("run cannot be sent run=%d why=\"%s\"", run->id, why);
	run->refused = true;
	if (pgloop_submit(r->d->claims, "refuse", "SELECT kairan.run_refuse($1, $2)", 2, params,
		on_refused, run))
		run->flights++;
}

void
runs_refuse(struct runs *r, struct live_run *run, const char *why)
{
	if (!run->refused)
		refuse(r, run, why);
}

struct loading {
	struct runs *r;
	struct live_run *run;
};

static void
loaded(struct runs *r, struct live_run *run)
{
	if (run->path_domain[0] == '\0')
		log_warn("feedback.domain is not set: bounces of run=%d go to the sender", run->id);
	run->loaded = true;
	log_info("run loaded run=%d campaign=%s fields=%zu signatures=%zu links=%zu", run->id,
	    run->campaign, run->field_count, run->dkim != NULL ? dkim_count(run->dkim) : 0,
	    message_links(run->plan)->count);
	r->d->news->room(r->d);
}

/* The plan is made anew when the links could not be kept; what it was stays in the arena until
 * then, so the run is forgotten first. */
static void
forget(struct live_run *run)
{
	arena_release(&run->arena);
	dkim_free(run->dkim);
	run->dkim = NULL;
	run->plan = NULL;
}

static void
on_links_kept(void *ctx, struct pgloop_answer *answer)
{
	struct loading *l = ctx;
	struct live_run *run = l->run;

	run->loading = false;
	run->flights--;
	if (answer->verdict == PGLOOP_DONE) {
		loaded(l->r, run);
	} else {
		log_warn("links not kept run=%d error=\"%s\"", run->id, answer->error);
		forget(run); /* loaded again at the next look */
	}
	free(l);
}

/* Where the links of the mails lead, before the first mail is sent. False without memory. */
static bool
keep_links(struct loading *l)
{
	const struct links *links = message_links(l->run->plan);
	const char *params[3] = { l->run->id_text };
	struct buf ids, urls;
	bool taken = false;

	buf_init(&ids, SQL_MAX);
	buf_init(&urls, 8 * (size_t)LINKS_MAX * LINK_URL_MAX);
	for (size_t i = 0; i < links->count; i++) {
		pgarray_text(&ids, slice_str(links->items[i].id));
		pgarray_text(&urls, links->items[i].url);
	}
	params[1] = pgarray_end(&ids);
	params[2] = pgarray_end(&urls);
	if (params[1] != NULL && params[2] != NULL)
		taken = pgloop_submit(l->r->d->claims, "keep_links",
		    "INSERT INTO kairan.link (run_id, id, url) SELECT $1::int, * FROM "
		    "unnest($2::text[], $3::text[]) ON CONFLICT DO NOTHING",
		    3, params, on_links_kept, l);
	if (taken) {
		l->run->loading = true;
		l->run->flights++;
	}
	buf_release(&ids);
	buf_release(&urls);
	return taken;
}

static void
on_loaded(void *ctx, struct pgloop_answer *answer)
{
	struct loading *l = ctx;
	struct live_run *run = l->run;
	struct err err = { 0 };

	run->loading = false;
	run->flights--;
	if (answer->verdict != PGLOOP_DONE || PQntuples(answer->result) == 0) {
		log_warn("run not loaded run=%d error=\"%s\"", run->id, answer->error);
	} else if (fill(l->r, run, answer->result, &err) < 0) {
		/* the producer and the commands check all of this before; a newer one may differ */
		refuse(l->r, run, err.msg);
	} else if (message_links(run->plan)->count == 0) {
		loaded(l->r, run);
	} else if (keep_links(l)) {
		return;
	} else {
		forget(run);
	}
	free(l);
}

static void
load(struct runs *r, struct live_run *run)
{
	struct loading *l = malloc(sizeof(*l));
	const char *params[] = { run->id_text, r->d->config->dispatcher_route };

	if (l == NULL)
		return;
	*l = (struct loading){ r, run };
	run->loading = true;
	run->flights++;
	if (!pgloop_submit(r->d->claims, "load_run", embed_dispatcher_sql_load_run_sql, 2, params,
		on_loaded, l)) {
		run->loading = false;
		run->flights--;
		free(l);
	}
}

static struct live_run *
find(struct runs *r, int id)
{
	struct live_run *run;

	for (run = r->first; run != NULL; run = run->next)
		if (run->id == id)
			return run;
	run = calloc(1, sizeof(*run));
	if (run == NULL)
		return NULL;
	run->id = id;
	(void)snprintf(run->id_text, sizeof(run->id_text), "%d", id);
	run->next = r->first;
	r->first = run;
	return run;
}

/* Lanes that were given a list of their own after the run was loaded; none ever goes. */
static void
relist(const struct dispatcher *d, struct live_run *run, const char *text)
{
	int *before = run->lanes;
	size_t had = run->lane_count;
	struct err err;

	if (count_lists(d, text) == had)
		return;
	if (read_lanes(d, run, text, &err) == 0) {
		log_info("braked lanes have a list of their own run=%d lists=%zu", run->id,
		    run->lane_count);
		return;
	}
	log_error("run=%d: %s", run->id, err.msg);
	run->lanes = before;
	run->lane_count = had;
}

/* Marks what is running, releases what is not any more, forgets what nobody points at. */
static void
update(struct runs *r, const PGresult *result)
{
	struct live_run **link, *run;

	for (run = r->first; run != NULL; run = run->next)
		run->running = false;
	for (int i = 0; i < PQntuples(result); i++) {
		int id = (int)db_number(result, i, 0);

		run = id != 0 ? find(r, id) : NULL;
		if (run == NULL)
			continue;
		run->running = true;
		run->limited =
		    db_number(result, i, 2) != 0 || r->d->config->pace_account_rate[0] != '\0';
		run->urgent = db_number(result, i, 4) != 0;
		if (!run->loaded && !run->loading && !run->refused)
			load(r, run);
		else if (run->loaded && !PQgetisnull(result, i, 3))
			relist(r->d, run, db_text(result, i, 3));
	}
	for (link = &r->first; (run = *link) != NULL;) {
		if (!run->running && run->ready > 0)
			r->d->news->halted(r->d, run);
		if (!run->running && run->flights == 0) {
			*link = run->next;
			forget_statements(r->d, run);
			run_free(run);
		} else {
			link = &run->next;
		}
	}
}

static void
on_held(void *ctx, struct pgloop_answer *answer)
{
	struct runs *r = ctx;

	if (answer->verdict != PGLOOP_DONE)
		log_error("runs not paused error=\"%s\"", answer->error);
	r->d->fenced = true;
}

/* Claims that PostgreSQL acknowledged are gone (reliability: an asynchronous standby was promoted,
 * a backup restored): its rows may say queued of somebody who has the mail. Nobody sends until
 * every journal was heard. */
static void
time_went_back(struct runs *r)
{
	const char *why = "PostgreSQL has lost commits: see kairan-dispatcher(8), LOST COMMITS";

	if (r->d->fenced || r->lost)
		return;
	log_error(
	    "PostgreSQL has lost commits that it acknowledged; pausing all runs and stopping. "
	    "Start every dispatcher once with --adopt, then resume the runs");
	r->lost = true;
	for (struct live_run *run = r->first; run != NULL; run = run->next) {
		run->running = false;
		r->d->news->halted(r->d, run);
	}
	if (!pgloop_submit(
		r->d->claims, "hold", "SELECT kairan.runs_hold($1)", 1, &why, on_held, r))
		r->d->fenced = true;
}

/* PostgreSQL failed over. No claim of ours is missing, but outcomes may be, that were acknowledged and are
 * forgotten here: their rows would be `sending` for ever. The next life reads the journal and tells them. */
static void
begin_anew(struct dispatcher *d)
{
	if (!d->fenced)
		log_error("PostgreSQL failed over: ending, so that the next life tells it by the "
			  "journal what it may have lost; start it again");
	d->fenced = true;
}

/* missing: who has to be heard on a new timeline before anybody claims; "": nobody. */
static void
note_quarantine(struct dispatcher *d, const char *missing)
{
	char text[sizeof(d->quarantine)] = "";

	if (missing[0] != '\0')
		(void)snprintf(
		    text, sizeof(text), "PostgreSQL failed over; waiting to hear of %s", missing);
	if (strcmp(text, d->quarantine) == 0)
		return;
	if (text[0] == '\0')
		log_info("every dispatcher was heard behind the fail-over; claims go on");
	else
		log_warn(
		    "PostgreSQL failed over: nothing is claimed until these dispatchers were "
		    "heard: %s. Start them; for one that is gone: kairan dispatcher forget NAME",
		    missing);
	(void)snprintf(d->quarantine, sizeof(d->quarantine), "%s", text);
}

static void
on_looked(void *ctx, struct pgloop_answer *answer)
{
	struct runs *r = ctx;
	uint64_t claims, known = journal_claim_seq(r->d->journal);

	r->looking = false;
	if (answer->verdict != PGLOOP_DONE)
		return; /* pgloop says why; what is claimed goes on */
	if (PQntuples(answer->result) == 0 || db_number(answer->result, 0, 0) != 0) {
		if (!r->d->fenced)
			log_error("fenced: this dispatcher was declared dead; stopping");
		r->d->fenced = true;
		return;
	}
	claims = (uint64_t)db_number(answer->result, 0, 2);
	if (claims < known) {
		time_went_back(r);
		return;
	}
	/* A fence_claims that we took for lost came late: with the number that we know claims would find
	 * nothing for ever. */
	if (claims >= known + UNKNOWN_CLAIM_STEP)
		journal_claimed(r->d->journal, claims);
	note_quarantine(r->d, db_text(answer->result, 0, 3));
	if (db_number(answer->result, 0, 4) != 0) {
		begin_anew(r->d);
		return;
	}
	update(r, answer->result);
	r->d->news->room(r->d);
}

static void
on_timer(uv_timer_t *timer)
{
	struct runs *r = timer->data;
	char known[24];
	const char *params[] = { r->d->owner_text, r->d->news->trouble(r->d), known, r->d->lock_id,
		r->d->config->dispatcher_route };

	(void)snprintf(
	    known, sizeof(known), "%llu", (unsigned long long)journal_claim_seq(r->d->journal));
	if (!r->looking && pgloop_is_ready(r->d->claims))
		r->looking = pgloop_submit(r->d->claims, "active", embed_dispatcher_sql_active_sql,
		    5, params, on_looked, r);
}

void
runs_start(struct runs *r)
{
	(void)uv_timer_start(&r->timer, on_timer, 0, (uint64_t)r->d->config->dispatcher_poll_ms);
}

void
runs_reload(struct runs *r)
{
	if (!uv_is_closing((uv_handle_t *)&r->timer))
		runs_start(r);
}

void
runs_stop(struct runs *r)
{
	(void)uv_timer_stop(&r->timer);
	if (!uv_is_closing((uv_handle_t *)&r->timer))
		uv_close((uv_handle_t *)&r->timer, NULL);
}
