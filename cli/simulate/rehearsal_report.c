/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal_report: see rehearsal_report.h. */
#include "rehearsal_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "admission.h"
#include "cli.h"

#define EVENTS_SHOWN 20

const char *
rehearsal_time(const struct scenario *s, double at, char *dst, size_t size)
{
	time_t t = (time_t)(floor(at / 1e6) + ADMISSION_EPOCH_S);
	int32_t east = zone_offset(s->zone, t);
	struct tm tm;

	t += east;
	(void)gmtime_r(&t, &tm);
	(void)snprintf(dst, size, "%04d-%02d-%02dT%02d:%02d:%02d%c%02d:%02d", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, east < 0 ? '-' : '+',
	    abs(east) / 3600, abs(east) / 60 % 60);
	return dst;
}

json_t *
rehearsal_real(double value)
{
	return json_real(round(value * 1e6) / 1e6);
}

int
rehearsal_broken(const struct rehearsal *r)
{
	int n = 0;

	for (int i = 0; i < REFEREE_RULES; i++)
		n += r->rules[i].broken > 0;
	return n;
}

static json_t *
rules_json(const struct rehearsal *r)
{
	json_t *rules = json_object();
	char number[12];

	for (int i = 0; i < REFEREE_RULES; i++) {
		const struct referee_rule *rule = &r->rules[i];

		if (rule->checked == 0)
			continue;
		(void)snprintf(number, sizeof(number), "%d", i + 1);
		(void)json_object_set_new(rules, number,
		    json_pack("{s:s, s:I, s:I, s:s}", "rule", referee_rule_name(i + 1), "checked",
			(json_int_t)rule->checked, "broken", (json_int_t)rule->broken, "first",
			rule->first));
	}
	return rules;
}

static json_t *
runs_json(const struct scenario *s, const struct rehearsal *r)
{
	json_t *runs = json_array();
	char began[40], finish[40], forecast[40];

	for (size_t i = 0; i < r->run_count; i++) {
		const struct rehearsal_run *run = &r->runs[i];
		json_t *o =
		    json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "name", run->name,
			"recipients", (json_int_t)run->recipients, "sent", (json_int_t)run->sent,
			"failed", (json_int_t)run->failed, "expired", (json_int_t)run->expired,
			"in_doubt", (json_int_t)run->doubt, "open", (json_int_t)run->open, "began",
			rehearsal_time(s, run->began, began, sizeof(began)), "finish",
			rehearsal_time(s, run->finish, finish, sizeof(finish)));

		if (run->canary != NULL)
			(void)json_object_set_new(o, "canary", json_string(run->canary));
		if (run->forecast > 0)
			(void)json_object_set_new(o, "planned_finish",
			    json_string(
				rehearsal_time(s, run->forecast, forecast, sizeof(forecast))));
		(void)json_array_append_new(runs, o);
	}
	return runs;
}

static json_t *
events_json(const struct scenario *s, const struct rehearsal *r)
{
	json_t *events = json_array();
	char at[40];

	for (size_t i = 0; i < r->event_count; i++) {
		const struct rehearsal_event *e = &r->events[i];

		(void)json_array_append_new(events,
		    json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:i}", "at",
			rehearsal_time(s, e->at, at, sizeof(at)), "name", e->name, "mode", e->mode,
			"rate_per_s", rehearsal_real(e->per_s), "connections",
			(json_int_t)e->connections, "messages_per_connection", (json_int_t)e->batch,
			"code", e->code));
	}
	return events;
}

/* null where there was no line. */
static json_t *
deviation_json(const struct rehearsal_lane *l)
{
	return l->deviation < 0 ? json_null() : rehearsal_real(l->deviation);
}

static json_t *
lane_json(
    const struct scenario_run *run, const struct scenario_lane *def, const struct rehearsal_lane *l)
{
	const struct figures_window *w = l->figure.windows;
	json_t *near = json_array();

	for (int k = 0; k < GAUGE_NEAR; k++)
		(void)json_array_append_new(near, json_integer((json_int_t)l->figure.near_hour[k]));
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}",
	    "lane", def->name, "campaign", run->name, "group", def->group, "guard",
	    guard_name(def->guard), "count", (json_int_t)def->count, "tries",
	    (json_int_t)l->figure.sent, "D", deviation_json(l), "order_D",
	    rehearsal_real(l->order_deviation), "run", (json_int_t)l->figure.run, "burst_1s",
	    rehearsal_real(lane_figures_burst(&w[FIGURES_1S])), "burst_10s",
	    rehearsal_real(lane_figures_burst(&w[FIGURES_10S])), "burst_60s",
	    rehearsal_real(lane_figures_burst(&w[FIGURES_60S])), "peak_to_mean",
	    rehearsal_real(lane_figures_peak_to_mean(&w[FIGURES_60S])), "near_hour", near);
}

static json_t *
lanes_json(const struct scenario *s, const struct rehearsal *r)
{
	json_t *lanes = json_array();

	for (size_t i = 0; i < s->run_count; i++)
		for (size_t k = 0; k < s->runs[i].lane_count; k++) {
			size_t lane = s->runs[i].first_lane + k;

			(void)json_array_append_new(
			    lanes, lane_json(&s->runs[i], &s->lanes[lane], &r->lanes[lane]));
		}
	return lanes;
}

