/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_doubt: `kairan send doubt list|show|resolve`: the recipients of whom nobody can say whether
 * they got the mail, and what takes them out of doubt: a person's word, or the relay's log.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "maillog.h"
#include "pgarray.h"
#include "token.h"

#define IDS_MAX ((size_t)1 << 20)
#define LOG_BATCH 500

/* RUN or RUN/ID,ID,… in the arguments; ids "" means all of the run. */
struct choice {
	char run[16];
	struct buf ids; /* array literal */
	bool all;
};

static int
parse_choice(struct cli *cli, const char *text, struct choice *c)
{
	char *end;
	long run = strtol(text, &end, 10);

	buf_init(&c->ids, IDS_MAX);
	c->all = *end == '\0';
	if (run <= 0 || run > INT32_MAX || (*end != '/' && *end != '\0'))
		return cli_fail(cli, EXIT_USAGE,
		    "name a run as `kairan send doubt list` shows it, with recipients or without: "
		    "7 or 7/12,13; not '%s'",
		    text);
	(void)snprintf(c->run, sizeof(c->run), "%ld", run);
	while (*end != '\0') {
		const char *from = end + 1;
		long id = strtol(from, &end, 10);

		if (end == from || id <= 0 || id > INT32_MAX || (*end != ',' && *end != '\0'))
			return cli_fail(
			    cli, EXIT_USAGE, "'%s' is no list of recipients, e.g. 7/12,13", text);
		pgarray_int(&c->ids, id);
	}
	return EXIT_DONE;
}

static int
run_list(struct cli *cli, int argc, char **argv)
{
	const char *campaign = NULL;
	const struct cli_option options[] = {
		{ .name = "campaign", .value_name = "NAME", .value = &campaign }, { 0 }
	};
	const char *params[1];
	struct db db;
	PGresult *r;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE, "send doubt list takes no argument");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	params[0] = campaign;
	r = db_query(&db,
	    "SELECT run_id || '/' || id AS recipient, campaign, run_key, address, "
	    "to_char(coalesce(settled_at, claimed_at), 'YYYY-MM-DD HH24:MI:SSOF') AS since, "
	    "reason, remote, "
	    "host FROM kairan.in_doubt WHERE campaign = $1 OR $1 IS NULL ORDER BY run_id, id",
	    1, params);
	if (r == NULL) {
		code = cli_db_failed(cli, &db, "listing who is in doubt");
	} else {
		if (PQntuples(r) == 0 && !cli->json)
			puts("nobody is in doubt");
		else
			cli_print_result(cli, r);
		code = PQntuples(r) == 0 ? EXIT_NOTHING : EXIT_DONE;
	}
	PQclear(r);
	db_close(&db);
	return code;
}

static int
run_show(struct cli *cli, int argc, char **argv)
{
	struct choice c = { 0 };
	const char *params[2];
	struct db db;
	PGresult *r;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "name one: kairan send doubt show RUN/RECIPIENT");
	code = parse_choice(cli, argv[0], &c);
	if (code == EXIT_DONE)
		code = cli_open_db(cli, &db);
	if (code != EXIT_DONE) {
		buf_release(&c.ids);
		return code;
	}
	params[0] = c.run;
	params[1] = c.all ? NULL : pgarray_end(&c.ids);
	r = db_query(&db,
	    "SELECT d.run_id || '/' || d.id AS recipient, d.campaign, d.run_key, d.address, "
	    "d.attempt, "
	    "d.dispatcher, d.host, d.claimed_at, d.settled_at AS in_doubt_since, d.reason, "
	    "d.remote, "
	    "d.reply, b.how AS settled_before, b.at AS settled_before_at "
	    "FROM kairan.in_doubt d LEFT JOIN kairan.doubt b ON b.run_id = d.run_id AND b.send_id "
	    "= d.id "
	    "WHERE d.run_id = $1 AND (d.id = ANY ($2::int[]) OR $2 IS NULL) ORDER BY d.id",
	    2, params);
	if (r == NULL)
		code = cli_db_failed(cli, &db, "looking at who is in doubt");
	else if (PQntuples(r) == 0)
		code = cli_fail(cli, EXIT_NOTHING, "%s is not in doubt", argv[0]);
	else
		cli_print_result(cli, r);
	PQclear(r);
	buf_release(&c.ids);
	db_close(&db);
	return code;
}

