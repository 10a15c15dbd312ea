/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_site: destinations. A site is what several domains share: the same mail servers in the same order.
 * It owns the flights that wait for it, its servers (peers), its connections and its rest after
 * trouble; nothing of it touches another site but the common number of connections.
 *
 * Limits: connections of one site, which all dispatchers share (mx_lease), of all sites, and what our addresses may do
 * (mx_allowance); waiting flights of all, and of one site when half of
 * those are taken. A flight that finds no room, waits for longer than mx.patience_s, or comes while
 * the site rests, is postponed: its row is deferred without a step of the retry ladder until the site
 * is expected to have room.
 */
#ifndef KAIRAN_MX_SITE_H
#define KAIRAN_MX_SITE_H

#include "dispatcher.h"
#include "dnsloop.h"
#include "flight.h"
#include "mx.h"
#include "mx_allowance.h"
#include "mx_lease.h"
#include "policy.h"
#include "ready.h"
#include "session.h"
#include "strmap.h"

#define MX_SOURCES_MAX 16

/* An address of ours to connect from. */
struct mx_source {
	struct mx_sites *all;
	struct sockaddr_storage from; /* AF_UNSPEC: the kernel's choice */
	char ehlo[DNS_NAME_MAX + 1];
	struct session_host open, secure; /* without and with verification */
	struct mx_allowance allowance;
};

struct mx_site;

struct mx_sites {
	struct dispatcher *d;
	struct dnsloop *dns;
	struct policy *policy; /* its table of providers */
	struct mx_source sources[MX_SOURCES_MAX];
	size_t source_count;
	struct source_limits limits; /* of sources */
	uv_timer_t turn;	     /* when a source's rate lets the next message pass */
	struct strmap by_key;
	struct mx_leases *leases;	      /* owned */
	struct mx_site *active, **active_end; /* those with waiting flights */
	unsigned connections;		      /* of all sites, open or being opened */
	uint64_t warn_again_ms;		      /* that descriptors run out */
	size_t waiting;			      /* flights in sites */
	bool tls;			      /* STARTTLS is tried */
	bool dane;			      /* TLSA records are obeyed */
	bool stopping, kicking;
	void *ctx;
	/* a connection works (why NULL), or a site cannot be reached, for the first time in a row */
	void (*reached)(void *ctx, const struct outcome *why);
};

/* "ADDRESS NAME, ADDRESS NAME" (mx.source); "" is one source without an address. ehlo: the name of
 * those without one. 0, or -1 with err. Pure. */
int mx_read_sources(struct mx_source list[MX_SOURCES_MAX], size_t *count, const char *text,
    const char *ehlo, struct err *err) MUST_CHECK;

/* mx.source_rates, of addresses in the list only. 0, or -1 with err. Pure. */
int mx_read_source_rates(struct source_limits *limits, const struct mx_source *list, size_t count,
    const char *text, struct err *err) MUST_CHECK;

/* As inet_ntop() writes it; "" for the kernel's choice. */
void mx_source_address(const struct mx_source *source, char address[SOURCE_LIMITS_ADDRESS]);

/* d, dns, policy, tls, dane, sources (from, ehlo, and the tls of their hosts), limits, ctx and reached are set; the rest is
 * made here. False without memory. */
bool mx_sites_begin(struct mx_sites *all) MUST_CHECK;
/* Nothing new; connections finish what they have in hand. */
void mx_sites_stop(struct mx_sites *all);
void mx_sites_release(struct mx_sites *all);

/* The site of these hosts, made when there is none; the domain's provider is that of a site whose hosts the
 * table does not know. One more domain counts on it. NULL without memory. */
struct mx_site *mx_site_join(
    struct mx_sites *all, const struct mx_plan *plan, bool secure, const char *domain);
/* One domain less. */
void mx_site_leave(struct mx_site *site);

/* Takes the flight: it waits here, or is postponed. */
void mx_site_add(struct mx_site *site, struct flight *f);

/* Postpones a flight, or releases it when its run or the program ends. Takes the flight. */
void mx_postpone(
    struct mx_sites *all, struct flight *f, const struct outcome *why, uint64_t wait_ms);

/* Every site with waiting flights gets connections, as far as there are any. */
void mx_sites_kick(struct mx_sites *all);

/* Once a second: flights that waited too long, sites that nobody needs. */
void mx_sites_sweep(struct mx_sites *all);

/* Releases the waiting flights of a run, or all (run NULL). */
void mx_sites_release_run(struct mx_sites *all, struct live_run *run);

#endif
