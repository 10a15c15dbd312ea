/* SPDX-License-Identifier: Apache-2.0 */
/* scenario: see scenario.h. Unknown keys are errors: a typing mistake must not change a figure. */
#include "scenario.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed.h"
#include "rate.h"
#include "scenario_reading.h"

#define SCENARIO_FILE_MAX ((size_t)4 << 20)
#define DOMAINS_FILE_MAX ((size_t)256 << 20)
#define DOMAINS_MAX 5000000
#define ARENA_MAX ((size_t)1 << 30)
#define MESSAGES_MAX 2000000000u
#define ZONE_DIR "/usr/share/zoneinfo"
#define LANE_OWN_MIN 500 /* a domain with as many, or 0.05 % of the list, gets a lane */
#define LANE_OWN_SHARE 0.0005

struct slice
scenario_read_file(struct arena *arena, const char *path, size_t max, struct err *err)
{
	struct slice none = { NULL, 0 };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t got = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		(void)err_set(err, "cannot read %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || (size_t)st.st_size > max) {
		(void)err_set(err, "%s is no file, or larger than %zu MB", path, max >> 20);
	} else if ((text = arena_alloc(arena, (size_t)st.st_size + 1)) == NULL) {
		(void)err_set(err, "no memory for %s", path);
	} else {
		while (got < (size_t)st.st_size) {
			ssize_t n = read(fd, text + got, (size_t)st.st_size - got);

			if (n <= 0)
				break;
			got += (size_t)n;
		}
	}
	if (fd >= 0)
		(void)close(fd);
	return text != NULL ? slice_make(text, got) : none;
}

const char *
scenario_beside(struct reading *r, const char *name)
{
	const char *slash = strrchr(r->path, '/');
	size_t n = slash != NULL && name[0] != '/' ? (size_t)(slash + 1 - r->path) : 0;
	char *path = arena_alloc(&r->s->arena, n + strlen(name) + 1);

	if (path == NULL)
		return NULL;
	memcpy(path, r->path, n);
	memcpy(path + n, name, strlen(name));
	return path;
}

struct zone *
scenario_zone(struct reading *r, const char *name)
{
	struct zone_name *z;
	struct slice bytes;
	char path[128];

	for (z = r->zones; z != NULL; z = z->next)
		if (strcmp(z->name, name) == 0)
			return &z->zone;
	z = arena_alloc(&r->s->arena, sizeof(*z));
	if (z == NULL || (z->name = arena_str(&r->s->arena, name)) == NULL)
		return NULL;
	zone_utc(&z->zone);
	if (strcmp(name, "UTC") != 0) {
		if (strstr(name, "..") != NULL || name[0] == '/' || strlen(name) > 60) {
			(void)err_set(r->err, "'%s' is no time zone", name);
			return NULL;
		}
		(void)snprintf(path, sizeof(path), "%s/%s", ZONE_DIR, name);
		bytes = scenario_read_file(&r->s->arena, path, ZONE_FILE_MAX, NULL);
		if (bytes.ptr == NULL) {
			(void)err_set(r->err,
			    "there is no time zone '%s' in " ZONE_DIR " (package tzdata)", name);
			return NULL;
		}
		if (zone_parse(&z->zone, bytes, r->err) < 0)
			return NULL;
	}
	z->next = r->zones;
	r->zones = z;
	return &z->zone;
}

static int
days_of_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

