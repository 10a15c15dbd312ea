/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqs_source: see sqs_source.h. Everything here runs in the thread of its pull, apart from its
 * making and unmaking. Credentials are fetched in the thread, since that may block.
 */
#include "sqs_source.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws_call.h"
#include "aws_chain.h"
#include "hash.h"
#include "log.h"
#include "reader.h"
#include "sqs.h"

#define CALL_TIMEOUT_S 15 /* besides the wait of a long poll */
#define REQUEST_MAX ((size_t)64 * 1024)
#define ROUND_MAX ((size_t)10 * SQS_BATCH_MAX) /* messages of one commit */
#define GO_ON_AT (SQS_BATCH_MAX / 2)	       /* messages of a call behind which more wait */
#define COUNTERS 256			       /* a power of two */

struct sqs {
	const struct config *config;
	struct reader reader;
	struct aws_endpoint endpoint;
	struct aws_credentials credentials;
	struct slice queue_url;
	CURL *curl;	    /* keeps the connection; NULL before the first call */
	struct arena arena; /* of the answers of one round */
	struct unit units[ROUND_MAX];
	struct sqs_message messages[ROUND_MAX];
	size_t count;
	struct {
		uint64_t id; /* hash of a message's */
		unsigned receives;
	} counters[COUNTERS]; /* for a queue that tells no ApproximateReceiveCount */
	const atomic_bool *stop;
};

/* ---- asking ----------------------------------------------------------------------------- */

static int
have_credentials(struct sqs *s, struct err *err)
{
	struct aws_chain chain = { .region = s->endpoint.region,
		.ca_file = s->config->sqs_ca_file,
		.timeout_s = CALL_TIMEOUT_S };
	const char *from;

	if (s->credentials.access_key[0] != '\0' &&
	    (s->credentials.expires_s == 0 ||
		s->credentials.expires_s - AWS_REFRESH_BEFORE_S > (int64_t)time(NULL)))
		return 0;
	if (aws_chain_fetch(&chain, &s->credentials, &from, err) < 0)
		return -1;
	log_info("sqs credentials from=%s", from);
	return 0;
}

/* 0 with the answer's body in reply, -1 with err. stop NULL: for what must not be cut short. */
static int
call(struct sqs *s, const char *target, const struct buf *body, long timeout_s,
    const atomic_bool *stop, struct aws_reply *reply, struct err *err)
{
	struct aws_client client = { .endpoint = &s->endpoint,
		.credentials = &s->credentials,
		.ca_file = s->config->sqs_ca_file,
		.timeout_s = timeout_s,
		.stop = stop,
		.kept = &s->curl };
	struct aws_request request = { .method = "POST",
		.path = SLICE("/"),
		.content_type = SQS_CONTENT_TYPE,
		.target = target,
		.body = buf_slice(body) };

	if (buf_failed(body))
		return err_set(err, "no memory");
	if (have_credentials(s, err) < 0 || aws_call(&client, &request, reply, err) < 0)
		return -1;
	if (reply->status == 200 && reply->whole)
		return 0;
	if (reply->status == 400 || reply->status == 401 || reply->status == 403)
		aws_credentials_wipe(&s->credentials); /* perhaps others by now */
	sqs_refusal(reply->status, buf_slice(&reply->body), err);
	return -1;
}

/* One call: *n messages behind those there are. */
static int
receive(struct sqs *s, long wait_s, size_t *n, struct err *err)
{
	struct aws_reply reply;
	struct buf body;
	int result;

	buf_init(&body, REQUEST_MAX);
	aws_reply_init(&reply);
	buf_init(&reply.body, SQS_ANSWER_MAX);
	sqs_receive_body(&body, s->queue_url, wait_s, s->config->sqs_visibility_s);
	*n = 0;
	result = call(
	    s, "AmazonSQS.ReceiveMessage", &body, wait_s + CALL_TIMEOUT_S, s->stop, &reply, err);
	if (result == 0)
		result =
		    sqs_received(buf_slice(&reply.body), &s->arena, s->messages + s->count, n, err);
	s->count += *n;
	aws_reply_release(&reply);
	buf_release(&body);
	return result;
}

/* The first call waits for messages; as long as more than a few come there are others. What fails behind the
 * first is said by the next round. */
static int
receive_round(struct sqs *s, const struct pull *pull, struct err *err)
{
	struct err why = { 0 };
	size_t n;

	arena_reset(&s->arena);
	s->count = 0;
	if (receive(s, s->config->sqs_wait_s, &n, err) < 0)
		return -1;
	while (n >= GO_ON_AT && s->count < ROUND_MAX && !pull_is_stopping(pull))
		if (receive(s, 0, &n, &why) < 0)
			break;
	return 0;
}

