/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_ses: see doctor_ses.h. */
#include "doctor_ses.h"

#include <string.h>

#include "aws_call.h"
#include "aws_chain.h"
#include "doctor_identity.h"
#include "ses_request.h"

void
doctor_judge_account(
    struct doctor_checks *d, const char *endpoint, const struct ses_account *account)
{
	size_t before = d->count;

	if (!account->sending || strcmp(account->enforcement, "SHUTDOWN") == 0)
		(void)doctor_add(d, "ses", DOCTOR_FAILED, endpoint,
		    "look at the account's state in the console of Amazon SES; nothing is lost, "
		    "runs wait",
		    "Amazon SES has paused sending for this account and region");
	else if (strcmp(account->enforcement, "PROBATION") == 0)
		(void)doctor_add(d, "ses", DOCTOR_WARNING, endpoint,
		    "answer the review and bring bounces and complaints down: see the view "
		    "reputation",
		    "Amazon SES reviews this account");
	if (!account->production)
		(void)doctor_add(d, "ses", DOCTOR_WARNING, endpoint,
		    "ask for production access in this region; until then runs leave out whoever "
		    "is neither verified there nor at the mailbox simulator "
		    "(unverified_sandbox)",
		    "the account is in the sandbox: verified recipients only, %.0f in 24 hours, "
		    "%.0f a second",
		    account->max_24h, account->max_rate);
	if (d->count == before)
		(void)doctor_add(d, "ses", DOCTOR_OK, endpoint, "",
		    "the account sends, %.2f recipients a second", account->max_rate);
}

static int
ask(const struct aws_client *client, struct ses_account *account, struct err *err)
{
	struct aws_request request = { .method = "GET", .path = SLICE(SES_ACCOUNT_PATH) };
	struct aws_reply reply;
	int result = -1;

	aws_reply_init(&reply);
	if (aws_call(client, &request, &reply, err) == 0)
		result = reply.status == 200
		    ? ses_account_parse(account, buf_slice(&reply.body), err)
		    : err_set(err, "GetAccount is refused: HTTP status %d %.60s", reply.status,
			  reply.error_type);
	aws_reply_release(&reply);
	return result;
}

void
doctor_check_account(
    struct doctor_checks *d, const struct config *config, const char *const *domains)
{
	struct aws_chain chain = { .region = config->ses_region,
		.ca_file = config->ses_ca_file,
		.timeout_s = config->ses_connect_timeout_s };
	struct aws_credentials credentials = { 0 };
	struct aws_endpoint endpoint;
	struct aws_client client = { .endpoint = &endpoint,
		.credentials = &credentials,
		.ca_file = config->ses_ca_file,
		.timeout_s = config->ses_connect_timeout_s };
	struct ses_account account;
	struct err err = { 0 };
	const char *source;
	char region[64];

	if (strcmp(config->dispatcher_transport, "ses") != 0)
		return;
	aws_chain_region(config->ses_region, region);
	if (aws_endpoint_make(&endpoint, AWS_SESV2, config->ses_endpoint, region, &err) < 0) {
		(void)doctor_add(d, "ses", DOCTOR_SKIPPED, "Amazon SES", "", "%s", err.msg);
		return;
	}
	if (aws_chain_fetch(&chain, &credentials, &source, &err) < 0 ||
	    ask(&client, &account, &err) < 0) {
		(void)doctor_add(d, "ses", DOCTOR_SKIPPED, endpoint.host,
		    "kairan ses account tells more", "%s", err.msg);
	} else {
		doctor_judge_account(d, endpoint.host, &account);
		/* with an ARN the identity is of another account, which is not asked */
		if (config->ses_identity_arn[0] == '\0')
			doctor_check_identities(d, config, &client, domains);
	}
	aws_credentials_wipe(&credentials);
}
