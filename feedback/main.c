/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kairan-feedback: takes what comes back (SNS over HTTP, bounces and unsubscribes by LMTP,
 * Maildir or standard input) and commits it. Options, configuration and limits of the process;
 * the service is daemon.c, --stdin is once.c.
 */
#include <curl/curl.h>
#include <getopt.h>

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "classify_command.h"
#include "config.h"
#include "contain.h"
#include "daemon.h"
#include "err.h"
#include "exit.h"
#include "inbound.h"
#include "log.h"
#include "mail_worker.h"
#include "once.h"
#include "replay.h"
#include "token.h"

#define RCPTS_MAX 100

static const char help[] =
    "Usage: kairan-feedback [--config FILE]\n"
    "       kairan-feedback [--config FILE] --stdin [--recipient ADDRESS]... < MAIL\n"
    "       kairan-feedback [--config FILE] --stdin --sns < DOCUMENT\n"
    "       kairan-feedback classify FILE...\n"
    "       kairan-feedback replay [--config FILE] [--dry-run] FILE|DIR...\n"
    "\n"
    "Takes bounces, complaints, deliveries and unsubscribes, and commits them before it\n"
    "acknowledges them.\n"
    "\n"
    "  --config FILE        configuration (default: KAIRAN_CONFIG, then " CONFIG_DEFAULT_FILE ")\n"
    "  --stdin              one mail from standard input, without the daemon\n"
    "  --sns                it is a signed document of Amazon SNS\n"
    "  --recipient ADDRESS  envelope recipient of the mail; may be repeated\n"
    "  --help, --version\n"
    "  classify FILE...     says what files are, one JSON line each; see classify --help\n"
    "\n"
    "Example, a service for SNS and for the local MTA:\n"
    "  KAIRAN_FEEDBACK_HTTP_LISTEN=127.0.0.1:8080 \\\n"
    "  KAIRAN_FEEDBACK_SNS_TOPICS=arn:aws:sns:eu-west-1:123456789012:ses \\\n"
    "  KAIRAN_FEEDBACK_LMTP_LISTEN=unix:/run/kairan/lmtp kairan-feedback\n"
    "Example, a pipe of Postfix (master.cf):\n"
    "  flags=q user=kairan argv=/usr/bin/kairan-feedback --stdin --recipient ${recipient}\n"
    "\n"
    "Exit: 0 done, 1 refused, 2 usage or configuration, 75 temporary, try again.\n"
    "See kairan-feedback(8).\n";

struct options {
	const char *config_path;
	bool is_stdin, is_sns;
	struct slice rcpts[RCPTS_MAX];
	size_t rcpt_count;
};

static void
parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "config", required_argument, NULL, 'c' },
		{ "stdin", no_argument, NULL, 'i' }, { "sns", no_argument, NULL, 's' },
		{ "recipient", required_argument, NULL, 'r' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "+c:h", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			o->config_path = optarg;
			break;
		case 'i':
			o->is_stdin = true;
			break;
		case 's':
			o->is_sns = true;
			break;
		case 'r':
			if (o->rcpt_count < RCPTS_MAX)
				o->rcpts[o->rcpt_count++] = slice_str(optarg);
			break;
		case 'h':
			(void)fputs(help, stdout);
			exit(EXIT_DONE);
		case 'V':
			(void)printf("kairan-feedback %s\n", KAIRAN_VERSION);
			exit(EXIT_DONE);
		default:
			fatal(EXIT_USAGE, "see kairan-feedback --help");
		}
	}
	if (optind < argc)
		fatal(EXIT_USAGE, "unexpected argument '%s'; see kairan-feedback --help",
		    argv[optind]);
	if (!o->is_stdin && (o->is_sns || o->rcpt_count > 0))
		fatal(EXIT_USAGE, "--sns and --recipient need --stdin");
	if (o->is_sns && o->rcpt_count > 0)
		fatal(EXIT_USAGE, "--recipient is for a mail, not for --sns");
}

/* As many descriptors as allowed. */
static void
limit_process(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	(void)signal(SIGPIPE, SIG_IGN);
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	struct config config;
	struct token_keys keys = { 0 };
	struct err err = { 0 };
	struct mail_worker *worker;
	int status, wrong;

	(void)log_open("kairan-feedback", "info");
	contain_process();
	if (argc > 1 && strcmp(argv[1], "classify") == 0) {
		limit_process();
		json_object_seed(0);
		return classify_command(argc - 1, argv + 1);
	}
	/* now: it must not inherit what is read below, nor a thread */
	worker = mail_worker_start(&err);
	if (worker == NULL)
		fatal(EXIT_TEMPORARY, "%s", err.msg);
	if (argc > 1 && strcmp(argv[1], "replay") == 0) {
		status = replay_main(argc - 1, argv + 1, worker);
		mail_worker_free(worker);
		return status;
	}
	parse_options(argc, argv, &o);
	limit_process();
	/* a mail must not bounce because of our own set-up */
	wrong = o.is_stdin ? EXIT_TEMPORARY : EXIT_USAGE;
	if (config_load(&config, o.config_path, &err) < 0)
		fatal(wrong, "%s", err.msg);
	if (!log_open("kairan-feedback", config.log_level))
		fatal(wrong, "log.level must be error, warn, info or debug, not '%s'",
		    config.log_level);
	if (token_keys_load(&keys, config.keys_file, &err) < 0)
		fatal(wrong, "%s", err.msg);
	json_object_seed(0); /* before there are threads */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		fatal(EXIT_TEMPORARY, "libcurl does not start");
	mail_worker_contain(worker, config.contain_enable);
	if (o.is_stdin)
		status = once_run(&config, &keys,
		    &(struct once_input){ .fd = STDIN_FILENO,
			.is_sns = o.is_sns,
			.rcpts = o.rcpts,
			.rcpt_count = o.rcpt_count,
			.worker = worker },
		    &err);
	else
		status = daemon_run(&config, &keys, worker, &err);
	mail_worker_free(worker);
	token_keys_release(&keys);
	config_release(&config);
	curl_global_cleanup();
	if (status != EXIT_DONE)
		fatal(status, "%s", err.msg);
	return status;
}
