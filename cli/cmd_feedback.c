/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_feedback: `kairan feedback replay`, which is kairan-feedback's own command: it has the
 * parsers. The program beside this one is taken, else that of the PATH. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static int run_replay(struct cli *cli, int argc, char **argv);

const struct cli_command cli_feedback_commands[] = {
	{ "feedback replay", "[--dry-run] [--signed] FILE|DIR...",
	    "feed archives of bounces and events through the way of the daemon",
	    "Options:\n"
	    "  --dry-run   read and count, commit nothing\n"
	    "  --signed    take of JSON only documents of SNS with a good signature\n"
	    "\n"
	    "Mails, mbox files, folders of them, and JSON lines. What was heard before does\n"
	    "nothing. Prints one JSON object.\n"
	    "\n"
	    "Example:\n"
	    "  kairan feedback replay --dry-run ses-2026-11.jsonl\n",
	    true, run_replay },
	{ 0 },
};

static int
run_replay(struct cli *cli, int argc, char **argv)
{
	bool dry = false, is_signed = false;
	const struct cli_option options[] = { { .name = "dry-run", .flag = &dry },
		{ .name = "signed", .flag = &is_signed }, { 0 } };
	char beside[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", beside, sizeof(beside) - 20);
	char **words, *slash;
	size_t used = 0;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 0)
		return cli_fail(cli, EXIT_USAGE, "feedback replay needs a file or a folder");
	words = calloc((size_t)argc + 8, sizeof(*words));
	if (words == NULL)
		return cli_fail(cli, EXIT_TEMPORARY, "no memory");
	words[used++] = (char *)(uintptr_t) "kairan-feedback";
	words[used++] = (char *)(uintptr_t) "replay";
	if (cli->config_path != NULL) {
		words[used++] = (char *)(uintptr_t) "--config";
		words[used++] = (char *)(uintptr_t)cli->config_path;
	}
	if (dry)
		words[used++] = (char *)(uintptr_t) "--dry-run";
	if (is_signed)
		words[used++] = (char *)(uintptr_t) "--signed";
	if (cli->quiet)
		words[used++] = (char *)(uintptr_t) "--quiet";
	words[used++] = (char *)(uintptr_t) "--";
	words = reallocarray(words, used + (size_t)argc + 1, sizeof(*words));
	if (words == NULL)
		return cli_fail(cli, EXIT_TEMPORARY, "no memory");
	memcpy(words + used, argv, (size_t)argc * sizeof(*words));
	words[used + (size_t)argc] = NULL;
	beside[n > 0 ? n : 0] = '\0';
	slash = strrchr(beside, '/');
	if (slash != NULL) {
		memcpy(slash, "/kairan-feedback", sizeof("/kairan-feedback"));
		(void)execv(beside, words);
	}
	(void)execvp("kairan-feedback", words);
	free(words);
	return cli_fail(cli, EXIT_TEMPORARY, "cannot run kairan-feedback: %s", strerror(errno));
}
