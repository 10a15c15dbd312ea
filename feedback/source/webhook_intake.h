/* SPDX-License-Identifier: Apache-2.0 */
/*
 * webhook_intake: one request to webhook.path -> the answer to its sender, or the events to commit
 * before he is answered. The order is fixed: signature, clock, rate, document; nothing is
 * parsed, or counted against the rate, that no key of ours has signed.
 */
#ifndef KAIRAN_FEEDBACK_WEBHOOK_INTAKE_H
#define KAIRAN_FEEDBACK_WEBHOOK_INTAKE_H

#include <pthread.h>

#include "config.h"
#include "webhook.h"

struct webhook_intake {
	const char *path; /* borrowed, like the token keys */
	const struct token_keys *tokens;
	struct slice bounce_domain;
	struct token_keys keys; /* of signatures */
	long window_s;
	double rate_per_s;

	pthread_mutex_t lock;
	double credit; /* documents; at most a second's worth */
	double at_s;   /* of credit */
};

/* 0, or -1 with err: path, or key file. Release it after success only. */
int webhook_intake_init(struct webhook_intake *w, const struct config *config,
    const struct token_keys *tokens, struct err *err) MUST_CHECK;
void webhook_intake_release(struct webhook_intake *w);

/* 200 with events to commit first, or what to answer at once, with err: 400 401 403 429 503. Any
 * thread. */
int webhook_intake_read(struct webhook_intake *w, const struct webhook_head *head,
    struct slice body, struct arena *arena, struct feedback_events *events,
    struct err *err) MUST_CHECK;

#endif
