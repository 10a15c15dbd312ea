/* SPDX-License-Identifier: Apache-2.0 */
/* ses_client: see ses_client.h. */
#include "ses_client.h"

#include <curl/curl.h>
#include <poll.h>
#include <time.h>

#include "aws_chain.h"
#include "ses_answer.h"

#define PAUSE_MS 1000 /* between two requests */
#define TRIES 5	      /* while SES says that there are too many */

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int
ses_client_open(struct cli *cli, struct ses_client *c)
{
	const struct config *config = &cli->config;
	struct aws_chain chain = { .region = config->ses_region,
		.ca_file = config->ses_ca_file,
		.timeout_s = config->ses_connect_timeout_s };
	const char *source;
	char region[64];
	struct err err = { 0 };

	*c = (struct ses_client){ .cli = cli, .last_ms = now_ms() - PAUSE_MS };
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return cli_fail(cli, EXIT_FAILED, "cannot start libcurl");
	aws_chain_region(config->ses_region, region);
	if (aws_endpoint_make(&c->endpoint, AWS_SESV2, config->ses_endpoint, region, &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	if (aws_chain_fetch(&chain, &c->credentials, &source, &err) < 0)
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	return EXIT_DONE;
}

void
ses_client_close(struct ses_client *c)
{
	aws_credentials_wipe(&c->credentials);
	curl_global_cleanup();
}

static void
read_answer(const struct aws_reply *reply, struct ses_answer *a)
{
	struct ses_answer_input in = { .status = reply->status,
		.error_type = slice_str(reply->error_type),
		.body = buf_slice(&reply->body),
		.whole = reply->whole,
		.body_left = true };

	ses_answer_read(a, &in);
}

int
ses_client_ask(struct ses_client *c, const struct aws_request *request, struct aws_reply *reply)
{
	struct aws_client client = { .endpoint = &c->endpoint,
		.credentials = &c->credentials,
		.ca_file = c->cli->config.ses_ca_file,
		.timeout_s = c->cli->config.ses_connect_timeout_s };
	struct ses_answer a;
	struct err err = { 0 };

	for (int i = 0; i < TRIES; i++) {
		int64_t wait = c->last_ms + PAUSE_MS * (1LL << i) - now_ms();

		if (wait > 0)
			(void)poll(NULL, 0, (int)wait);
		c->last_ms = now_ms();
		aws_reply_release(reply);
		aws_reply_init(reply);
		if (aws_call(&client, request, reply, &err) < 0)
			return cli_fail(
			    c->cli, EXIT_TEMPORARY, "%s: %s", c->endpoint.host, err.msg);
		if (reply->status / 100 == 2)
			return EXIT_DONE;
		read_answer(reply, &a);
		if (a.action != SES_SLOW)
			return EXIT_DONE;
	}
	return EXIT_DONE;
}

int
ses_client_refused(struct cli *cli, const struct aws_reply *reply)
{
	struct ses_answer a;

	read_answer(reply, &a);
	return cli_fail(cli, a.action == SES_SLOW ? EXIT_TEMPORARY : EXIT_FAILED, "SES says: %.*s",
	    SLICE_ARG(a.outcome.text));
}
