/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_simulate: `kairan simulate` and `kairan provider check|of`. Reads, runs, prints; the work
 * is in scenario, simulation and gauge.
 */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "embed.h"
#include "gauge.h"
#include "policy.h"
#include "rehearsal_report.h"
#include "scenario.h"
#include "simulation.h"

#define CHART_ROWS 24
#define CHART_CELLS 50
#define LANES_SHOWN 12

struct played {
	struct scenario scenario;
	struct plan_lane *plans;
	struct gauge gauge;
	struct simulation_result result;
	double *order_worst;
	double cpu_s;
	long rss_mb;
};

static double
cpu_seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The most so far. */
static long
resident_mb(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss / 1024;
}

static double
largest(const struct played *p, bool order)
{
	double worst = 0;

	for (size_t i = 0; i < p->scenario.lane_count; i++)
		worst = fmax(worst, order ? p->order_worst[i] : p->gauge.lanes[i].deviation);
	return worst;
}

static json_t *
lane_json(const struct played *p, size_t i)
{
	const struct gauge_lane *l = &p->gauge.lanes[i];
	json_t *near = json_array();

	for (int k = 0; k < GAUGE_NEAR; k++)
		(void)json_array_append_new(near, json_integer((json_int_t)l->near_hour[k]));
	return json_pack(
	    "{s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "lane",
	    l->lane->name, "group", l->lane->group, "guard", guard_name(l->lane->guard), "count",
	    (json_int_t)l->lane->count, "sent", (json_int_t)l->sent, "rate_per_s",
	    rehearsal_real(p->plans[i].peak_per_s), "D", rehearsal_real(l->deviation), "order_D",
	    rehearsal_real(p->order_worst[i]), "late_ms", rehearsal_real(l->late_us / 1e3), "run",
	    (json_int_t)l->longest_run, "burst_1s", rehearsal_real(gauge_burst(&l->second)),
	    "burst_10s", rehearsal_real(gauge_burst(&l->ten)), "burst_60s",
	    rehearsal_real(gauge_burst(&l->minute)), "peak_to_mean",
	    rehearsal_real(gauge_peak_to_mean(&l->minute)), "near_hour", near);
}

static void
print_json(const struct played *p)
{
	const struct scenario *s = &p->scenario;
	const struct gauge *g = &p->gauge;
	char finish[40], planned[40];
	json_t *lanes = json_array();
	json_t *total = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "D_max",
	    rehearsal_real(largest(p, false)), "order_D_max", rehearsal_real(largest(p, true)),
	    "peak_to_mean", rehearsal_real(gauge_peak_to_mean(&g->total)), "window_violations",
	    (json_int_t)g->window_violations, "quota_violations",
	    (json_int_t)gauge_quota_violations(g), "strict_within_4_min",
	    (json_int_t)g->strict_near, "deferred", (json_int_t)0, "goodput",
	    rehearsal_real(g->sent > 0 ? 1 : 0), "lost_permits", (json_int_t)p->result.lost_permits,
	    "calls_per_message",
	    rehearsal_real(g->sent > 0 ? (double)g->calls / (double)g->sent : 0));

	for (size_t i = 0; i < s->lane_count; i++)
		(void)json_array_append_new(lanes, lane_json(p, i));
	cli_print_json(json_pack("{s:s, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:o}", "name",
	    s->name, "messages", (json_int_t)g->sent, "unsent", (json_int_t)p->result.unsent,
	    "finish", rehearsal_time(s, p->result.finish, finish, sizeof(finish)), "planned_finish",
	    rehearsal_time(s, p->result.planned_finish, planned, sizeof(planned)), "duration_s",
	    rehearsal_real((p->result.finish - s->start) / 1e6), "planned_duration_s",
	    rehearsal_real((p->result.planned_finish - s->start) / 1e6), "cpu_s",
	    rehearsal_real(p->cpu_s), "rss_mb", (json_int_t)p->rss_mb, "total", total, "lanes",
	    lanes));
}

/* ---------------------------------------------------------------- for readers */

