/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay: see replay.h. A file is mapped and cut into notices; every notice becomes a unit, and
 * BATCH of them are committed together. When the database refuses a batch for what is in it, its
 * notices are committed one by one, and of those the bad events as events of kind other.
 */
#include "replay.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db.h"
#include "exit.h"
#include "jsontext.h"
#include "ledger.h"
#include "log.h"
#include "mail_worker.h"
#include "mbox.h"
#include "reader.h"

#define BATCH 100
#define DRAW_EVERY_S 1

static const char help[] =
    "Usage: kairan-feedback replay [--config FILE] [--dry-run] [--signed] [--quiet] FILE|DIR...|-\n"
    "       kairan-feedback replay [--config FILE] [--dry-run] [--quiet] --quarantine [ID]...\n"
    "\n"
    "Feeds archives of notices through the same way as the daemon: mails, mbox files, folders of\n"
    "them, and JSON (documents of SNS, events of SES or EventBridge), one a line or over several.\n"
    "What was heard before does nothing, so an archive may be fed again. - is standard input.\n"
    "\n"
    "  --dry-run     read and count, commit nothing; needs no database for files\n"
    "  --signed      take of JSON only documents of SNS with a good signature\n"
    "  --quarantine  feed what was kept aside, all or by number; what is understood is kept no "
    "more\n"
    "  --quiet       no progress\n"
    "\n"
    "Example:\n"
    "  kairan-feedback replay --dry-run /var/spool/bounces ses-2026-11.jsonl\n";

struct replay {
	struct config config;
	struct token_keys keys;
	struct reader reader;
	struct mail_worker *worker;
	struct db db;
	bool is_dry, needs_signature, is_quiet, is_kept;
	struct unit units[BATCH];
	size_t count;
	struct ledger_batch batch;
	unsigned long long files, notices, events, fresh, left, kept, kinds[OUTCOME_KINDS];
	unsigned long long total_bytes, done_bytes;
	time_t drawn;
	int status; /* exit_code so far */
};

/* ---- committing ------------------------------------------------------------------------- */

/* -1 with db.error. */
static int
commit(struct replay *r, const struct feedback_event *const *events, size_t count)
{
	const char *params[LEDGER_PARAMS_MAX], *sql = NULL;
	bool good = true;
	int columns = 0;
	PGresult *result;

	ledger_reset(&r->batch);
	for (size_t i = 0; i < count; i++)
		good = good && ledger_add(&r->batch, events[i]);
	if (good)
		sql = ledger_statement(&r->batch, params, &columns);
	if (sql == NULL) {
		(void)snprintf(r->db.error, sizeof(r->db.error), "no memory");
		return -1;
	}
	result = db_query(&r->db, sql, columns, params);
	if (result == NULL)
		return -1;
	r->fresh += (unsigned long long)db_number(result, 0, 0);
	PQclear(result);
	return 0;
}

/* Commits what the database takes, in halves, and what it refuses as events of kind other. */
static int
commit_parts(
    struct replay *r, struct arena *arena, const struct feedback_event *const *list, size_t count)
{
	const struct feedback_event *instead;

	if (commit(r, list, count) == 0)
		return 0;
	if (db_is_lost(&r->db) || !intake_is_fault_of_data(r->db.sqlstate))
		return -1;
	if (count > 1)
		return commit_parts(r, arena, list, count / 2) < 0
		    ? -1
		    : commit_parts(r, arena, list + count / 2, count - count / 2);
	instead = intake_refused_event(arena, list[0], r->db.error);
	r->kept++;
	return instead != NULL ? commit(r, &instead, 1) : -1;
}

static int
commit_unit(struct replay *r, struct unit *u)
{
	const struct feedback_event *list[FEEDBACK_EVENTS_MAX];

	for (size_t i = 0; i < u->events.count; i++)
		list[i] = &u->events.items[i];
	return u->events.count > 0 ? commit_parts(r, &u->arena, list, u->events.count) : 0;
}

