/* SPDX-License-Identifier: Apache-2.0 */
/* brake_text: what replies have slowed down, and lanes and origins that the breaker has paused, for `pace show` and
 * `status`. */
#ifndef KAIRAN_BRAKE_TEXT_H
#define KAIRAN_BRAKE_TEXT_H

#include <jansson.h>

/* One JSON value: a list of objects, by name. */
extern const char brake_text_sql[];

/* One of them on stdout, behind its name: in what way, by what, since and until when. */
void brake_text_print(const json_t *brake);

/* The same of paused lanes and origins, oldest first; behind its name: of which run, since when, why, and
 * on a line of its own, behind `indent`, how to go on. */
extern const char lane_text_sql[];

/* "lane" or "origin": what it is, and the member with its name. */
const char *lane_text_kind(const json_t *lane);
void lane_text_print(const json_t *lane, const char *indent);

#endif
