/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aws_chain: finds credentials where Amazon's own kits look, in their order: environment, web
 * identity (AWS_WEB_IDENTITY_TOKEN_FILE), the shared files and their roles, the container agent,
 * the instance metadata service (version 2 only). Blocks (files, HTTP): call it in a worker
 * thread or a command. Nothing is kept between calls, so that rotated files and tokens count.
 *
 * Not offered: single sign-on, credential_process (no program is started), MFA.
 */
#ifndef KAIRAN_AWS_CHAIN_H
#define KAIRAN_AWS_CHAIN_H

#include "aws_credentials.h"
#include "err.h"

#define AWS_REFRESH_BEFORE_S 600 /* credentials that end sooner are fetched anew */

struct aws_chain {
	const char *region;  /* of STS; "": as aws_chain_region() finds it */
	const char *ca_file; /* for STS; "": the system's */
	long timeout_s;	     /* of each request to STS */
};

/* 0 with *c and *source (static: "environment", "instance", …), or -1 with err, which names
 * where it was looked. *c stays as it was then. */
MUST_CHECK int aws_chain_fetch(
    const struct aws_chain *chain, struct aws_credentials *c, const char **source, struct err *err);

/* given, AWS_REGION, AWS_DEFAULT_REGION, the profile's region; "" when none says it. */
void aws_chain_region(const char *given, char dst[64]);

/* May credentials be fetched from this address (AWS_CONTAINER_CREDENTIALS_FULL_URI)? https
 * anywhere; http on the own host and Amazon's link-local agents only. */
bool aws_chain_uri_is_allowed(const char *uri);

#endif
