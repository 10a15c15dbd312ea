/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_dispatcher: `kairan dispatcher missing|forget`: who has to be heard behind a fail-over. */
#include "cli.h"

#include <stdio.h>

static int
run_missing(struct cli *cli, int argc, char **argv)
{
	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE, "no argument is needed");
	return cli_print_rows(cli,
	    "SELECT id, name, host, heartbeat_at FROM kairan.quarantine ORDER BY name, id", 0, NULL,
	    "looking for dispatchers that were not heard");
}

static int
run_forget(struct cli *cli, int argc, char **argv)
{
	const char *params[1];
	struct db db;
	int64_t lives;
	PGresult *r;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE,
		    "name one dispatcher; `kairan dispatcher missing` lists who is waited for");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	params[0] = argv[0];
	r = db_query(&db, "SELECT kairan.quarantine_forget($1)", 1, params);
	if (r == NULL) {
		code = cli_db_failed(cli, &db, "going on without a dispatcher");
		db_close(&db);
		return code;
	}
	lives = db_int(r, 0);
	PQclear(r);
	db_close(&db);
	if (lives == 0)
		return cli_fail(
		    cli, EXIT_NOTHING, "nobody waits for a dispatcher named '%s'", argv[0]);
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:I}", "forgotten", argv[0], "lives", lives));
	else
		printf("%s is not waited for any more; what it is known to have held is in doubt\n",
		    argv[0]);
	return EXIT_DONE;
}

const struct cli_command cli_dispatcher_commands[] = {
	{ "dispatcher missing", "", "list who has to be heard behind a fail-over of PostgreSQL",
	    "Until each of them was started and heard, no dispatcher claims anything. Exit code 6\n"
	    "when nobody is waited for.\n"
	    "\n"
	    "Example:\n"
	    "  kairan dispatcher missing --json\n",
	    true, run_missing },
	{ "dispatcher forget", "NAME", "go on without a dispatcher that does not come back",
	    "Only when its state folder is lost. What PostgreSQL knows it to have held is in "
	    "doubt;\n"
	    "whom it sent to in the commits that were lost is not known to anybody, and may get a\n"
	    "second copy.\n"
	    "\n"
	    "Example:\n"
	    "  kairan dispatcher forget tokyo-2\n",
	    true, run_forget },
	{ 0 },
};
