/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_route: flights to the Amazon SES API v2 in place of SMTP sessions: SendEmail with Content.Raw or
 * Content.Simple, SendBulkEmail, as the run's stream asks (ses_content.h).
 * The route owns the ready flights and holds back while SES is unwell, as it does for a relay;
 * this side owns the requests: credentials and their refresh, pace by the account's rate,
 * concurrency by Little's law (rate x latency, up to ses.connections), and what each answer means.
 */
#ifndef KAIRAN_SES_ROUTE_H
#define KAIRAN_SES_ROUTE_H

#include "dispatcher.h"
#include "session.h"

struct ses_route;

/* `host` and `relay`, which it hands back to them, outlive it; of host's functions take, give_back,
 * unwell and works are used. Credentials
 * are looked for at once, without waiting. NULL with err. */
struct ses_route *ses_route_new(
    struct dispatcher *d, const struct session_host *host, struct relay *relay, struct err *err);
void ses_route_free(struct ses_route *r);

/* Takes due flights and sends them, as many as may go now. Safe to call at any time. */
void ses_route_kick(struct ses_route *r);

/* True when it would take a flight now. */
bool ses_route_is_free(const struct ses_route *r);

/* Nothing new; what is under way is finished. */
void ses_route_stop(struct ses_route *r);
/* No request under way. */
bool ses_route_is_idle(const struct ses_route *r);

/* Requests under way. */
size_t ses_route_requests(const struct ses_route *r);

/* "email.ap-northeast-1.amazonaws.com"; borrowed. */
const char *ses_route_name(const struct ses_route *r);

#endif
