/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns_intake: one document of SNS -> the answer to its sender, or the events to commit before
 * he is answered. The order is fixed: parse, topic and URLs, certificate, signature; only then
 * is anything in it believed. The same for HTTP and standard input.
 *
 * What is authentic is never thrown away: a Message that cannot be read, a test message and
 * both confirmations become events of kind "other". A SubscribeURL is never visited; it is
 * logged for the operator.
 */
#ifndef KAIRAN_FEEDBACK_SNS_INTAKE_H
#define KAIRAN_FEEDBACK_SNS_INTAKE_H

#include "arena.h"
#include "config.h"
#include "err.h"
#include "event.h"
#include "ses_inbox.h"
#include "sns.h"
#include "sns_cert.h"
#include "token.h"

#define SNS_INTAKE_TOPICS_MAX 64
#define SNS_INTAKE_ARENA_MAX ((size_t)9 * 1024 * 1024) /* of a mail in a notice, too */

/* Read-only once made, apart from the inbox, which has a lock: shared by all threads. */
struct sns_intake {
	struct sns_policy policy;
	struct slice topics[SNS_INTAKE_TOPICS_MAX];
	const char *names[SNS_INTAKE_TOPICS_MAX];
	char *topics_text; /* owned */
	char *names_text;  /* owned */
	struct sns_cert_config cert;
	const struct token_keys *keys;
	struct slice bounce_domain;
	struct ses_inbox *inbox; /* owned: mails that SES received */
};

/* config and keys are borrowed. 0, or -1 with err. The struct must not move afterwards. */
int sns_intake_init(struct sns_intake *intake, const struct config *config,
    const struct token_keys *keys, struct err *err) MUST_CHECK;
void sns_intake_release(struct sns_intake *intake);

/*
 * Returns 200 with at least one event to commit first, or what to answer at once with the
 * reason in err: 400 not a document of SNS, 403 forged or not ours, 503 try again later.
 * *why: a static word for it: recorded; document; topic, type_header, version, certificate_url,
 * certificate, signature: the check that it failed, certificate with 503: it is not to be had now;
 * memory; mail: of Amazon SES, which cannot be fetched, read or kept now.
 * cache: one per thread. May wait SNS_CERT_TIMEOUT_S for the network, and as ses_inbox_read().
 */
int sns_intake_read(const struct sns_intake *intake, struct sns_cert_cache *cache,
    struct slice body, struct slice type_header, struct arena *arena,
    struct feedback_events *events, const char **why, struct err *err) MUST_CHECK;

/* The same in two: is it to be believed (200, with *msg in the arena), and what it says. */
int sns_intake_check(const struct sns_intake *intake, struct sns_cert_cache *cache,
    struct slice body, struct slice type_header, struct arena *arena, struct sns_message *msg,
    const char **why, struct err *err) MUST_CHECK;
int sns_intake_take(const struct sns_intake *intake, const struct sns_message *msg,
    struct arena *arena, struct feedback_events *events, const char **why,
    struct err *err) MUST_CHECK;

/* sns_intake_take() would wait for S3. */
bool sns_intake_fetches(
    const struct sns_intake *intake, const struct sns_message *msg, struct arena *arena);

#endif
