/* SPDX-License-Identifier: Apache-2.0 */
/* scenario_runs: see scenario_reading.h. What needs recipients one by one. */
#include "scenario_reading.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "rate.h"

#define LATENCY_MS 200
#define REHEARSED                                                                                  \
	"campaigns, settings, warmup, transport, leave_out, latency_ms, providers or replies"

/* ---- replies ---- */

static int
take_reply(struct reading *r, const json_t *from, const char *key, const char *standard,
    struct sim_reply *reply)
{
	const char *text = scenario_text(r, from, key, standard);

	if (text == NULL || (text = arena_str(&r->s->arena, text)) == NULL)
		return -1;
	return sim_reply_parse(reply, text, r->err);
}

static int
take_manners(struct reading *r, const char *name, const json_t *v, struct sim_manners *m)
{
	static const char *const keys[] = { "rate", "too_fast", "connections", "too_many",
		"messages_per_connection", "enough", "greylist_s", "greylisted", "unknown_percent",
		"unknown", "latency_ms", NULL };
	const char *rate = scenario_text(r, v, "rate", "");
	double connections, messages, greylist, unknown, latency;

	*m = (struct sim_manners){ 0 };
	if (rate == NULL || scenario_keys(r, v, name, keys) < 0 ||
	    (rate[0] != '\0' && rate_parse(&m->rate_per_s, slice_str(rate), r->err) < 0) ||
	    scenario_number(r, v, "connections", 0, 10000, 0, &connections) < 0 ||
	    scenario_number(r, v, "messages_per_connection", 0, 100000, 0, &messages) < 0 ||
	    scenario_number(r, v, "greylist_s", 0, 86400, 0, &greylist) < 0 ||
	    scenario_number(r, v, "unknown_percent", 0, 100, 0, &unknown) < 0 ||
	    scenario_number(r, v, "latency_ms", 1, 600000, r->s->latency_us / 1e3, &latency) < 0 ||
	    take_reply(r, v, "too_fast", "421 4.7.28 unusual rate of mail", &m->too_fast) < 0 ||
	    take_reply(r, v, "too_many", "421 4.3.2 connection rate limit exceeded", &m->too_many) <
		0 ||
	    take_reply(r, v, "enough", "421 too many messages in this connection", &m->enough) <
		0 ||
	    take_reply(r, v, "greylisted", "450 4.2.0 greylisted", &m->greylisted) < 0 ||
	    take_reply(r, v, "unknown", "550 5.1.1 user unknown", &m->unknown) < 0)
		return -1;
	m->connections = (unsigned)connections;
	m->messages = (unsigned)messages;
	m->greylist_us = greylist * 1e6;
	m->unknown_part = unknown / 100;
	m->latency_us = latency * 1e3;
	return 0;
}

static int
take_providers(struct reading *r, json_t *all)
{
	struct scenario *s = r->s;
	const char *name;
	json_t *v;

	s->providers = arena_array(&s->arena, json_object_size(all) + 1, sizeof(*s->providers));
	if (s->providers == NULL)
		return err_set(r->err, "no memory");
	json_object_foreach(all, name, v)
	{
		struct scenario_provider *p = &s->providers[s->provider_count++];

		if (!json_is_object(v))
			return err_set(r->err, "behaviour.providers.%s is an object", name);
		p->name = arena_str(&s->arena, name);
		if (p->name == NULL)
			return err_set(r->err, "no memory");
		if (take_manners(r, name, v, &p->manners) < 0)
			return -1;
	}
	return 0;
}

bool
scenario_take_mood(struct reading *r, const json_t *fault, int *result)
{
	static const char *const keys[] = { "what", "at_s", "for_s", "provider", "percent", "reply",
		NULL };
	struct scenario *s = r->s;
	const char *what = json_string_value(json_object_get(fault, "what")), *name;
	double at, length, percent;
	struct scenario_mood *m;

	*result = -1;
	if (what == NULL || strcmp(what, "reply") != 0)
		return false;
	if (s->moods == NULL)
		s->moods = arena_array(&s->arena, SCENARIO_MOODS_MAX, sizeof(*s->moods));
	if (s->moods == NULL || s->mood_count == SCENARIO_MOODS_MAX) {
		(void)err_set(r->err, "more than %d faults of replies", SCENARIO_MOODS_MAX);
		return true;
	}
	m = &s->moods[s->mood_count];
	name = scenario_text(r, fault, "provider", "*");
	if (name == NULL || scenario_keys(r, fault, "a fault of replies", keys) < 0 ||
	    scenario_number(r, fault, "at_s", 0, 1e8, 0, &at) < 0 ||
	    scenario_number(r, fault, "for_s", 0, 1e8, 60, &length) < 0 ||
	    scenario_number(r, fault, "percent", 0, 100, 100, &percent) < 0 ||
	    take_reply(r, fault, "reply", "", &m->mood.reply) < 0)
		return true;
	m->name = arena_str(&s->arena, name);
	m->mood.from = at * 1e6;
	m->mood.till = (at + length) * 1e6;
	m->mood.part = percent / 100;
	s->mood_count++;
	*result = m->name != NULL ? 0 : err_set(r->err, "no memory");
	return true;
}

