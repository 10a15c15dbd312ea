/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_retention: `kairan retention show|apply`: what is older than retention.* says. */
#include "cli.h"

#include <stdio.h>

static int
retention(struct cli *cli, int argc, char **argv, bool dry)
{
	char send_days[16], event_days[16];
	const char *params[] = { send_days, event_days, dry ? "t" : "f" };

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(
		    cli, EXIT_USAGE, "no argument is needed; the ages are in kairan.conf");
	if (cli->config.retention_send_days == 0 && cli->config.retention_event_days == 0)
		return cli_fail(cli, EXIT_NOTHING,
		    "everything is kept: retention.send_days and retention.event_days are 0");
	(void)snprintf(send_days, sizeof(send_days), "%ld", cli->config.retention_send_days);
	(void)snprintf(event_days, sizeof(event_days), "%ld", cli->config.retention_event_days);
	return cli_print_rows(cli,
	    "SELECT * FROM kairan.retention_apply($1::int, $2::int, $3::boolean, 100000)", 3,
	    params, "dropping old data");
}

static int
run_show(struct cli *cli, int argc, char **argv)
{
	return retention(cli, argc, argv, true);
}

static int
run_apply(struct cli *cli, int argc, char **argv)
{
	return retention(cli, argc, argv, false);
}

const struct cli_command cli_retention_commands[] = {
	{ "retention show", "", "list what is older than retention.* allows",
	    "Exit code 6 when there is nothing.\n"
	    "\n"
	    "Example:\n"
	    "  KAIRAN_RETENTION_SEND_DAYS=400 kairan retention show\n",
	    true, run_show },
	{ "retention apply", "", "drop it now, as the producer does by itself each hour",
	    "Recipients of runs that are over, after summing them up, and events by whole months.\n"
	    "Every drop is noted in kairan.audit. Exit code 6 when there is nothing.\n"
	    "\n"
	    "Example:\n"
	    "  kairan retention apply --json\n",
	    true, run_apply },
	{ 0 },
};
