/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a person is told who calls `kairan` wrongly, or while PostgreSQL is away: each command's exit code
 * and sentence, and with --json an object {"error":…} on standard output beside it. Commands run in this
 * process; nobody listens where the configuration points.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"

static const struct cli_command *const tables[] = { cli_init_commands, cli_local_commands,
	cli_customer_commands, cli_campaign_commands, cli_send_commands, cli_doubt_commands,
	cli_reconcile_commands, cli_suppress_commands, cli_suppress_ses_commands, cli_ses_commands,
	cli_ses_simulator_commands, cli_dkim_commands, cli_keys_commands, cli_doctor_commands,
	cli_simulate_commands, cli_pace_commands, cli_dispatcher_commands, cli_feedback_commands,
	cli_status_commands, cli_retention_commands };
#define TABLES (sizeof(tables) / sizeof(tables[0]))
#define ARGS_MAX 24

static struct cli cli;
static char folder[] = "/tmp/kairan-usage.XXXXXX";

/* One line of words; those of the command first. "%20" stands for a blank. */
struct call {
	const char *line;
	int code;
	const char *says;
};

static int
split(char *text, char **args)
{
	int n = 0;

	for (char *at = strtok(text, " "); at != NULL; at = strtok(NULL, " ")) {
		char *to = at;

		assert_true(n < ARGS_MAX);
		args[n++] = at;
		for (const char *from = at; *from != '\0'; from++) {
			bool blank = strncmp(from, "%20", 3) == 0;

			*to++ = blank ? ' ' : *from;
			from += blank ? 2 : 0;
		}
		*to = '\0';
	}
	args[n] = NULL;
	return n;
}

static const struct cli_command *
command_of(const char *line)
{
	const struct cli_command *best = NULL;

	for (size_t t = 0; t < TABLES; t++)
		for (const struct cli_command *c = tables[t]; c->words != NULL; c++) {
			size_t n = strlen(c->words);

			if (strncmp(line, c->words, n) == 0 &&
			    (line[n] == ' ' || line[n] == '\0') &&
			    (best == NULL || n > strlen(best->words)))
				best = c;
		}
	if (best == NULL)
		fail_msg("no command: %s", line);
	return best;
}

/* Standard output and error of what is run in between, in files in memory. */
struct heard {
	int fds[2], saved[2];
	char text[2][4096];
};

static void
listen_begin(struct heard *h)
{
	for (int i = 0; i < 2; i++) {
		(void)fflush(i == 0 ? stdout : stderr);
		h->fds[i] = memfd_create("heard", MFD_CLOEXEC);
		h->saved[i] = dup(i + 1);
		(void)dup2(h->fds[i], i + 1);
	}
}

static void
listen_end(struct heard *h)
{
	for (int i = 0; i < 2; i++) {
		ssize_t n;

		(void)fflush(i == 0 ? stdout : stderr);
		(void)dup2(h->saved[i], i + 1);
		(void)close(h->saved[i]);
		n = pread(h->fds[i], h->text[i], sizeof(h->text[i]) - 1, 0);
		h->text[i][n > 0 ? n : 0] = '\0';
		(void)close(h->fds[i]);
	}
}

static int
run(const char *line, bool json, struct heard *h)
{
	const struct cli_command *c = command_of(line);
	char text[400], *args[ARGS_MAX + 2];
	int n, code;

	(void)snprintf(text, sizeof(text), "%s%s", line + strlen(c->words), json ? " --json" : "");
	n = split(text, args);
	cli.json = json; /* main looks for it first */
	cli.quiet = false;
	listen_begin(h);
	code = c->run(&cli, n, args);
	listen_end(h);
	return code;
}

static void
check(const struct call *calls, size_t count)
{
	struct heard h;

	for (size_t i = 0; i < count; i++) {
		int code = run(calls[i].line, false, &h);
		json_t *said;

		if (code != calls[i].code || strstr(h.text[1], calls[i].says) == NULL ||
		    strncmp(h.text[1], "kairan: ", 8) != 0)
			fail_msg("%s: %d, %s", calls[i].line, code, h.text[1]);
		code = run(calls[i].line, true, &h);
		said = json_loads(h.text[0], 0, NULL);
		if (code != calls[i].code ||
		    strstr(json_is_object(said) ? json_string_value(json_object_get(said, "error"))
						: "",
			calls[i].says) == NULL)
			fail_msg("%s --json: %d, %s", calls[i].line, code, h.text[0]);
		json_decref(said);
	}
}

#define CHECK(calls) check(calls, sizeof(calls) / sizeof(calls[0]))