/* ---- settings ---- */

static int
take_settings(struct reading *r)
{
	json_t *settings = json_object_get(r->json, "settings"), *v;
	struct config *c = &r->s->config;
	const char *key, *rate = scenario_text(r, r->json, "account_rate", "");
	const char *table = scenario_text(r, r->json, "providers", "default");
	char number[32];

	if (config_defaults(c, r->err) < 0 || rate == NULL || table == NULL)
		return -1;
	if (strcmp(table, "unlimited") != 0 && strcmp(table, "default") != 0 &&
	    ((table = scenario_beside(r, table)) == NULL ||
		config_set(c, "pace.providers", table, r->err) < 0))
		return -1;
	if (config_set(c, "pace.account_rate", rate, r->err) < 0 ||
	    config_set(c, "pace.group_limits", r->unlimited ? "no" : "yes", r->err) < 0 ||
	    config_set(c, "pace.hour_guard",
		r->guard_off || (r->s->omit & (OMIT_GUARD | OMIT_GUARD_PLAN)) ? "off" : "all",
		r->err) < 0 ||
	    config_set(c, "pace.mode", r->s->mode == PLAN_ASAP ? "asap" : "together", r->err) < 0)
		return -1;
	c->pace_quota_24h = (long)r->s->quota;
	c->pace_guard_lead_s = (long)(r->s->lead_us / 1e6);
	(void)snprintf(number, sizeof(number), "%.6f", r->s->soft_factor);
	if (config_set(c, "pace.guard_soft_factor", number, r->err) < 0)
		return -1;
	if (settings != NULL && !json_is_object(settings))
		return err_set(r->err, "settings is an object of keys of the configuration");
	json_object_foreach(settings, key, v)
	{
		if (json_is_number(v))
			(void)snprintf(number, sizeof(number), "%g", json_number_value(v));
		if (!json_is_number(v) && !json_is_string(v))
			return err_set(r->err, "settings: %s is a text or a number", key);
		if (config_set(c, key, json_is_number(v) ? number : json_string_value(v), r->err) <
		    0)
			return -1;
	}
	return 0;
}

static int
take_omissions(struct reading *r)
{
	static const char *const names[] = { "quota", "guard", "window", "urgent", "weights", "cut",
		"hold", "budget", "ladder", "expiry", "once", "guard_plan", "closed_share", "clock",
		"generation", "lease", "canary" };
	json_t *left = json_object_get(r->json, "leave_out"), *v;
	size_t i;

	if (left != NULL && !json_is_array(left))
		return err_set(r->err, "leave_out is an array of names of rules");
	json_array_foreach(left, i, v)
	{
		const char *name = json_is_string(v) ? json_string_value(v) : "";
		size_t k = 0, n = sizeof(names) / sizeof(names[0]);

		while (k < n && strcmp(names[k], name) != 0)
			k++;
		if (k == n)
			return err_set(r->err, "leave_out: there is no rule '%s'", name);
		r->s->omit |= 1u << k;
	}
	return 0;
}

static int
take_warmup(struct reading *r)
{
	static const char *const keys[] = { "schedule", "day", NULL };
	json_t *v = json_object_get(r->json, "warmup");
	const char *schedule;
	double day;

	if (v == NULL)
		return 0;
	if (!json_is_object(v))
		return err_set(r->err, "warmup is an object with schedule and day");
	schedule = scenario_text(r, v, "schedule", "growth");
	if (schedule == NULL || scenario_keys(r, v, "warmup", keys) < 0 ||
	    scenario_number(r, v, "day", 0, 10000, 0, &day) < 0)
		return -1;
	r->s->warmup = arena_str(&r->s->arena, schedule);
	r->s->warmup_day = (int)day;
	return r->s->warmup != NULL ? 0 : err_set(r->err, "no memory");
}

/* ---- campaigns ---- */