/* ---- the relay's log ---- */

struct reading {
	struct cli *cli;
	struct db *db;
	struct token_keys keys;
	struct ledger_batch batch;
	int64_t lines, ours, heard;
};

static int
send_batch(struct reading *r)
{
	const char *params[LEDGER_COLUMNS];
	PGresult *result;

	if (r->batch.count == 0)
		return EXIT_DONE;
	if (!ledger_params(&r->batch, params))
		return cli_fail(r->cli, EXIT_FAILED, "no memory");
	result = db_query(r->db, LEDGER_SQL, LEDGER_COLUMNS, params);
	if (result == NULL)
		return cli_db_failed(r->cli, r->db, "recording what the log says");
	r->heard += db_int(result, 0);
	PQclear(result);
	ledger_reset(&r->batch);
	return EXIT_DONE;
}

/* A line of the queue manager proves that the relay took responsibility; the signed token in the
 * return path says for whom. */
static int
take_line(struct reading *r, struct slice text)
{
	struct feedback_event e = {
		.kind = OUTCOME_ACCEPTED, .source = "relay_log", .reason = "none"
	};
	struct maillog_line line;
	struct token token;
	char key[120];

	r->lines++;
	if (!maillog_read(text, &line) || !token_verify(&r->keys, TOKEN_BOUNCE, line.token, &token))
		return EXIT_DONE;
	r->ours++;
	(void)snprintf(
	    key, sizeof(key), "relay_log|%u|%u|%u", token.run, token.send, token.attempt);
	e.key = slice_str(key);
	e.linked = true;
	e.token = token;
	e.remote = line.queue_id;
	if (!ledger_add(&r->batch, &e))
		return cli_fail(r->cli, EXIT_FAILED, "no memory");
	return r->batch.count >= LOG_BATCH ? send_batch(r) : EXIT_DONE;
}

/* gzip, xz, zstd, bzip2: their first bytes. */
static bool
is_compressed(const char *text, size_t n)
{
	static const char *const magic[] = { "\x1f\x8b",
		"\xfd"
		"7zXZ",
		"\x28\xb5\x2f\xfd", "BZh" };

	for (size_t i = 0; i < sizeof(magic) / sizeof(magic[0]); i++)
		if (n >= strlen(magic[i]) && memcmp(text, magic[i], strlen(magic[i])) == 0)
			return true;
	return false;
}

/* The end of the file is the end; a read that fails is not. */
static int
take_lines(struct reading *r, FILE *file, const char *path)
{
	char *text = NULL;
	size_t capacity = 0;
	ssize_t n;
	int code = EXIT_DONE;

	errno = 0;
	while (code == EXIT_DONE && (n = getline(&text, &capacity, file)) >= 0) {
		if (r->lines == 0 && is_compressed(text, (size_t)n))
			code = cli_fail(r->cli, EXIT_USAGE,
			    "%s is compressed; unpack it: zcat FILE | kairan send doubt resolve "
			    "--from-log -",
			    path);
		else if (n <= MAILLOG_LINE_MAX)
			code = take_line(r, slice_make(text, (size_t)n));
		errno = 0;
	}
	if (code == EXIT_DONE && !feof(file))
		code = cli_fail(r->cli, EXIT_FAILED, "cannot read %s: %s", path, strerror(errno));
	free(text);
	return code;
}

static int
read_log(struct cli *cli, struct db *db, const char *path)
{
	struct reading r = { .cli = cli, .db = db };
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	struct err err = { 0 };
	int code = EXIT_DONE;

	if (file == NULL)
		return cli_fail(cli, EXIT_FAILED, "cannot open %s: %s", path, strerror(errno));
	if (token_keys_load(&r.keys, cli->config.keys_file, &err) < 0)
		code = cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	ledger_init(&r.batch);
	if (code == EXIT_DONE)
		code = take_lines(&r, file, path);
	if (code == EXIT_DONE)
		code = send_batch(&r);
	if (code == EXIT_DONE && cli->json)
		cli_print_json(json_pack("{s:I, s:I, s:I}", "lines", (json_int_t)r.lines, "ours",
		    (json_int_t)r.ours, "new", (json_int_t)r.heard));
	else if (code == EXIT_DONE)
		printf("%" PRId64 " lines read, %" PRId64 " about mail of ours, %" PRId64
		       " of it new\n",
		    r.lines, r.ours, r.heard);
	if (code == EXIT_DONE && r.heard == 0)
		code = EXIT_NOTHING;
	ledger_release(&r.batch);
	token_keys_release(&r.keys);
	if (file != stdin)
		(void)fclose(file);
	return code;
}

