/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aws_endpoint: where a service of Amazon is reached. The order is that of Amazon's own kits:
 * an address given here, AWS_ENDPOINT_URL_SESV2 (_SQS, _STS, _S3), AWS_ENDPOINT_URL, the public host
 * of the region. Reads the environment, nothing else.
 */
#ifndef KAIRAN_AWS_ENDPOINT_H
#define KAIRAN_AWS_ENDPOINT_H

#include <stdbool.h>

#include "err.h"

enum aws_service { AWS_SESV2, AWS_SQS, AWS_STS, AWS_S3 };

struct aws_endpoint {
	char origin[300]; /* https://host[:port], to put a path behind */
	char host[280];	  /* value of the Host header, as it is signed */
	char region[41];
	const char
	    *signing_name; /* "ses", "sqs", "sts", "s3": never to be inferred from the host */
	bool is_tls;
	bool is_given; /* not the public host of the region */
};

/* given: an address, or "" or NULL. region: "" or NULL looks at AWS_REGION and
 * AWS_DEFAULT_REGION. 0, or -1 with err. */
MUST_CHECK int aws_endpoint_make(struct aws_endpoint *e, enum aws_service service,
    const char *given, const char *region, struct err *err);

#endif
