/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_credentials: as whom requests to Amazon SES are signed, and by whose clock. Credentials are
 * fetched by a thread where Amazon's kits look (aws_chain.h): with the first tick, again before they
 * end, and when SES refuses them.
 */
#ifndef KAIRAN_SES_CREDENTIALS_H
#define KAIRAN_SES_CREDENTIALS_H

#include <stdbool.h>

#include "aws_call.h"
#include "aws_endpoint.h"
#include "dispatcher.h"
#include "outcome.h"

struct ses_credentials;

struct ses_credentials_user {
	/* those that there are can be used, or cannot be had */
	void (*changed)(void *ctx);
	/* there are none, or none that SES takes; the next try follows by itself */
	void (*unwell)(void *ctx, const struct outcome *why);
};

/* endpoint: outlives it. NULL without memory. */
struct ses_credentials *ses_credentials_new(struct dispatcher *d,
    const struct aws_endpoint *endpoint, const struct ses_credentials_user *user, void *ctx);

/* After the end of the loop. */
void ses_credentials_free(struct ses_credentials *c);

/* Nothing is fetched and nothing told any more. */
void ses_credentials_stop(struct ses_credentials *c);

/* Each second: fetches those that end soon, or are not there. */
void ses_credentials_tick(struct ses_credentials *c);

/* Requests can be signed. */
bool ses_credentials_are_there(const struct ses_credentials *c);

/* SES does not take them: none are there until others have been fetched. */
void ses_credentials_refused(struct ses_credentials *c);

/* The head of the request, signed by their clock; borrowed until the next one. Empty when it is too
 * long or there is no memory. */
struct slice ses_credentials_sign(
    struct ses_credentials *c, const struct aws_request *request) MUST_CHECK;

/* Signs by the clock that the Date of an answer tells (RFC 9110 5.6.7) from now on. False, and nothing is
 * changed, when that differs by less than a signature is refused for, or says nothing. */
bool ses_credentials_take_clock(struct ses_credentials *c, const char *date);

#endif