/* What waits. -1: the database is gone, or without memory. */
static int
flush(struct replay *r)
{
	const struct feedback_event **list;
	size_t n = 0, room = 0;
	int result = 0;

	for (size_t i = 0; i < r->count; i++)
		room += r->units[i].events.count;
	list = room > 0 && !r->is_dry ? calloc(room, sizeof(*list)) : NULL;
	if (list != NULL) {
		for (size_t i = 0; i < r->count; i++)
			for (size_t k = 0; k < r->units[i].events.count; k++)
				list[n++] = &r->units[i].events.items[k];
		result = commit(r, list, n);
		if (result < 0 && !db_is_lost(&r->db) && intake_is_fault_of_data(r->db.sqlstate)) {
			result = 0;
			for (size_t i = 0; i < r->count && result == 0; i++)
				result = commit_unit(r, &r->units[i]);
		}
		free(list);
	} else if (room > 0 && !r->is_dry) {
		result = -1;
	}
	r->count = 0;
	return result;
}

/* ---- reading ---------------------------------------------------------------------------- */

static void
draw(struct replay *r, bool is_end)
{
	time_t now = time(NULL);

	if (r->is_quiet || isatty(STDERR_FILENO) == 0 || (!is_end && now < r->drawn + DRAW_EVERY_S))
		return;
	r->drawn = now;
	(void)fprintf(stderr, "\rreplay %3.0f %%, %llu notices%s",
	    r->total_bytes > 0 ? 100.0 * (double)r->done_bytes / (double)r->total_bytes : 100.0,
	    r->notices, is_end ? "\n" : "");
}

static int
take(struct replay *r, struct slice raw, bool is_json, const char *path)
{
	struct unit *u = &r->units[r->count];

	unit_reset(u);
	if (is_json)
		reader_notice(&r->reader, raw, !r->needs_signature, u);
	else
		reader_mail(&r->reader, raw, u);
	r->notices++;
	draw(r, false);
	if (u->result != UNIT_OPEN) {
		log_warn("notice is passed over file=%s number=%llu error=\"%s\"", path, r->notices,
		    u->why.msg);
		r->left++;
		if (r->status == EXIT_DONE || u->result == UNIT_AGAIN)
			r->status = u->result == UNIT_AGAIN ? EXIT_TEMPORARY : EXIT_FAILED;
		return 0;
	}
	r->events += u->events.count;
	for (size_t i = 0; i < u->events.count; i++)
		r->kinds[u->events.items[i].kind]++;
	return ++r->count == BATCH ? flush(r) : 0;
}

/* Until the bracket that closes the first one; all of it when there is none. */
static size_t
extent(struct slice text)
{
	bool in_string = false;
	size_t depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == '"')
			in_string = !in_string;
		else if (in_string && c == '\\')
			i++;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']') && --depth == 0)
			return i + 1;
	}
	return text.len;
}

/* The next line, or the document that goes over several; a line cut short takes no other with it. */
static struct slice
next_document(struct slice text)
{
	const char *end = memchr(text.ptr, '\n', text.len);
	struct slice line = slice_make(text.ptr, end != NULL ? (size_t)(end - text.ptr) : text.len);
	struct slice whole =
	    slice_make(text.ptr, text.len < SNS_BODY_MAX ? text.len : SNS_BODY_MAX);

	if (text.ptr[0] != '{' || jsontext_check(line))
		return line;
	whole.len = extent(whole);
	return whole.len > line.len && jsontext_check(whole) ? whole : line;
}

static int
take_json(struct replay *r, struct slice text, const char *path)
{
	int result = 0;

	while (result == 0 && text.len > 0) {
		struct slice document = next_document(text);

		text = slice_make(text.ptr + document.len, text.len - document.len);
		if (text.len > 0 && text.ptr[0] == '\n')
			text = slice_make(text.ptr + 1, text.len - 1);
		document = slice_trim(document);
		if (document.len > 0)
			result = take(r, document, true, path);
	}
	return result;
}

static int
take_text(struct replay *r, struct slice text, const char *path)
{
	struct slice mail, begin;
	int result = 0;

	if (slice_starts_nocase(text, SLICE("\xEF\xBB\xBF")))
		text = slice_make(text.ptr + 3, text.len - 3);
	begin = slice_trim(text);
	if (begin.len == 0)
		return 0;
	if (begin.ptr[0] == '{')
		return take_json(r, begin, path);
	if (!mbox_is(text))
		return take(r, text, false, path);
	while (result == 0 && mbox_next(&text, &mail))
		result = take(r, mail, false, path);
	return result;
}

