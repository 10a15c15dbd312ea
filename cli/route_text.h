/* SPDX-License-Identifier: Apache-2.0 */
/* route_text: how many recipients leave by which route (pace.routes). */
#ifndef KAIRAN_ROUTE_TEXT_H
#define KAIRAN_ROUTE_TEXT_H

#include <jansson.h>

/* An array of {"route", "recipients"} behind a label, "" being that of all others; nothing when it is empty. */
void route_text_print(const char *label, const json_t *routes);

#endif
