/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report: what became of one run, as a table for a spreadsheet and as one page for a reader.
 * The table is streamed: memory does not grow with the run. The page is complete in itself (no
 * script, no address of anything outside), fits light and dark, and escapes whatever came from
 * outside. Times are UTC.
 */
#ifndef KAIRAN_REPORT_H
#define KAIRAN_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include "db.h"
#include "err.h"

/* CSV (RFC 4180) with a heading: a line per recipient, then a line per customer left out. Cells
 * that a spreadsheet would take for a formula get a leading quote. Returns the number of lines
 * without the heading, or -1 with db->error. A failed write shows in ferror(out). */
int64_t report_csv(struct db *db, int64_t run, FILE *out) MUST_CHECK;

/* HTML. 0, or -1 with db->error; what was written until then stays. */
int report_html(struct db *db, int64_t run, FILE *out) MUST_CHECK;

/* Text for HTML and attribute values in quotes; control characters become blanks. */
void report_put_escaped(FILE *out, const char *text);

/* The least of 1, 2, 4, 6, 8 times a power of ten that is not below value; 1 for less. For axes. */
int64_t report_round_up(int64_t value);

#endif