static void
extend_some(struct sqs *s, const struct slice *receipts, size_t count)
{
	bool failed[SQS_BATCH_MAX];
	struct aws_reply reply;
	struct err why = { 0 };
	struct buf body;

	buf_init(&body, REQUEST_MAX);
	aws_reply_init(&reply);
	sqs_visibility_body(&body, s->queue_url, receipts, count, s->config->sqs_visibility_s);
	if (call(s, "AmazonSQS.ChangeMessageVisibilityBatch", &body, CALL_TIMEOUT_S, NULL, &reply,
		&why) < 0 ||
	    sqs_batch_answer(buf_slice(&reply.body), failed, count, &why) < 0 || why.msg[0] != '\0')
		log_warn("sqs messages could not be kept hidden, they may come twice error=\"%s\"",
		    why.msg);
	aws_reply_release(&reply);
	buf_release(&body);
}

/* Of so many, how many one call takes. */
static size_t
some_of(size_t n)
{
	return n < SQS_BATCH_MAX ? n : SQS_BATCH_MAX;
}

/* While the database takes its time the messages must not come to somebody else. */
static void
extend(void *ctx)
{
	struct sqs *s = ctx;
	struct slice receipts[ROUND_MAX];

	for (size_t i = 0; i < s->count; i++)
		receipts[i] = s->messages[i].receipt;
	for (size_t i = 0; i < s->count; i += SQS_BATCH_MAX)
		extend_some(s, receipts + i, some_of(s->count - i));
}

static int
delete_some(struct sqs *s, const struct slice *receipts, size_t count, struct err *err)
{
	bool failed[SQS_BATCH_MAX];
	struct aws_reply reply;
	struct buf body;
	int result;

	buf_init(&body, REQUEST_MAX);
	aws_reply_init(&reply);
	sqs_delete_body(&body, s->queue_url, receipts, count);
	result = call(s, "AmazonSQS.DeleteMessageBatch", &body, CALL_TIMEOUT_S, NULL, &reply, err);
	if (result == 0)
		result = sqs_batch_answer(buf_slice(&reply.body), failed, count, err);
	if (result == 0 && err->msg[0] != '\0')
		log_warn(
		    "sqs messages were not deleted, they will come again error=\"%s\"", err->msg);
	aws_reply_release(&reply);
	buf_release(&body);
	return result;
}

/* What is not deleted comes again and does nothing then: a failure is told, no more. */
static int
delete_committed(struct sqs *s, struct err *err)
{
	struct slice receipts[ROUND_MAX];
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		if (s->units[i].result == UNIT_COMMITTED)
			receipts[n++] = s->messages[i].receipt;
	for (size_t i = 0; i < n; i += SQS_BATCH_MAX) {
		err->msg[0] = '\0';
		if (delete_some(s, receipts + i, some_of(n - i), err) < 0)
			return -1;
	}
	return 0;
}

/* ---- one round -------------------------------------------------------------------------- */

/* How often the message came: the queue's word, else what is remembered of it. */
static unsigned
receives_of(struct sqs *s, const struct sqs_message *m)
{
	uint64_t id = hash_slice(HASH_START, m->id);
	size_t i = (size_t)(id ^ (id >> 29)) & (COUNTERS - 1);

	if (m->receives > 0)
		return m->receives;
	if (s->counters[i].id != id)
		s->counters[i].receives = 0;
	s->counters[i].id = id;
	return ++s->counters[i].receives;
}

static void
read_message(struct sqs *s, struct pull *pull, size_t i)
{
	const struct sqs_message *m = &s->messages[i];
	struct unit *u = &s->units[i];
	unsigned receives;

	unit_reset(u);
	if (m->is_cut) {
		(void)err_set(&u->why, "its body is longer than %zu bytes", SQS_BODY_MAX);
		u->result = UNIT_LEFT;
	} else if (m->is_intact) {
		reader_notice(&s->reader, m->body, s->config->sqs_accept_unsigned, u);
	} else {
		(void)err_set(&u->why, "its body does not fit its MD5");
		u->result = UNIT_LEFT;
	}
	if (u->result != UNIT_LEFT)
		return;
	source_left(pull_source(pull));
	receives = receives_of(s, m);
	if ((long)receives < s->config->sqs_poison_after) {
		log_warn("sqs message is not acceptable, left in the queue id=%.*s receives=%u "
			 "error=\"%s\"",
		    SLICE_ARG(m->id), receives, u->why.msg);
		return;
	}
	log_error("sqs message is not acceptable, kept aside and deleted id=%.*s receives=%u "
		  "error=\"%s\"",
	    SLICE_ARG(m->id), receives, u->why.msg);
	reader_keep(u, "sqs", "poison", m->id, m->body, s->config->sqs_accept_unsigned);
}

