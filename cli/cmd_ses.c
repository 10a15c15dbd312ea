/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_ses: `kairan ses account`: what Amazon SES says of the account in the configured region. */
#include "cli.h"

#include <curl/curl.h>
#include <string.h>

#include "aws_call.h"
#include "aws_chain.h"
#include "ses_answer.h"
#include "ses_request.h"

/* A signed GET with credentials as the dispatcher finds them. 0 with an answer, else an exit code
 * after printing the reason. */
static int
ask(struct cli *cli, const char *path, struct aws_reply *reply, struct aws_endpoint *endpoint)
{
	const struct config *config = &cli->config;
	struct aws_request request = { .method = "GET", .path = slice_str(path) };
	struct aws_credentials credentials = { 0 };
	struct aws_client client = { .endpoint = endpoint,
		.credentials = &credentials,
		.ca_file = config->ses_ca_file,
		.timeout_s = config->ses_connect_timeout_s };
	struct aws_chain chain = { .region = config->ses_region,
		.ca_file = config->ses_ca_file,
		.timeout_s = config->ses_connect_timeout_s };
	const char *source;
	char region[64];
	struct err err = { 0 };
	int code = EXIT_DONE;

	aws_chain_region(config->ses_region, region);
	if (aws_endpoint_make(endpoint, AWS_SESV2, config->ses_endpoint, region, &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	if (aws_chain_fetch(&chain, &credentials, &source, &err) < 0)
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	if (aws_call(&client, &request, reply, &err) < 0)
		code = cli_fail(cli, EXIT_TEMPORARY, "%s: %s", endpoint->host, err.msg);
	aws_credentials_wipe(&credentials);
	return code;
}

static int
refused(struct cli *cli, const struct aws_reply *reply)
{
	struct ses_answer_input in = { .status = reply->status,
		.error_type = slice_str(reply->error_type),
		.body = buf_slice(&reply->body),
		.whole = reply->whole,
		.body_left = true };
	struct ses_answer a;

	ses_answer_read(&a, &in);
	return cli_fail(cli, a.action == SES_SLOW ? EXIT_TEMPORARY : EXIT_FAILED, "SES says: %.*s",
	    SLICE_ARG(a.outcome.text));
}

static void
print_account(const struct cli *cli, const struct aws_endpoint *e, const struct ses_account *a)
{
	if (cli->json) {
		cli_print_json(json_pack("{s:s, s:s, s:f, s:f, s:f, s:b, s:b, s:s, s:b, s:b}",
		    "region", e->region, "endpoint", e->host, "max_24h", a->max_24h, "max_rate",
		    a->max_rate, "sent_24h", a->sent_24h, "sending", a->sending, "production",
		    a->production, "enforcement", a->enforcement, "suppresses_bounces",
		    a->suppress_bounces, "suppresses_complaints", a->suppress_complaints));
		return;
	}
	printf("region        %s (%s)\n", e->region, e->host);
	printf("sending       %s\n", a->sending ? "enabled" : "DISABLED");
	printf("access        %s\n",
	    a->production ? "production" : "sandbox: verified recipients only");
	fputs("enforcement   ", stdout);
	cli_put_text(stdout, a->enforcement);
	printf("\nrate          %.2f recipients a second\n", a->max_rate);
	if (a->max_24h < 0)
		printf("quota         unlimited; %.0f sent in 24 hours\n", a->sent_24h);
	else
		printf(
		    "quota         %.0f in 24 hours, %.0f of them sent\n", a->max_24h, a->sent_24h);
	printf("suppression   %s\n",
	    a->suppress_bounces && a->suppress_complaints ? "bounces and complaints"
		: a->suppress_bounces			  ? "bounces"
		: a->suppress_complaints		  ? "complaints"
							  : "off");
}

static int
run_account(struct cli *cli, int argc, char **argv)
{
	struct aws_endpoint endpoint;
	struct ses_account account;
	struct aws_reply reply;
	struct err err;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 0)
		return cli_fail(cli, EXIT_USAGE, "no argument is needed: kairan ses account");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return cli_fail(cli, EXIT_FAILED, "cannot start libcurl");
	aws_reply_init(&reply);
	code = ask(cli, SES_ACCOUNT_PATH, &reply, &endpoint);
	if (code == EXIT_DONE && reply.status != 200)
		code = refused(cli, &reply);
	else if (code == EXIT_DONE && ses_account_parse(&account, buf_slice(&reply.body), &err) < 0)
		code = cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	else if (code == EXIT_DONE)
		print_account(cli, &endpoint, &account);
	aws_reply_release(&reply);
	curl_global_cleanup();
	return code;
}

const struct cli_command cli_ses_commands[] = {
	{ "ses account", "", "show rate, quota and standing of the account at Amazon SES",
	    "Region, endpoint and credentials are those of the dispatcher; see kairan.conf(5).\n"
	    "\n"
	    "Example:\n"
	    "  AWS_PROFILE=shop kairan ses account --json\n",
	    true, run_account },
	{ 0 },
};
