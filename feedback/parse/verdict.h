/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verdict: class and reason of a failure that somebody reports: a bounce, a provider's notice, the
 * log of a mail server. Pure. What the reporter says of the host that refused, and of the command
 * that it refused, is told apart from the reply; the rules are those of classify.h.
 */
#ifndef KAIRAN_VERDICT_H
#define KAIRAN_VERDICT_H

#include <stdint.h>

#include "classify.h"
#include "event.h"
#include "slice.h"

/* Of a reply code (0 unknown), an enhanced code (all 0 when absent) and the text that reports them.
 * A reporter that was given "550" alone makes up a status, such as 5.1.1 or 5.0.0: one that the text
 * does not hold makes nobody dead whose reply tells another cause. */
struct classify_verdict verdict_read(int code, const uint16_t enhanced[3], struct slice text);

/* The same with the enhanced code believed. */
struct classify_verdict verdict_of_words(int code, const uint16_t enhanced[3], struct slice text);

/* Class and reason of a final failure from the event's code, enhanced and text. A 4.x.x is never
 * hard, nor is a failure without any code. */
void verdict_judge(struct feedback_event *event);

#endif