/* A file that cannot be read is said and passed over; fd may be -1. -1: the database is gone. */
static int
take_fd(struct replay *r, int fd, const char *shown, size_t size)
{
	void *text = MAP_FAILED;
	int result = 0;

	if (fd >= 0 && size > 0)
		text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (fd < 0 || (size > 0 && text == MAP_FAILED)) {
		log_error("file cannot be read file=%s: %s", shown, strerror(errno));
		r->status = EXIT_FAILED;
	} else if (size > 0) {
		result = take_text(r, slice_make(text, size), shown);
		(void)munmap(text, size);
	}
	r->files++;
	r->done_bytes += size;
	return result;
}

static int
take_file(struct replay *r, const char *path, const char *shown, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int result = take_fd(r, fd, shown, size);

	if (fd >= 0)
		(void)close(fd);
	return result;
}

/* Standard input as one file, by way of a temporary one: it may be larger than the memory. A stream that
 * breaks off is not taken. */
static int
take_stdin(struct replay *r)
{
	char chunk[64 * 1024];
	FILE *copy = tmpfile();
	size_t size = 0;
	int result = -1;
	ssize_t n = -1;

	while (copy != NULL &&
	    ((n = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR))) {
		if (n < 0)
			continue;
		if (fwrite(chunk, 1, (size_t)n, copy) != (size_t)n) {
			n = -1;
			break;
		}
		size += (size_t)n;
	}
	if (n == 0 && fflush(copy) == 0) {
		r->total_bytes = size;
		result = take_fd(r, fileno(copy), "-", size);
	} else {
		log_error("standard input cannot be kept in a temporary file: %s; is TMPDIR full?",
		    strerror(errno));
	}
	if (copy != NULL)
		(void)fclose(copy);
	return result;
}

static int
by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* Every regular file below the arguments, hidden ones aside; counts them only when !is_take. */
static int
walk(struct replay *r, char **paths, bool is_take)
{
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, by_name);
	FTSENT *e;
	int result = 0;

	if (fts == NULL)
		return -1;
	while (result == 0 && (e = fts_read(fts)) != NULL) {
		if (e->fts_level > 0 && e->fts_name[0] == '.') {
			(void)fts_set(fts, e, FTS_SKIP);
		} else if (e->fts_info == FTS_F && is_take) {
			result = take_file(
			    r, e->fts_accpath, e->fts_path, (size_t)e->fts_statp->st_size);
		} else if (e->fts_info == FTS_F) {
			r->total_bytes += (unsigned long long)e->fts_statp->st_size;
		} else if ((e->fts_info == FTS_NS || e->fts_info == FTS_DNR ||
			       e->fts_info == FTS_ERR) &&
		    is_take) {
			log_error(
			    "cannot be read file=%s: %s", e->fts_path, strerror(e->fts_errno));
			r->status = EXIT_FAILED;
		}
	}
	(void)fts_close(fts);
	return result;
}

/* ---- what was kept aside ---------------------------------------------------------------- */

#define RCPTS_MAX 100

static void
read_kept_mail(struct replay *r, struct slice raw, struct slice lines, struct unit *u)
{
	struct slice rcpts[RCPTS_MAX];
	const char *end;
	size_t count = 0;

	while (count < RCPTS_MAX && lines.len > 0 &&
	    (end = memchr(lines.ptr, '\n', lines.len)) != NULL) {
		rcpts[count++] = slice_make(lines.ptr, (size_t)(end - lines.ptr));
		lines = slice_make(end + 1, lines.len - rcpts[count - 1].len - 1);
	}
	reader_mail_to(&r->reader, raw, rcpts, count, u);
}

/* 1: an event that is understood now and committed, 0: not, -1: the database is gone. */
static int
commit_refused(struct replay *r, struct slice content, struct unit *u)
{
	const char *params[LEDGER_COLUMNS];
	PGresult *result;

	if (!intake_refused_params(content, &u->arena, params)) {
		(void)err_set(&u->why, "it is no event");
		return 0;
	}
	if (r->is_dry)
		return 1;
	result = db_query(&r->db, LEDGER_SQL, LEDGER_COLUMNS, params);
	if (result == NULL) {
		(void)err_set(&u->why, "%s", r->db.error);
		return db_is_lost(&r->db) || !intake_is_fault_of_data(r->db.sqlstate) ? -1 : 0;
	}
	r->events++;
	r->fresh += (unsigned long long)db_number(result, 0, 0);
	PQclear(result);
	return 1;
}