static void
test_arguments(void **state)
{
	static const struct call calls[] = {
		{ "init x", 2, "takes no argument" },
		{ "local up a b", 2, "at most one folder" },
		{ "local down a b", 2, "at most one folder" },
		{ "local status a b", 2, "at most one folder" },
		{ "local up --port 1", 2, "unknown option --port" },
		{ "customer import", 2, "one CSV file" },
		{ "customer import a b", 2, "one CSV file" },
		{ "customer count x", 2, "takes no argument" },
		{ "customer use", 2, "one query in quotation marks" },
		{ "customer invite", 2, "name addresses, or a segment" },
		{ "customer invite a@x.example", 2, "set web.base" },
		{ "customer export", 2, "name one address" },
		{ "customer export a b", 2, "name one address" },
		{ "customer erase", 2, "name one address" },
		{ "customer erase a@x.example", 2, "say --yes" },
		{ "campaign create", 2, "one campaign file" },
		{ "campaign preview", 2, "one campaign file or name" },
		{ "campaign preview x --eml --html", 2, "at most one of" },
		{ "campaign lint", 2, "one campaign file" },
		{ "campaign test x", 2, "--to with an address" },
		{ "campaign plan", 2, "one file or one name" },
		{ "campaign start", 2, "name of one campaign" },
		{ "campaign start x y", 2, "name of one campaign" },
		{ "campaign start x --run-key", 2, "--run-key needs a value" },
		{ "campaign start x --run-key --wait", 2, "--run-key=KEY when it begins" },
		{ "campaign start x --wait=1", 2, "--wait takes no value" },
		{ "campaign start -w x", 2, "options are written --name" },
		{ "campaign schedule", 2, "name of one campaign" },
		{ "campaign schedule x", 2, "--at TIME" },
		{ "campaign pause", 2, "name of one campaign" },
		{ "campaign resume", 2, "name of one campaign" },
		{ "campaign cancel", 2, "name of one campaign" },
		{ "campaign retry", 2, "name of one campaign" },
		{ "campaign retry x", 2, "needs --failed" },
		{ "campaign status", 2, "name of one campaign" },
		{ "campaign list x", 2, "takes no argument" },
		{ "campaign report", 2, "name of one campaign" },
		{ "send why", 2, "name one address" },
		{ "send why a b", 2, "name one address" },
		{ "send doubt list x", 2, "takes no argument" },
		{ "send doubt show", 2, "RUN/RECIPIENT" },
		{ "send doubt resolve 1/2", 2, "--assume-sent, --resend, or --from-log" },
		{ "reconcile 1 2", 2, "name one run" },
		{ "suppress add", 2, "one address or more" },
		{ "suppress remove", 2, "one address or more" },
		{ "suppress check", 2, "name one address" },
		{ "suppress list x", 2, "suppress check" },
		{ "suppress import", 2, "name one file" },
		{ "suppress export a b", 2, "at most one file" },
		{ "suppress undo", 2, "since when, and whose" },
		{ "suppress ses-import x", 2, "no argument" },
		{ "suppress ses-export x", 2, "no argument" },
		{ "suppress ses-sync x", 2, "no argument" },
		{ "ses account x", 2, "no argument" },
		{ "dkim new", 2, "name the domain" },
		{ "dkim use", 2, "name the domain" },
		{ "keys list x", 2, "takes no argument" },
		{ "keys rotate x", 2, "takes no argument" },
		{ "simulate", 2, "one scenario file" },
		{ "simulate a b", 2, "one scenario file" },
		{ "provider check a b", 2, "one file or none" },
		{ "provider of", 2, "one domain or more" },
		{ "pace show x", 2, "takes no argument" },
		{ "pace set", 2, "say what" },
		{ "pace release", 2, "say which" },
		{ "dispatcher missing x", 2, "no argument" },
		{ "dispatcher forget", 2, "name one dispatcher" },
		{ "feedback replay", 2, "a file or a folder" },
		{ "status x", 2, "takes no argument" },
		{ "retention show x", 2, "no argument" },
		{ "retention apply x", 2, "no argument" },
	};

	(void)state;
	CHECK(calls);
}

static void
test_values(void **state)
{
	static const struct call calls[] = {
		{ "customer import x.csv --separator ab", 2, "--separator takes one of" },
		{ "customer import x.csv --separator x", 2, "--separator takes one of" },
		{ "customer import x.csv --update --new-only", 2, "exclude each other" },
		{ "customer import x.csv --map mail", 2, "--map takes NAME=COLUMN" },
		{ "campaign test x --to nobody", 2, "--to: no @ in the address" },
		{ "campaign start x --not-after yesterday", 2, "--not-after is no time" },
		{ "campaign schedule x --at tomorrow", 2, "--at is no time" },
		{ "reconcile x", 2, "a run by its number" },
		{ "reconcile 0", 2, "a run by its number" },
		{ "reconcile 9999999999", 2, "a run by its number" },
		{ "reconcile --days 0", 2, "--days takes a number from 1 to 3650" },
		{ "reconcile --after x", 2, "--after takes a number" },
		{ "send doubt show x", 2, "7 or 7/12,13; not 'x'" },
		{ "suppress add a@x.example --reason no", 2, "--reason takes manual" },
		{ "suppress add a@x.example --scope no", 2, "--scope takes all" },
		{ "suppress check nobody", 2, "no @ in the address" },
		{ "suppress list --limit 0", 2, "--limit takes a number" },
		{ "suppress list --limit 12345678901234567890", 2, "--limit takes a number" },
		{ "dkim new bad_domain", 2, "is not a domain" },
		{ "dkim show bad_domain", 2, "is not a domain" },
		{ "doctor bad_domain", 2, "neither a domain nor an address" },
		{ "provider of bad_domain", 2, "neither a domain nor an address" },
		{ "provider of docomo.ne.jp @", 2, "neither a domain nor an address" },
		{ "status --watch x", 2, "--watch takes a number" },
	};

	(void)state;
	CHECK(calls);
}

