/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codes: finds the SMTP reply code and the enhanced status (RFC 3463) in diagnostic text, only
 * where a reply can stand: numbers in addresses, dates, sizes and versions are not codes. Pure,
 * linear.
 */
#ifndef KAIRAN_CODES_H
#define KAIRAN_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

struct codes {
	int code;	      /* 0 when there is none */
	uint16_t enhanced[3]; /* all 0 when absent; of the code's class when there is a code */
	bool is_quoted;	      /* somebody says that a host said so */
	size_t at;	      /* where in the text that reply begins */
};

/*
 * A reply that is quoted as such ("said: 550", "<<< 550") counts more than one with an enhanced
 * code behind it, which counts more than one that stands at the start of a line or behind a word
 * such as "error" or "response"; among equals the last one counts. An enhanced code elsewhere
 * in the text, "(#5.1.1)", serves when the reply has none.
 */
struct codes codes_find(struct slice text);

/* "5.1.1" at the start of s, not followed by a further ".1"; its length, or 0. */
size_t codes_read_status(struct slice s, uint16_t status[3]);

#endif
