/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_host: what the doctor says of this host: its clock against those that judge it, and who may
 * read and change the files that hold secrets. The two judges are pure.
 */
#ifndef KAIRAN_DOCTOR_HOST_H
#define KAIRAN_DOCTOR_HOST_H

#include <sys/stat.h>

#include "config.h"
#include "doctor.h"

/* AWS refuses signatures that are more than 5 minutes off (Signature Version 4). */
#define DOCTOR_CLOCK_FAILED_S 300
/* A DKIM signature of the future (t=, RFC 6376 3.5) may be ignored; a clock that NTP keeps is never
 * this far off, and HTTP tells whole seconds. */
#define DOCTOR_CLOCK_WARNING_S 30

/* ahead_s: this host's clock minus the other one. */
void doctor_judge_clock(struct doctor_checks *d, const char *other, double ahead_s);

enum doctor_file {
	DOCTOR_FILE_OPEN,   /* may be read by all, changed by its owner and root alone */
	DOCTOR_FILE_SECRET, /* nor read by others */
	DOCTOR_FILE_FOLDER  /* as OPEN, for a folder of secrets */
};

/* me: the user that the programs run as (getuid()). True when nothing is wrong; else a result was
 * added. */
bool doctor_judge_file(struct doctor_checks *d, const char *path, enum doctor_file kind,
    const struct stat *st, uid_t me);

/* PostgreSQL's clock, and that of Amazon SES when mail goes through it. */
void doctor_check_clocks(struct doctor_checks *d, const struct config *config);

/* config_path: as --config gives it, or NULL. */
void doctor_check_files(
    struct doctor_checks *d, const struct config *config, const char *config_path);

#endif
