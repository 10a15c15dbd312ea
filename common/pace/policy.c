/* SPDX-License-Identifier: Apache-2.0 */
/* policy: see policy.h. */
#include "policy.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed.h"
#include "rate.h"
#include "routes.h"
#include "warmup.h"
#include "hash.h"

#define ZONE_DIR "/usr/share/zoneinfo"
#define LOOK_US (2 * HOUR_US)
#define SOFT_LEAST 0.1 /* pace.guard_soft_factor */

struct policy_zone {
	char name[PROVIDERS_NAME_MAX];
	struct zone zone;
	struct policy_zone *next;
};

struct policy {
	struct providers *providers;
	struct policy_zone *zones;
	const struct zone **zone_of; /* by group */
	bool strict, soft;	     /* guards that are kept */
	bool limits;
	struct routes routes;
	bool urgent_in_use;
	double ses_per_s; /* of Amazon SES, 0: no limit */
	uint64_t ses_quota, file_quota, warmup_quota;
	double account_per_s, lead_us, urgent_part, soft_factor;
	enum plan_mode mode;
	int unknown;	 /* the default group */
	double *set_cap; /* by group, what was set while running; 0: as the table says */
	struct {	 /* what the configuration says */
		bool strict, soft;
		double account_per_s;
	} file;
	uint64_t version, signature; /* of what was set */
};

/* A whole file, owned. {NULL, 0} with err. */
static struct slice
read_file(const char *path, size_t max, struct err *err)
{
	struct slice none = { NULL, 0 };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t got = 0;
	ssize_t n = 1;

	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)err_set(err, "cannot read %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || (size_t)st.st_size > max) {
		(void)err_set(err, "%s is no file, or larger than %zu kB", path, max >> 10);
	} else if ((text = malloc((size_t)st.st_size + 1)) == NULL) {
		(void)err_set(err, "no memory for %s", path);
	} else {
		while (got < (size_t)st.st_size &&
		    (n = read(fd, text + got, (size_t)st.st_size - got)) > 0)
			got += (size_t)n;
	}
	if (fd >= 0)
		(void)close(fd);
	return text != NULL ? slice_make(text, got) : none;
}

