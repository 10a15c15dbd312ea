/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqs: requests to Amazon SQS and its answers, JSON protocol (service model 2012-11-05, target
 * prefix AmazonSQS). No I/O. Every builder appends a body to a buffer; an overflow shows by
 * buf_failed().
 */
#ifndef KAIRAN_SQS_H
#define KAIRAN_SQS_H

#include "arena.h"
#include "buf.h"
#include "err.h"
#include "slice.h"

#define SQS_CONTENT_TYPE "application/x-amz-json-1.0"
#define SQS_BATCH_MAX 10 /* messages of one call */
#define SQS_WAIT_MAX_S 20
#define SQS_VISIBILITY_MAX_S 43200
#define SQS_BODY_MAX ((size_t)1 << 20)	  /* of one message */
#define SQS_ANSWER_MAX ((size_t)12 << 20) /* ten messages, escaped */
#define SQS_HANDLE_MAX 1024
#define SQS_URL_MAX 600

struct sqs_message {
	struct slice id;      /* the same on every delivery */
	struct slice receipt; /* of this delivery only */
	struct slice body;    /* decoded; may hold anything */
	unsigned receives;    /* ApproximateReceiveCount; 0 when it is not told */
	int64_t sent_us;      /* SentTimestamp; 0 when it is not told */
	bool is_intact;	      /* MD5OfBody fits, or is absent */
	bool is_cut;	      /* past SQS_BODY_MAX: the body is empty here */
};

/* "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME" -> its region, empty when the host is another
 * one. 0, or -1 with err when it is no queue URL at all. */
MUST_CHECK int sqs_url_check(struct slice url, struct slice *region, struct err *err);

/* ReceiveMessage: up to SQS_BATCH_MAX, with ApproximateReceiveCount. */
void sqs_receive_body(struct buf *out, struct slice queue_url, long wait_s, long visibility_s);

/* DeleteMessageBatch; the entries are named by their place: "0" … */
void sqs_delete_body(
    struct buf *out, struct slice queue_url, const struct slice *receipts, size_t count);

/* ChangeMessageVisibilityBatch, named alike. */
void sqs_visibility_body(struct buf *out, struct slice queue_url, const struct slice *receipts,
    size_t count, long visibility_s);

/*
 * Answer of ReceiveMessage. Messages and their slices live in the arena. 0, or -1 with err: not
 * JSON, a field that is missing or of another type, more than SQS_BATCH_MAX messages, a handle
 * past SQS_HANDLE_MAX.
 */
MUST_CHECK int sqs_received(struct slice json, struct arena *arena,
    struct sqs_message messages[SQS_BATCH_MAX], size_t *count, struct err *err);

/* Answer of one of the batch calls: failed[i] of the entry named i; 0, or -1 with err. err also
 * holds the first failure's code when there is one, else "". */
MUST_CHECK int sqs_batch_answer(struct slice json, bool *failed, size_t count, struct err *err);

/* Name and words of a refusal, `{"__type":"com.amazonaws.sqs#Name","message":"…"}`, into err:
 * "Name: words", cleaned. */
void sqs_refusal(int status, struct slice json, struct err *err);

#endif
