/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options: what a template keeps of a message besides its texts and files, as JSON in
 * kairan.template.options. Absent members are empty; unknown ones are passed over.
 */
#ifndef KAIRAN_OPTIONS_H
#define KAIRAN_OPTIONS_H

#include <stddef.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define OPTIONS_DOMAINS_MAX 200

struct options {
	struct slice sender_name;
	struct slice sender_addr;
	struct slice reply_to_name;
	struct slice *jis_domains;
	size_t jis_domain_count;
};

/* Everything is owned by the arena. 0, or -1 with err. */
int options_read(
    struct options *options, const char *json, struct arena *arena, struct err *err) MUST_CHECK;

/* "{}" when all is empty. Owned by the caller (free); NULL without memory. */
char *options_write(const struct options *options);

#endif
