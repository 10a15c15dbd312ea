/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy: what [pace] of the configuration and the provider table say about a group: whether
 * its hours are guarded, how fast it may go, whether its recipients need a list of their own.
 * Reads its files once; what comes after does no I/O. What operators set while programs run
 * (policy_set) lies over the configuration; one thread at a time uses a policy.
 */
#ifndef KAIRAN_POLICY_H
#define KAIRAN_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "calendar.h"
#include "config.h"
#include "err.h"
#include "plan.h"
#include "providers.h"
#include "routes.h"

#define POLICY_POOL "kairan" /* all streams and dispatchers share one pool of limiters */
#define POLICY_TAIL_LANES 16
#define POLICY_OWN_MIN 500	/* recipients from which a site without a group has its own lane, */
#define POLICY_OWN_SHARE 0.0005 /* and their share of the run */

struct policy;

/* The built-in provider table with pace.providers over it, and the time zones it names. Owned;
 * NULL with err that names the key or the line. */
struct policy *policy_new(const struct config *config, struct err *err) MUST_CHECK;
void policy_free(struct policy *p);

/* Whether this host has the zone of every group, without which policy_new() refuses the table. 0, or
 * -1 with err, whose offset is the line of the override, 0 for a row below it. */
int policy_check_zones(const struct providers *table, struct err *err) MUST_CHECK;

const struct providers *policy_providers(const struct policy *p);
enum plan_mode policy_mode(const struct policy *p);
double policy_account_per_s(const struct policy *p); /* 0: no limit */

/* Names of what can be set; a group's name follows the last one. */
#define POLICY_SET_ACCOUNT "account_rate"
#define POLICY_SET_GUARD "hour_guard"
#define POLICY_SET_GROUP "group:"

/* All that is set is given anew between begin, which returns to the configuration, and end, which
 * says whether the policy differs from the last one; version counts how often. policy_set: 0, or
 * -1 with err: an unknown name or group, a rate that is none. */
void policy_begin_settings(struct policy *p);
int policy_set(struct policy *p, const char *name, const char *value, struct err *err) MUST_CHECK;
bool policy_end_settings(struct policy *p);

/* Whether transactional mail goes out now and then; given anew like the settings. The part of a
 * limit that other mail leaves to it then, 0..0.5, is pace.urgent_share. */
void policy_set_urgent(struct policy *p, bool in_use);
bool policy_urgent_in_use(const struct policy *p);
double policy_urgent_part(const struct policy *p);

/* What Amazon SES allows: messages a second and in 24 hours (0: no limit); given anew like the
 * settings, but kept between begin and end. The account's rate and the quota are the lowest of
 * what is known. */
void policy_set_account(struct policy *p, double per_s, uint64_t quota);
uint64_t policy_quota(const struct policy *p); /* 0: no limit */

/* The limit of a warm-up in 24 hours by its schedule and day; given anew like the settings. 0, or
 * -1 with err: there is no such schedule. */
int policy_set_warmup(struct policy *p, const char *schedule, int day, struct err *err) MUST_CHECK;

uint64_t policy_warmup(const struct policy *p); /* that limit; 0: none */

/* Of the account's rate, what is left for other mail; 0: no limit. */
double policy_bulk_per_s(const struct policy *p);
uint64_t policy_version(const struct policy *p);

/* A zone of this host by its name, kept with the policy; NULL with err. */
const struct zone *policy_zone_named(struct policy *p, const char *name, struct err *err);

/* Whose hours the group's guard keeps, and how much before it releases stop. */
const struct zone *policy_zone(const struct policy *p, int group);
double policy_lead_us(const struct policy *p);

/* Recipients from which a site without a group has a lane of its own in a run of so many. */
uint64_t policy_site_min(uint64_t recipients);

/* The group's guard as far as pace.hour_guard wants it. */
enum guard_mode policy_guard(const struct policy *p, int group);

/* The end of the time around :00 or :30 that `at` lies in, when the group's guard is soft: nothing rises until then.
 * `at` when it lies in none. */
double policy_soft_until(const struct policy *p, int group, double at);
double policy_soft_factor(const struct policy *p); /* pace.guard_soft_factor */

/* The rate that a group, or one site of the default group, is held to; 0: none. */
double policy_cap_per_s(const struct policy *p, int group);
double policy_set_cap_per_s(const struct policy *p, int group); /* what was set of it; 0: nothing */

/* The ways that the group leaves by; NULL: that of all that have none. */
const struct routes_group *policy_routes(const struct policy *p, int group);
/* Whether a group has several. */
bool policy_divides(const struct policy *p);
const struct routes *policy_ways(const struct policy *p);

/* Whether the lane has a clock of its own. tail: one of the tail lanes, which hold many sites. */
bool policy_is_paced(const struct policy *p, int group, bool tail);

/* When the group is open, from `from` till `till` (us since 2026); begin: of its run. Ramps are
 * closed when `steps` is false: without a rate there is nothing to ramp; nor is then a soft guard's factor. out is emptied first;
 * -1 without memory. */
int policy_shape(const struct policy *p, int group, double begin, double from, double till,
    bool steps, struct shape *out) MUST_CHECK;

/* Whether mail to the group has a rate, whatever its stream says. */
bool policy_is_limited(const struct policy *p, int group);

/* The first moment from `at` on at which something may leave for the group; begin and steps as of
 * policy_shape(). INFINITY when a long pace.guard_lead_s leaves none; `at` without memory. */
double policy_opens(const struct policy *p, int group, double begin, double at, bool steps);

#endif
