/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_customer: `kairan customer import|count|use|invite|export|erase`. */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "customer_import.h"
#include "customer_invite.h"
#include "addr.h"
#include "letters.h"
#include "slice.h"

/* ---------------------------------------------------------------- count */

static int
run_count(struct cli *cli, int argc, char **argv)
{
	PGresult *result;
	struct db db;
	char number[32];
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE, "customer count takes no argument");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	result = db_query(&db, "SELECT count(*) FROM kairan.customer", 0, NULL);
	if (result == NULL)
		code = cli_db_failed(cli, &db, "counting customers");
	else if (cli->json)
		cli_print_json(json_pack("{s:I}", "customers", (json_int_t)db_int(result, 0)));
	else
		printf("%s customers\n", cli_number(db_int(result, 0), number));
	PQclear(result);
	db_close(&db);
	return code;
}

/* ---------------------------------------------------------------- use */

/* 1 when sql gives a row, 0 when not, -1 after printing. */
static int
has_row(struct cli *cli, struct db *db, const char *sql, const char *while_doing)
{
	PGresult *result = db_query(db, sql, 0, NULL);
	int n;

	if (result == NULL) {
		(void)cli_db_failed(cli, db, while_doing);
		return -1;
	}
	n = PQntuples(result) > 0;
	PQclear(result);
	return n;
}

/* Takes the place of the present customer table or view. */
static int
drop_customer(struct cli *cli, struct db *db, bool force)
{
	int is_table = has_row(cli, db,
	    "SELECT FROM pg_class WHERE oid = 'kairan.customer'::regclass AND relkind = 'r'",
	    "looking at kairan.customer");
	int rows;

	if (is_table < 0)
		return EXIT_FAILED;
	if (is_table > 0 && !force) {
		rows = has_row(
		    cli, db, "SELECT FROM kairan.customer LIMIT 1", "reading kairan.customer");
		if (rows < 0)
			return EXIT_FAILED;
		if (rows > 0)
			return cli_fail(cli, EXIT_FAILED,
			    "kairan.customer still holds customers, which would be lost; save them "
			    "first, then add --force-drop-table");
	}
	if (db_run(db, is_table > 0 ? "DROP TABLE kairan.customer" : "DROP VIEW kairan.customer", 0,
		NULL) < 0)
		return cli_db_failed(cli, db, "dropping the present kairan.customer");
	return EXIT_DONE;
}

static int
create_view(struct cli *cli, struct db *db, const char *query)
{
	size_t n = strlen(query);
	struct buf sql;
	int code = EXIT_DONE;

	while (n > 0 && strchr("; \t\r\n", query[n - 1]) != NULL)
		n--;
	buf_init(&sql, 1024 * 1024);
	buf_append_str(&sql, "CREATE VIEW kairan.customer AS ");
	buf_append(&sql, query, n);
	/* one statement only: the extended protocol refuses a second one */
	if (buf_failed(&sql))
		code = cli_fail(cli, EXIT_USAGE, "the query is longer than 1 MB");
	else if (db_run(db, buf_str(&sql), 0, NULL) < 0)
		code = cli_fail(cli, EXIT_FAILED, "the query cannot be used: %s", db->error);
	buf_release(&sql);
	return code;
}

/* id and email are what the programs read; both must be right in every row. */
static int
check_view(struct cli *cli, struct db *db)
{
	static const struct {
		const char *sql, *sentence;
	} checks[] = {
		{ "SELECT WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = "
		  "'kairan.customer'::regclass AND attname = 'id' AND atttypid IN "
		  "('int2'::regtype, 'int4'::regtype, 'int8'::regtype))",
		    "the query needs a column id of an integer type: SELECT number AS id, …" },
		{ "SELECT WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = "
		  "'kairan.customer'::regclass AND attname = 'email' AND atttypid = "
		  "'text'::regtype)",
		    "the query needs a column email of type text: SELECT …, mail::text AS email, "
		    "…" },
		{ "SELECT FROM kairan.customer WHERE id IS NULL OR email IS NULL LIMIT 1",
		    "there are rows without id or email; leave them out: WHERE email IS NOT NULL" },
		{ "SELECT FROM kairan.customer GROUP BY id HAVING count(*) > 1 LIMIT 1",
		    "an id comes up more than once; each row must have an id of its own" },
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		int wrong = has_row(cli, db, checks[i].sql, "trying the query");

		if (wrong < 0)
			return EXIT_FAILED;
		if (wrong > 0)
			return cli_fail(cli, EXIT_FAILED, "%s", checks[i].sentence);
	}
	return EXIT_DONE;
}