static void
test_files(void **state)
{
	static const struct call calls[] = {
		{ "local up none/such", 1, "No such file or directory" },
		{ "local down none", 6, "nothing to stop" },
		{ "customer import none.csv", 1, "cannot open none.csv" },
		{ "customer import ok.csv --rejects none/such", 1, "cannot write none/such" },
		{ "campaign create none", 2, "cannot open none" },
		{ "campaign create bad", 2, "bad:1: the line is not of the form" },
		{ "campaign lint none", 2, "cannot open none" },
		{ "campaign lint bad", 2, "bad:1:" },
		{ "suppress import none.csv", 1, "cannot open none.csv" },
		{ "keys list", 1, "none.keys" },
		{ "keys rotate", 1, "none.keys" },
		{ "simulate none", 2, "cannot read none" },
		{ "simulate bad", 2, "bad, line 1" },
		{ "provider check none", 2, "cannot read none" },
		{ "provider check bad", 2, "bad, line 1" },
		{ "dkim use x.example", 6, "no key of x.example waits" },
		{ "ses simulator none", 1, "cannot write none/key.pem" },
		{ "retention show", 6, "everything is kept" },
	};

	(void)state;
	CHECK(calls);
}

static void
test_without_postgresql(void **state)
{
	static const char *const lines[] = { "init", "customer import ok.csv", "customer count",
		"customer use SELECT", "customer export a@x.example",
		"customer erase a@x.example --yes", "campaign preview x",
		"campaign test x --to a@x.example", "campaign plan x", "campaign start x",
		"campaign start x --run-key=--k --wait", "campaign schedule x --never",
		"campaign pause x", "campaign resume x", "campaign cancel x",
		"campaign retry x --failed", "campaign status x", "campaign list",
		"campaign report x", "send why a@x.example", "send doubt list",
		"send doubt show 7/12", "send doubt resolve 7/12 --resend", "reconcile",
		"suppress add a@x.example", "suppress remove a@x.example",
		"suppress check a@x.example", "suppress list", "suppress import ok.csv",
		"suppress export", "suppress export new.csv", "pace show", "pace release x",
		"pace set --guard off", "dispatcher missing", "dispatcher forget x" };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct call call = { lines[i], 75, "cannot reach PostgreSQL" };

		check(&call, 1);
	}
}

/* What needs nobody. */
static void
test_domains_of_providers(void **state)
{
	struct heard h;
	json_t *all;

	(void)state;
	assert_int_equal(run("provider of docomo.ne.jp", false, &h), 0);
	assert_non_null(strstr(h.text[0], "docomo.ne.jp\tdocomo\t"));
	assert_int_equal(run("provider of taro@DOCOMO.ne.jp x.example", true, &h), 0);
	all = json_loads(h.text[0], 0, NULL);
	assert_int_equal(json_array_size(all), 2);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(all, 0), "group")), "docomo");
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(all, 0), "domain")), "docomo.ne.jp");
	json_decref(all);
}

static int
write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	if (file == NULL)
		return -1;
	(void)fputs(text, file);
	return fclose(file);
}

static int
begin(void **state)
{
	struct err err = { 0 };

	(void)state;
	if (mkdtemp(folder) == NULL || chdir(folder) < 0 ||
	    write_file("ok.csv", "email\na@x.example\n") < 0 || write_file("bad", "nonsense\n") < 0)
		return -1;
	(void)setenv("KAIRAN_DATABASE_URL", "postgresql://127.0.0.1:1/kairan", 1);
	(void)setenv("KAIRAN_REDIS_URL", "redis://127.0.0.1:1", 1);
	(void)setenv("KAIRAN_KEYS_FILE", "none.keys", 1);
	(void)setenv("KAIRAN_DKIM_DIR", "none.dkim", 1);
	return config_load(&cli.config, "", &err);
}

static int
end(void **state)
{
	(void)state;
	config_release(&cli.config);
	(void)unlink("ok.csv");
	(void)unlink("bad");
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_without_postgresql),
		cmocka_unit_test(test_domains_of_providers),
	};

	return cmocka_run_group_tests_name("usage of kairan", tests, begin, end);
}