int
scenario_time(double *at, int32_t *offset_s, const char *text, struct err *err)
{
	struct slice s = slice_str(text);
	int y, mo, d, h, mi, sec = 0, oh = 0, om = 0, sign = 1;
	int64_t days, yy, era, yoe;

	if (!slice_take_digits(&s, 4, &y) || !slice_take_char(&s, "-") ||
	    !slice_take_digits(&s, 2, &mo) || !slice_take_char(&s, "-") ||
	    !slice_take_digits(&s, 2, &d) || !slice_take_char(&s, "T ") ||
	    !slice_take_digits(&s, 2, &h) || !slice_take_char(&s, ":") ||
	    !slice_take_digits(&s, 2, &mi) ||
	    (slice_take_char(&s, ":") && !slice_take_digits(&s, 2, &sec)))
		return err_set(err, "'%s' is no time; write 2026-11-24T09:58:00+09:00", text);
	if (!slice_take_char(&s, "Z")) {
		sign = s.len > 0 && s.ptr[0] == '-' ? -1 : 1;
		if (!slice_take_char(&s, "+-") || !slice_take_digits(&s, 2, &oh) ||
		    !slice_take_char(&s, ":") || !slice_take_digits(&s, 2, &om))
			return err_set(err, "'%s' needs its offset: Z or +09:00", text);
	}
	if (s.len > 0 || y < 2026 || y > 2099 || mo < 1 || mo > 12 || d < 1 ||
	    d > days_of_month(y, mo) || h > 23 || mi > 59 || sec > 59 || oh > 15 || om > 59)
		return err_set(err, "'%s' is no time from 2026 to 2099", text);
	yy = mo <= 2 ? y - 1 : y;
	era = yy / 400;
	yoe = yy - era * 400;
	days = era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 +
	    (153 * (mo + (mo > 2 ? -3 : 9)) + 2) / 5 + d - 1 - 719468;
	*offset_s = sign * (oh * 3600 + om * 60);
	*at =
	    (double)(days * 86400 + h * 3600 + mi * 60 + sec - *offset_s - ADMISSION_EPOCH_S) * 1e6;
	return 0;
}

/* ---------------------------------------------------------------- lanes */

static int
add_lane(struct reading *r, const char *name, int group, uint64_t count)
{
	struct scenario *s = r->s;
	const struct provider_group *g = providers_group(r->providers, group);
	struct scenario_lane *lane;
	bool known = group != providers_unknown(r->providers);

	if (s->lane_count == SCENARIO_LANES_MAX)
		return err_set(r->err, "more than %d lanes", SCENARIO_LANES_MAX);
	lane = &s->lanes[s->lane_count];
	*lane = (struct scenario_lane){ .name = arena_str(&s->arena, name),
		.group = g->name,
		.count = count,
		.guard = r->guard_off ? GUARD_OFF : g->guard,
		.hours = s->zone,
		.limiter = -1 };
	lane->group = arena_str(&s->arena, g->name);
	if (lane->name == NULL || lane->group == NULL)
		return err_set(r->err, "no memory");
	lane->zone = scenario_zone(r, g->zone);
	if (lane->zone == NULL)
		return -1;
	/* a tail lane holds many sites; the rate of one of them is no limit for all */
	if (!r->unlimited && (known || strncmp(name, "tail-", 5) != 0)) {
		lane->cap_per_s = g->rate_per_s;
		if (r->limiter_of_group[group] < 0 || !known)
			r->limiter_of_group[group] = r->limiters++;
		lane->limiter = r->limiter_of_group[group];
	}
	s->messages += count;
	if (s->messages > MESSAGES_MAX)
		return err_set(r->err, "more than %u messages", MESSAGES_MAX);
	return (int)s->lane_count++;
}

static int
parse_domain_line(struct reading *r, struct slice line, size_t number)
{
	struct scenario *s = r->s;
	const char *blank;
	struct slice name, count;
	uint64_t n = 0;

	line = slice_trim(line);
	if (line.len == 0 || line.ptr[0] == '#')
		return 0;
	blank = memchr(line.ptr, ' ', line.len);
	if (blank == NULL)
		blank = memchr(line.ptr, '\t', line.len);
	name = slice_make(line.ptr, blank != NULL ? (size_t)(blank - line.ptr) : line.len);
	count = slice_trim(slice_make(line.ptr + name.len, line.len - name.len));
	if (name.len > 253 || count.len == 0 || count.len > 9)
		return err_set(r->err, "domains, line %zu: expected 'domain count'", number);
	for (size_t i = 0; i < count.len; i++) {
		if (!isdigit((unsigned char)count.ptr[i]))
			return err_set(r->err, "domains, line %zu: the count is no number", number);
		n = n * 10 + (uint64_t)(count.ptr[i] - '0');
	}
	if (n == 0)
		return 0;
	if (s->domain_count == DOMAINS_MAX)
		return err_set(r->err, "more than %d domains", DOMAINS_MAX);
	/* the name stays where it was read; its end is marked */
	((char *)(uintptr_t)name.ptr)[name.len] = '\0';
	s->domains[s->domain_count++] =
	    (struct scenario_domain){ .name = name.ptr, .count = (uint32_t)n };
	return 0;
}

