/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_head: what can be said of a request from its head alone: whether its body has one length
 * that everybody reads alike (RFC 9112 6.3: no smuggling), whether there is such a page, and
 * whether the body fits. Pure.
 */
#ifndef KAIRAN_HTTP_HEAD_H
#define KAIRAN_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

struct http_framing {
	unsigned lengths, encodings;
	bool is_bad;
	uint64_t length;
};

/* Each field of the header, in any order. */
void http_framing_field(struct http_framing *f, struct slice name, struct slice value);

/* One Content-Length and nothing beside it: what follows the body is the next request. */
bool http_framing_is_whole(const struct http_framing *f);

struct http_places {
	struct slice sns, hook; /* paths; an empty hook: none */
	bool has_pages;
	bool is_open; /* there is room, and PostgreSQL answers */
};

/* The status to answer with, 0: the body has to be read. *is_at_once: the answer does not wait for the body. */
unsigned http_head_judge(const struct http_framing *f, struct slice url, struct slice method,
    const struct http_places *places, bool *is_at_once);

#endif
