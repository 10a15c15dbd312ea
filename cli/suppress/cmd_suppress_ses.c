/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_suppress_ses: `kairan suppress ses-import|ses-export|ses-sync`: our suppression list and the
 * account suppression list of Amazon SES. The whole list is read first, into a temporary table; then
 * SQL says what to do, and what was done is noted in kairan.ses_mirror at once, so that a call that is
 * broken off is taken up by the next.
 *
 *   at SES only, never mirrored       taken over here, source "ses"; no bounce of ours is counted
 *   at SES only, mirrored before      lifted here since: deleted at SES           (sync)
 *   here only, source "ses"           lifted at SES since: lifted here            (sync)
 *   here only, our own                put there: bounces and complaints for everything, for good
 */
#include "cli.h"

#include <string.h>

#include "addr.h"
#include "pgarray.h"
#include "ses_client.h"
#include "ses_request.h"
#include "ses_suppression.h"

#define ARENA_MAX ((size_t)16 << 20)
#define LIFT_ALWAYS 10	 /* lifted without a question */
#define LIFT_PER_CENT 20 /* of those mirrored; more looks like another account */

struct sync {
	struct cli *cli;
	struct db db;
	struct ses_client ses;
	struct aws_reply reply;
	const char *region;
	bool dry, force;
	int64_t listed, odd, imported, lifted, deleted, put, failed;
};

/* What is at SES without a row of ours, and the other way round; $1 is the region. */
#define OURS                                                                                       \
	"EXISTS (SELECT FROM kairan.suppression p WHERE p.address_key = l.address_key AND "        \
	"p.scope = 'all' AND (p.expires_at IS NULL OR p.expires_at > now()))"
#define MIRRORED                                                                                   \
	"EXISTS (SELECT FROM kairan.ses_mirror m WHERE m.region = $1 AND "                         \
	"m.address_key = l.address_key)"

static const char import_sql[] =
    "INSERT INTO kairan.suppression AS s (address_key, scope, reason, source, evidence, "
    "created_at) "
    "SELECT address_key, 'all', reason, 'ses', 'account suppression list, ' || $1, updated "
    "FROM kairan_ses l WHERE NOT " MIRRORED " AND NOT EXISTS (SELECT FROM kairan.suppression p "
    "WHERE p.address_key = l.address_key AND p.scope = 'all' AND p.expires_at IS NULL "
    "AND p.source <> 'ses') ORDER BY address_key "
    "ON CONFLICT (address_key, scope, reason) DO UPDATE SET expires_at = NULL, "
    "rest_until = NULL, probation = false, "
    /* one of our own stays our own */
    "source = CASE WHEN s.expires_at IS NULL THEN s.source ELSE excluded.source END, "
    "evidence = CASE WHEN s.expires_at IS NULL THEN s.evidence ELSE excluded.evidence END "
    "WHERE s.expires_at IS NOT NULL";
static const char mirror_sql[] =
    "INSERT INTO kairan.ses_mirror (region, address_key) "
    "SELECT $1, l.address_key FROM kairan_ses l WHERE " OURS " ON CONFLICT DO NOTHING";
static const char would_import_sql[] =
    "SELECT count(*) FROM kairan_ses l WHERE NOT " OURS " AND NOT " MIRRORED;

#define GONE                                                                                       \
	"FROM kairan.suppression p JOIN kairan.ses_mirror m ON m.region = $1 AND "                 \
	"m.address_key = p.address_key WHERE p.scope = 'all' AND p.source = 'ses' "                \
	"AND NOT EXISTS (SELECT FROM kairan_ses l WHERE l.address_key = p.address_key) "           \
	"AND NOT EXISTS (SELECT FROM kairan.ses_mirror o WHERE o.region <> $1 AND "                \
	"o.address_key = p.address_key)"
static const char would_lift_sql[] =
    "SELECT (SELECT count(*) " GONE "), (SELECT count(*) FROM kairan.ses_mirror WHERE region = $1)";
