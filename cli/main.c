/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kairan: finds the command that the words name, loads the configuration, runs it. Owns the
 * list of commands and all help. Every way out is an exit code of exit.h.
 */
#include "cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "schema.h"

#define WORDS_MAX 120

static int run_config(struct cli *cli, int argc, char **argv);
static int run_help(struct cli *cli, int argc, char **argv);

static const struct cli_command base_commands[] = {
	{ "config", "[--sample]", "print the configuration as it is now, or a commented sample",
	    "Options:\n"
	    "  --sample   print every key with its default and what it is for\n"
	    "\n"
	    "Example:\n"
	    "  kairan config --sample > kairan.conf\n",
	    false, run_config },
	{ "help", "[WORDS]", "explain a command",
	    "Example:\n"
	    "  kairan help customer import\n",
	    false, run_help },
	{ 0 },
};

static const struct cli_command *const tables[] = { cli_init_commands, cli_local_commands,
	cli_customer_commands, cli_campaign_commands, cli_send_commands, cli_sendmail_commands,
	cli_doubt_commands, cli_reconcile_commands, cli_suppress_commands,
	cli_suppress_ses_commands, cli_ses_commands, cli_ses_simulator_commands, cli_dkim_commands,
	cli_keys_commands, cli_doctor_commands, cli_simulate_commands, cli_pace_commands,
	cli_dispatcher_commands, cli_feedback_commands, cli_status_commands, cli_retention_commands,
	base_commands };
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static const struct cli_command *
next_command(size_t *table, size_t *row)
{
	while (*table < TABLES) {
		const struct cli_command *c = &tables[*table][*row];

		if (c->words != NULL) {
			++*row;
			return c;
		}
		++*table;
		*row = 0;
	}
	return NULL;
}

/* How many of argv are the words of c; 0 when they are not. */
static int
match(const struct cli_command *c, int argc, char **argv)
{
	const char *words = c->words;
	int n = 0;

	while (*words != '\0') {
		size_t len = strcspn(words, " ");

		if (n >= argc || strlen(argv[n]) != len || memcmp(argv[n], words, len) != 0)
			return 0;
		n++;
		words += len;
		words += *words == ' ';
	}
	return n;
}

static const struct cli_command *
find_command(int argc, char **argv, int *used)
{
	const struct cli_command *c, *best = NULL;

	*used = 0;
	for (size_t t = 0, r = 0; (c = next_command(&t, &r)) != NULL;) {
		int n = match(c, argc, argv);

		if (n > *used) {
			*used = n;
			best = c;
		}
	}
	return best;
}

static bool
begins_with_word(const struct cli_command *c, const char *word)
{
	size_t n = strlen(word);

	return strncmp(c->words, word, n) == 0 && c->words[n] == ' ';
}

/* The commands whose first word is group, or all of them. Returns how many. */
static int
print_list(FILE *out, const char *group)
{
	const struct cli_command *c;
	int n = 0;

	for (size_t t = 0, r = 0; (c = next_command(&t, &r)) != NULL;)
		if (group == NULL || begins_with_word(c, group)) {
			fprintf(out, "  kairan %-20s %s\n", c->words, c->summary);
			n++;
		}
	return n;
}

static void
print_overview(FILE *out)
{
	fputs("kairan " KAIRAN_VERSION ": bulk campaigns from PostgreSQL\n\n", out);
	(void)print_list(out, NULL);
	fputs("\nEverywhere: --json (machine-readable), --quiet (no progress), --config FILE, "
	      "--help\n"
	      "Exit codes: 0 done, 1 failed, 2 usage, 3 paused, 4 in doubt, 5 missed, 6 nothing to "
	      "do, 75 try again\n"
	      "To try it: kairan local up\n",
	    out);
}

static void
print_command(const struct cli_command *c)
{
	printf("usage: kairan %s%s%s\n\n%s\n", c->words, c->arguments[0] != '\0' ? " " : "",
	    c->arguments, c->summary);
	if (c->details != NULL && c->details[0] != '\0')
		printf("\n%s", c->details);
	puts("\nEverywhere: --json, --quiet, --config FILE, --help");
}

/* Number of single-character changes between two words. */
static unsigned
distance(const char *a, const char *b)
{
	unsigned row[WORDS_MAX + 1];
	size_t n = strlen(b);

	if (n > WORDS_MAX)
		return WORDS_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (unsigned i = 1; *a != '\0'; a++, i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			unsigned cost = diagonal + (*a != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < cost)
				cost = row[j] + 1;
			if (row[j - 1] + 1 < cost)
				cost = row[j - 1] + 1;
			row[j] = cost;
		}
	}
	return row[n];
}

/* The command whose words are nearest to what was typed; NULL when none is near. */
static const struct cli_command *
nearest_command(int argc, char **argv)
{
	const struct cli_command *c, *best = NULL;
	unsigned least = 4;

	for (size_t t = 0, r = 0; (c = next_command(&t, &r)) != NULL;) {
		char typed[WORDS_MAX + 1] = "";
		size_t n = 0;
		int words = 1;

		for (const char *p = c->words; *p != '\0'; p++)
			words += *p == ' ';
		for (int i = 0; i < argc && i < words && n < sizeof(typed); i++)
			n += (size_t)snprintf(
			    typed + n, sizeof(typed) - n, "%s%s", i > 0 ? " " : "", argv[i]);
		if (distance(c->words, typed) < least) {
			least = distance(c->words, typed);
			best = c;
		}
	}
	return best;
}

