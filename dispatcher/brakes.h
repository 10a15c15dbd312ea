/* SPDX-License-Identifier: Apache-2.0 */
/*
 * brakes: what this dispatcher hears of destinations goes to the leading producer, by a list in Redis
 * every BRAKES_EVERY_MS; what the producer makes of it (common/pace/brake.h) comes back the same way.
 * Rates are kept by the permits alone; here recipients of a destination on hold are put back, and
 * connections to it are limited.
 *
 * A destination is the provider of the recipient's domain, or of the mail server that spoke (mx);
 * else the domain. Replies of a relay are its own: of them only rules count that name a provider and
 * its words, since relays hand on what providers say. All functions take NULL: pace.adaptive is off.
 */
#ifndef KAIRAN_BRAKES_H
#define KAIRAN_BRAKES_H

#include "brake_ear.h"
#include "dispatcher.h"
#include "flight.h"
#include "outcome.h"
#include "providers.h"

#define BRAKES_EVERY_MS 250
#define BRAKES_MAX 2000 /* destinations known at once; further ones are not braked */

struct brakes;

/* wait_s: of BRAKES_POSTPONE and, at least, of BRAKES_LATER. */
struct brakes_advice {
	enum brakes_way way;
	long wait_s;
};

/* *brakes is NULL when pace.adaptive is off. -1 with err. */
int brakes_new(struct brakes **brakes, struct dispatcher *d, struct err *err) MUST_CHECK;
void brakes_free(struct brakes *b);
void brakes_stop(struct brakes *b);

/* An outcome of a transaction with a remote host, not of our own making. Makes a refusal that is not
 * about the recipient a deferral. */
struct brakes_advice brakes_hear(struct brakes *b, const struct flight *f, struct outcome *o);

/* A mail server refused a connection before any message. */
void brakes_hear_host(struct brakes *b, const char *host, const struct outcome *why);

/* What Amazon SES said of the account; REACTION_NONE: nothing, it took a message. */
void brakes_hear_account(struct brakes *b, enum reaction reaction, int code);

/* True when its destination is on hold: it was put back or postponed. host: of an mx, "" else. */
bool brakes_keep(struct brakes *b, struct flight *f, const char *host);

/* Most connections to this mail server, and messages of one: at most `configured`. */
unsigned brakes_connections(const struct brakes *b, const char *host, unsigned configured);
unsigned brakes_messages(const struct brakes *b, const char *host, unsigned configured);

/* b: NULL without brakes, then all are 0. */
void brakes_metrics(const struct brakes *b, struct buf *out);

#endif
