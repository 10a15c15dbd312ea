/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_request: what a browser, a mail program or a scanner asks of the pages for recipients. Pure.
 *
 *   /u/TOKEN   unsubscribe      POST acts: a body of RFC 8058, the page's form, or nothing at all
 *   /a/TOKEN   new address      POST with old and new
 *   /c/TOKEN   confirm          POST confirms
 *   /v/TOKEN   mail in a browser; /v/TOKEN/NAME an image of it
 *   /o/TOKEN   pixel
 *   /k/TOKEN/LINK   to where the link leads
 *
 * Only POST asks for a change. A form is application/x-www-form-urlencoded or
 * multipart/form-data (RFC 8058 3.2 lets senders choose); what is not understood in it is left
 * out. Fields known: List-Unsubscribe, scope (list, all), do (undo), old, new.
 */
#ifndef KAIRAN_FEEDBACK_WEB_REQUEST_H
#define KAIRAN_FEEDBACK_WEB_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "slice.h"
#include "token.h"

#define WEB_BODY_MAX ((size_t)8 * 1024)
#define WEB_FIELDS_MAX 20
#define WEB_VALUE_MAX 512
#define WEB_ARENA_MAX ((size_t)64 * 1024) /* an arena of this size is always enough */

enum web_page {
	WEB_NO_PAGE,
	WEB_UNSUBSCRIBE,
	WEB_ADDRESS,
	WEB_CONFIRM,
	WEB_VIEW,
	WEB_OPEN,
	WEB_CLICK
};
enum page_language { LANGUAGE_EN, LANGUAGE_JA, LANGUAGES, LANGUAGE_NONE = LANGUAGES };

/* As libmicrohttpd gives them; any may be empty. Borrowed while the request is used. */
struct web_request_input {
	struct slice path; /* percent-decoded, without the query */
	struct slice lang; /* of the query */
	struct slice content_type, accept_language;
	struct slice body;
	bool is_post, is_head;
};

struct web_request {
	enum web_page page;
	bool is_post;
	bool has_token; /* it verifies for the purpose of the page */
	struct token token;
	struct slice token_text;
	struct slice rest;	    /* what stands behind the token of WEB_VIEW and WEB_CLICK */
	enum page_language asked;   /* ?lang=, or NONE */
	enum page_language browser; /* Accept-Language, or NONE */
	/* of the form */
	bool is_from_page; /* not one click of a mail program: a field of our form is in it */
	bool all, undo;
	struct slice old_address, new_address; /* in the arena, trimmed */
};

/* The page of a path by its prefix; the token is not looked at. */
enum web_page web_request_page(struct slice path);

/* Never fails: what is wrong leaves fields empty. */
void web_request_parse(struct web_request *r, const struct web_request_input *in,
    const struct token_keys *keys, struct arena *arena);

/* "ja", "ja-JP", "en_US" -> language, else NONE. */
enum page_language web_request_language(struct slice text);

#endif