static int
read_domains(struct reading *r, const char *file)
{
	const char *path = scenario_beside(r, file);
	struct slice text;
	size_t lines = 1, number = 0;

	if (path == NULL)
		return err_set(r->err, "no memory");
	text = scenario_read_file(&r->s->arena, path, DOMAINS_FILE_MAX, r->err);
	if (text.ptr == NULL)
		return -1;
	for (size_t i = 0; i < text.len; i++)
		lines += text.ptr[i] == '\n';
	r->s->domains = arena_array(&r->s->arena, lines, sizeof(*r->s->domains));
	if (r->s->domains == NULL)
		return err_set(r->err, "no memory");
	while (text.len > 0) {
		const char *lf = memchr(text.ptr, '\n', text.len);
		size_t n = lf != NULL ? (size_t)(lf - text.ptr) : text.len;

		if (parse_domain_line(r, slice_make(text.ptr, n), ++number) < 0)
			return -1;
		n += lf != NULL;
		text = slice_make(text.ptr + n, text.len - n);
	}
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp((*(struct scenario_domain *const *)a)->name,
	    (*(struct scenario_domain *const *)b)->name);
}

/* Of domains large enough for their own (slot below 0), by name: where they stand in the file must not
 * matter. */
static int
own_lanes(struct reading *r, const int *slot, int unknown)
{
	struct scenario *s = r->s;
	struct scenario_domain **own;
	size_t n = 0;

	for (size_t i = 0; i < s->domain_count; i++)
		n += slot[i] < 0;
	own = arena_array(&s->arena, n + 1, sizeof(struct scenario_domain *));
	if (own == NULL)
		return err_set(r->err, "no memory");
	n = 0;
	for (size_t i = 0; i < s->domain_count; i++)
		if (slot[i] < 0)
			own[n++] = &s->domains[i];
	qsort(own, n, sizeof(*own), by_name);
	for (size_t i = 0; i < n; i++) {
		int lane = add_lane(r, own[i]->name, unknown, own[i]->count);

		if (lane < 0)
			return -1;
		own[i]->lane = (uint32_t)lane;
	}
	return 0;
}

/* Lanes of groups, of domains large enough for their own, and the tail by hash of the name. */
static int
lanes_of_domains(struct reading *r)
{
	struct scenario *s = r->s;
	size_t groups = providers_count(r->providers);
	uint64_t *sums = arena_array(&s->arena, groups + TAIL_LANES, sizeof(*sums));
	int *lane_of = arena_array(&s->arena, groups + TAIL_LANES, sizeof(*lane_of));
	int *slot = arena_array(&s->arena, s->domain_count + 1, sizeof(*slot));
	int unknown = providers_unknown(r->providers);
	uint64_t all = 0, own;
	char name[32];

	if (sums == NULL || lane_of == NULL || slot == NULL)
		return err_set(r->err, "no memory");
	for (size_t i = 0; i < s->domain_count; i++)
		all += s->domains[i].count;
	own = (uint64_t)((double)all * LANE_OWN_SHARE);
	own = own > LANE_OWN_MIN ? own : LANE_OWN_MIN;
	for (size_t i = 0; i < s->domain_count; i++) {
		const struct scenario_domain *d = &s->domains[i];
		int g = providers_of_domain(r->providers, slice_str(d->name));

		slot[i] = g != PROVIDERS_NONE ? g
		    : d->count >= own	      ? -1
				      : (int)(groups + hash_name("tail", d->name) % TAIL_LANES);
		if (slot[i] >= 0)
			sums[slot[i]] += d->count;
	}
	for (size_t i = 0; i < groups + TAIL_LANES; i++) {
		bool tail = i >= groups;

		(void)snprintf(name, sizeof(name), "tail-%02zu", i - (tail ? groups : 0));
		if (sums[i] > 0 &&
		    (lane_of[i] =
			    add_lane(r, tail ? name : providers_group(r->providers, (int)i)->name,
				tail ? unknown : (int)i, sums[i])) < 0)
			return -1;
	}
	for (size_t i = 0; i < s->domain_count; i++)
		if (slot[i] >= 0)
			s->domains[i].lane = (uint32_t)lane_of[slot[i]];
	return own_lanes(r, slot, unknown);
}

/* ---------------------------------------------------------------- other keys */

const char *
scenario_text(struct reading *r, const json_t *from, const char *key, const char *missing)
{
	json_t *v = json_object_get(from, key);

	if (v == NULL)
		return missing;
	if (!json_is_string(v)) {
		(void)err_set(r->err, "%s is a text", key);
		return NULL;
	}
	return json_string_value(v);
}

