/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario: what `kairan simulate` shall play, read from a JSON file and the files it names
 * (relative to it). Everything is checked here; the simulation believes it.
 */
#ifndef KAIRAN_SCENARIO_H
#define KAIRAN_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "calendar.h"
#include "config.h"
#include "err.h"
#include "plan.h"
#include "providers.h"
#include "share.h"
#include "sim_provider.h"

#define SCENARIO_FAULTS_MAX 64
#define SCENARIO_LANES_MAX 4096
#define SCENARIO_DISPATCHERS_MAX 64
#define SCENARIO_RUNS_MAX 200
#define SCENARIO_MOODS_MAX 64
#define SCENARIO_REHEARSED_MAX 20000000u /* recipients */
#define TAIL_LANES 16

enum fault_kind {
	FAULT_DISPATCHER_CRASH, /* what it had reserved is lost; it comes back after `for_s` */
	FAULT_PLANNER_DOWN,	/* no calendar is published for `for_s` */
	FAULT_REDIS_LOST,	/* clocks of all limiters are gone */
	FAULT_OLD_PLANNER, /* one that does not know it was replaced publishes without limits */
	FAULT_GROUP_GONE   /* the provider table does not have a group any more */
};

struct scenario_fault {
	enum fault_kind kind;
	double at_s, for_s; /* after the start */
	int dispatcher;
	const char *group; /* in the arena */
};

/* Parts of the rules that a scenario leaves out, to see that their checks notice. */
enum scenario_omission {
	OMIT_QUOTA = 1,
	OMIT_GUARD = 2,
	OMIT_WINDOW = 4, /* connections as braked */
	OMIT_URGENT = 8,
	OMIT_WEIGHTS = 16,
	OMIT_CUT = 32,	/* a complaint about the rate is not reported */
	OMIT_HOLD = 64, /* nor one that asks for silence */
	OMIT_BUDGET = 128,
	OMIT_LADDER = 256, /* retries come before their time */
	OMIT_EXPIRY = 512,
	OMIT_ONCE = 1024, /* what was in the hands of a dispatcher that died is sent again */
	OMIT_GUARD_PLAN =
	    2048, /* plans know no guard: what falls due meanwhile waits for its end */
	OMIT_CLOSED_SHARE = 4096, /* of the rate: the others take it while a guard closes */
	OMIT_CLOCK = 8192, /* permits are read by the clock of the host, not by that of Redis */
	OMIT_GENERATION = 16384, /* calendars of old planners are taken */
	OMIT_LEASE = 32768,	 /* each dispatcher counts its own connections alone */
	OMIT_CANARY = 65536	 /* it is not judged */
};

struct scenario_provider {
	const char *name; /* of a group or a lane, in the arena */
	struct sim_manners manners;
};

struct scenario_mood {
	const char *name;     /* as above; "*": all */
	struct sim_mood mood; /* from, till: us after the start */
};

struct scenario_run {
	const char *name, *stream; /* in the arena */
	double stream_per_s;	   /* 0: no limit */
	enum share_class class;
	double weight, at_s, spread_s;
	double arrive_per_s; /* of urgent mail: comes one after the other; 0: all at once */
	int quiet_from, quiet_till;
	uint64_t canary; /* recipients that go first; 0: all at once */
	double canary_wait_s;
	double bounce_line, canary_line; /* per cent of them at which it fared badly */
	size_t first_lane, lane_count;
};

struct scenario_domain {
	const char *name; /* in the arena */
	uint32_t count;
	uint32_t lane;
};

struct scenario_lane {
	const char *name;  /* in the arena */
	const char *group; /* of the provider table */
	uint64_t count;
	enum guard_mode guard;
	const struct zone *zone;  /* of the guard; shared */
	const struct zone *hours; /* whose open hours it keeps; NULL: none */
	double cap_per_s;	  /* 0: none */
	int limiter;		  /* lanes of one limited group share it; -1: none */
};

struct scenario {
	struct arena arena;
	const char *name;
	double start; /* us since 2026 */
	int32_t start_offset_s;
	const struct zone *zone;
	struct scenario_lane *lanes;
	size_t lane_count;
	struct scenario_domain *domains; /* sorted as read; none when `lanes` was given */
	size_t domain_count;
	uint64_t messages;
	double account_per_s; /* 0: no limit */
	uint64_t quota, quota_used;
	enum plan_mode mode;
	double window_s;	     /* of PLAN_WINDOW */
	int quiet_open, quiet_close; /* minutes of the local day; equal: none */
	int dispatchers;
	uint64_t seed;
	double jitter_us;   /* a release comes up to this late */
	double lead_us;	    /* releases stop this much before a guard */
	double soft_factor; /* of its rate, that a soft guard leaves */
	struct scenario_fault faults[SCENARIO_FAULTS_MAX];
	size_t fault_count;
	/* Of one that is played recipient by recipient (rehearsal.h): */
	bool rehearsed;
	struct config config; /* of the programs */
	struct scenario_run runs[SCENARIO_RUNS_MAX];
	size_t run_count;
	struct scenario_provider *providers;
	size_t provider_count;
	struct scenario_mood *moods;
	size_t mood_count;
	double latency_us;
	double clock_off_us[SCENARIO_DISPATCHERS_MAX]; /* of the host of each dispatcher */
	const char *warmup;			       /* schedule; NULL: none */
	int warmup_day;
	bool guard_off;
	bool is_relay; /* else mail servers of each provider */
	unsigned omit; /* enum scenario_omission */
};

/* 0, or -1 with err. s must be released either way. */
int scenario_load(struct scenario *s, const char *path, struct err *err) MUST_CHECK;
void scenario_release(struct scenario *s);

/* A whole file of at most `max` bytes into the arena. {NULL, 0} with err. */
struct slice scenario_read_file(
    struct arena *arena, const char *path, size_t max, struct err *err) MUST_CHECK;

/* "2026-11-24T09:58:00+09:00" or "...Z" as us since 2026. */
int scenario_time(double *at, int32_t *offset_s, const char *text, struct err *err) MUST_CHECK;

#endif