static int
swap_customer(struct cli *cli, struct db *db, const char *query, bool force)
{
	static const char *const after[] = {
		"GRANT SELECT ON kairan.customer TO kairan_dispatcher, kairan_segment, "
		"kairan_operator",
		"COMMENT ON VIEW kairan.customer IS 'Who may be written to: a view on a table of "
		"your own, made by kairan customer use; id and email are required, every other "
		"column is a merge field'",
		"COMMENT ON COLUMN kairan.customer.id IS 'Number of the customer; "
		"send.recipient_id "
		"refers to it'",
		"COMMENT ON COLUMN kairan.customer.email IS 'Address as it is sent to'",
	};
	int code;

	if (db_run(db, "BEGIN", 0, NULL) < 0 ||
	    db_run(db, "SELECT pg_advisory_xact_lock(7308047352118423393)", 0, NULL) < 0)
		return cli_db_failed(cli, db, "beginning");
	code = drop_customer(cli, db, force);
	if (code == EXIT_DONE)
		code = create_view(cli, db, query);
	if (code == EXIT_DONE)
		code = check_view(cli, db);
	for (size_t i = 0; code == EXIT_DONE && i < sizeof(after) / sizeof(after[0]); i++)
		if (db_run(db, after[i], 0, NULL) < 0)
			code = cli_db_failed(cli, db, "giving rights on the view");
	if (code != EXIT_DONE)
		return code;
	cli_audit(db, "customer.use", "customer", query);
	if (db_run(db, "COMMIT", 0, NULL) < 0)
		return cli_db_failed(cli, db, "committing");
	return EXIT_DONE;
}

static int
run_use(struct cli *cli, int argc, char **argv)
{
	bool force = false;
	const struct cli_option options[] = { { .name = "force-drop-table", .flag = &force },
		{ 0 } };
	struct err err = { 0 };
	struct db db;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE,
		    "give one query in quotation marks: kairan customer use \"SELECT id, mail AS "
		    "email FROM shop.members\"");
	code = cli_open_owner(cli, &db);
	if (code != EXIT_DONE)
		return code;
	if (db_check_schema(&db, &err) < 0)
		code = cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	else
		code = swap_customer(cli, &db, argv[0], force);
	db_close(&db);
	if (code != EXIT_DONE)
		return code;
	if (cli->json)
		cli_print_json(json_pack("{s:s}", "customer", "view"));
	else
		puts("kairan.customer is now a view; its columns are the merge fields");
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- a person's data */

static int
run_export(struct cli *cli, int argc, char **argv)
{
	PGresult *result;
	struct db db;
	json_t *all;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(
		    cli, EXIT_USAGE, "name one address: kairan customer export ADDRESS");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	result = db_query(&db, "SELECT kairan.customer_export($1)", 1, (const char *const *)argv);
	if (result == NULL) {
		code = cli_db_failed(cli, &db, "collecting");
	} else {
		all = json_loads(db_text(result, 0, 0), 0, NULL);
		if (cli->json)
			cli_print_json(json_incref(all));
		else
			(void)json_dumpf(all, stdout, JSON_INDENT(2));
		if (!cli->json)
			putchar('\n');
		json_decref(all);
	}
	PQclear(result);
	db_close(&db);
	return code;
}

/* Of the folder that is configured here; both as it is typed and as its key. */
static int
erase_letters(struct cli *cli, const char *typed, char *count, size_t size)
{
	struct slice spelling = slice_trim(slice_str(typed));
	struct err err = { 0 };
	struct addr a;
	long n, more = 0;

	n = letters_erase(cli->config.reply_maildir, spelling, &err);
	if (n >= 0 && addr_parse(&a, spelling, &err) == 0)
		more = letters_erase(cli->config.reply_maildir, slice_make(a.key, a.len), &err);
	if (n < 0 || more < 0)
		return cli_fail(cli, EXIT_FAILED,
		    "%s; nothing was erased in the database yet: erase where letters are kept",
		    err.msg);
	(void)snprintf(count, size, "%ld", n + more);
	return EXIT_DONE;
}