static int
unknown_command(struct cli *cli, int argc, char **argv)
{
	const struct cli_command *c;

	for (size_t t = 0, r = 0; (c = next_command(&t, &r)) != NULL;)
		if (begins_with_word(c, argv[0]))
			break;
	if (c != NULL && argc == 1) {
		if (!cli->json) {
			fprintf(stderr, "kairan: '%s' needs one more word:\n", argv[0]);
			(void)print_list(stderr, argv[0]);
			return EXIT_USAGE;
		}
		return cli_fail(cli, EXIT_USAGE,
		    "'%s' needs one more word; kairan help %s lists them", argv[0], argv[0]);
	}
	c = nearest_command(argc, argv);
	if (c != NULL)
		return cli_fail(cli, EXIT_USAGE,
		    "there is no command '%s%s%s'; did you mean: kairan %s", argv[0],
		    argc > 1 ? " " : "", argc > 1 ? argv[1] : "", c->words);
	return cli_fail(
	    cli, EXIT_USAGE, "there is no command '%s'; kairan help lists them", argv[0]);
}

static int
run_help(struct cli *cli, int argc, char **argv)
{
	const struct cli_command *c;
	int used;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 0) {
		print_overview(stdout);
		return EXIT_DONE;
	}
	c = find_command(argc, argv, &used);
	if (c != NULL) {
		print_command(c);
		return EXIT_DONE;
	}
	if (argc == 1 && print_list(stdout, argv[0]) > 0)
		return EXIT_DONE;
	return unknown_command(cli, argc, argv);
}

static int
run_config(struct cli *cli, int argc, char **argv)
{
	bool sample = false;
	const struct cli_option options[] = { { .name = "sample", .flag = &sample }, { 0 } };
	struct err err = { 0 };

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(
		    cli, EXIT_USAGE, "config takes no argument; see kairan help config");
	if (sample) {
		config_print_sample(stdout);
		return EXIT_DONE;
	}
	if (config_load(&cli->config, cli->config_path, &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	config_print(&cli->config, stdout);
	return EXIT_DONE;
}

/* Takes the options known everywhere out of argv. 0, or an exit code. */
static int
take_global(struct cli *cli, int *argc, char **argv, bool *help, bool *version)
{
	int kept = 0;

	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (i < *argc)
				argv[kept++] = argv[i++];
			break;
		}
		if (strcmp(argv[i], "--json") == 0) {
			cli->json = true;
		} else if (strcmp(argv[i], "--quiet") == 0) {
			cli->quiet = true;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			*help = true;
		} else if (strcmp(argv[i], "--version") == 0) {
			*version = true;
		} else if (strncmp(argv[i], "--config=", 9) == 0) {
			cli->config_path = argv[i] + 9;
		} else if (strcmp(argv[i], "--config") == 0) {
			if (i + 1 >= *argc)
				return cli_fail(cli, EXIT_USAGE, "--config needs a file");
			cli->config_path = argv[++i];
		} else {
			argv[kept++] = argv[i];
		}
	}
	*argc = kept;
	return EXIT_DONE;
}

static int
run_words(struct cli *cli, int argc, char **argv, bool help)
{
	const struct cli_command *c;
	struct err err = { 0 };
	int used, code;

	c = find_command(argc, argv, &used);
	if (help)
		return c != NULL && c->run != run_help ? (print_command(c), EXIT_DONE)
						       : run_help(cli, argc - used, argv + used);
	if (c == NULL && argv[0][0] == '-')
		return cli_fail(cli, EXIT_USAGE,
		    "unknown option %s; the command comes first, kairan help lists them", argv[0]);
	if (c == NULL)
		return unknown_command(cli, argc, argv);
	if (c->needs_config && config_load(&cli->config, cli->config_path, &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	code = c->run(cli, argc - used, argv + used);
	if (fflush(stdout) != 0 || ferror(stdout))
		return code == EXIT_DONE ? cli_fail(cli, EXIT_FAILED, "cannot write the output")
					 : code;
	return code;
}

/* Called by a link with that name, as mail programs expect it. */
static bool
is_sendmail(const char *path)
{
	const char *name = path != NULL ? strrchr(path, '/') : NULL;

	name = name != NULL ? name + 1 : path;
	return name != NULL && strcmp(name, "sendmail") == 0;
}

int
main(int argc, char **argv)
{
	static char suppress[] = "suppress", sendmail[] = "sendmail";
	struct cli cli = { 0 };
	bool help = false, version = false;
	bool plain = getenv("NO_COLOR") != NULL && getenv("NO_COLOR")[0] != '\0';
	int code;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)log_open("kairan", "warn");
	cli.colour = isatty(STDOUT_FILENO) != 0 && !plain;
	cli.live = isatty(STDERR_FILENO) != 0 && !plain;
	if (is_sendmail(argv[0])) {
		argv[0] = sendmail; /* the command's first word */
	} else {
		argc--;
		argv++;
	}
	code = take_global(&cli, &argc, argv, &help, &version);
	if (code != EXIT_DONE)
		return code;
	if (argc > 0 && strcmp(argv[0], "suppression") == 0)
		argv[0] = suppress;
	if (version) {
		if (cli.json)
			cli_print_json(json_pack(
			    "{s:s, s:i}", "version", KAIRAN_VERSION, "schema", SCHEMA_VERSION));
		else
			printf("kairan %s (schema %d)\n", KAIRAN_VERSION, SCHEMA_VERSION);
	} else if (argc == 0) {
		print_overview(help ? stdout : stderr);
		code = help ? EXIT_DONE : EXIT_USAGE;
	} else {
		code = run_words(&cli, argc, argv, help);
	}
	config_release(&cli.config);
	return code;
}