/* Messages a minute over the run, as bars. */
static void
print_chart(const struct played *p)
{
	const struct gauge *g = &p->gauge;
	size_t rows = g->minute_count < CHART_ROWS ? g->minute_count : CHART_ROWS;
	double peak = 0, mean[CHART_ROWS] = { 0 };
	char when[40], number[32];

	for (size_t r = 0; r < rows; r++) {
		size_t a = r * g->minute_count / rows, b = (r + 1) * g->minute_count / rows;

		for (size_t m = a; m < b; m++)
			mean[r] += g->minutes[m];
		mean[r] /= (double)(b - a);
		peak = fmax(peak, mean[r]);
	}
	puts("\nMessages a minute");
	for (size_t r = 0; r < rows; r++) {
		double at =
		    (floor(p->scenario.start / MINUTE_US) + (double)(r * g->minute_count / rows)) *
		    MINUTE_US;
		int cells = peak > 0 ? (int)(mean[r] / peak * CHART_CELLS + 0.5) : 0;

		(void)rehearsal_time(&p->scenario, at, when, sizeof(when));
		printf("  %.11s %.5s  ", when, when + 11);
		for (int c = 0; c < cells; c++)
			putchar('#');
		printf(" %s\n", cli_number((int64_t)(mean[r] + 0.5), number));
	}
}

static int
by_count(const void *a, const void *b)
{
	const struct gauge_lane *x = *(const struct gauge_lane *const *)a;
	const struct gauge_lane *y = *(const struct gauge_lane *const *)b;

	return (x->lane->count < y->lane->count) - (x->lane->count > y->lane->count);
}

static void
print_lanes(const struct played *p)
{
	size_t n = p->scenario.lane_count;
	const struct gauge_lane **sorted = calloc(n + 1, sizeof(*sorted));
	char number[32];

	for (size_t i = 0; sorted != NULL && i < n; i++)
		sorted[i] = &p->gauge.lanes[i];
	if (sorted == NULL)
		return;
	qsort(sorted, n, sizeof(*sorted), by_count);
	printf("\n%-20s %12s %-7s %9s %8s %8s %9s\n", "lane", "messages", "guard", "per s", "D",
	    "order_D", "peak/mean");
	for (size_t i = 0; i < n && i < LANES_SHOWN; i++) {
		size_t k = (size_t)(sorted[i] - p->gauge.lanes);

		printf("%-20.20s %12s %-7s %9.2f %8.3f %8.3f %9.3f\n", sorted[i]->lane->name,
		    cli_number((int64_t)sorted[i]->lane->count, number),
		    guard_name(sorted[i]->lane->guard), p->plans[k].peak_per_s,
		    sorted[i]->deviation, p->order_worst[k],
		    gauge_peak_to_mean(&sorted[i]->minute));
	}
	if (n > LANES_SHOWN)
		printf("and %zu more lanes (--json has all)\n", n - LANES_SHOWN);
	free(sorted);
}

static void
print_text(const struct played *p)
{
	const struct gauge *g = &p->gauge;
	char a[40], b[40], number[32];

	printf("%s: %s messages from %s to %s\n", p->scenario.name,
	    cli_number((int64_t)g->sent, number),
	    rehearsal_time(&p->scenario, p->scenario.start, a, 40),
	    rehearsal_time(&p->scenario, p->result.finish, b, 40));
	printf("planned until %s, %.1f h\n",
	    rehearsal_time(&p->scenario, p->result.planned_finish, a, 40),
	    (p->result.planned_finish - p->scenario.start) / 3600e6);
	if (p->result.unsent > 0)
		printf("NOT SENT: %s, the calendar ended before\n",
		    cli_number((int64_t)p->result.unsent, number));
	printf("limits broken %llu, quota broken %llu, strict groups within %d minutes of an hour "
	       "%llu\n",
	    (unsigned long long)g->window_violations, (unsigned long long)gauge_quota_violations(g),
	    GAUGE_STRICT_MINUTES, (unsigned long long)g->strict_near);
	printf("distance from the planned line %.3f, from the proportional line %.3f messages\n",
	    largest(p, false), largest(p, true));
	print_lanes(p);
	print_chart(p);
	printf("\n%.1f s of CPU, %ld MB, %.4f admission calls a message\n", p->cpu_s, p->rss_mb,
	    g->sent > 0 ? (double)g->calls / (double)g->sent : 0);
}

/* ---------------------------------------------------------------- command */

struct showing {
	struct cli_progress bar;
};

static void
show(void *ctx, uint64_t done)
{
	struct showing *s = ctx;

	cli_progress_set(&s->bar, (int64_t)done, NULL);
}

