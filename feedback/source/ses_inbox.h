/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_inbox: mail that Amazon SES received for us, told by SNS: from the notice, or fetched from S3, and
 * then read like any other mail (mail_intake.h). The notice must be believed already.
 *
 * An object is fetched by a signed GET without redirects, from a bucket of s3.buckets alone, and held in
 * memory: SES_INBOX_MAIL_MAX bytes for each thread that reads. Nothing is deleted there. An object that is
 * not there may be late: the notice is put off SES_INBOX_MISSES_MAX - 1 times, counted in memory. Any
 * other failure (rights, network, S3 itself) is put off until it is over.
 */
#ifndef KAIRAN_FEEDBACK_SES_INBOX_H
#define KAIRAN_FEEDBACK_SES_INBOX_H

#include <stdatomic.h>

#include "arena.h"
#include "config.h"
#include "err.h"
#include "event.h"
#include "mail_intake.h"
#include "token.h"

#define SES_INBOX_BUCKETS_MAX 16
#define SES_INBOX_MAIL_MAX ((size_t)30 * 1024 * 1024)
#define SES_INBOX_MISSES_MAX 3
#define SES_INBOX_TIMEOUT_S 30

enum ses_inbox_result {
	SES_INBOX_OTHER, /* no notice of a received mail: ses.h reads it */
	SES_INBOX_READ,	 /* at least one event; what was in the arena before is gone */
	SES_INBOX_KEEP, /* it never will be read: keep the notice aside with *reason; err says why */
	SES_INBOX_AGAIN /* not now; err says why */
};

struct ses_inbox;

/* config and keys are borrowed. NULL with err: wrong settings, no memory. */
struct ses_inbox *ses_inbox_new(
    const struct config *config, const struct token_keys *keys, struct err *err);
void ses_inbox_free(struct ses_inbox *inbox);

/* Before the first read: how mails are parsed and kept for people; both borrowed, may be NULL. */
void ses_inbox_set_mail(
    struct ses_inbox *inbox, struct mail_worker *worker, const struct keep *keep);

/* A flag of the caller's that ends fetches within a second when it becomes true. */
void ses_inbox_set_stop(struct ses_inbox *inbox, const atomic_bool *stop);

/* Ends fetches for good, for inboxes without such a flag. Any thread. */
void ses_inbox_stop(struct ses_inbox *inbox);

/* ses_inbox_read() would ask S3. Any thread; uses the arena. */
bool ses_inbox_fetches(const struct ses_inbox *inbox, struct slice notice, struct arena *arena);

/* Any thread. May wait SES_INBOX_TIMEOUT_S for S3, and as mail_worker_read(). *reason is static. */
enum ses_inbox_result ses_inbox_read(struct ses_inbox *inbox, struct slice notice,
    struct arena *arena, struct feedback_events *events, const char **reason,
    struct err *err) MUST_CHECK;

#endif