int
scenario_number(struct reading *r, const json_t *from, const char *key, double min, double max,
    double missing, double *value)
{
	json_t *v = json_object_get(from, key);

	*value = missing;
	if (v == NULL)
		return 0;
	*value = json_is_number(v) ? json_number_value(v) : NAN;
	if (!(*value >= min && *value <= max))
		return err_set(r->err, "%s is a number from %g to %g", key, min, max);
	return 0;
}

int
scenario_keys(struct reading *r, const json_t *from, const char *what, const char *const *keys)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, key, value)
	{
		size_t i = 0;

		while (keys[i] != NULL && strcmp(key, keys[i]) != 0)
			i++;
		if (keys[i] == NULL)
			return err_set(r->err, "%s has no key '%s'", what, key);
	}
	return 0;
}

int
scenario_lanes(struct reading *r, json_t *lanes, const struct zone *zone)
{
	static const char *const keys[] = { "count", "group", "zone", NULL };
	const char *name, *place;
	size_t first = r->s->lane_count;
	json_t *value;

	json_object_foreach(lanes, name, value)
	{
		int group = providers_find(r->providers, slice_str(name));
		json_t *count = value, *of = NULL;
		const struct zone *hours = zone;
		int lane;

		place = "";
		if (json_is_object(value)) {
			if (scenario_keys(r, value, "a lane", keys) < 0)
				return -1;
			count = json_object_get(value, "count");
			of = json_object_get(value, "group");
			if (of != NULL && !json_is_string(of))
				return err_set(r->err, "lane %s: group is a text", name);
			place = scenario_text(r, value, "zone", "");
			if (place == NULL ||
			    (place[0] != '\0' && (hours = scenario_zone(r, place)) == NULL))
				return -1;
		}
		if (of != NULL &&
		    (group = providers_find(r->providers, slice_str(json_string_value(of)))) < 0)
			return err_set(r->err,
			    "lane %s: there is no group '%s'; kairan provider of DOMAIN names them",
			    name, json_string_value(of));
		if (group < 0)
			group = providers_unknown(r->providers);
		if (!json_is_integer(count) || json_integer_value(count) < 0)
			return err_set(r->err, "lane %s: the count is a number from 0", name);
		if (strlen(name) > 63 || strpbrk(name, " \t\r\n") != NULL)
			return err_set(r->err, "a lane's name is a word of at most 63 letters");
		if ((lane = add_lane(r, name, group, (uint64_t)json_integer_value(count))) < 0)
			return -1;
		r->s->lanes[lane].hours = hours;
	}
	return (int)(r->s->lane_count - first);
}

static int
take_providers(struct reading *r)
{
	const char *which = scenario_text(r, r->json, "providers", "default");
	const char *guard = scenario_text(r, r->json, "guard", "default"), *path;
	struct slice override = { NULL, 0 };

	if (which == NULL || guard == NULL)
		return -1;
	r->unlimited = strcmp(which, "unlimited") == 0;
	if (strcmp(guard, "default") != 0 && strcmp(guard, "off") != 0)
		return err_set(r->err, "guard is default or off");
	r->guard_off = strcmp(guard, "off") == 0;
	if (!r->unlimited && strcmp(which, "default") != 0) {
		path = scenario_beside(r, which);
		if (path == NULL)
			return err_set(r->err, "no memory");
		override = scenario_read_file(&r->s->arena, path, PROVIDERS_TEXT_MAX, r->err);
		if (override.ptr == NULL)
			return -1;
	}
	r->providers = providers_new(slice_str(embed_common_data_providers_tsv), override, r->err);
	if (r->providers == NULL)
		return -1;
	r->limiter_of_group = arena_array(&r->s->arena, providers_count(r->providers), sizeof(int));
	if (r->limiter_of_group == NULL)
		return err_set(r->err, "no memory");
	for (size_t i = 0; i < providers_count(r->providers); i++)
		r->limiter_of_group[i] = -1;
	return 0;
}

static int
take_mode(struct reading *r)
{
	const char *mode = scenario_text(r, r->json, "mode", "together");
	double hours;

	if (mode == NULL || scenario_number(r, r->json, "window_h", 0.01, 24 * 60, 0, &hours) < 0)
		return -1;
	r->s->window_s = hours * 3600;
	if (hours > 0 && strcmp(mode, "window") != 0)
		return err_set(r->err, "window_h is of mode window");
	if (strcmp(mode, "together") == 0)
		r->s->mode = PLAN_TOGETHER;
	else if (strcmp(mode, "asap") == 0)
		r->s->mode = PLAN_ASAP;
	else if (strcmp(mode, "window") == 0 && hours > 0)
		r->s->mode = PLAN_WINDOW;
	else
		return err_set(r->err, "mode is together, asap, or window with window_h in hours");
	return 0;
}

