/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqs_source: a queue of Amazon SQS. Long polls; what was committed is deleted in one call, what
 * takes long stays hidden by longer visibility. Bodies are read by reader.h: documents of SNS,
 * with sqs.accept_unsigned also raw delivery and events of EventBridge.
 *
 * What is not acceptable stays in the queue, and is kept as an event of kind other, reason
 * "poison", when it has been received sqs.poison_after times; then it is deleted, so that
 * the queue goes on without a dead-letter queue.
 */
#ifndef KAIRAN_FEEDBACK_SQS_SOURCE_H
#define KAIRAN_FEEDBACK_SQS_SOURCE_H

#include "config.h"
#include "keep.h"
#include "pull.h"
#include "token.h"

struct mail_worker;

/* worker and keep: of mails that SES received, see reader_set_mail(). NULL with err when the configuration is wrong. Whether the queue can be reached shows later. */
struct source *sqs_source_new(uv_loop_t *loop, const struct config *config,
    const struct token_keys *keys, struct mail_worker *worker, const struct keep *keep,
    struct intake *intake, struct err *err);

#endif
