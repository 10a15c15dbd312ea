/* SPDX-License-Identifier: Apache-2.0 */
/*
 * customer_import: customers from a CSV file. Each line is checked here; the good ones are
 * streamed by COPY into a temporary table and merged in the same transaction, so that memory does
 * not grow with the file and a broken import leaves nothing.
 */
#ifndef KAIRAN_CUSTOMER_IMPORT_H
#define KAIRAN_CUSTOMER_IMPORT_H

#include "cli.h"

/* `kairan customer import` with the arguments behind it. Returns the exit code. */
int customer_import(struct cli *cli, int argc, char **argv);

#endif