static const char lift_sql[] =
    "DELETE FROM kairan.suppression WHERE scope = 'all' AND source = 'ses' AND address_key IN "
    "(SELECT p.address_key " GONE ")";
static const char forget_sql[] = "DELETE FROM kairan.ses_mirror l WHERE region = $1 AND NOT EXISTS "
				 "(SELECT FROM kairan_ses s WHERE s.address_key = l.address_key)";

#define LIFTED_HERE "FROM kairan_ses l WHERE NOT " OURS " AND " MIRRORED
static const char to_delete_sql[] = "SELECT l.given, l.address_key " LIFTED_HERE " ORDER BY 1";
static const char would_delete_sql[] = "SELECT count(*) " LIFTED_HERE;
static const char known_sql[] = "SELECT count(*) FROM kairan.ses_mirror WHERE region = $1";

static const char to_put_sql[] =
    "SELECT p.address_key, p.reason FROM kairan.suppression p WHERE p.scope = 'all' "
    "AND p.expires_at IS NULL AND p.reason IN ('bounce', 'complaint') AND p.source <> 'ses' "
    "AND position('@' IN p.address_key) > 0 "
    "AND NOT EXISTS (SELECT FROM kairan_ses l WHERE l.address_key = p.address_key) ORDER BY 1";

/* ---- the list of SES ---- */

static int
keep_page(struct sync *s, const struct ses_suppressed_page *page)
{
	struct buf given, keys, reasons, times;
	const char *params[4];
	int code = EXIT_DONE;

	buf_init(&given, 1 << 20);
	buf_init(&keys, 1 << 20);
	buf_init(&reasons, 1 << 20);
	buf_init(&times, 1 << 20);
	for (size_t i = 0; i < page->count; i++) {
		const struct ses_suppressed *e = &page->items[i];
		struct err why;
		struct addr a;

		if (addr_parse(&a, e->address, &why) < 0) {
			s->odd++; /* one that we would not write to */
			continue;
		}
		pgarray_text(&given, e->address);
		pgarray_text(&keys, slice_str(a.key));
		pgarray_text(&reasons, e->is_complaint ? SLICE("complaint") : SLICE("bounce"));
		pgarray_int(&times, e->updated_s);
	}
	s->listed += (int64_t)page->count;
	params[0] = pgarray_end(&given);
	params[1] = pgarray_end(&keys);
	params[2] = pgarray_end(&reasons);
	params[3] = pgarray_end(&times);
	if (db_run(&s->db,
		"INSERT INTO kairan_ses SELECT g, k, r, CASE WHEN t > 0 THEN to_timestamp(t) ELSE "
		"now() END "
		"FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS u (g, k, r, t) "
		"ON CONFLICT DO NOTHING",
		4, params) < 0)
		code = cli_db_failed(s->cli, &s->db, "keeping the list");
	buf_release(&given);
	buf_release(&keys);
	buf_release(&reasons);
	buf_release(&times);
	return code;
}

static int
read_page(struct sync *s, struct arena *arena, struct buf *query, struct slice *next)
{
	struct aws_request request = { .method = "GET", .path = SLICE(SES_SUPPRESSION_PATH) };
	struct ses_suppressed_page page;
	struct err err = { 0 };
	int code;

	buf_reset(query);
	ses_suppression_query(query, 0, *next, SES_SUPPRESSED_PAGE);
	request.query = buf_slice(query);
	code = ses_client_ask(&s->ses, &request, &s->reply);
	if (code != EXIT_DONE)
		return code;
	if (s->reply.status != 200)
		return ses_client_refused(s->cli, &s->reply);
	arena_reset(arena);
	if (!s->reply.whole ||
	    ses_suppressed_parse(buf_slice(&s->reply.body), arena, &page, &err) < 0)
		return cli_fail(s->cli, EXIT_FAILED, "%s",
		    s->reply.whole ? err.msg : "the answer of SES is too long");
	*next = page.next;
	return keep_page(s, &page);
}

