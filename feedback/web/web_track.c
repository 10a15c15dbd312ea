/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web_track: the pixel and the links that are counted. A destination comes from the table link, by
 * the run of the verified token and the id in the path; nothing of the request is part of it.
 */
#include <string.h>
#include <time.h>

#include "db.h"
#include "embed.h"
#include "web_inside.h"

/* The smallest GIF: one transparent pixel (GIF89a, 43 bytes). */
static const unsigned char pixel[] = { 'G', 'I', 'F', '8', '9', 'a', 1, 0, 1, 0, 0x80, 0, 0, 0, 0,
	0, 0xff, 0xff, 0xff, 0x21, 0xf9, 4, 1, 0, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2,
	0x44, 1, 0, 0x3b };

int
web_track_init(struct web *web, uv_loop_t *loop, struct err *err)
{
	const char *path = web->config->web_machines;
	struct slice text;
	struct err why = { 0 };

	if (path[0] != '\0' &&
	    (own_text_file(path, &web->arena, &text, err) < 0 ||
		machine_rules_parse(&web->rules, text, &web->arena, &why) < 0))
		return why.msg[0] != '\0' ? err_set(err, "%.190s: %.190s", path, why.msg) : -1;
	if (machine_rules_parse(
		&web->rules, slice_str(embed_feedback_data_machines_tsv), &web->arena, err) < 0)
		return -1;
	web->hits = hits_new(loop, web->pg, &web->rules);
	return web->hits != NULL ? 0 : err_set(err, "no memory");
}

static void
count_hit(struct web_job *job)
{
	const struct machine_request request = {
		.agent = job->agent, .purpose = job->purpose, .is_head = job->in.is_head
	};
	struct hit hit = { .token = job->request.token,
		.is_click = job->request.page == WEB_CLICK,
		.verdict = machine_judge(&job->web->rules, &request) };
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	hit.at_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	if (hit.is_click)
		memcpy(hit.link, job->request.rest.ptr, LINK_ID_CHARS);
	hits_add(job->web->hits, &hit);
}

static void
answer_pixel(struct web_job *job)
{
	struct web_answer a = { .status = 200, .policy = job->policy, .type = "image/gif" };

	buf_init(&a.body, PAGE_MAX);
	buf_append(&a.body, pixel, sizeof(pixel));
	job->done(job, &a);
}

static void
on_link(void *ctx, struct pgloop_answer *answer)
{
	struct web_job *job = ctx;
	struct web_answer a = { .status = 302, .policy = job->policy };

	if (!web_has_row(job, answer))
		return;
	a.location = arena_copy(job->arena, slice_str(db_text(answer->result, 0, 0))).ptr;
	if (a.location == NULL) {
		web_answer_page(job, 503, PAGE_BUSY);
		return;
	}
	count_hit(job);
	buf_init(&a.body, PAGE_MAX);
	job->done(job, &a);
}

void
web_track_begin(struct web_job *job)
{
	struct row_params p;
	char id[LINK_ID_CHARS + 1];

	if (job->request.is_post) {
		web_answer_page(job, 404, PAGE_BAD);
	} else if (job->request.page == WEB_OPEN) {
		count_hit(job);
		answer_pixel(job);
	} else if (!links_id_ok(job->request.rest)) {
		web_answer_page(job, 404, PAGE_BAD);
	} else {
		memcpy(id, job->request.rest.ptr, LINK_ID_CHARS);
		id[LINK_ID_CHARS] = '\0';
		web_row_params(job, &p);
		p.values[1] = id;
		web_submit(job, "link_find",
		    "SELECT url FROM kairan.link WHERE run_id = $1::int AND id = $2", 2, &p,
		    on_link);
	}
}