static int
take_fault(struct reading *r, const json_t *v)
{
	static const char *const kinds[] = { "dispatcher_crash", "planner_down", "redis_lost",
		"old_planner", "group_gone" };
	const int known = sizeof(kinds) / sizeof(kinds[0]);
	static const char *const keys[] = { "what", "at_s", "for_s", "dispatcher", "provider",
		NULL };
	struct scenario_fault f = { 0 };
	const char *what = json_string_value(json_object_get(v, "what"));
	const char *group;
	double dispatcher;
	int k = 0, result;

	if (scenario_take_mood(r, v, &result))
		return result;
	while (k < known && (what == NULL || strcmp(what, kinds[k]) != 0))
		k++;
	if (k == known)
		return err_set(r->err,
		    "a fault's what is reply, dispatcher_crash, planner_down, redis_lost, "
		    "old_planner or group_gone");
	f.kind = (enum fault_kind)k;
	if (scenario_keys(r, v, "a fault", keys) < 0 ||
	    scenario_number(r, v, "at_s", 0, 1e8, 0, &f.at_s) < 0 ||
	    scenario_number(r, v, "for_s", 0, 1e8, 60, &f.for_s) < 0 ||
	    scenario_number(r, v, "dispatcher", 0, r->s->dispatchers - 1, 0, &dispatcher) < 0)
		return -1;
	f.dispatcher = (int)dispatcher;
	group = scenario_text(r, v, "provider", "");
	f.group = group != NULL ? arena_str(&r->s->arena, group) : NULL;
	if (f.group == NULL)
		return -1;
	if (r->s->fault_count == SCENARIO_FAULTS_MAX)
		return err_set(r->err, "more than %d faults", SCENARIO_FAULTS_MAX);
	r->s->faults[r->s->fault_count++] = f;
	return 0;
}

static int
take_behaviour(struct reading *r)
{
	static const char *const keys[] = { "release_jitter_ms", "guard_lead_s",
		"guard_soft_factor", "latency_ms", "clock_off_s", "providers", NULL };
	json_t *b = json_object_get(r->json, "behaviour"), *f;
	json_t *faults = json_object_get(r->json, "faults");
	size_t i;

	if (b != NULL && !json_is_object(b))
		return err_set(r->err, "behaviour is an object");
	if (scenario_keys(r, b, "behaviour", keys) < 0)
		return -1;
	if (scenario_number(r, b, "release_jitter_ms", 0, 10000, 0, &r->s->jitter_us) < 0 ||
	    scenario_number(r, b, "guard_lead_s", 0, 60, 0, &r->s->lead_us) < 0 ||
	    scenario_number(r, b, "guard_soft_factor", 0.1, 1, 1, &r->s->soft_factor) < 0)
		return -1;
	r->s->jitter_us *= 1e3;
	r->s->lead_us *= 1e6;
	if (faults != NULL && !json_is_array(faults))
		return err_set(r->err, "faults is an array of objects");
	json_array_foreach(faults, i, f) if (take_fault(r, f) < 0) return -1;
	return 0;
}

/* "08:00-21:00" of the scenario's zone. */
static int
take_quiet(struct reading *r)
{
	const char *text = scenario_text(r, r->json, "open_hours", "");
	struct slice s = slice_str(text);
	int h[2], m[2];

	if (text == NULL || s.len == 0)
		return text == NULL ? -1 : 0;
	for (int i = 0; i < 2; i++)
		if ((i == 1 && !slice_take_char(&s, "-")) || !slice_take_digits(&s, 2, &h[i]) ||
		    !slice_take_char(&s, ":") || !slice_take_digits(&s, 2, &m[i]) || m[i] > 59 ||
		    h[i] * 60 + m[i] > 24 * 60)
			return err_set(r->err, "open_hours is written as 08:00-21:00");
	r->s->quiet_open = h[0] * 60 + m[0];
	r->s->quiet_close = h[1] * 60 + m[1];
	return s.len == 0 ? 0 : err_set(r->err, "open_hours is written as 08:00-21:00");
}

