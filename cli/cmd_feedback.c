/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_feedback: `kairan feedback replay`, which is kairan-feedback's own command: it has the
 * parsers. The program beside this one is taken, else that of the PATH. And what was kept aside
 * (kept_notice): list, show, replay, drop. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static int run_replay(struct cli *cli, int argc, char **argv);
static int run_list(struct cli *cli, int argc, char **argv);
static int run_show(struct cli *cli, int argc, char **argv);
static int run_replay_kept(struct cli *cli, int argc, char **argv);
static int run_drop(struct cli *cli, int argc, char **argv);

const struct cli_command cli_feedback_commands[] = {
	{ "feedback replay", "[--dry-run] [--signed] FILE|DIR...|-",
	    "feed archives of bounces and events through the way of the daemon",
	    "Options:\n"
	    "  --dry-run   read and count, commit nothing\n"
	    "  --signed    take of JSON only documents of SNS with a good signature\n"
	    "\n"
	    "Mails, mbox files, folders of them, and JSON lines; - is standard input. What was\n"
	    "heard before does nothing. Prints one JSON object.\n"
	    "\n"
	    "Example:\n"
	    "  kairan feedback replay --dry-run ses-2026-11.jsonl\n",
	    true, run_replay },
	{ "feedback quarantine list", "", "list what could not be read or was refused",
	    "Exit code 6 when there is nothing.\n"
	    "\n"
	    "Example:\n"
	    "  kairan feedback quarantine list --json\n",
	    true, run_list },
	{ "feedback quarantine show", "ID", "print one whole",
	    "As it came; on a terminal control characters become blanks, with --json it is "
	    "base64.\n"
	    "\n"
	    "Example:\n"
	    "  kairan feedback quarantine show 7 >notice.eml\n",
	    true, run_show },
	{ "feedback quarantine replay", "[--dry-run] [ID]...",
	    "feed them again, all or by number, through the way of the daemon",
	    "What is understood now is committed and kept no more. Prints one JSON object.\n"
	    "Exit code 1 when some are still not understood.\n"
	    "\n"
	    "Example:\n"
	    "  kairan feedback quarantine replay --dry-run\n",
	    true, run_replay_kept },
	{ "feedback quarantine drop", "ID...|--all", "drop them",
	    "Noted in kairan.audit. Exit code 6 when none of them is there.\n"
	    "\n"
	    "Example:\n"
	    "  kairan feedback quarantine drop 7 8\n",
	    true, run_drop },
	{ 0 },
};

/* Becomes kairan-feedback with these words of its own, then the arguments. */
static int
run_program(struct cli *cli, const char *const *own, int argc, char **argv)
{
	char beside[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", beside, sizeof(beside) - 20);
	char **words = calloc((size_t)argc + 16, sizeof(*words)), *slash;
	size_t used = 0;

	if (words == NULL)
		return cli_fail(cli, EXIT_TEMPORARY, "no memory");
	words[used++] = (char *)(uintptr_t) "kairan-feedback";
	words[used++] = (char *)(uintptr_t) "replay";
	if (cli->config_path != NULL) {
		words[used++] = (char *)(uintptr_t) "--config";
		words[used++] = (char *)(uintptr_t)cli->config_path;
	}
	for (; *own != NULL; own++)
		words[used++] = (char *)(uintptr_t)*own;
	if (cli->quiet)
		words[used++] = (char *)(uintptr_t) "--quiet";
	words[used++] = (char *)(uintptr_t) "--";
	if (argc > 0)
		memcpy(words + used, argv, (size_t)argc * sizeof(*words));
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

static int
run_replay(struct cli *cli, int argc, char **argv)
{
	bool dry = false, is_signed = false;
	const struct cli_option options[] = { { .name = "dry-run", .flag = &dry },
		{ .name = "signed", .flag = &is_signed }, { 0 } };
	const char *own[3] = { NULL };
	size_t n = 0;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 0)
		return cli_fail(cli, EXIT_USAGE, "feedback replay needs a file or a folder");
	if (dry)
		own[n++] = "--dry-run";
	if (is_signed)
		own[n] = "--signed";
	return run_program(cli, own, argc, argv);
}

/* ---- what was kept aside ---------------------------------------------------------------- */

static int
run_replay_kept(struct cli *cli, int argc, char **argv)
{
	bool dry = false;
	const struct cli_option options[] = { { .name = "dry-run", .flag = &dry }, { 0 } };
	const char *own[] = { "--quarantine", NULL, NULL };

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	own[1] = dry ? "--dry-run" : NULL;
	return run_program(cli, own, argc, argv);
}

static int
run_list(struct cli *cli, int argc, char **argv)
{
	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE, "feedback quarantine list takes no argument");
	return cli_print_rows(cli,
	    "SELECT id, date_trunc('second', kept_at) AS kept_at, source, reason, form, "
	    "octet_length(content) AS bytes, date_trunc('second', replayed_at) AS replayed_at, "
	    "left(why, 80) AS why FROM kairan.kept_notice ORDER BY id",
	    0, NULL, "looking for what was kept aside");
}

