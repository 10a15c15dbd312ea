/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_client: the API of Amazon SES for commands: region, endpoint and credentials as the dispatcher
 * finds them, and no more than one request a second, which is what SES allows for all but sending.
 */
#ifndef KAIRAN_SES_CLIENT_H
#define KAIRAN_SES_CLIENT_H

#include "aws_call.h"
#include "cli.h"

struct ses_client {
	struct cli *cli;
	struct aws_endpoint endpoint;
	struct aws_credentials credentials;
	int64_t last_ms; /* last request */
};

/* EXIT_DONE, or an exit code after printing the reason. */
int ses_client_open(struct cli *cli, struct ses_client *c) MUST_CHECK;
void ses_client_close(struct ses_client *c);

/* One request; repeated when SES asks for patience (a few times, seconds apart). EXIT_DONE with an
 * answer of any status in reply (init'ed by the caller), else an exit code after printing. */
int ses_client_ask(
    struct ses_client *c, const struct aws_request *request, struct aws_reply *reply) MUST_CHECK;

/* Prints what SES refuses and why; returns the exit code. */
int ses_client_refused(struct cli *cli, const struct aws_reply *reply);

#endif