static int
take_limits(struct reading *r)
{
	const char *rate = scenario_text(r, r->json, "account_rate", "");
	double quota, used, dispatchers, seed;

	if (rate == NULL ||
	    (rate[0] != '\0' && rate_parse(&r->s->account_per_s, slice_str(rate), r->err) < 0) ||
	    scenario_number(r, r->json, "quota_24h", 1, 1e12, 0, &quota) < 0 ||
	    scenario_number(r, r->json, "quota_used", 0, 1e12, 0, &used) < 0 ||
	    scenario_number(
		r, r->json, "dispatchers", 1, SCENARIO_DISPATCHERS_MAX, 1, &dispatchers) < 0 ||
	    scenario_number(r, r->json, "seed", 0, 1e15, 1, &seed) < 0)
		return -1;
	r->s->quota = (uint64_t)quota;
	r->s->quota_used = (uint64_t)used;
	r->s->dispatchers = (int)dispatchers;
	r->s->seed = (uint64_t)seed;
	return 0;
}

static int
take_all(struct reading *r)
{
	static const char *const keys[] = { "name", "start", "zone", "domains", "lanes",
		"account_rate", "quota_24h", "quota_used", "mode", "window_h", "guard", "providers",
		"open_hours", "dispatchers", "seed", "faults", "behaviour", "campaigns", "settings",
		"warmup", "transport", "leave_out", NULL };
	struct scenario *s = r->s;
	const char *name, *start, *zone;
	json_t *domains = json_object_get(r->json, "domains");

	if (scenario_keys(r, r->json, "a scenario", keys) < 0)
		return -1;
	name = scenario_text(r, r->json, "name", "scenario");
	start = scenario_text(r, r->json, "start", "2026-11-24T09:58:00+09:00");
	zone = scenario_text(r, r->json, "zone", "Asia/Tokyo");
	if (name == NULL || start == NULL || zone == NULL ||
	    (s->name = arena_str(&s->arena, name)) == NULL ||
	    scenario_time(&s->start, &s->start_offset_s, start, r->err) < 0 ||
	    (s->zone = scenario_zone(r, zone)) == NULL)
		return -1;
	s->lanes = arena_array(&s->arena, SCENARIO_LANES_MAX, sizeof(*s->lanes));
	if (s->lanes == NULL)
		return err_set(r->err, "no memory");
	if (take_limits(r) < 0 || take_mode(r) < 0 || take_quiet(r) < 0 || take_behaviour(r) < 0 ||
	    take_providers(r) < 0)
		return -1;
	if (domains != NULL && json_object_get(r->json, "lanes") != NULL &&
	    json_object_get(r->json, "campaigns") == NULL)
		return err_set(r->err, "domains and lanes exclude one another; leave one out");
	if (json_is_string(domains)) {
		if (read_domains(r, json_string_value(domains)) < 0 || lanes_of_domains(r) < 0)
			return -1;
	} else if (json_object_get(r->json, "campaigns") != NULL) {
		if (domains != NULL || json_object_get(r->json, "lanes") != NULL)
			return err_set(r->err,
			    "campaigns have lanes of their own; leave out lanes and domains");
	} else if (!json_is_object(json_object_get(r->json, "lanes"))) {
		return err_set(r->err,
		    "a scenario needs domains (a file), lanes (an object) or campaigns (an array)");
	} else if (scenario_lanes(r, json_object_get(r->json, "lanes"), s->zone) < 0) {
		return -1;
	}
	if (scenario_take_runs(r) < 0)
		return -1;
	return s->messages > 0 ? 0 : err_set(r->err, "the scenario has no recipients");
}

int
scenario_load(struct scenario *s, const char *path, struct err *err)
{
	struct reading r = { .s = s, .path = path, .err = err };
	json_error_t why;
	struct slice text;
	int result = -1;

	*s = (struct scenario){ 0 };
	arena_init(&s->arena, ARENA_MAX);
	text = scenario_read_file(&s->arena, path, SCENARIO_FILE_MAX, err);
	if (text.ptr == NULL)
		return -1;
	r.json = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &why);
	if (r.json == NULL)
		return err_set(err, "%s, line %d: %s", path, why.line, why.text);
	if (!json_is_object(r.json))
		(void)err_set(err, "%s: a scenario is a JSON object", path);
	else
		result = take_all(&r);
	json_decref(r.json);
	providers_free(r.providers);
	return result;
}

void
scenario_release(struct scenario *s)
{
	if (s->rehearsed)
		config_release(&s->config);
	arena_release(&s->arena);
}
