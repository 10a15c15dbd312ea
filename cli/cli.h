/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli: what every command of `kairan` shares: its context, options, and how it speaks.
 *
 * A command is one row of a table: words ("campaign start"), a function, help with an example.
 * Results go to standard output (text, or one JSON object or array with --json); progress and
 * errors go to standard error. Nothing prompts when standard input is no terminal; colours and
 * bars appear only on a terminal and never with NO_COLOR.
 */
#ifndef KAIRAN_CLI_H
#define KAIRAN_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "buf.h"
#include "config.h"
#include "db.h"
#include "err.h"
#include "exit.h"

struct cli {
	struct config config;	 /* loaded before the command runs, unless it needs none */
	const char *config_path; /* --config, or NULL */
	bool json;		 /* --json */
	bool quiet;		 /* --quiet: no progress */
	bool colour;		 /* standard output is a terminal and NO_COLOR is unset */
	bool live;		 /* standard error is a terminal: bars may redraw */
};

/* One option of a command: --name VALUE or --flag. The last row has name NULL. */
struct cli_option {
	const char *name;	/* without dashes */
	const char *value_name; /* NULL: a flag */
	const char *help;
	const char *
	    *value; /* set to the argument (borrowed from argv); for repeatable ones the last */
	bool *flag; /* set when given */
};

struct cli_command {
	const char *words;     /* "campaign start" */
	const char *arguments; /* "NAME|FILE" for the usage line */
	const char *summary;   /* one line */
	const char *details;   /* options, example; printed by --help */
	bool needs_config;
	/* argv[0] is the first argument after the words; returns an exit_code. */
	int (*run)(struct cli *cli, int argc, char **argv);
};

/* Tables of the files cmd_*.c; the last row has words NULL. */
extern const struct cli_command cli_init_commands[];
extern const struct cli_command cli_local_commands[];
extern const struct cli_command cli_customer_commands[];
extern const struct cli_command cli_suppress_commands[];
extern const struct cli_command cli_suppress_ses_commands[];
extern const struct cli_command cli_send_commands[];
extern const struct cli_command cli_sendmail_commands[];
extern const struct cli_command cli_doubt_commands[];
extern const struct cli_command cli_reconcile_commands[];
extern const struct cli_command cli_campaign_commands[];
extern const struct cli_command cli_ses_commands[];
extern const struct cli_command cli_ses_simulator_commands[];
extern const struct cli_command cli_retention_commands[];
extern const struct cli_command cli_feedback_commands[];
extern const struct cli_command cli_status_commands[];
extern const struct cli_command cli_dkim_commands[];
extern const struct cli_command cli_keys_commands[];
extern const struct cli_command cli_doctor_commands[];
extern const struct cli_command cli_simulate_commands[];
extern const struct cli_command cli_pace_commands[];
extern const struct cli_command cli_dispatcher_commands[];

/*
 * Parses the options in argv (any order, "--" ends them, --name=value and --name value) and
 * moves the other arguments to the front. Returns their number, or -1 after printing what is
 * wrong (caller returns EXIT_USAGE). --json, --quiet and --help are known everywhere.
 */
int cli_options(
    struct cli *cli, const struct cli_option *options, int argc, char **argv) MUST_CHECK;

/* Prints `kairan: sentence` on standard error (with --json an object {"error":…} on standard
 * output as well) and returns code, so that a command can say `return cli_fail(…)`. */
int cli_fail(struct cli *cli, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Opens the configured database as the operator and checks its schema. 0, or an exit code after
 * printing the reason (EXIT_TEMPORARY when it is absent). */
int cli_open_db(struct cli *cli, struct db *db) MUST_CHECK;

/* After a failed db_query: prints the reason; EXIT_TEMPORARY when the connection is lost, else
 * EXIT_FAILED. */
int cli_db_failed(struct cli *cli, const struct db *db, const char *while_doing);

/* Notes an action in kairan.audit (who is the system user name). Errors are ignored: the action
 * itself has happened. */
void cli_audit(struct db *db, const char *action, const char *object, const char *detail);

/* Prints a query result: an aligned table on a terminal or pipe (right-aligned numbers, double
 * width of East Asian characters respected), or a JSON array of objects with --json (numbers and
 * booleans as such by column type). */
void cli_print_result(const struct cli *cli, const PGresult *result);

/* Opens the database, runs the query and prints its rows. EXIT_NOTHING when there are none, else
 * as cli_open_db() and cli_db_failed(). */
int cli_print_rows(struct cli *cli, const char *sql, int count, const char *const *params,
    const char *while_doing) MUST_CHECK;

/* Takes the object, prints it on one line on standard output, and frees it. */
void cli_print_json(json_t *object);

/* A progress bar on standard error: on a terminal it redraws (at most 10 times a second), else
 * it prints a line every 10 seconds. total 0: unknown. note may be NULL. */
struct cli_progress {
	const char *label;
	int64_t total;
	int64_t drawn_ms, started_ms;
	bool live, quiet, open;
};
void cli_progress_start(
    struct cli_progress *p, const struct cli *cli, const char *label, int64_t total);
void cli_progress_set(struct cli_progress *p, int64_t done, const char *note);
void cli_progress_end(struct cli_progress *p, const char *note);

/* 12345678 -> "12,345,678" into dst (at least 32 bytes); returns dst. */
const char *cli_number(int64_t value, char *dst);

/* Opens the configured database as its owner (the user of database.url, else the user of the
 * system), without a look at the schema: for init and for what only an owner may do. 0, or an
 * exit code after printing the reason. */
int cli_open_owner(struct cli *cli, struct db *db) MUST_CHECK;

/* Prints text that came from outside: control characters become blanks, so that a reply of a
 * remote host cannot drive the terminal. */
void cli_put_text(FILE *out, const char *text);

/* The same as a word of the shell, in quotes where it needs them. */
void cli_put_word(FILE *out, const char *text);

/* A number without sign from min to max; -1 after printing what --name takes. */
int64_t cli_parse_number(
    struct cli *cli, const char *name, const char *text, int64_t min, int64_t max) MUST_CHECK;

/* The domain that text is, or that is behind its @, as it is looked up: in lower case, by its A-labels. EXIT_DONE,
 * or EXIT_USAGE after printing that it is neither. */
int cli_take_domain(struct cli *cli, const char *text, char domain[256]) MUST_CHECK;

/* COPY … FROM STDIN, text format: appends one cell, escaped; the caller puts the tabs and
 * newlines between. */
void cli_copy_cell(struct buf *line, struct slice value);

/* Sends what b holds and empties it. 0, or -1 with db->error. */
int cli_copy_put(struct db *db, struct buf *b) MUST_CHECK;

/* Ends a COPY that was begun with db_query; abort_reason non-NULL: makes the server drop it.
 * 0, or -1 with db->error. */
int cli_copy_end(struct db *db, const char *abort_reason) MUST_CHECK;

#endif