/* All of it: from a part nothing may be concluded. */
static int
read_list(struct sync *s)
{
	struct cli_progress progress;
	struct slice next = { NULL, 0 };
	struct arena arena;
	struct buf query;
	int code = EXIT_DONE;

	if (db_run(&s->db,
		"CREATE TEMP TABLE kairan_ses (given text NOT NULL, address_key text COLLATE \"C\" "
		"PRIMARY KEY, reason text NOT NULL, updated timestamptz NOT NULL)",
		0, NULL) < 0)
		return cli_db_failed(s->cli, &s->db, "keeping the list");
	arena_init(&arena, ARENA_MAX);
	buf_init(&query, 65536);
	cli_progress_start(&progress, s->cli, "reading the list of SES", 0);
	do {
		code = read_page(s, &arena, &query, &next);
		cli_progress_set(&progress, s->listed, NULL);
	} while (code == EXIT_DONE && next.len > 0);
	cli_progress_end(&progress, NULL);
	buf_release(&query);
	arena_release(&arena);
	return code;
}

/* ---- what follows from it ---- */

/* Rows that a statement changed, or the number it answers. -1: it failed. */
static int64_t
count(struct sync *s, const char *sql)
{
	PGresult *r = db_query(&s->db, sql, 1, &s->region);
	int64_t n = -1;

	if (r != NULL)
		n = PQntuples(r) > 0 ? db_int(r, 0) : strtoll(PQcmdTuples(r), NULL, 10);
	PQclear(r);
	return n;
}

static int
import_new(struct sync *s)
{
	s->imported = count(s, would_import_sql);
	if (s->imported < 0 || (!s->dry && (count(s, import_sql) < 0 || count(s, mirror_sql) < 0)))
		return cli_db_failed(s->cli, &s->db, "taking over the list");
	return EXIT_DONE;
}

/* Does it look like another account or another database? */
static bool
too_many(const struct sync *s, int64_t gone, int64_t known)
{
	return gone > LIFT_ALWAYS && gone * 100 > known * LIFT_PER_CENT && !s->force;
}

/* Here, what was lifted there. */
static int
lift(struct sync *s)
{
	PGresult *r = db_query(&s->db, would_lift_sql, 1, &s->region);
	int64_t known;

	if (r == NULL)
		return cli_db_failed(s->cli, &s->db, "comparing the lists");
	s->lifted = db_number(r, 0, 0);
	known = db_number(r, 0, 1);
	PQclear(r);
	if (too_many(s, s->lifted, known))
		return cli_fail(s->cli, EXIT_FAILED,
		    "%lld of %lld mirrored addresses are gone from the list in %s: is it the right "
		    "account? --force lifts them here, too",
		    (long long)s->lifted, (long long)known, s->region);
	if (!s->dry && (count(s, lift_sql) < 0 || count(s, forget_sql) < 0))
		return cli_db_failed(s->cli, &s->db, "lifting");
	return EXIT_DONE;
}

static int
note(struct sync *s, const char *sql, const char *key)
{
	const char *params[] = { s->region, key };

	return db_run(&s->db, sql, 2, params) < 0
	    ? cli_db_failed(s->cli, &s->db, "noting what was done")
	    : EXIT_DONE;
}

static int
delete_one(struct sync *s, const char *given, const char *key)
{
	struct aws_request request = { .method = "DELETE" };
	struct buf path;
	int code;

	buf_init(&path, 4096);
	ses_suppression_path(&path, slice_str(given));
	request.path = buf_slice(&path);
	code = ses_client_ask(&s->ses, &request, &s->reply);
	buf_release(&path);
	if (code != EXIT_DONE)
		return code;
	if (s->reply.status != 200 && s->reply.status != 404)
		return ses_client_refused(s->cli, &s->reply);
	s->deleted++;
	return note(s, /* nor is it to be taken over again */
	    "WITH l AS (DELETE FROM kairan_ses WHERE address_key = $2) "
	    "DELETE FROM kairan.ses_mirror WHERE region = $1 AND address_key = $2",
	    key);
}

