/* SPDX-License-Identifier: Apache-2.0 */
/* webhook_intake: see webhook_intake.h. */
#include "webhook_intake.h"

#include <string.h>
#include <time.h>

#include "web_request.h"

int
webhook_intake_init(struct webhook_intake *w, const struct config *config,
    const struct token_keys *tokens, struct err *err)
{
	const char *path = config->webhook_path;
	struct err why = { 0 };

	*w = (struct webhook_intake){ .path = path,
		.tokens = tokens,
		.bounce_domain = slice_str(config->feedback_domain),
		.window_s = config->webhook_window_s,
		.rate_per_s = (double)config->webhook_rate_per_s };
	if (path[0] != '/' || strcmp(path, config->feedback_http_path) == 0 ||
	    strcmp(path, "/healthz") == 0 || web_request_page(slice_str(path)) != WEB_NO_PAGE)
		return err_set(err,
		    "webhook.path must begin with / and be another than those of SNS and pages");
	if (token_keys_load(&w->keys, config->webhook_keys_file, &why) < 0)
		return err_set(err, "webhook.keys_file: %s", why.msg);
	for (unsigned i = 0; i < w->keys.count; i++)
		for (unsigned k = 0; k < tokens->count; k++)
			if (memcmp(w->keys.key[i], tokens->key[k], TOKEN_KEY_BYTES) == 0) {
				token_keys_release(&w->keys);
				return err_set(err,
				    "webhook.keys_file holds a key of keys.file: others would "
				    "be able to make tokens");
			}
	(void)pthread_mutex_init(&w->lock, NULL);
	w->credit = w->rate_per_s;
	return 0;
}

void
webhook_intake_release(struct webhook_intake *w)
{
	token_keys_release(&w->keys);
	(void)pthread_mutex_destroy(&w->lock);
}

static bool
take_credit(struct webhook_intake *w)
{
	struct timespec now;
	double now_s;
	bool is_given;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	now_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
	(void)pthread_mutex_lock(&w->lock);
	if (w->at_s > 0)
		w->credit += (now_s - w->at_s) * w->rate_per_s;
	if (w->credit > w->rate_per_s)
		w->credit = w->rate_per_s;
	w->at_s = now_s;
	is_given = w->credit >= 1;
	if (is_given)
		w->credit -= 1;
	(void)pthread_mutex_unlock(&w->lock);
	return is_given;
}

int
webhook_intake_read(struct webhook_intake *w, const struct webhook_head *head, struct slice body,
    struct arena *arena, struct feedback_events *events, struct err *err)
{
	struct webhook_input in = {
		.json = body, .keys = w->tokens, .bounce_domain = w->bounce_domain
	};
	int status;

	if (webhook_verify(&w->keys, head, body, (int64_t)time(NULL), w->window_s, &status, err) <
	    0)
		return status;
	if (!take_credit(w)) {
		(void)err_set(err, "more than webhook.rate_per_s");
		return 429;
	}
	if (webhook_parse(&in, arena, events, err) == 0)
		return 200;
	return arena->failed ? 503 : 400;
}