/* The same for a row: form, believed, recipients. */
static int
commit_kept(struct replay *r, const PGresult *row, struct slice content, struct unit *u)
{
	const char *form = db_text(row, 0, 0);

	if (strcmp(form, "event") == 0)
		return commit_refused(r, content, u);
	if (strcmp(form, "mail") == 0)
		read_kept_mail(r, content, slice_str(db_text(row, 0, 2)), u);
	else
		reader_notice(
		    &r->reader, content, db_text(row, 0, 1)[0] == 't' && !r->needs_signature, u);
	for (size_t i = 0; i < u->events.count && u->result == UNIT_OPEN; i++)
		if (u->events.items[i].kept != NULL) {
			(void)err_set(&u->why, "%.*s", SLICE_ARG(u->events.items[i].text));
			u->result = UNIT_LEFT;
		}
	if (u->result != UNIT_OPEN)
		return 0;
	r->events += u->events.count;
	for (size_t i = 0; i < u->events.count; i++)
		r->kinds[u->events.items[i].kind]++;
	return r->is_dry || commit_unit(r, u) == 0 ? 1 : -1;
}

/* -1: the database is gone. */
static int
take_kept(struct replay *r, const char *id)
{
	const char *params[] = { id, "t" };
	struct unit *u = &r->units[0];
	unsigned char *bytes = NULL;
	size_t size = 0;
	int taken = -1;
	PGresult *row = db_query(&r->db,
	    "SELECT form, believed, recipients, content FROM kairan.kept_notice WHERE id = "
	    "$1::bigint",
	    1, params);

	if (row == NULL)
		return -1;
	unit_reset(u);
	if (PQntuples(row) == 0)
		(void)err_set(&u->why, "nothing is kept under this number");
	else
		bytes = PQunescapeBytea((const unsigned char *)db_text(row, 0, 3), &size);
	r->notices++;
	if (PQntuples(row) == 0)
		taken = 0;
	else if (bytes != NULL)
		taken = commit_kept(r, row, slice_make((const char *)bytes, size), u);
	if (taken == 0) {
		log_warn("notice is kept on id=%s error=\"%s\"", id, u->why.msg);
		r->left++;
		params[1] = "f";
		if (r->status == EXIT_DONE || u->result == UNIT_AGAIN)
			r->status = u->result == UNIT_AGAIN ? EXIT_TEMPORARY : EXIT_FAILED;
	}
	if (taken >= 0 && !r->is_dry &&
	    db_run(&r->db, "SELECT kairan.notice_replayed($1::bigint, $2::boolean)", 2, params) < 0)
		taken = -1;
	PQfreemem(bytes);
	PQclear(row);
	return taken < 0 ? -1 : 0;
}

/* Those with these numbers; without any, all that are there now. */
static int
take_all_kept(struct replay *r, char **ids)
{
	PGresult *all;
	int result = 0;

	if (*ids != NULL) {
		while (*ids != NULL && result == 0)
			result = take_kept(r, *ids++);
		return result;
	}
	all = db_query(&r->db, "SELECT id FROM kairan.kept_notice ORDER BY id", 0, NULL);
	if (all == NULL)
		return -1;
	for (int i = 0; i < PQntuples(all) && result == 0; i++)
		result = take_kept(r, db_text(all, i, 0));
	PQclear(all);
	return result;
}

/* ---- the command ------------------------------------------------------------------------ */

static void
report(const struct replay *r)
{
	(void)printf("{\"files\":%llu,\"notices\":%llu,\"events\":%llu,\"new\":%llu,"
		     "\"passed_over\":%llu,\"kept_aside\":%llu,\"dry_run\":%s,\"kinds\":{",
	    r->files, r->notices, r->events, r->fresh, r->left, r->kept,
	    r->is_dry ? "true" : "false");
	for (size_t i = 0, n = 0; i < OUTCOME_KINDS; i++)
		if (r->kinds[i] > 0)
			(void)printf("%s\"%s\":%llu", n++ > 0 ? "," : "",
			    outcome_kind_name((enum outcome_kind)i), r->kinds[i]);
	(void)puts("}}");
}