/* ---- resolve ---- */

static int
settle(struct cli *cli, struct db *db, const char *text, const char *how)
{
	struct choice c = { 0 };
	const char *params[3];
	PGresult *r = NULL;
	int code = parse_choice(cli, text, &c);
	int64_t n;

	params[0] = c.run;
	params[1] = c.all ? NULL : pgarray_end(&c.ids);
	params[2] = how;
	if (code == EXIT_DONE && !c.all && params[1] == NULL) /* NULL would be all of the run */
		code = cli_fail(cli, EXIT_FAILED, "no memory for the list of recipients");
	if (code == EXIT_DONE) {
		r = db_query(db, "SELECT kairan.doubt_settle($1, $2::int[], $3)", 3, params);
		if (r == NULL)
			code = cli_db_failed(cli, db, "settling");
	}
	if (r != NULL) {
		n = db_int(r, 0);
		cli_audit(db, "doubt.resolve", text, how);
		if (cli->json)
			cli_print_json(
			    json_pack("{s:s, s:I}", "how", how, "recipients", (json_int_t)n));
		else
			printf("%" PRId64 " recipients: %s\n", n,
			    strcmp(how, "resent") == 0 ? "queued again" : "taken as sent");
		code = n == 0 ? EXIT_NOTHING : EXIT_DONE;
	}
	PQclear(r);
	buf_release(&c.ids);
	return code;
}

static int
run_resolve(struct cli *cli, int argc, char **argv)
{
	bool assume = false, resend = false;
	const char *log = NULL;
	const struct cli_option options[] = { { .name = "assume-sent", .flag = &assume },
		{ .name = "resend", .flag = &resend },
		{ .name = "from-log", .value_name = "FILE", .value = &log }, { 0 } };
	struct db db;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (assume + resend + (log != NULL) != 1)
		return cli_fail(
		    cli, EXIT_USAGE, "say how: --assume-sent, --resend, or --from-log FILE");
	if (argc != (log != NULL ? 0 : 1))
		return cli_fail(cli, EXIT_USAGE,
		    log != NULL ? "--from-log takes no recipients: the log names them"
				: "name a run, or recipients of it: 7 or 7/12,13");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	code = log != NULL ? read_log(cli, &db, log)
			   : settle(cli, &db, argv[0], assume ? "assumed_sent" : "resent");
	db_close(&db);
	return code;
}

const struct cli_command cli_doubt_commands[] = {
	{ "send doubt list", "[--campaign NAME]", "list who may or may not have got a mail",
	    "The final dot may have left and no complete answer was read. They are not sent to "
	    "again by\n"
	    "themselves, unless the campaign says on_doubt = resend. Exit code 6 when there is "
	    "nobody.\n"
	    "\n"
	    "Example:\n"
	    "  kairan send doubt list --campaign july\n",
	    true, run_list },
	{ "send doubt show", "RUN[/RECIPIENT,...]",
	    "show everything known about recipients in doubt",
	    "Example:\n"
	    "  kairan send doubt show 7/12\n",
	    true, run_show },
	{ "send doubt resolve", "RUN[/RECIPIENT,...] --assume-sent|--resend | --from-log FILE",
	    "take recipients out of doubt",
	    "  --assume-sent    they got it: nothing more is sent\n"
	    "  --resend         queue them again: who got it gets it twice\n"
	    "  --from-log FILE  Postfix's log (- is standard input): whom its queue manager names "
	    "got it\n"
	    "\n"
	    "Noted in kairan.audit and kairan.doubt. Exit code 6 when nobody was in doubt,\n"
	    "or when the log has nothing new about mail of ours.\n"
	    "\n"
	    "Example:\n"
	    "  kairan send doubt resolve --from-log /var/log/mail.log\n"
	    "  kairan send doubt resolve 7/12,13 --assume-sent\n",
	    true, run_resolve },
	{ 0 },
};
