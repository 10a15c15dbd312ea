/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_inbox: see ses_inbox.h. Owns the credentials and the count of misses, both under the lock; the rest
 * is fixed after the beginning.
 */
#include "ses_inbox.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws_call.h"
#include "aws_chain.h"
#include "log.h"
#include "s3.h"
#include "ses_mail.h"
#include "hash.h"

#define MISSES_SLOTS 256
#define CREDENTIALS_TIMEOUT_S 10
#define CODE_MAX 60

struct miss {
	uint64_t hash; /* 0: free; another object in the same slot takes it over */
	unsigned count;
};

struct ses_inbox {
	struct mail_intake how;
	struct aws_endpoint endpoint;
	const char *ca_file;
	char *buckets_text; /* owned */
	struct slice buckets[SES_INBOX_BUCKETS_MAX];
	size_t bucket_count;
	atomic_bool is_stopping;
	const atomic_bool *stop;

	pthread_mutex_t lock;
	struct aws_credentials credentials;
	struct miss misses[MISSES_SLOTS];
};

/* ---- the beginning ---------------------------------------------------------------------- */

static int
read_buckets(struct ses_inbox *inbox, struct err *err)
{
	char *rest = NULL;

	for (char *at = strtok_r(inbox->buckets_text, ", \t\r\n", &rest); at != NULL;
	     at = strtok_r(NULL, ", \t\r\n", &rest)) {
		if (inbox->bucket_count == SES_INBOX_BUCKETS_MAX)
			return err_set(
			    err, "s3.buckets names more than %d buckets", SES_INBOX_BUCKETS_MAX);
		if (!s3_bucket_check(slice_str(at)))
			return err_set(err,
			    "s3.buckets: '%.100s' is no name of a bucket; e.g. "
			    "example-inbound-mail",
			    at);
		inbox->buckets[inbox->bucket_count++] = slice_str(at);
	}
	return 0;
}

struct ses_inbox *
ses_inbox_new(const struct config *config, const struct token_keys *keys, struct err *err)
{
	struct ses_inbox *inbox = calloc(1, sizeof(*inbox));
	struct err why = { 0 };
	char region[64];

	if (inbox == NULL || (inbox->buckets_text = strdup(config->s3_buckets)) == NULL) {
		(void)err_set(err, "no memory");
		free(inbox);
		return NULL;
	}
	(void)pthread_mutex_init(&inbox->lock, NULL);
	inbox->how = (struct mail_intake){ .keys = keys,
		.bounce_domain = slice_str(config->feedback_domain) };
	inbox->ca_file = config->s3_ca_file;
	inbox->stop = &inbox->is_stopping;
	if (read_buckets(inbox, err) < 0)
		goto fail;
	if (inbox->bucket_count == 0)
		return inbox;
	aws_chain_region(config->s3_region, region);
	if (aws_endpoint_make(&inbox->endpoint, AWS_S3, config->s3_endpoint, region, &why) == 0)
		return inbox;
	(void)err_set(err, "[s3]: %s", why.msg);
fail:
	ses_inbox_free(inbox);
	return NULL;
}

void
ses_inbox_free(struct ses_inbox *inbox)
{
	if (inbox == NULL)
		return;
	aws_credentials_wipe(&inbox->credentials);
	(void)pthread_mutex_destroy(&inbox->lock);
	free(inbox->buckets_text);
	free(inbox);
}

void
ses_inbox_set_mail(struct ses_inbox *inbox, struct mail_worker *worker, const struct keep *keep)
{
	inbox->how.worker = worker;
	inbox->how.keep = keep;
}

void
ses_inbox_set_stop(struct ses_inbox *inbox, const atomic_bool *stop)
{
	inbox->stop = stop;
}

void
ses_inbox_stop(struct ses_inbox *inbox)
{
	if (inbox != NULL)
		atomic_store(&inbox->is_stopping, true);
}

/* ---- misses ----------------------------------------------------------------------------- */

/* Over bucket, "/", key: to count, not to trust. */
static uint64_t
hash_of(const struct ses_mail *mail)
{
	uint64_t hash = hash_step(hash_slice(HASH_START, mail->bucket), '/');

	hash = hash_slice(hash, mail->key);
	return hash != 0 ? hash : 1;
}

/* How often it was not there, this time included; after the last of them the count begins anew. */
static unsigned
count_miss(struct ses_inbox *inbox, const struct ses_mail *mail)
{
	uint64_t hash = hash_of(mail);
	struct miss *m = &inbox->misses[hash % MISSES_SLOTS];
	unsigned count;

	(void)pthread_mutex_lock(&inbox->lock);
	if (m->hash != hash)
		*m = (struct miss){ .hash = hash };
	count = ++m->count;
	if (count >= SES_INBOX_MISSES_MAX)
		*m = (struct miss){ 0 };
	(void)pthread_mutex_unlock(&inbox->lock);
	return count;
}