/* Recipient by recipient, against providers that refuse. */
static int
rehearse(struct cli *cli, const struct scenario *s, FILE *trace)
{
	struct rehearsal *r = calloc(1, sizeof(*r));
	struct showing showing = { 0 };
	struct rehearsal_hooks hooks = { trace, show, &showing };
	struct err err = { 0 };
	int code = EXIT_DONE;

	if (r == NULL)
		return cli_fail(cli, EXIT_FAILED, "no memory");
	cli_progress_start(&showing.bar, cli, "rehearsing", (int64_t)s->messages);
	if (rehearsal_play(s, &hooks, r, &err) < 0)
		code = cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	cli_progress_end(&showing.bar, NULL);
	if (code == EXIT_DONE && cli->json)
		cli_print_json(rehearsal_json(s, r, cpu_seconds(), resident_mb()));
	else if (code == EXIT_DONE)
		rehearsal_print(s, r, cpu_seconds());
	if (code == EXIT_DONE && rehearsal_broken(r) > 0)
		code = EXIT_FAILED;
	rehearsal_release(r);
	free(r);
	return code;
}

static int
play(struct cli *cli, struct played *p, FILE *trace, FILE *order, uint64_t every)
{
	struct showing showing = { 0 };
	struct simulation_hooks hooks = {
		.trace = trace, .trace_every = every, .progress = show, .ctx = &showing
	};
	struct err err = { 0 };
	int result;

	p->plans = calloc(p->scenario.lane_count + 1, sizeof(*p->plans));
	p->order_worst = calloc(p->scenario.lane_count + 1, sizeof(*p->order_worst));
	if (p->plans == NULL || p->order_worst == NULL)
		return cli_fail(cli, EXIT_FAILED, "no memory");
	cli_progress_start(&showing.bar, cli, "simulating", (int64_t)p->scenario.messages);
	result = simulation_run(&p->scenario, &hooks, p->plans, &p->gauge, &p->result, &err);
	if (result == 0)
		result = simulation_order(&p->scenario, order, every, p->order_worst, &err);
	cli_progress_end(&showing.bar, NULL);
	p->rss_mb = resident_mb();
	p->cpu_s = cpu_seconds();
	return result == 0 ? EXIT_DONE : cli_fail(cli, EXIT_FAILED, "%s", err.msg);
}

static int
open_trace(struct cli *cli, const char *path, FILE **out)
{
	if (path == NULL)
		return EXIT_DONE;
	*out = fopen(path, "we");
	return *out != NULL
	    ? EXIT_DONE
	    : cli_fail(cli, EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
}

static int
close_trace(struct cli *cli, const char *path, FILE *out, int code)
{
	bool bad = out != NULL && (ferror(out) != 0);

	if (out != NULL && fclose(out) != 0)
		bad = true;
	return bad && code == EXIT_DONE ? cli_fail(cli, EXIT_FAILED, "cannot write %s", path)
					: code;
}

static int
run_simulate(struct cli *cli, int argc, char **argv)
{
	const char *trace_path = NULL, *order_path = NULL, *every_text = NULL;
	const struct cli_option options[] = {
		{ .name = "trace", .value_name = "FILE", .value = &trace_path },
		{ .name = "trace-order", .value_name = "FILE", .value = &order_path },
		{ .name = "every", .value_name = "K", .value = &every_text }, { 0 }
	};
	struct played p = { 0 };
	FILE *trace = NULL, *order = NULL;
	struct err err = { 0 };
	int64_t every = 1;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(
		    cli, EXIT_USAGE, "simulate takes one scenario file; see kairan help simulate");
	if (every_text != NULL &&
	    (every = cli_parse_number(cli, "every", every_text, 1, 1000000000)) < 0)
		return EXIT_USAGE;
	if (scenario_load(&p.scenario, argv[0], &err) < 0) {
		scenario_release(&p.scenario);
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	}
	code = open_trace(cli, trace_path, &trace);
	if (p.scenario.rehearsed) {
		if (code == EXIT_DONE)
			code = order_path == NULL && every_text == NULL
			    ? rehearse(cli, &p.scenario, trace)
			    : cli_fail(cli, EXIT_USAGE,
				  "--%s is of scenarios without campaigns and replies",
				  every_text != NULL ? "every" : "trace-order");
		scenario_release(&p.scenario);
		return close_trace(cli, trace_path, trace, code);
	}
	if (code == EXIT_DONE)
		code = open_trace(cli, order_path, &order);
	if (code == EXIT_DONE)
		code = play(cli, &p, trace, order, (uint64_t)every);
	code = close_trace(cli, trace_path, trace, code);
	code = close_trace(cli, order_path, order, code);
	if (code == EXIT_DONE) {
		if (cli->json)
			print_json(&p);
		else
			print_text(&p);
		if (p.result.unsent > 0)
			code = EXIT_FAILED;
	}
	for (size_t i = 0; p.plans != NULL && i < p.scenario.lane_count; i++)
		plan_lane_release(&p.plans[i]);
	free(p.plans);
	free(p.order_worst);
	gauge_release(&p.gauge);
	scenario_release(&p.scenario);
	return code;
}

/* ---------------------------------------------------------------- provider table */

static int
fail_table(struct cli *cli, const char *path, const struct err *err)
{
	return cli_fail(cli, EXIT_USAGE, err->offset > 0 ? "%s, line %zu: %s" : "%s%.0zu: %s",
	    path != NULL ? path : "provider table", err->offset, err->msg);
}

/* The built-in table, with the file `path` over it unless NULL. NULL after printing. */
static struct providers *
load_providers(struct cli *cli, struct arena *arena, const char *path)
{
	struct slice override = { NULL, 0 };
	struct err err = { 0 };
	struct providers *p = NULL;

	if (path != NULL)
		override = scenario_read_file(arena, path, PROVIDERS_TEXT_MAX, &err);
	if (path == NULL || override.ptr != NULL)
		p = providers_new(slice_str(embed_common_data_providers_tsv), override, &err);
	if (p == NULL)
		(void)fail_table(cli, path, &err);
	return p;
}

static int
run_provider_check(struct cli *cli, int argc, char **argv)
{
	struct err err = { 0 };
	struct providers *p;
	struct arena arena;
	int code = EXIT_DONE;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 1)
		return cli_fail(cli, EXIT_USAGE, "provider check takes one file or none");
	arena_init(&arena, 2 * PROVIDERS_TEXT_MAX);
	p = load_providers(cli, &arena, argc == 1 ? argv[0] : NULL);
	arena_release(&arena);
	if (p == NULL)
		return EXIT_USAGE;
	if (policy_check_zones(p, &err) < 0)
		code = fail_table(cli, argc == 1 ? argv[0] : NULL, &err);
	else if (cli->json)
		cli_print_json(json_pack("{s:I}", "groups", (json_int_t)providers_count(p)));
	else
		printf("%zu groups, no mistake\n", providers_count(p));
	providers_free(p);
	return code;
}

