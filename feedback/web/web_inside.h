/* SPDX-License-Identifier: Apache-2.0 */
/* web_inside: what the files web*.c share; for them only. */
#ifndef KAIRAN_FEEDBACK_WEB_INSIDE_H
#define KAIRAN_FEEDBACK_WEB_INSIDE_H

#include "hits.h"
#include "machine.h"
#include "own_text.h"
#include "web.h"

struct web {
	const struct config *config;
	const struct token_keys *keys;
	struct pgloop *pg;
	struct intake *intake;
	enum page_language language; /* when nobody says otherwise */
	bool may_move;
	struct arena arena;
	struct page_words words[LANGUAGES];
	struct confirm_mail mails[LANGUAGES];
	char style_source[64];
	const char *policy;
	char days[24];
	struct machine_rules rules;
	struct hits *hits;
};

/* Text parameters of the row that a token names, and what follows. */
enum { P_RUN, P_SEND, P_ATTEMPT, P_REST };
struct row_params {
	char text[P_REST][16];
	const char *values[14];
};

void web_answer_page(struct web_job *job, unsigned status, enum page_kind kind);

/* The row of an answer: false after answering that there is none. */
bool web_has_row(struct web_job *job, const struct pgloop_answer *a);

/* The reader's word first, then the browser's, then the customer's. */
void web_choose_language(struct web_job *job, const char *locale);

void web_row_params(const struct web_job *job, struct row_params *p);
void web_submit(struct web_job *job, const char *name, const char *sql, int count,
    const struct row_params *p, pgloop_done *done);

/* web_track.c: the pixel and the links. 0, or -1 with err. */
int web_track_init(struct web *web, uv_loop_t *loop, struct err *err) MUST_CHECK;
void web_track_begin(struct web_job *job);

/* web_view.c: the mail in a browser. */
void web_view_begin(struct web_job *job);

#endif