/* "21:00-08:00" */
static int
take_quiet(struct reading *r, const char *text, struct scenario_run *run)
{
	struct slice s = slice_str(text);
	int h[2], m[2];

	if (s.len == 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if ((i == 1 && !slice_take_char(&s, "-")) || !slice_take_digits(&s, 2, &h[i]) ||
		    !slice_take_char(&s, ":") || !slice_take_digits(&s, 2, &m[i]) || h[i] > 23 ||
		    m[i] > 59)
			return err_set(r->err, "quiet_hours is written as 21:00-08:00");
	run->quiet_from = h[0] * 60 + m[0];
	run->quiet_till = h[1] * 60 + m[1];
	return s.len == 0 ? 0 : err_set(r->err, "quiet_hours is written as 21:00-08:00");
}

static int
take_class(struct reading *r, const char *text, enum share_class *class)
{
	static const char *const names[] = { "transactional", "triggered", "bulk" };

	for (int i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0) {
			*class = (enum share_class)i;
			return 0;
		}
	return err_set(r->err, "class is transactional, triggered or bulk, not '%.40s'", text);
}

static int
take_canary(struct reading *r, const json_t *v, const char *name, struct scenario_run *run)
{
	double canary;

	if (scenario_number(r, v, "canary", 0, 1e6, 0, &canary) < 0 ||
	    scenario_number(r, v, "canary_wait_s", 0, 604800, 1800, &run->canary_wait_s) < 0 ||
	    scenario_number(r, v, "bounce_line_per_cent", 0.001, 100, 5, &run->bounce_line) < 0 ||
	    scenario_number(r, v, "canary_line_per_cent", 0.001, 100, 10, &run->canary_line) < 0)
		return -1;
	if (run->arrive_per_s > 0 && canary > 0)
		return err_set(r->err, "campaign %s: what arrives has no canary", name);
	run->canary = (uint64_t)canary;
	return 0;
}

static int
take_run(struct reading *r, const json_t *v, size_t number)
{
	static const char *const keys[] = { "name", "class", "stream", "stream_rate", "weight",
		"at_s", "spread_h", "arrive", "quiet_hours", "zone", "canary", "canary_wait_s",
		"bounce_line_per_cent", "canary_line_per_cent", "lanes", NULL };
	struct scenario *s = r->s;
	struct scenario_run *run = &s->runs[number];
	char standard[32];
	const char *name, *stream, *rate, *class, *arrive, *quiet, *zone;
	const struct zone *hours = s->zone;
	json_t *lanes = json_object_get(v, "lanes");
	double spread;
	int n;

	(void)snprintf(standard, sizeof(standard), "campaign-%zu", number + 1);
	name = scenario_text(r, v, "name", standard);
	class = scenario_text(r, v, "class", "bulk");
	stream = scenario_text(r, v, "stream", name != NULL ? name : "");
	rate = scenario_text(r, v, "stream_rate", "");
	arrive = scenario_text(r, v, "arrive", "");
	quiet = scenario_text(r, v, "quiet_hours", "");
	zone = scenario_text(r, v, "zone", "");
	if (name == NULL || class == NULL || stream == NULL || rate == NULL || arrive == NULL ||
	    quiet == NULL || zone == NULL || scenario_keys(r, v, "a campaign", keys) < 0 ||
	    take_class(r, class, &run->class) < 0 || take_quiet(r, quiet, run) < 0 ||
	    (zone[0] != '\0' && (hours = scenario_zone(r, zone)) == NULL) ||
	    (rate[0] != '\0' && rate_parse(&run->stream_per_s, slice_str(rate), r->err) < 0) ||
	    (arrive[0] != '\0' && rate_parse(&run->arrive_per_s, slice_str(arrive), r->err) < 0) ||
	    scenario_number(r, v, "weight", 1, 100, 1, &run->weight) < 0 ||
	    scenario_number(r, v, "at_s", 0, 1e8, 0, &run->at_s) < 0 ||
	    scenario_number(r, v, "spread_h", 0, 24 * 60, 0, &spread) < 0 ||
	    take_canary(r, v, name, run) < 0)
		return -1;
	if (run->arrive_per_s > 0 && run->class != SHARE_URGENT)
		return err_set(r->err, "campaign %s: arrive is of class transactional", name);
	if (!json_is_object(lanes))
		return err_set(r->err, "campaign %s needs lanes, an object of counts", name);
	run->spread_s = spread * 3600;
	run->name = arena_str(&s->arena, name);
	run->stream = arena_str(&s->arena, stream);
	run->first_lane = s->lane_count;
	n = scenario_lanes(r, lanes, hours);
	if (n < 0)
		return -1;
	run->lane_count = (size_t)n;
	return run->name != NULL && run->stream != NULL ? 0 : err_set(r->err, "no memory");
}

static int
take_campaigns(struct reading *r)
{
	struct scenario *s = r->s;
	json_t *all = json_object_get(r->json, "campaigns"), *v;
	size_t i;

	if (all == NULL) {
		s->runs[0] = (struct scenario_run){ .name = s->name,
			.stream = "bulk",
			.class = SHARE_BULK,
			.weight = 1,
			.quiet_from = s->quiet_close,
			.quiet_till = s->quiet_open,
			.spread_s = s->mode == PLAN_WINDOW ? s->window_s : 0,
			.lane_count = s->lane_count };
		s->run_count = 1;
		return 0;
	}
	if (!json_is_array(all) || json_array_size(all) > SCENARIO_RUNS_MAX)
		return err_set(r->err, "campaigns is an array of at most %d", SCENARIO_RUNS_MAX);
	json_array_foreach(all, i, v)
	{
		if (take_run(r, v, i) < 0)
			return -1;
		s->run_count++;
	}
	return 0;
}

/* ---- the whole ---- */

/* Seconds by which the clocks of hosts are off, one for each dispatcher. */
static int
take_clocks(struct reading *r, const json_t *clocks)
{
	json_t *v;
	size_t i;

	if (clocks != NULL &&
	    (!json_is_array(clocks) || json_array_size(clocks) > (size_t)r->s->dispatchers))
		return err_set(
		    r->err, "clock_off_s is an array of seconds, at most one for each dispatcher");
	json_array_foreach(clocks, i, v)
	{
		if (!json_is_number(v) || fabs(json_number_value(v)) > 86400)
			return err_set(r->err, "clock_off_s: a number from -86400 to 86400");
		r->s->clock_off_us[i] = json_number_value(v) * 1e6;
	}
	return 0;
}

static int
check_faults(struct reading *r)
{
	for (size_t i = 0; i < r->s->fault_count; i++) {
		const struct scenario_fault *f = &r->s->faults[i];

		if (f->kind == FAULT_GROUP_GONE &&
		    providers_find(r->providers, slice_str(f->group)) == PROVIDERS_NONE)
			return err_set(r->err, "group_gone: there is no group '%.40s'", f->group);
	}
	return 0;
}

static bool
is_rehearsed(const struct reading *r)
{
	static const char *const keys[] = { "campaigns", "settings", "warmup", "transport",
		"leave_out" };
	const json_t *b = json_object_get(r->json, "behaviour");
	bool any = r->s->mood_count > 0 || json_object_get(b, "latency_ms") != NULL ||
	    json_object_get(b, "providers") != NULL || json_object_get(b, "clock_off_s") != NULL;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		any = any || json_object_get(r->json, keys[i]) != NULL;
	for (size_t i = 0; i < r->s->fault_count; i++)
		any = any || r->s->faults[i].kind >= FAULT_OLD_PLANNER;
	return any;
}

int
scenario_take_runs(struct reading *r)
{
	struct scenario *s = r->s;
	const json_t *b = json_object_get(r->json, "behaviour");
	const char *transport = scenario_text(r, r->json, "transport", "mx");
	double latency;

	if (transport == NULL)
		return -1;
	if (!is_rehearsed(r))
		return 0;
	if (s->domain_count > 0 && json_object_get(r->json, "campaigns") != NULL)
		return err_set(r->err, "campaigns have lanes of their own; leave out domains");
	s->guard_off = r->guard_off;
	s->is_relay = strcmp(transport, "relay") == 0;
	if (!s->is_relay && strcmp(transport, "mx") != 0)
		return err_set(r->err, "transport is mx or relay, not '%.40s'", transport);
	if (scenario_number(r, b, "latency_ms", 1, 600000, LATENCY_MS, &latency) < 0)
		return -1;
	s->latency_us = latency * 1e3;
	s->rehearsed = true;
	if (take_omissions(r) < 0 || take_settings(r) < 0 || take_warmup(r) < 0 ||
	    take_clocks(r, json_object_get(b, "clock_off_s")) < 0 || check_faults(r) < 0 ||
	    take_providers(r, json_object_get(b, "providers")) < 0 || take_campaigns(r) < 0)
		return -1;
	if (s->messages > SCENARIO_REHEARSED_MAX)
		return err_set(
		    r->err, "more than %u recipients beside " REHEARSED, SCENARIO_REHEARSED_MAX);
	return 0;
}
