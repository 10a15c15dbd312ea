/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suppress_export: `kairan suppress export [FILE]`: the suppression list as CSV that suppress_import takes again, safe
 * for spreadsheets.
 */
#ifndef KAIRAN_SUPPRESS_EXPORT_H
#define KAIRAN_SUPPRESS_EXPORT_H

#include "cli.h"

/* The command; an exit code. */
int suppress_export(struct cli *cli, int argc, char **argv);

#endif
