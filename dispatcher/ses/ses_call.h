/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_call: one request to the Amazon SES API at a time, with the flights that it carries, on a link of
 * its own: SendEmail for one, SendBulkEmail for up to SES_BULK_RECIPIENTS_MAX of one run. Marks them
 * before the request can be whole, and says of each what the answer means: to the settler, or back to
 * the route. What it means for the account is told to whoever owns the call.
 */
#ifndef KAIRAN_SES_CALL_H
#define KAIRAN_SES_CALL_H

#include <stdbool.h>

#include "aws_endpoint.h"
#include "dispatcher.h"
#include "flight.h"
#include "ses_answer.h"
#include "ses_compose.h"
#include "ses_credentials.h"
#include "ses_link.h"
#include "ses_request.h"
#include "session.h"

struct ses_call;

/* What calls share and whom they tell. Borrowed for their life. */
struct ses_call_host {
	struct dispatcher *d;
	const struct session_host *route; /* give_back is used */
	struct relay *relay;		  /* for it */
	const struct aws_endpoint *endpoint;
	struct ses_credentials *credentials;
	struct ses_link_place *place;

	void *ctx;
	/* the request is about to be whole, and counts from now on */
	void (*left)(void *ctx, const struct ses_call *call);
	/* a status came after so long */
	void (*answered)(void *ctx, double latency_s);
	/* what the answer says of the account, after the flights were told; date: of the answer */
	void (*heard)(
	    void *ctx, const struct ses_call *call, const struct ses_answer *a, const char *date);
	/* no answer, and not by our own wish */
	void (*silent)(void *ctx, const struct ses_call *call, const struct outcome *why);
	/* no connection, since we have no descriptor or port left for it */
	void (*crowded)(void *ctx, const struct ses_call *call, const struct outcome *why);
	/* empty again; last of all, and perhaps before ses_call_begin() returns */
	void (*done)(void *ctx, struct ses_call *call);
};

struct ses_call {
	const struct ses_call_host *host;
	struct ses_link *link;
	struct ses_body body;
	struct flight *flights[SES_BULK_RECIPIENTS_MAX];
	size_t count;
	bool bulk;
	uint64_t since_us; /* taken from the idle ones */
	uint64_t begun_us;
	unsigned epoch; /* of its owner, when it was begun */
	bool marked;	/* past the point of no return */
};

/* False without memory; release it either way. */
bool ses_call_init(struct ses_call *call, const struct ses_call_host *host) MUST_CHECK;
void ses_call_release(struct ses_call *call);

/* Sends the body; has its flights from then on. epoch: for its owner. */
void ses_call_begin(struct ses_call *call, unsigned epoch);

#endif