/* ---- fetching --------------------------------------------------------------------------- */

static int
take_credentials(struct ses_inbox *inbox, struct aws_credentials *c, struct err *err)
{
	struct aws_chain chain = { .region = inbox->endpoint.region,
		.ca_file = inbox->ca_file,
		.timeout_s = CREDENTIALS_TIMEOUT_S };
	const char *from;
	int result = 0;

	(void)pthread_mutex_lock(&inbox->lock);
	if (inbox->credentials.access_key[0] == '\0' ||
	    (inbox->credentials.expires_s != 0 &&
		inbox->credentials.expires_s - AWS_REFRESH_BEFORE_S <= (int64_t)time(NULL))) {
		result = aws_chain_fetch(&chain, &inbox->credentials, &from, err);
		if (result == 0)
			log_info("s3 credentials from=%s", from);
	}
	*c = inbox->credentials;
	(void)pthread_mutex_unlock(&inbox->lock);
	return result;
}

/* Perhaps others by now. */
static void
forget_credentials(struct ses_inbox *inbox)
{
	(void)pthread_mutex_lock(&inbox->lock);
	aws_credentials_wipe(&inbox->credentials);
	(void)pthread_mutex_unlock(&inbox->lock);
}

/* <Code>NoSuchKey</Code>: letters and digits, or nothing. */
static struct slice
code_of(struct slice xml)
{
	const char *at = xml.len > 0 ? memmem(xml.ptr, xml.len, "<Code>", 6) : NULL;
	size_t n = 0, left;

	if (at == NULL)
		return slice_make(NULL, 0);
	at += 6;
	left = (size_t)(xml.ptr + xml.len - at);
	while (n < left && n < CODE_MAX &&
	    ((at[n] >= 'a' && at[n] <= 'z') || (at[n] >= 'A' && at[n] <= 'Z') ||
		(at[n] >= '0' && at[n] <= '9')))
		n++;
	return slice_make(at, n);
}

/* The HTTP status, 0: no answer, with err. */
static int
get_object(
    struct ses_inbox *inbox, const struct ses_mail *mail, struct aws_reply *reply, struct err *err)
{
	struct aws_credentials credentials = { 0 };
	struct aws_endpoint endpoint;
	struct aws_client client = { .endpoint = &endpoint,
		.credentials = &credentials,
		.ca_file = inbox->ca_file,
		.timeout_s = SES_INBOX_TIMEOUT_S,
		.stop = inbox->stop };
	struct buf path;
	int status = 0;

	buf_init(&path, 4 * S3_KEY_MAX);
	if (s3_place(&inbox->endpoint, mail->bucket, mail->key, &endpoint, &path, err) == 0 &&
	    take_credentials(inbox, &credentials, err) == 0 &&
	    aws_call(&client, &(struct aws_request){ .method = "GET", .path = buf_slice(&path) },
		reply, err) == 0)
		status = reply->status;
	aws_credentials_wipe(&credentials);
	buf_release(&path);
	return status;
}

/* SES_INBOX_READ with the object in reply, else what is to be done with the notice. */
static enum ses_inbox_result
fetch(struct ses_inbox *inbox, const struct ses_mail *mail, struct aws_reply *reply,
    const char **reason, struct err *err)
{
	int status = get_object(inbox, mail, reply, err);
	struct slice code = code_of(buf_slice(&reply->body));

	if (status == 200 && reply->whole)
		return SES_INBOX_READ;
	if (status == 200) {
		*reason = "object_too_large";
		(void)err_set(err, "the object is larger than %zu bytes: s3://%.*s/%.*s",
		    SES_INBOX_MAIL_MAX, SLICE_ARG(mail->bucket), SLICE_ARG(mail->key));
		return SES_INBOX_KEEP;
	}
	if (status == 404) {
		(void)err_set(err, "%.*s: s3://%.*s/%.*s", SLICE_ARG(code), SLICE_ARG(mail->bucket),
		    SLICE_ARG(mail->key));
		*reason = "object_missing";
		return count_miss(inbox, mail) < SES_INBOX_MISSES_MAX ? SES_INBOX_AGAIN
								      : SES_INBOX_KEEP;
	}
	if (status == 400 || status == 401 || status == 403)
		forget_credentials(inbox);
	if (status != 0)
		(void)err_set(err, "S3 says %d %.*s", status, SLICE_ARG(code));
	return SES_INBOX_AGAIN;
}

