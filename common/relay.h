/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: one smart host of the list `relay.host`: where it is, its share of the connections, and
 * whether it is well. Pure: the clock and chance are given; route connects.
 *
 * A list is entries between commas: HOST, HOST:PORT, [IPv6], [IPv6]:PORT or unix:/path, then
 * perhaps the word weight=N (1 to 100, its share of the connections; default 1) or backup (used
 * only while no other can be).
 *
 * A relay rests after a failure, longer each time, with some chance in it. Two kinds of rest:
 * after a failed connection no new one is made (those that work go on); after a throttling reply
 * nothing is begun on any connection.
 */
#ifndef KAIRAN_RELAY_H
#define KAIRAN_RELAY_H

#include <stdbool.h>
#include <sys/socket.h>

#include "err.h"
#include "outcome.h"

struct tlsa;

#define RELAYS_MAX 16
#define RELAY_NAME_MAX 255
#define RELAY_ADDRESSES_MAX 8
#define RELAY_FIRST_REST_MS 500
#define RELAY_LONGEST_REST_MS 60000
#define RELAY_QUOTA_REST_MS 600000 /* a day's quota is used up */
#define RELAY_SILENT_MAX 2	   /* that one keeps silent so often may be chance */

struct relay {
	char name[RELAY_NAME_MAX + 1]; /* host name, address, or path of a socket */
	unsigned port;
	bool local; /* name is the path of a unix socket */
	unsigned weight;
	bool backup;
	const char
	    *tls_name; /* what its certificate must be for: name, unless the caller says other */
	const struct tlsa *tlsa; /* what its certificate must match (DANE); NULL: nothing */

	/* what the name resolved to, in the resolver's order; `at` is tried next */
	struct sockaddr_storage addresses[RELAY_ADDRESSES_MAX];
	size_t address_count, at;
	size_t failed; /* addresses in a row that could not be connected to */
	bool resolving;

	unsigned most_messages; /* of one connection, by its provider; 0: as configured */
	unsigned connections;	/* open or being opened */
	unsigned working;	/* ... through EHLO and login */
	unsigned
	    silent; /* in a row: contents that it had whole, as far as we know, and did not answer */

	/* milliseconds of the caller's clock */
	uint64_t open_after_ms;	 /* no new connection before */
	uint64_t begin_after_ms; /* no message before */
	uint64_t clear_until_ms; /* opportunistic TLS failed: without it until then */
	unsigned rest_ms;	 /* of the next failed connection */
	unsigned throttle_ms;	 /* of the next throttling reply */

	size_t
	    size; /* of a message at most, as its last connection stated; 0: not known, or none */

	/* what this peer turned out not to manage, until the process ends */
	bool no_next_behind, no_pipelining, no_chunking;
};

/* 0 with *count relays, all well; or -1 with err. */
int relay_parse_list(struct relay list[RELAYS_MAX], size_t *count, const char *text,
    long default_port, struct err *err) MUST_CHECK;

/* The relay that the next connection should go to: of those that may be connected to now, and
 * before any backup, the one with the fewest connections for its weight. NULL: none now. */
struct relay *relay_choose(struct relay *list, size_t count, uint64_t now_ms);

/* A message may be begun on its connections now. */
bool relay_may_begin(const struct relay *r, uint64_t now_ms);

/* As far as is known. */
bool relay_takes(const struct relay *r, size_t bytes);

/* The one that a message of that size should be passed to, one that can be used now before others; backups
 * count while they are used. NULL: each is known to take less. */
struct relay *relay_choose_for(struct relay *list, size_t count, size_t bytes, uint64_t now_ms);

/* It can carry mail now, or be tried. */
bool relay_is_usable(const struct relay *r, uint64_t now_ms);

/* A connection failed before any message. True when it rests now and that should be told; false
 * when another address is to be tried at once, or it rests already. chance: any number. */
bool relay_unwell(
    struct relay *r, const struct outcome *why, uint64_t now_ms, unsigned chance) MUST_CHECK;

/* A reply said that we are too fast, have used up a quota, or may not send at all. True when that
 * should be told. */
bool relay_throttled(
    struct relay *r, const struct outcome *why, uint64_t now_ms, unsigned chance) MUST_CHECK;

/* A connection works; a message was taken. */
void relay_works(struct relay *r);
void relay_took(struct relay *r, uint64_t now_ms);

/* What became of a message. A relay that does not answer for contents gets one connection at a time, so that few are
 * in doubt by it. True when that begins, and should be told. */
bool relay_hear(struct relay *r, const struct outcome *o) MUST_CHECK;

/* Such a one, and it has its connection. */
bool relay_needs_proof(const struct relay *r);

/* True for an outcome that speaks of the sender's account or pace at the relay, not of the
 * recipient: such a recipient is given back, and the relay rests. */
bool relay_is_to_blame(const struct outcome *o);

/* Amazon SES by SMTP says behind the dot, as a refusal, what is wrong with the account or the sender (identity or
 * MAIL FROM domain not verified, not authorized). True: the outcome is now one that the relay is to blame for, its
 * text without the addresses that it named. to: the recipient; in a sandbox it may be the one that is not verified. */
bool relay_take_blame(struct outcome *o, struct slice to);

#endif
