/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_ses: `kairan ses account`: what Amazon SES says of the account in the configured region. */
#include "cmd_ses.h"

#include "ses_client.h"
#include "ses_request.h"

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

int
ses_ask_account(struct cli *cli, struct ses_account *account, struct aws_endpoint *endpoint)
{
	struct aws_request request = { .method = "GET", .path = SLICE(SES_ACCOUNT_PATH) };
	struct ses_client client;
	struct aws_reply reply;
	struct err err;
	int code;

	aws_reply_init(&reply);
	code = ses_client_open(cli, &client);
	if (code == EXIT_DONE)
		code = ses_client_ask(&client, &request, &reply);
	if (code == EXIT_DONE && reply.status != 200)
		code = ses_client_refused(cli, &reply);
	else if (code == EXIT_DONE && ses_account_parse(account, buf_slice(&reply.body), &err) < 0)
		code = cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	*endpoint = client.endpoint;
	aws_reply_release(&reply);
	ses_client_close(&client);
	return code;
}

static int
run_account(struct cli *cli, int argc, char **argv)
{
	struct aws_endpoint endpoint;
	struct ses_account account;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 0)
		return cli_fail(cli, EXIT_USAGE, "no argument is needed: kairan ses account");
	code = ses_ask_account(cli, &account, &endpoint);
	if (code == EXIT_DONE)
		print_account(cli, &endpoint, &account);
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
