/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csv: RFC 4180 records out of a stream of bytes, without I/O. Fields may be quoted and then
 * hold separators, doubled quotation marks and line ends; records end with LF or CRLF. Empty
 * lines are skipped, a UTF-8 byte order mark at the start too. Bytes are not decoded.
 *
 * A record that breaks the rules is reported with its lines and dropped up to its line end;
 * the next one is read as if nothing had been.
 */
#ifndef KAIRAN_CSV_H
#define KAIRAN_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

#define CSV_RECORD_MAX ((size_t)1024 * 1024)
#define CSV_FIELDS_MAX 500

enum csv_result {
	CSV_MORE,      /* input is used up; give more, or end */
	CSV_RECORD,    /* fields[0 .. count) are valid until the next call */
	CSV_END,       /* nothing left */
	CSV_TOO_LONG,  /* more than CSV_RECORD_MAX bytes */
	CSV_TOO_MANY,  /* more than CSV_FIELDS_MAX fields */
	CSV_BAD_QUOTE, /* a quotation mark inside an unquoted field, or text behind a closing one */
	CSV_UNCLOSED,  /* a quote still open at the end of the input */
	CSV_NO_MEMORY
};

struct csv {
	struct slice fields[CSV_FIELDS_MAX]; /* borrowed from record */
	size_t count;
	uint64_t line;	    /* where the record begins, from 1 */
	uint64_t last_line; /* where it ends */

	struct buf record;	     /* owned */
	size_t ends[CSV_FIELDS_MAX]; /* end of each field in record */
	uint64_t next_line;
	enum csv_result broken; /* why the record being skipped is refused */
	unsigned char state;
	unsigned char mark; /* bytes of the byte order mark seen */
	char separator;
};

/* separator: usually ','. */
void csv_init(struct csv *c, char separator);
void csv_release(struct csv *c);

/*
 * Takes bytes from the front of input until a record is complete or input is used up. at_end:
 * no bytes follow input. Call again with what is left until CSV_MORE (or CSV_END at the end).
 * Every result but CSV_MORE, CSV_RECORD and CSV_END names one refused record (line, last_line).
 */
enum csv_result csv_next(struct csv *c, struct slice *input, bool at_end) MUST_CHECK;

/* A sentence for a refused record. */
const char *csv_reason(enum csv_result result);

/* Appends one field, quoted when it must be; with guard, a field that a spreadsheet would take
 * for a formula (= + - @ TAB CR, also behind apostrophes) gets an apostrophe in front. */
void csv_append(struct buf *b, struct slice field, char separator, bool guard);

/* Undoes the guard: the field without the apostrophe that csv_append put in front. */
struct slice csv_unguard(struct slice field);

#endif