static bool
is_allowed(const struct ses_inbox *inbox, struct slice bucket)
{
	for (size_t i = 0; i < inbox->bucket_count; i++)
		if (slice_equal(inbox->buckets[i], bucket))
			return true;
	return false;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The mail in body, which is apart from the arena. */
static enum ses_inbox_result
read_mail(struct ses_inbox *inbox, const struct ses_mail *mail, struct slice raw,
    struct arena *arena, struct feedback_events *events, struct err *err)
{
	struct slice rcpts[SES_MAIL_RCPTS_MAX];
	struct mail_intake_mail in = { .raw = raw, .rcpts = rcpts, .rcpt_count = mail->rcpt_count };
	enum ses_inbox_result result = SES_INBOX_AGAIN;
	struct arena mine;
	bool is_whole = true;

	arena_init(&mine, (size_t)1024 * 1024);
	for (size_t i = 0; i < mail->rcpt_count; i++) {
		rcpts[i] = arena_copy(&mine, mail->rcpts[i]);
		is_whole = is_whole && rcpts[i].len > 0;
	}
	arena_reset(arena); /* a mail may need all of it */
	if (is_whole && mail_intake_read(&inbox->how, &in, arena, events) == 0)
		result = SES_INBOX_READ;
	else
		(void)err_set(err, "the mail cannot be read or kept now");
	arena_release(&mine);
	return result;
}

static enum ses_inbox_result
read_inline(struct ses_inbox *inbox, const struct ses_mail *mail, struct arena *arena,
    struct feedback_events *events, struct err *err)
{
	enum ses_inbox_result result = SES_INBOX_AGAIN;
	struct buf raw;

	buf_init(&raw, mail->content.len + 1);
	buf_append_slice(&raw, mail->content);
	if (buf_failed(&raw))
		(void)err_set(err, "no memory");
	else
		result = read_mail(inbox, mail, buf_slice(&raw), arena, events, err);
	buf_release(&raw);
	return result;
}

static enum ses_inbox_result
read_object(struct ses_inbox *inbox, const struct ses_mail *mail, struct arena *arena,
    struct feedback_events *events, const char **reason, struct err *err)
{
	enum ses_inbox_result result;
	struct aws_reply reply;

	if (!is_allowed(inbox, mail->bucket)) {
		*reason = "bucket_not_allowed";
		(void)err_set(err, "s3.buckets does not name it: s3://%.*s/%.*s",
		    SLICE_ARG(mail->bucket), SLICE_ARG(mail->key));
		return SES_INBOX_KEEP;
	}
	aws_reply_init(&reply);
	buf_init(&reply.body, SES_INBOX_MAIL_MAX);
	result = fetch(inbox, mail, &reply, reason, err);
	if (result == SES_INBOX_READ)
		result = read_mail(inbox, mail, buf_slice(&reply.body), arena, events, err);
	aws_reply_release(&reply);
	return result;
}

bool
ses_inbox_fetches(const struct ses_inbox *inbox, struct slice notice, struct arena *arena)
{
	struct ses_mail mail;
	struct err err;

	return ses_mail_is_likely(notice) && ses_mail_parse(notice, arena, &mail, &err) == 0 &&
	    mail.kind == SES_MAIL_S3 && is_allowed(inbox, mail.bucket);
}

enum ses_inbox_result
ses_inbox_read(struct ses_inbox *inbox, struct slice notice, struct arena *arena,
    struct feedback_events *events, const char **reason, struct err *err)
{
	enum ses_inbox_result result;
	struct ses_mail mail;

	if (!ses_mail_is_likely(notice))
		return SES_INBOX_OTHER;
	*reason = "unreadable";
	if (ses_mail_parse(notice, arena, &mail, err) < 0)
		result = SES_INBOX_KEEP;
	else if (mail.kind == SES_MAIL_NONE)
		return SES_INBOX_OTHER;
	else if (mail.kind == SES_MAIL_INLINE)
		result = read_inline(inbox, &mail, arena, events, err);
	else
		result = read_object(inbox, &mail, arena, events, reason, err);
	if (result == SES_INBOX_KEEP)
		log_error(
		    "mail of SES cannot be read, its notice is kept aside reason=%s error=\"%s\"",
		    *reason, err->msg);
	else if (result == SES_INBOX_AGAIN && !atomic_load(inbox->stop))
		log_warn("mail of SES cannot be read now, its notice comes again error=\"%s\"",
		    err->msg);
	return result;
}
