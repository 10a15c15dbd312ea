/* SPDX-License-Identifier: Apache-2.0 */
/* web_job: what every kind of request for a page does on its way, see web_inside.h. */
#include <stdio.h>

#include "db.h"
#include "log.h"
#include "web_inside.h"

void
web_answer_page(struct web_job *job, unsigned status, enum page_kind kind)
{
	struct web_answer a = { .status = status, .policy = job->policy };

	job->page.kind = kind;
	job->page.words = &job->web->words[job->page.language];
	buf_init(&a.body, PAGE_MAX);
	page_render(&job->page, &a.body);
	job->done(job, &a);
}

/* The reader's word first, then the browser's, then the customer's. */
void
web_choose_language(struct web_job *job, const char *locale)
{
	const enum page_language wishes[] = { job->request.asked, job->request.browser,
		web_request_language(slice_str(locale)), job->web->language };

	for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		job->page.language = wishes[i];
		if (wishes[i] != LANGUAGE_NONE)
			return;
	}
}

/* The row of an answer: false after answering that there is none. */
bool
web_has_row(struct web_job *job, const struct pgloop_answer *a)
{
	if (a->verdict != PGLOOP_DONE) {
		log_warn("page not served run=%u send=%u error=\"%s\"", job->request.token.run,
		    job->request.token.send, a->error);
		web_answer_page(job, 503, PAGE_BUSY);
		return false;
	}
	if (PQntuples(a->result) != 1) {
		web_answer_page(job, 404, PAGE_BAD);
		return false;
	}
	return true;
}

void
web_row_params(const struct web_job *job, struct row_params *p)
{
	const struct token *t = &job->request.token;

	(void)snprintf(p->text[P_RUN], sizeof(p->text[0]), "%d", (int)t->run);
	(void)snprintf(p->text[P_SEND], sizeof(p->text[0]), "%d", (int)t->send);
	(void)snprintf(p->text[P_ATTEMPT], sizeof(p->text[0]), "%d", (int)t->attempt);
	for (size_t i = 0; i < P_REST; i++)
		p->values[i] = p->text[i];
}

void
web_submit(struct web_job *job, const char *name, const char *sql, int count,
    const struct row_params *p, pgloop_done *done)
{
	if (!pgloop_submit(job->web->pg, name, sql, count, p->values, done, job))
		web_answer_page(job, 503, PAGE_BUSY);
}