static const struct zone *
find_zone(struct policy *p, const char *name, struct err *err)
{
	struct policy_zone *z;
	struct slice bytes;
	char path[sizeof(ZONE_DIR) + PROVIDERS_NAME_MAX + 1];
	int result = 0;

	for (z = p->zones; z != NULL; z = z->next)
		if (strcmp(z->name, name) == 0)
			return &z->zone;
	z = calloc(1, sizeof(*z));
	if (z == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	(void)snprintf(z->name, sizeof(z->name), "%s", name);
	z->next = p->zones;
	p->zones = z;
	zone_utc(&z->zone);
	if (strcmp(name, "UTC") == 0)
		return &z->zone;
	if (strstr(name, "..") != NULL || name[0] == '/')
		result = err_set(err, "'%s' is no time zone", name);
	(void)snprintf(path, sizeof(path), "%s/%s", ZONE_DIR, name);
	bytes = result == 0 ? read_file(path, ZONE_FILE_MAX, NULL) : slice_make(NULL, 0);
	if (bytes.ptr == NULL && result == 0)
		result = err_set(
		    err, "there is no time zone '%s' in " ZONE_DIR " (package tzdata)", name);
	else if (result == 0)
		result = zone_parse(&z->zone, bytes, err);
	free((char *)(uintptr_t)bytes.ptr);
	if (result == 0)
		return &z->zone;
	p->zones = z->next;
	free(z);
	return NULL;
}

/* The zone of each group; err->offset is the line that names one which is not there. */
static int
find_zones(
    struct policy *p, const struct providers *table, const struct zone **zone_of, struct err *err)
{
	for (size_t i = 0; i < providers_count(table); i++) {
		const struct provider_group *g = providers_group(table, (int)i);

		err->offset = g->line;
		zone_of[i] = find_zone(p, g->zone, err);
		if (zone_of[i] == NULL)
			return -1;
	}
	return 0;
}

static void
free_zones(struct policy *p)
{
	while (p->zones != NULL) {
		struct policy_zone *z = p->zones;

		p->zones = z->next;
		free(z);
	}
}

int
policy_check_zones(const struct providers *table, struct err *err)
{
	const struct zone *zone_of[PROVIDERS_GROUPS_MAX];
	struct policy p = { 0 };
	int result = find_zones(&p, table, zone_of, err);

	free_zones(&p);
	return result;
}

static int
read_table(struct policy *p, const char *path, struct err *err)
{
	struct slice override = { NULL, 0 };
	struct err why = { 0 };
	size_t groups;

	if (path[0] != '\0' && (override = read_file(path, PROVIDERS_TEXT_MAX, err)).ptr == NULL)
		return -1;
	p->providers = providers_new(slice_str(embed_common_data_providers_tsv), override, &why);
	free((char *)(uintptr_t) override.ptr);
	if (p->providers == NULL)
		return err_set(err, "pace.providers %s, line %zu: %s", path, why.offset, why.msg);
	p->unknown = providers_unknown(p->providers);
	groups = providers_count(p->providers);
	p->zone_of = calloc(groups, sizeof(struct zone *));
	p->set_cap = calloc(groups, sizeof(*p->set_cap));
	if (p->zone_of == NULL || p->set_cap == NULL)
		return err_set(err, "no memory");
	if (find_zones(p, p->providers, p->zone_of, &why) == 0)
		return 0;
	return why.offset > 0
	    ? err_set(err, "pace.providers %s, line %zu: %s", path, why.offset, why.msg)
	    : err_set(err, "%s", why.msg);
}

static int
parse_guard(struct policy *p, const char *text)
{
	bool soft = strcmp(text, "all") == 0, strict = soft || strcmp(text, "strict") == 0;

	if (!strict && strcmp(text, "off") != 0)
		return -1;
	p->soft = soft;
	p->strict = strict;
	return 0;
}

static int
read_keys(struct policy *p, const struct config *c, struct err *err)
{
	char *end;

	if (parse_guard(p, c->pace_hour_guard) < 0)
		return err_set(err, "pace.hour_guard must be strict, all or off, not '%s'",
		    c->pace_hour_guard);
	if (strcmp(c->pace_mode, "together") == 0)
		p->mode = PLAN_TOGETHER;
	else if (strcmp(c->pace_mode, "asap") == 0)
		p->mode = PLAN_ASAP;
	else
		return err_set(err, "pace.mode must be together or asap, not '%s'", c->pace_mode);
	if (strcmp(c->pace_mx_groups, "auto") != 0 && strcmp(c->pace_mx_groups, "yes") != 0 &&
	    strcmp(c->pace_mx_groups, "no") != 0)
		return err_set(
		    err, "pace.mx_groups must be auto, yes or no, not '%s'", c->pace_mx_groups);
	if (c->pace_account_rate[0] != '\0' &&
	    rate_parse(&p->account_per_s, slice_str(c->pace_account_rate), err) < 0)
		return err_set(err, "pace.account_rate: expected N/s, N/min, N/h or N/d");
	p->soft_factor = strtod(c->pace_guard_soft_factor, &end);
	if (end == c->pace_guard_soft_factor || *end != '\0' ||
	    !(p->soft_factor >= SOFT_LEAST && p->soft_factor <= 1))
		return err_set(err, "pace.guard_soft_factor must be %g to 1, not '%.40s'",
		    SOFT_LEAST, c->pace_guard_soft_factor);
	p->limits = c->pace_group_limits;
	p->lead_us = (double)c->pace_guard_lead_s * 1e6;
	p->file_quota = (uint64_t)c->pace_quota_24h;
	p->urgent_part = (double)c->pace_urgent_share / 100;
	p->file.strict = p->strict;
	p->file.soft = p->soft;
	p->file.account_per_s = p->account_per_s;
	return 0;
}

/* ---- what was set while running ---- */

int
policy_set(struct policy *p, const char *name, const char *value, struct err *err)
{
	struct slice text = slice_str(value);
	double per_s;
	int group;

	if (strcmp(name, POLICY_SET_GUARD) == 0)
		return parse_guard(p, value) == 0
		    ? 0
		    : err_set(err, "the hour guard is strict, all or off, not '%s'", value);
	if (strcmp(name, POLICY_SET_ACCOUNT) == 0)
		return rate_parse(&p->account_per_s, text, err);
	if (strncmp(name, POLICY_SET_GROUP, strlen(POLICY_SET_GROUP)) != 0)
		return err_set(err, "there is nothing called '%s' to set", name);
	name += strlen(POLICY_SET_GROUP);
	group = providers_find(p->providers, slice_str(name));
	if (group == PROVIDERS_NONE)
		return err_set(err,
		    "the provider table has no group '%s'; kairan provider of DOMAIN says to which "
		    "one a domain belongs",
		    name);
	if (rate_parse(&per_s, text, err) < 0)
		return -1;
	p->set_cap[group] = per_s;
	return 0;
}

void
policy_begin_settings(struct policy *p)
{
	p->strict = p->file.strict;
	p->soft = p->file.soft;
	p->account_per_s = p->file.account_per_s;
	p->urgent_in_use = false;
	p->warmup_quota = 0;
	memset(p->set_cap, 0, providers_count(p->providers) * sizeof(*p->set_cap));
}

bool
policy_end_settings(struct policy *p)
{
	uint64_t h = HASH_START + p->strict + 2u * p->soft + 4u * p->urgent_in_use, bits;

	h = hash_step(h, policy_quota(p));
	for (size_t i = 0; i <= providers_count(p->providers); i++) {
		double value =
		    i < providers_count(p->providers) ? p->set_cap[i] : policy_account_per_s(p);

		memcpy(&bits, &value, sizeof(bits));
		h = hash_step(h, bits ^ bits >> 32);
	}
	if (h == p->signature)
		return false;
	p->signature = h;
	p->version++;
	return true;
}

void
policy_set_urgent(struct policy *p, bool in_use)
{
	p->urgent_in_use = in_use;
}

bool
policy_urgent_in_use(const struct policy *p)
{
	return p->urgent_in_use;
}

double
policy_urgent_part(const struct policy *p)
{
	return p->urgent_part;
}

double
policy_bulk_per_s(const struct policy *p)
{
	return policy_account_per_s(p) * (p->urgent_in_use ? 1 - p->urgent_part : 1);
}

uint64_t
policy_version(const struct policy *p)
{
	return p->version;
}

/* Each group that has a route must be one of the table; the rest of the domains has none. */
static int
read_routes(struct policy *p, const struct config *c, struct err *err)
{
	if (routes_parse(&p->routes, c->pace_routes, c->pace_route_rates, err) < 0)
		return -1;
	for (size_t i = 0; i < p->routes.group_count; i++) {
		const char *name = p->routes.groups[i].name;
		int group = providers_find(p->providers, slice_str(name));

		if (group == PROVIDERS_NONE || group == p->unknown)
			return err_set(err,
			    "pace.routes: '%s' is no group of the provider table; kairan provider "
			    "of "
			    "DOMAIN says to which one a domain belongs",
			    name);
	}
	return 0;
}

struct policy *
policy_new(const struct config *config, struct err *err)
{
	struct policy *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	if (read_keys(p, config, err) < 0 || read_table(p, config->pace_providers, err) < 0 ||
	    read_routes(p, config, err) < 0) {
		policy_free(p);
		return NULL;
	}
	return p;
}

void
policy_free(struct policy *p)
{
	if (p == NULL)
		return;
	free_zones(p);
	free(p->zone_of);
	free(p->set_cap);
	providers_free(p->providers);
	free(p);
}

const struct providers *
policy_providers(const struct policy *p)
{
	return p->providers;
}

enum plan_mode
policy_mode(const struct policy *p)
{
	return p->mode;
}

/* The lower one; 0 is none. */
static double
lower(double x, double y)
{
	return x > 0 && (y <= 0 || x < y) ? x : y;
}

double
policy_account_per_s(const struct policy *p)
{
	return lower(p->account_per_s, p->ses_per_s);
}

void
policy_set_account(struct policy *p, double per_s, uint64_t quota)
{
	p->ses_per_s = per_s;
	p->ses_quota = quota;
}

uint64_t
policy_quota(const struct policy *p)
{
	return (uint64_t)lower(
	    (double)p->warmup_quota, lower((double)p->ses_quota, (double)p->file_quota));
}

int
policy_set_warmup(struct policy *p, const char *schedule, int day, struct err *err)
{
	return warmup_limit(
	    slice_str(embed_common_data_warmup_tsv), schedule, day, &p->warmup_quota, err);
}

uint64_t
policy_warmup(const struct policy *p)
{
	return p->warmup_quota;
}

enum guard_mode
policy_guard(const struct policy *p, int group)
{
	enum guard_mode mode = providers_group(p->providers, group)->guard;

	if (mode == GUARD_SOFT)
		return p->soft ? mode : GUARD_OFF;
	return p->strict ? mode : GUARD_OFF;
}

double
policy_set_cap_per_s(const struct policy *p, int group)
{
	return p->set_cap[group];
}

double
policy_cap_per_s(const struct policy *p, int group)
{
	if (p->set_cap[group] > 0)
		return p->set_cap[group];
	return p->limits ? providers_group(p->providers, group)->rate_per_s : 0;
}

const struct zone *
policy_zone_named(struct policy *p, const char *name, struct err *err)
{
	if (name[0] == '\0' || strlen(name) >= PROVIDERS_NAME_MAX ||
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") !=
		strlen(name)) {
		(void)err_set(err, "this is no time zone");
		return NULL;
	}
	return find_zone(p, name, err);
}

const struct zone *
policy_zone(const struct policy *p, int group)
{
	return p->zone_of[group];
}

double
policy_lead_us(const struct policy *p)
{
	return p->lead_us;
}

uint64_t
policy_site_min(uint64_t recipients)
{
	uint64_t share = (uint64_t)((double)recipients * POLICY_OWN_SHARE);

	return share > POLICY_OWN_MIN ? share : POLICY_OWN_MIN;
}

bool
policy_is_paced(const struct policy *p, int group, bool tail)
{
	return policy_guard(p, group) != GUARD_OFF || (!tail && policy_cap_per_s(p, group) > 0) ||
	    policy_routes(p, group) != NULL;
}

const struct routes_group *
policy_routes(const struct policy *p, int group)
{
	return p->routes.group_count > 0 && group != PROVIDERS_NONE
	    ? routes_of(&p->routes, providers_group(p->providers, group)->name)
	    : NULL;
}

bool
policy_divides(const struct policy *p)
{
	for (size_t i = 0; i < p->routes.group_count; i++)
		if (p->routes.groups[i].part_count > 1)
			return true;
	return false;
}

const struct routes *
policy_ways(const struct policy *p)
{
	return &p->routes;
}

static uint64_t
seed_of(const struct policy *p, int group)
{
	return hash_name(POLICY_POOL, providers_group(p->providers, group)->name);
}

double
policy_soft_until(const struct policy *p, int group, double at)
{
	return policy_guard(p, group) == GUARD_SOFT
	    ? guard_start(GUARD_SOFT, p->zone_of[group], seed_of(p, group), at)
	    : at;
}

double
policy_soft_factor(const struct policy *p)
{
	return p->soft_factor;
}

int
policy_shape(const struct policy *p, int group, double begin, double from, double till, bool steps,
    struct shape *out)
{
	struct shape guard = { 0 }, start = { 0 };
	enum guard_mode mode = policy_guard(p, group);
	double moved = mode == GUARD_SOFT
	    ? guard_start(mode, p->zone_of[group], seed_of(p, group), begin)
	    : begin;
	int result;

	shape_guard(&guard, mode, p->zone_of[group], seed_of(p, group), p->lead_us,
	    steps ? p->soft_factor : 1, from, till);
	shape_start(&start, begin, moved, from, till);
	shape_multiply(out, &guard, &start);
	for (size_t i = 0; !steps && i < out->count; i++)
		if (out->pieces[i].open < 1)
			out->pieces[i].open = 0;
	result = guard.failed || start.failed || out->failed ? -1 : 0;
	shape_release(&guard);
	shape_release(&start);
	return result;
}

bool
policy_is_limited(const struct policy *p, int group)
{
	return policy_account_per_s(p) > 0 || p->warmup_quota > 0 || policy_cap_per_s(p, group) > 0;
}

double
policy_opens(const struct policy *p, int group, double begin, double at, bool steps)
{
	struct shape s = { 0 };
	double opens = at;

	if (policy_shape(p, group, begin, at, at + LOOK_US, steps, &s) == 0) {
		opens = INFINITY;
		for (size_t i = 0; i < s.count; i++)
			if (s.pieces[i].open > 0) {
				opens = s.pieces[i].from > at ? s.pieces[i].from : at;
				break;
			}
	}
	shape_release(&s);
	return opens;
}