static int
run_erase(struct cli *cli, int argc, char **argv)
{
	bool yes = false;
	const struct cli_option options[] = { { .name = "yes", .flag = &yes }, { 0 } };
	char letters[24];
	const char *params[] = { NULL, letters };
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "name one address: kairan customer erase ADDRESS");
	if (!yes)
		return cli_fail(cli, EXIT_USAGE,
		    "this cannot be undone; say --yes: kairan customer erase %s --yes", argv[0]);
	if (cli->config.reply_maildir[0] == '\0')
		return cli_print_rows(cli, "SELECT * FROM kairan.customer_erase($1)", 1,
		    (const char *const *)argv, "erasing");
	params[0] = argv[0];
	code = erase_letters(cli, argv[0], letters, sizeof(letters));
	return code != EXIT_DONE
	    ? code
	    : cli_print_rows(cli,
		  "WITH a AS (INSERT INTO kairan.audit (action, object, detail) "
		  "VALUES ('customer.erase', 'reply.maildir', $2 || ' letters')) "
		  "SELECT * FROM kairan.customer_erase($1) UNION ALL "
		  "SELECT 'letter', $2::bigint",
		  2, params, "erasing");
}

const struct cli_command cli_customer_commands[] = {
	{ "customer import", "FILE.csv|-", "take customers from a CSV file",
	    "The first line names the columns. email is required; id, name, locale, time_zone, "
	    "status\n"
	    "and consent_at have columns of their own, all others become attributes (merge "
	    "fields).\n"
	    "Good lines are imported, bad ones are reported with their number.\n"
	    "An empty cell never erases what is stored.\n"
	    "\n"
	    "Options:\n"
	    "  --map NAME=COLUMN    take the CSV column NAME as COLUMN; COLUMN - leaves it out;\n"
	    "                       may be given several times\n"
	    "  --update             known addresses: replace columns, merge attributes (default)\n"
	    "  --new-only           known addresses stay as they are\n"
	    "  --rejects FILE       write all rejected lines to FILE (line,reason)\n"
	    "  --strict             one rejected line: import nothing, exit 1\n"
	    "  --separator C        , (default) ; | : or tab\n"
	    "\n"
	    "Example:\n"
	    "  kairan customer import members.csv --map mail=email --rejects rejects.csv\n",
	    true, customer_import },
	{ "customer count", "", "say how many customers there are",
	    "Example:\n"
	    "  kairan customer count --json\n",
	    true, run_count },
	{ "customer use", "QUERY", "read customers from a table of your own",
	    "Puts a view in the place of the table kairan.customer, checks it, and gives the "
	    "programs\n"
	    "the right to read it, in one transaction. The query needs the columns id (an integer\n"
	    "type, unique) and email (text); every further column is a merge field. Runs as the "
	    "owner\n"
	    "of the schema, who must be allowed to read your table.\n"
	    "\n"
	    "Options:\n"
	    "  --force-drop-table   also when kairan.customer still holds customers: they are "
	    "lost\n"
	    "\n"
	    "Example:\n"
	    "  kairan customer use \"SELECT id, mail AS email, full_name AS name FROM "
	    "shop.members\"\n",
	    true, run_use },
	{ "customer invite", "ADDRESS...|--segment SEGMENT",
	    "ask people by mail whether they want mail",
	    "Double opt-in: sends a mail with a link. Whoever presses the button behind it has "
	    "confirmed;\n"
	    "customer.consent_at and kairan.confirmation keep when and how. An address that is no\n"
	    "customer becomes one with the status unconfirmed.\n"
	    "\n"
	    "Options:\n"
	    "  --segment SEGMENT  invite these customers: a name, or a condition over c\n"
	    "  --language LANG    en or ja (default: web.language)\n"
	    "  --text FILE        mail of your own: Subject: ..., an empty line, a text with\n"
	    "                     {{confirm_url}}; other fields of the customer may be in it\n"
	    "  --success URL      where to go after confirming (default: our own page)\n"
	    "  --failure URL      where to go when the link is too old\n"
	    "  --list LIST        confirming lifts an earlier unsubscribe from this list\n"
	    "  --run-key KEY      with --segment: the same key again invites nobody (default: the "
	    "day)\n"
	    "\n"
	    "Example:\n"
	    "  kairan customer invite hanako@example.jp --language ja --list news\n",
	    true, customer_invite },
	{ "customer export", "ADDRESS", "print everything that is kept of a person",
	    "As JSON: customer row, what was sent, left out, heard and suppressed.\n"
	    "\n"
	    "Example:\n"
	    "  kairan customer export taro@example.jp >taro.json\n",
	    true, run_export },
	{ "customer erase", "ADDRESS", "forget a person",
	    "Deletes the customer row and takes address and texts out of everything that was sent "
	    "and\n"
	    "heard; keeps the counts, and the suppressed address alone, so that an import does "
	    "not\n"
	    "write to the person again. With a table of your own, delete the row there yourself.\n"
	    "\n"
	    "Options:\n"
	    "  --yes          needed: it cannot be undone\n"
	    "\n"
	    "Example:\n"
	    "  kairan customer erase taro@example.jp --yes\n",
	    true, run_erase },
	{ 0 },
};