static int
run_provider_of(struct cli *cli, int argc, char **argv)
{
	const char *path = NULL;
	const struct cli_option options[] = {
		{ .name = "table", .value_name = "FILE", .value = &path }, { 0 }
	};
	char domain[256];
	struct providers *p;
	struct arena arena;
	json_t *all;
	int code = EXIT_DONE;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 0)
		return cli_fail(cli, EXIT_USAGE, "provider of takes one domain or more");
	arena_init(&arena, 2 * PROVIDERS_TEXT_MAX);
	p = load_providers(cli, &arena, path);
	arena_release(&arena);
	if (p == NULL)
		return EXIT_USAGE;
	all = json_array();
	for (int i = 0; i < argc; i++) {
		const struct provider_group *g;
		int group;

		code = cli_take_domain(cli, argv[i], domain);
		if (code != EXIT_DONE)
			break;
		group = providers_of_domain(p, slice_str(domain));
		g = providers_group(p, group >= 0 ? group : providers_unknown(p));
		if (!cli->json)
			printf("%s\t%s\t%s\t%g/s\n", domain, g->name, guard_name(g->guard),
			    g->rate_per_s);
		(void)json_array_append_new(all,
		    json_pack("{s:s, s:s, s:s, s:f}", "domain", domain, "group", g->name, "guard",
			guard_name(g->guard), "rate_per_s", g->rate_per_s));
	}
	if (cli->json && code == EXIT_DONE)
		cli_print_json(all);
	else
		json_decref(all);
	providers_free(p);
	return code;
}

const struct cli_command cli_simulate_commands[] = {
	{ "simulate", "SCENARIO.json", "play a run in virtual time: lanes, hour guard, limits",
	    "Options:\n"
	    "  --trace FILE        write 'time_us lane domain' for each message\n"
	    "  --trace-order FILE  write 'n lane domain' of the order without a clock\n"
	    "  --every K           only one line in K of both\n"
	    "\n"
	    "Example:\n"
	    "  kairan simulate docs/examples/evening.json\n",
	    false, run_simulate },
	{ "provider check", "[FILE]", "check the provider table, or a file over it",
	    "Example:\n"
	    "  kairan provider check /etc/kairan/providers.tsv\n",
	    false, run_provider_check },
	{ "provider of", "DOMAIN...", "say to which provider a domain belongs",
	    "Options:\n"
	    "  --table FILE   rows over the built-in table\n"
	    "\n"
	    "Example:\n"
	    "  kairan provider of docomo.ne.jp example.jp\n",
	    false, run_provider_of },
	{ 0 },
};