static int
put_one(struct sync *s, const char *key, const char *reason)
{
	struct aws_request request = { .method = "PUT",
		.path = SLICE(SES_SUPPRESSION_PATH),
		.content_type = "application/json" };
	struct buf body;
	int code;

	buf_init(&body, 4096);
	ses_suppression_put(
	    &body, slice_str(key), strcmp(reason, "complaint") == 0 ? "COMPLAINT" : "BOUNCE");
	request.body = buf_slice(&body);
	code = ses_client_ask(&s->ses, &request, &s->reply);
	buf_release(&body);
	if (code != EXIT_DONE)
		return code;
	if (s->reply.status == 400 && strstr(s->reply.error_type, "BadRequest") != NULL) {
		/* this address, or a sandbox: the first refusal of all says which */
		if (s->put == 0)
			return ses_client_refused(s->cli, &s->reply);
		s->failed++;
		return EXIT_DONE;
	}
	if (s->reply.status != 200)
		return ses_client_refused(s->cli, &s->reply);
	s->put++;
	return note(s,
	    "INSERT INTO kairan.ses_mirror (region, address_key) VALUES ($1, $2) ON CONFLICT DO "
	    "NOTHING",
	    key);
}

static int
each(struct sync *s, const char *label, const char *sql, bool with_region,
    int (*act)(struct sync *s, const char *first, const char *second), int64_t *dry_count)
{
	PGresult *rows = db_query(&s->db, sql, with_region, &s->region);
	struct cli_progress progress;
	int code = EXIT_DONE;

	if (rows == NULL)
		return cli_db_failed(s->cli, &s->db, "comparing the lists");
	if (s->dry)
		*dry_count = PQntuples(rows);
	cli_progress_start(&progress, s->cli, label, PQntuples(rows));
	for (int i = 0; i < PQntuples(rows) && !s->dry && code == EXIT_DONE; i++) {
		code = act(s, db_text(rows, i, 0), db_text(rows, i, 1));
		cli_progress_set(&progress, i + 1, NULL);
	}
	cli_progress_end(&progress, NULL);
	PQclear(rows);
	return code;
}

static int
export_own(struct sync *s)
{
	if (!s->dry && count(s, mirror_sql) < 0)
		return cli_db_failed(s->cli, &s->db, "comparing the lists");
	return each(s, "putting", to_put_sql, false, put_one, &s->put);
}

/* Would too much be deleted there? */
static int
check_deletions(struct sync *s)
{
	int64_t gone = count(s, would_delete_sql), known = count(s, known_sql);

	if (gone < 0 || known < 0)
		return cli_db_failed(s->cli, &s->db, "comparing the lists");
	return too_many(s, gone, known) ? cli_fail(s->cli, EXIT_FAILED,
					      "%lld of %lld mirrored addresses are not suppressed "
					      "here any more: is it the right "
					      "database? --force deletes them in %s, too",
					      (long long)gone, (long long)known, s->region)
					: EXIT_DONE;
}

static int
sync_all(struct sync *s)
{
	int code = check_deletions(s);

	if (code == EXIT_DONE)
		code = lift(s);
	if (code == EXIT_DONE)
		code = each(s, "deleting", to_delete_sql, true, delete_one, &s->deleted);
	if (code == EXIT_DONE)
		code = import_new(s);
	return code == EXIT_DONE ? export_own(s) : code;
}

/* ---- the commands ---- */

