/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_send: `kairan send why`: the whole story of one address, from kairan.why(). */
#include "cli.h"

#include <string.h>

static void
print_story(const struct cli *cli, const PGresult *story)
{
	for (int i = 0; i < PQntuples(story); i++) {
		cli_put_text(stdout, db_text(story, i, 0));
		printf("  %s", cli->colour ? "\033[1m" : "");
		cli_put_text(stdout, db_text(story, i, 1));
		fputs(cli->colour ? "\033[0m" : "", stdout);
		if (!PQgetisnull(story, i, 2)) {
			fputs("  ", stdout);
			cli_put_text(stdout, db_text(story, i, 2));
			putchar('/');
			cli_put_text(stdout, db_text(story, i, 3));
		}
		putchar('\n');
		if (db_text(story, i, 4)[0] != '\0') {
			fputs("    ", stdout);
			cli_put_text(stdout, db_text(story, i, 4));
			putchar('\n');
		}
	}
}

static int
tell_why(struct cli *cli, struct db *db, const char *address)
{
	PGresult *story = db_query(db,
	    "SELECT to_char(at, 'YYYY-MM-DD HH24:MI:SSOF') AS at, what, campaign, run_key, detail "
	    "FROM kairan.why($1) WITH ORDINALITY AS w (at, what, campaign, run_key, detail, n) "
	    "ORDER BY n",
	    1, &address);
	int code = EXIT_DONE;

	if (story == NULL)
		return cli_db_failed(cli, db, "asking why");
	if (PQntuples(story) == 0)
		code = EXIT_NOTHING;
	if (cli->json)
		cli_print_result(cli, story);
	else if (code == EXIT_NOTHING)
		printf("nothing is known of %s: no run planned or left it out, and it is not "
		       "suppressed\n",
		    address);
	else
		print_story(cli, story);
	PQclear(story);
	return code;
}

static int
run_why(struct cli *cli, int argc, char **argv)
{
	struct db db;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "name one address: kairan send why ADDRESS");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	code = tell_why(cli, &db, argv[0]);
	db_close(&db);
	return code;
}

const struct cli_command cli_send_commands[] = {
	{ "send why", "ADDRESS", "tell everything that happened to one address",
	    "Oldest first: left out of which run and why, planned, sent, what was heard, "
	    "suppressed.\n"
	    "Exit code 6 when nothing is known of it.\n"
	    "\n"
	    "Example:\n"
	    "  kairan send why taro@example.jp\n",
	    true, run_why },
	{ 0 },
};
