/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_campaign: what the files cmd_campaign_*.c share. */
#ifndef KAIRAN_CMD_CAMPAIGN_H
#define KAIRAN_CMD_CAMPAIGN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "campaign_source.h"
#include "cli.h"

int campaign_create(struct cli *cli, int argc, char **argv);
int campaign_lint(struct cli *cli, int argc, char **argv);
int campaign_preview(struct cli *cli, int argc, char **argv);
int campaign_test(struct cli *cli, int argc, char **argv);
int campaign_plan(struct cli *cli, int argc, char **argv);
int campaign_start(struct cli *cli, int argc, char **argv);
int campaign_schedule(struct cli *cli, int argc, char **argv);
int campaign_pause(struct cli *cli, int argc, char **argv);
int campaign_resume(struct cli *cli, int argc, char **argv);
int campaign_cancel(struct cli *cli, int argc, char **argv);
int campaign_retry(struct cli *cli, int argc, char **argv);
int campaign_status(struct cli *cli, int argc, char **argv);
int campaign_list(struct cli *cli, int argc, char **argv);
int campaign_report(struct cli *cli, int argc, char **argv);

struct campaign_run {
	int64_t id;
	char key[201 * 4]; /* at most 200 characters */
	char state[16];
	bool sealed; /* planned completely */
};

/*
 * The run of a campaign with this key, or (key NULL) the newest one in one of the states
 * ("{running,paused}"; NULL: any). EXIT_DONE, or an exit code after printing the reason:
 * EXIT_USAGE without such a campaign or key, or when key is NULL and several runs fit;
 * EXIT_NOTHING when no run fits. With key given the state is not looked at.
 */
int campaign_find_run(struct cli *cli, struct db *db, const char *name, const char *key,
    const char *states, struct campaign_run *run) MUST_CHECK;

/* As campaign_find_run, when a campaign without a fitting run is no error: EXIT_NOTHING then
 * comes without a word. */
int campaign_find_run_quietly(struct cli *cli, struct db *db, const char *name, const char *key,
    const char *states, struct campaign_run *run) MUST_CHECK;

/* One row of campaign_progress as an object (owned); NULL with db->error. */
json_t *campaign_progress(struct db *db, int64_t run) MUST_CHECK;
int64_t campaign_count(const json_t *progress, const char *name);
const char *campaign_word(const json_t *progress, const char *name);

/* Sends one finished message through the configured relay. 0, or -1 with err; *temporary: the
 * relay was absent or said 4xx. */
int campaign_send_one(const struct config *config, const char *from, const char *to,
    struct slice message, bool *temporary, struct err *err) MUST_CHECK;

#endif
