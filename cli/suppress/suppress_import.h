/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suppress_import: `kairan suppress import FILE`: addresses line by line, CSV (ours, or that of Amazon SES), or JSON.
 * Bad lines are left out and named.
 */
#ifndef KAIRAN_SUPPRESS_IMPORT_H
#define KAIRAN_SUPPRESS_IMPORT_H

#include "cli.h"

/* The command; an exit code. */
int suppress_import(struct cli *cli, int argc, char **argv);

#endif