static void
tell(const struct sync *s, const char *action)
{
	char detail[200];

	(void)snprintf(detail, sizeof(detail),
	    "imported %lld, lifted %lld, deleted at SES %lld, put to SES %lld, refused %lld",
	    (long long)s->imported, (long long)s->lifted, (long long)s->deleted, (long long)s->put,
	    (long long)s->failed);
	if (!s->dry)
		cli_audit((struct db *)(uintptr_t)&s->db, action, s->region, detail);
	if (s->cli->json)
		cli_print_json(json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "region",
		    s->region, "dry_run", s->dry, "listed", (json_int_t)s->listed, "not_understood",
		    (json_int_t)s->odd, "imported", (json_int_t)s->imported, "lifted",
		    (json_int_t)s->lifted, "deleted", (json_int_t)s->deleted, "put",
		    (json_int_t)s->put, "refused", (json_int_t)s->failed));
	else
		printf("%s: %lld at SES%s; %s\n", s->region, (long long)s->listed,
		    s->dry ? ", nothing is changed" : "", detail);
}

static int
begin(struct sync *s)
{
	PGresult *r;
	int code = cli_open_db(s->cli, &s->db);
	bool mine;

	if (code != EXIT_DONE)
		return code;
	r = db_query(
	    &s->db, "SELECT pg_try_advisory_lock(hashtext('kairan suppress ses'))", 0, NULL);
	if (r == NULL)
		return cli_db_failed(s->cli, &s->db, "asking whether another one is at work");
	mine = db_text(r, 0, 0)[0] == 't';
	PQclear(r);
	if (!mine)
		return cli_fail(s->cli, EXIT_TEMPORARY, "another kairan suppress ses-… is at work");
	code = ses_client_open(s->cli, &s->ses);
	s->region = s->ses.endpoint.region;
	return code;
}

static int
run(struct cli *cli, int argc, char **argv, const char *action, int (*act)(struct sync *s))
{
	struct sync s = { .cli = cli };
	const struct cli_option options[] = { { .name = "dry-run", .flag = &s.dry },
		{ .name = "force", .flag = &s.force }, { 0 } };
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE, "no argument is needed; see kairan help suppress");
	aws_reply_init(&s.reply);
	code = begin(&s);
	if (code == EXIT_DONE)
		code = read_list(&s);
	if (code == EXIT_DONE)
		code = act(&s);
	if (code == EXIT_DONE)
		tell(&s, action);
	if (s.region != NULL)
		ses_client_close(&s.ses);
	aws_reply_release(&s.reply);
	if (s.db.conn != NULL)
		db_close(&s.db);
	return code;
}

static int
run_import(struct cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, "suppress.ses-import", import_new);
}

static int
run_export(struct cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, "suppress.ses-export", export_own);
}

static int
run_sync(struct cli *cli, int argc, char **argv)
{
	return run(cli, argc, argv, "suppress.ses-sync", sync_all);
}

const struct cli_command cli_suppress_ses_commands[] = {
	{ "suppress ses-import", "", "take over the account suppression list of Amazon SES",
	    "Entries get the source \"ses\" and count as no bounce of ours. Region and credentials "
	    "are\n"
	    "those of the dispatcher. SES allows one request a second, 1,000 entries each.\n"
	    "\n"
	    "Options:\n"
	    "  --dry-run      only count\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress ses-import --dry-run\n",
	    true, run_import },
	{ "suppress ses-export", "", "put our bounces and complaints on the list of Amazon SES",
	    "Only those for everything and for good, not what came from there. One address a "
	    "second;\n"
	    "when it is broken off the next call goes on. Not possible in a sandbox.\n"
	    "\n"
	    "Options:\n"
	    "  --dry-run      only count\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress ses-export\n",
	    true, run_export },
	{ "suppress ses-sync", "", "make our suppression list and that of Amazon SES agree",
	    "Import and export, and what was lifted on one side since is lifted on the other: "
	    "entries\n"
	    "with the source \"ses\" here, mirrored ones there.\n"
	    "\n"
	    "Options:\n"
	    "  --dry-run      only count\n"
	    "  --force        also when more than 20 % of the mirrored ones are gone from one "
	    "side\n"
	    "\n"
	    "Example, from cron each night:\n"
	    "  15 3 * * *  kairan suppress ses-sync --quiet\n",
	    true, run_sync },
	{ 0 },
};