/* Since when the oldest waits of those that are not deleted; what was not received is not known. */
static void
tell_lag(const struct sqs *s, struct pull *pull, bool is_over)
{
	int64_t oldest_us = 0;

	for (size_t i = 0; i < s->count; i++) {
		int64_t sent_us = s->messages[i].sent_us;

		if ((!is_over || s->units[i].result != UNIT_COMMITTED) && sent_us > 0 &&
		    (oldest_us == 0 || sent_us < oldest_us))
			oldest_us = sent_us;
	}
	source_lag(pull_source(pull), -1, oldest_us, -1);
}

static enum pull_verdict
run_round(void *ctx, struct pull *pull, struct err *err)
{
	struct sqs *s = ctx;
	time_t taken;

	s->stop = pull_stop_flag(pull);
	ses_inbox_set_stop(s->reader.sns.inbox, s->stop);
	taken = time(NULL);
	if (receive_round(s, pull, err) < 0)
		return PULL_FAILED;
	source_up(pull_source(pull), true);
	source_received(pull_source(pull), s->count);
	tell_lag(s, pull, false);
	if (s->count <= SQS_BATCH_MAX)
		taken = time(NULL); /* without the wait for them */
	for (size_t i = 0; i < s->count; i++) {
		if (time(NULL) - taken >= (s->config->sqs_visibility_s + 2) / 3) { /* S3 is slow */
			extend(s);
			taken = time(NULL);
		}
		read_message(s, pull, i);
	}
	pull_commit(pull, s->units, s->count);
	tell_lag(s, pull, true);
	return delete_committed(s, err) < 0 ? PULL_FAILED : PULL_MORE;
}

static void
release(void *ctx)
{
	struct sqs *s = ctx;

	for (size_t i = 0; i < ROUND_MAX; i++)
		unit_release(&s->units[i]);
	arena_release(&s->arena);
	curl_easy_cleanup(s->curl);
	reader_release(&s->reader);
	aws_credentials_wipe(&s->credentials);
	free(s);
}

/* The region of the queue's own address, unless another is given. The host is the queue's, too,
 * unless sqs.endpoint or the environment names one. */
static int
find_endpoint(struct sqs *s, struct err *err)
{
	const struct config *c = s->config;
	struct slice region;
	char name[64] = "";

	if (sqs_url_check(s->queue_url, &region, err) < 0)
		return -1;
	if (c->sqs_region[0] == '\0' && region.len > 0 && region.len < sizeof(name))
		memcpy(name, region.ptr, region.len);
	else
		aws_chain_region(c->sqs_region, name);
	return aws_endpoint_make(&s->endpoint, AWS_SQS, c->sqs_endpoint, name, err);
}

struct source *
sqs_source_new(uv_loop_t *loop, const struct config *config, const struct token_keys *keys,
    struct mail_worker *worker, const struct keep *keep, struct intake *intake, struct err *err)
{
	struct sqs *s = calloc(1, sizeof(*s));
	struct err why = { 0 };

	if (s == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	s->config = config;
	s->queue_url = slice_str(config->sqs_queue_url);
	arena_init(&s->arena, ROUND_MAX / SQS_BATCH_MAX * (SQS_ANSWER_MAX + (size_t)64 * 1024));
	for (size_t i = 0; i < ROUND_MAX; i++)
		unit_init(&s->units[i]);
	if (reader_init(&s->reader, config, keys, &why) < 0 || find_endpoint(s, &why) < 0) {
		(void)err_set(err, "[sqs]: %s", why.msg);
		release(s);
		return NULL;
	}
	reader_set_mail(&s->reader, worker, keep);
	if (s->reader.sns.policy.topic_count == 0 && !config->sqs_accept_unsigned)
		log_warn("feedback.sns_topics is empty and sqs.accept_unsigned is no: every "
			 "message of the queue is refused");
	log_info("sqs queue is polled host=%s region=%s", s->endpoint.host, s->endpoint.region);
	return pull_new(loop,
	    &(struct pull_config){ .name = "sqs",
		.ctx = s,
		.round = run_round,
		.beat = extend,
		.beat_ms = config->sqs_visibility_s * 1000 / 3,
		.release = release,
		.poll_ms = 1000,
		.intake = intake },
	    err);
}
