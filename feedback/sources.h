/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources: all sources that the configuration asks for, as one list. A new source is a row of
 * the table in sources.c.
 */
#ifndef KAIRAN_FEEDBACK_SOURCES_H
#define KAIRAN_FEEDBACK_SOURCES_H

#include <uv.h>

#include "config.h"
#include "err.h"
#include "http.h"
#include "intake.h"
#include "keep.h"
#include "source.h"
#include "token.h"

#define SOURCES_MAX 12

struct mail_worker;
struct sns_intake;

struct sources {
	struct source *items[SOURCES_MAX];
	size_t count;
};

struct web;

struct sources_config {
	uv_loop_t *loop;
	const struct config *config; /* borrowed, like all here, until sources_free() */
	const struct token_keys *keys;
	const struct keep *keep; /* NULL: none */
	const struct sns_intake *sns;
	struct intake *intake;
	struct web *web; /* pages for recipients; NULL: none */
	struct mail_worker *worker;
};

/* 0, or -1 with err: one is configured wrongly, or there is none at all. Free them either way. */
int sources_start(
    struct sources *sources, const struct sources_config *config, struct err *err) MUST_CHECK;

/* As in source_kind, of all. */
void sources_stop(struct sources *sources);
bool sources_are_idle(const struct sources *sources);
void sources_free(struct sources *sources);

/* Of the HTTP listener; all 0 without one. */
struct http_counts sources_http_counts(const struct sources *sources);

#endif