/* How often a rule was broken, under the name that a run played as a list has for it. */
static void
add_broken(json_t *total, const struct rehearsal *r, const char *name, int number)
{
	(void)json_object_set_new(
	    total, name, json_integer((json_int_t)r->rules[number - 1].broken));
}

json_t *
rehearsal_json(const struct scenario *s, const struct rehearsal *r, double cpu_s, long rss_mb)
{
	const struct rehearsal_lane *all = &r->lanes[s->lane_count];
	char finish[40];
	json_t *total = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:o, s:o}",
	    "tries", (json_int_t)r->tries, "deferred", (json_int_t)r->deferred, "retries",
	    (json_int_t)r->retries, "given_back", (json_int_t)r->given_back, "connections",
	    (json_int_t)r->connections, "lost_permits", (json_int_t)r->lost_permits, "goodput",
	    rehearsal_real(r->tries > 0 ? (double)r->sent / (double)r->tries : 0), "calls",
	    (json_int_t)r->calls, "broken_rules", (json_int_t)rehearsal_broken(r),
	    "calls_per_message",
	    rehearsal_real(r->tries > 0 ? (double)r->calls / (double)r->tries : 0),
	    "urgent_wait_p99_s", rehearsal_real(r->urgent_wait_p99 / 1e6));

	(void)json_object_set_new(total, "D_max", deviation_json(all));
	(void)json_object_set_new(total, "order_D_max", rehearsal_real(all->order_deviation));
	(void)json_object_set_new(total, "peak_to_mean",
	    rehearsal_real(lane_figures_peak_to_mean(&all->figure.windows[FIGURES_60S])));
	add_broken(total, r, "window_violations", 2);
	add_broken(total, r, "quota_violations", 4);
	add_broken(total, r, "strict_within_4_min", 5);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:I, s:o, s:o, s:o, "
			 "s:o, s:I, s:o}",
	    "name", s->name, "messages", (json_int_t)s->messages, "sent", (json_int_t)r->sent,
	    "failed", (json_int_t)r->failed, "expired", (json_int_t)r->expired, "in_doubt",
	    (json_int_t)r->doubt, "unsent", (json_int_t)r->open, "finish",
	    rehearsal_time(s, r->finish, finish, sizeof(finish)), "duration_s",
	    rehearsal_real((r->finish - s->start) / 1e6), "cpu_s", rehearsal_real(cpu_s), "rss_mb",
	    (json_int_t)rss_mb, "total", total, "invariants", rules_json(r), "campaigns",
	    runs_json(s, r), "brakes", events_json(s, r), "brakes_left_out",
	    (json_int_t)r->events_left_out, "lanes", lanes_json(s, r));
}

void
rehearsal_print(const struct scenario *s, const struct rehearsal *r, double cpu_s)
{
	char a[40], b[40], number[32];

	printf("%s: %s recipients from %s to %s\n", s->name,
	    cli_number((int64_t)s->messages, number), rehearsal_time(s, s->start, a, sizeof(a)),
	    rehearsal_time(s, r->finish, b, sizeof(b)));
	printf("sent %llu, failed %llu, expired %llu, in doubt %llu, unsent %llu\n",
	    (unsigned long long)r->sent, (unsigned long long)r->failed,
	    (unsigned long long)r->expired, (unsigned long long)r->doubt,
	    (unsigned long long)r->open);
	printf("%llu tries, %llu deferrals, %llu retries, %llu connections\n",
	    (unsigned long long)r->tries, (unsigned long long)r->deferred,
	    (unsigned long long)r->retries, (unsigned long long)r->connections);
	for (size_t i = 0; i < r->event_count && i < EVENTS_SHOWN; i++) {
		const struct rehearsal_event *e = &r->events[i];

		printf(
		    "  %s  %-14s %-5s", rehearsal_time(s, e->at, a, sizeof(a)), e->name, e->mode);
		if (e->per_s > 0)
			printf(" %.3f/s", e->per_s);
		if (e->connections > 0)
			printf(" %u connections", e->connections);
		if (e->batch > 0)
			printf(" %u messages each", e->batch);
		putchar('\n');
	}
	if (r->event_count > EVENTS_SHOWN)
		printf("  and %zu more (--json has %d)\n",
		    r->event_count + r->events_left_out - EVENTS_SHOWN, REHEARSAL_EVENTS_MAX);
	for (size_t i = 0; i < r->run_count; i++)
		if (r->runs[i].canary != NULL)
			printf("canary of %s: %s\n", r->runs[i].name, r->runs[i].canary);
	for (int i = 0; i < REFEREE_RULES; i++)
		if (r->rules[i].broken > 0)
			printf("BROKEN  %2d %s, %llu times: %s\n", i + 1, referee_rule_name(i + 1),
			    (unsigned long long)r->rules[i].broken, r->rules[i].first);
	if (rehearsal_broken(r) == 0)
		puts("every rule that was looked at holds");
	printf("%.1f s of CPU\n", cpu_s);
}