static int
run(struct replay *r, char **paths)
{
	struct err err = { 0 };
	int status;

	if (reader_init(&r->reader, &r->config, &r->keys, &err) < 0)
		fatal(EXIT_USAGE, "%s", err.msg);
	reader_set_mail(&r->reader, r->worker, NULL);
	if ((!r->is_dry || r->is_kept) &&
	    (db_open(&r->db, r->config.database_url, "kairan_feedback", "kairan-feedback replay",
		 &err) != 0 ||
		db_check_schema(&r->db, &err) != 0))
		fatal(EXIT_TEMPORARY, "%s", err.msg);
	for (size_t i = 0; i < BATCH; i++)
		unit_init(&r->units[i]);
	ledger_init(&r->batch);
	if (r->is_kept)
		status = take_all_kept(r, paths);
	else if (strcmp(paths[0], "-") == 0 && (status = take_stdin(r)) == 0)
		status = flush(r);
	else if (strcmp(paths[0], "-") == 0)
		status = -1;
	else if ((status = walk(r, paths, false)) == 0 && (status = walk(r, paths, true)) == 0)
		status = flush(r);
	status = status == 0 ? r->status : EXIT_TEMPORARY;
	draw(r, true);
	if (status == EXIT_TEMPORARY && r->db.error[0] != '\0')
		log_error("replay has stopped, feed the same again error=\"%s\"", r->db.error);
	report(r);
	for (size_t i = 0; i < BATCH; i++)
		unit_release(&r->units[i]);
	ledger_release(&r->batch);
	if (!r->is_dry || r->is_kept)
		db_close(&r->db);
	reader_release(&r->reader);
	return status;
}

int
replay_main(int argc, char **argv, struct mail_worker *worker)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
		{ "dry-run", no_argument, NULL, 'n' }, { "signed", no_argument, NULL, 's' },
		{ "quarantine", no_argument, NULL, 'k' }, { "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	const char *config_path = NULL;
	struct err err = { 0 };
	struct replay *r;
	int option, status;

	r = calloc(1, sizeof(*r));
	if (r == NULL)
		fatal(EXIT_TEMPORARY, "no memory");
	while ((option = getopt_long(argc, argv, "c:nqh", longs, NULL)) != -1) {
		if (option == 'h') {
			(void)fputs(help, stdout);
			free(r);
			return EXIT_DONE;
		}
		if (option == '?')
			fatal(EXIT_USAGE, "see kairan-feedback replay --help");
		config_path = option == 'c' ? optarg : config_path;
		r->is_dry = r->is_dry || option == 'n';
		r->needs_signature = r->needs_signature || option == 's';
		r->is_quiet = r->is_quiet || option == 'q';
		r->is_kept = r->is_kept || option == 'k';
	}
	for (int i = optind; r->is_kept && i < argc; i++)
		if (argv[i][0] == '\0' || strlen(argv[i]) > 18 ||
		    strspn(argv[i], "0123456789") != strlen(argv[i]))
			fatal(EXIT_USAGE,
			    "'%s' is no number of a kept notice; see kairan "
			    "feedback quarantine list",
			    argv[i]);
	for (int i = optind; i < argc; i++)
		if (strcmp(argv[i], "-") == 0 && (r->is_kept || argc > optind + 1))
			fatal(EXIT_USAGE, "- is standard input and stands alone");
	if (optind == argc && !r->is_kept)
		fatal(EXIT_USAGE,
		    "replay needs a file or a folder; see kairan-feedback replay --help");
	if (config_load(&r->config, config_path, &err) < 0 ||
	    token_keys_load(&r->keys, r->config.keys_file, &err) < 0)
		fatal(EXIT_USAGE, "%s", err.msg);
	(void)log_open("kairan-feedback", r->config.log_level);
	json_object_seed(0);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		fatal(EXIT_TEMPORARY, "libcurl does not start");
	mail_worker_contain(worker, r->config.contain_enable);
	r->worker = worker;
	status = run(r, argv + optind);
	token_keys_release(&r->keys);
	config_release(&r->config);
	curl_global_cleanup();
	free(r);
	return status;
}