/* EXIT_DONE, or EXIT_USAGE after printing which is no number. */
static int
check_ids(struct cli *cli, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (cli_parse_number(cli, "ID", argv[i], 1, INT64_MAX) < 0)
			return EXIT_USAGE;
	return EXIT_DONE;
}

/* Bytes of strangers must not drive the terminal. */
static void
put_content(const unsigned char *bytes, size_t size)
{
	bool is_terminal = isatty(STDOUT_FILENO) != 0;

	for (size_t i = 0; i < size; i++) {
		unsigned char c = bytes[i];
		bool is_plain =
		    c == '\n' || c == '\t' || (c >= ' ' && c != 0x7F && !(c >= 0x80 && c < 0xA0));

		(void)putchar(is_terminal && !is_plain ? ' ' : c);
	}
}

static int
run_show(struct cli *cli, int argc, char **argv)
{
	static const char query[] = "SELECT content FROM kairan.kept_notice WHERE id = $1::bigint";
	unsigned char *bytes;
	struct db db;
	PGresult *r;
	size_t size;
	int status = EXIT_NOTHING;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0 || check_ids(cli, argc, argv) != EXIT_DONE)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "feedback quarantine show takes one ID");
	if (cli->json)
		return cli_print_rows(cli,
		    "SELECT k.*, translate(encode(content, 'base64'), E'\n', '') AS content_base64 "
		    "FROM (SELECT * FROM kairan.kept_notice WHERE id = $1::bigint) AS k",
		    1, (const char *const *)argv, "looking for what was kept aside");
	if ((status = cli_open_db(cli, &db)) != EXIT_DONE)
		return status;
	r = db_query(&db, query, 1, (const char *const *)argv);
	if (r == NULL) {
		status = cli_db_failed(cli, &db, "looking for what was kept aside");
	} else if (PQntuples(r) == 0) {
		status = cli_fail(cli, EXIT_NOTHING, "nothing is kept under %s", argv[0]);
	} else if ((bytes = PQunescapeBytea((const unsigned char *)db_text(r, 0, 0), &size)) !=
	    NULL) {
		put_content(bytes, size);
		PQfreemem(bytes);
	} else {
		status = cli_fail(cli, EXIT_TEMPORARY, "no memory");
	}
	PQclear(r);
	db_close(&db);
	return status;
}

static int
run_drop(struct cli *cli, int argc, char **argv)
{
	bool all = false;
	const struct cli_option options[] = { { .name = "all", .flag = &all }, { 0 } };
	const char *param[1];
	struct buf ids;
	int status;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0 || check_ids(cli, argc, argv) != EXIT_DONE)
		return EXIT_USAGE;
	if (all ? argc > 0 : argc == 0)
		return cli_fail(cli, EXIT_USAGE, "feedback quarantine drop takes IDs, or --all");
	buf_init(&ids, (size_t)1024 * 1024);
	for (int i = 0; i < argc; i++) {
		buf_append_char(&ids, i == 0 ? '{' : ',');
		buf_append_str(&ids, argv[i]);
	}
	buf_append_char(&ids, '}');
	param[0] = all ? NULL : buf_str(&ids);
	status = buf_failed(&ids) ? cli_fail(cli, EXIT_USAGE, "too many IDs")
				  : cli_print_rows(cli,
					"SELECT dropped FROM kairan.notice_drop($1::bigint[]) AS "
					"dropped WHERE dropped > 0",
					1, param, "dropping what was kept aside");
	buf_release(&ids);
	return status;
}
