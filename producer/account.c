/* SPDX-License-Identifier: Apache-2.0 */
/* account: see account.h. */
#include "account.h"

#include <string.h>
#include <time.h>

#include "aws_call.h"
#include "aws_chain.h"
#include "sandbox.h"
#include "ses_answer.h"
#include "ses_request.h"

void
account_init(struct account *a)
{
	*a = (struct account){ .figures = { .max_24h = -1 } };
	(void)pthread_mutex_init(&a->lock, NULL);
}

bool
account_is_ses(const struct config *config)
{
	return strcmp(config->dispatcher_transport, "ses") == 0;
}

int
account_ask(struct account *a, const struct config *config, struct db *db, const atomic_bool *stop,
    struct err *err)
{
	struct aws_chain chain = { .region = config->ses_region,
		.ca_file = config->ses_ca_file,
		.timeout_s = config->ses_connect_timeout_s };
	struct aws_request request = { .method = "GET", .path = SLICE(SES_ACCOUNT_PATH) };
	struct aws_credentials credentials = { 0 };
	struct aws_endpoint endpoint;
	struct aws_client client = { .endpoint = &endpoint,
		.credentials = &credentials,
		.ca_file = config->ses_ca_file,
		.timeout_s = config->ses_connect_timeout_s,
		.stop = stop };
	struct ses_account account;
	struct aws_reply reply;
	const char *source;
	char region[64];
	int result = -1;

	aws_reply_init(&reply);
	aws_chain_region(config->ses_region, region);
	if (aws_endpoint_make(&endpoint, AWS_SESV2, config->ses_endpoint, region, err) < 0 ||
	    aws_chain_fetch(&chain, &credentials, &source, err) < 0 ||
	    aws_call(&client, &request, &reply, err) < 0)
		goto out;
	if (reply.status != 200) {
		(void)err_set(err, "GetAccount was refused with status %d %.100s", reply.status,
		    reply.error_type);
		goto out;
	}
	if (ses_account_parse(&account, buf_slice(&reply.body), err) < 0)
		goto out;
	(void)pthread_mutex_lock(&a->lock);
	a->figures = (struct rds_account){ .max_24h = account.max_24h,
		.max_rate = account.max_rate,
		.sent_24h = account.sent_24h,
		.paused = account.sending ? 0 : 1,
		.at = (double)time(NULL) };
	a->fresh = true;
	(void)pthread_mutex_unlock(&a->lock);
	result = db != NULL ? sandbox_keep(db, &client, !account.production, err) : 0;
out:
	aws_credentials_wipe(&credentials);
	aws_reply_release(&reply);
	return result;
}

void
account_peek(struct account *a, struct rds_account *figures)
{
	(void)pthread_mutex_lock(&a->lock);
	*figures = a->figures;
	(void)pthread_mutex_unlock(&a->lock);
}

bool
account_take(struct account *a, struct rds_account *figures)
{
	bool fresh;

	(void)pthread_mutex_lock(&a->lock);
	*figures = a->figures;
	fresh = a->fresh;
	a->fresh = false;
	(void)pthread_mutex_unlock(&a->lock);
	return fresh;
}
