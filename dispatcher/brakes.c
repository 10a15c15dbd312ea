/* SPDX-License-Identifier: Apache-2.0 */
/* brakes: see brakes.h. */
#include "brakes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keys.h"
#include "log.h"
#include "metric.h"
#include "policy.h"
#include "settle.h"
#include "strmap.h"

#define HEARD_MAX "-5000" /* reports kept when no producer takes them */
#define KEEP_LEAST_S 60	  /* of a recipient without a list of his own whose destination is held */
#define QUOTA_MINUTES 10  /* a day's quota is used up: headroom comes by the minute */

struct destination {
	char name[BRAKE_NAME_MAX + 1];
	struct brake brake; /* as told last */
	struct brake_ear ear;
};

struct brakes {
	struct dispatcher *d;
	struct policy *policy;
	const struct providers *table;
	bool is_mx;
	struct strmap by_name;
	struct destination *list[BRAKES_MAX]; /* owned */
	size_t count;
	size_t limiting; /* of them: braked in any way */
	bool asking;
	uv_timer_t timer;
	uint64_t replies[BRAKE_REACTIONS];
};

/* ---- destinations ---- */

static struct destination *
destination_of(struct brakes *b, const char *name, bool make)
{
	struct destination *x = strmap_get(&b->by_name, name);

	if (x != NULL || !make || b->count == BRAKES_MAX)
		return x;
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return NULL;
	(void)snprintf(x->name, sizeof(x->name), "%s", name);
	if (!strmap_add(&b->by_name, x->name, x)) {
		free(x);
		return NULL;
	}
	b->list[b->count++] = x;
	return x;
}

static int
group_of_host(const struct brakes *b, const char *host)
{
	struct slice name = slice_str(host);

	return b->is_mx && name.len > 0 ? providers_of_mx(b->table, &name, 1) : PROVIDERS_NONE;
}

static struct slice
domain_of(const struct flight *f)
{
	const char *at = strrchr(PQgetvalue(f->batch->rows, f->row, CLAIM_ADDRESS), '@');

	return slice_str(at != NULL ? at + 1 : "");
}

/* Its provider, else its domain. Lower case, as lanes are. */
static int
name_of(
    const struct brakes *b, const struct flight *f, const char *host, char name[BRAKE_NAME_MAX + 1])
{
	int group = group_of_host(b, host);
	struct slice domain = domain_of(f);

	if (group == PROVIDERS_NONE)
		group = providers_of_domain(b->table, domain);
	if (group != PROVIDERS_NONE) {
		(void)snprintf(
		    name, BRAKE_NAME_MAX + 1, "%s", providers_group(b->table, group)->name);
		return group;
	}
	if (domain.len > BRAKE_NAME_MAX)
		domain.len = 0;
	for (size_t i = 0; i < domain.len; i++)
		name[i] = domain.ptr[i] >= 'A' && domain.ptr[i] <= 'Z' ? (char)(domain.ptr[i] + 32)
								       : domain.ptr[i];
	name[domain.len] = '\0';
	return providers_unknown(b->table);
}

static const struct brake *
brake_of_host(const struct brakes *b, const char *host)
{
	int group = b != NULL && b->limiting > 0 ? group_of_host(b, host) : PROVIDERS_NONE;
	const struct destination *x;

	if (group == PROVIDERS_NONE)
		return NULL;
	x = strmap_get(&b->by_name, providers_group(b->table, group)->name);
	return x != NULL ? &x->brake : NULL;
}

unsigned
brakes_connections(const struct brakes *b, const char *host, unsigned configured)
{
	const struct brake *brake = brake_of_host(b, host);

	return brake != NULL && brake->window > 0 && brake->window < configured ? brake->window
										: configured;
}

unsigned
brakes_messages(const struct brakes *b, const char *host, unsigned configured)
{
	const struct brake *brake = brake_of_host(b, host);

	return brake != NULL && brake->batch > 0 && brake->batch < configured ? brake->batch
									      : configured;
}

/* ---- hearing ---- */

static void
note_answer(struct brakes *b, const char *name, bool make)
{
	struct destination *x = destination_of(b, name, make);

	if (x != NULL)
		brake_ear_answer(&x->ear);
}

static void
note_event(struct brakes *b, const char *name, const struct provider_verdict *v, int code, int run,
    bool alike)
{
	struct destination *x = destination_of(b, name, true);

	b->replies[v->reaction]++;
	if (x != NULL)
		brake_ear_event(&x->ear, v, code, run, dispatcher_now_ms(b->d), alike);
}

/* Spread by a fifth. */
static long
about_s(long s)
{
	return s + (long)arc4random_uniform((uint32_t)(s / 5 + 1));
}

struct brakes_advice
brakes_hear(struct brakes *b, const struct flight *f, struct outcome *o)
{
	struct brakes_advice advice = { BRAKES_USUAL, 0 };
	char name[BRAKE_NAME_MAX + 1], host[256];
	struct provider_verdict v = { .reaction = REACTION_NONE };
	struct brake_duty duty;
	int group;

	if (b == NULL || o->code == 0 || o->kind > OUTCOME_RELEASED || o->kind == OUTCOME_IN_DOUBT)
		return advice;
	(void)snprintf(host, sizeof(host), "%.*s", SLICE_ARG(o->remote));
	group = name_of(b, f, host, name);
	if (o->kind != OUTCOME_SENT)
		v = brake_verdict(b->table, b->is_mx, group, o);
	duty = brake_duty_of(&v, o);
	if (duty.is_answer) {
		note_answer(b, name, !slice_equal(slice_str(name), domain_of(f)));
		note_answer(b, BRAKE_ACCOUNT, true);
		b->replies[v.reaction]++;
	}
	if (duty.is_event)
		note_event(b, duty.of_account ? BRAKE_ACCOUNT : name, &v, o->code,
		    flight_run(f)->id, duty.alike);
	advice.way = duty.way;
	if (duty.way == BRAKES_LATER)
		advice.wait_s = about_s(v.minutes * 60L);
	if (duty.way == BRAKES_POSTPONE)
		advice.wait_s = about_s(settle_first_wait_s(b->d->settler));
	return advice;
}

void
brakes_hear_host(struct brakes *b, const char *host, const struct outcome *why)
{
	struct provider_verdict v;
	int group;

	if (b == NULL || why->code == 0)
		return;
	group = group_of_host(b, host);
	if (group == PROVIDERS_NONE)
		return;
	v = brake_verdict(b->table, b->is_mx, group, why);
	/* said to a connection that was not made: no noise */
	v.at_once = v.at_once || v.reaction == REACTION_CONN;
	if (v.reaction == REACTION_CONN || v.reaction == REACTION_RATE ||
	    v.reaction == REACTION_HOLD || v.reaction == REACTION_STOP)
		note_event(b, providers_group(b->table, group)->name, &v, why->code, 0, false);
}

void
brakes_hear_account(struct brakes *b, enum reaction reaction, int code)
{
	struct provider_verdict v = { .reaction = reaction,
		.minutes = reaction == REACTION_ACCOUNT_HOLD ? QUOTA_MINUTES : 0,
		.at_once = true };

	if (b == NULL)
		return;
	if (reaction == REACTION_NONE)
		note_answer(b, BRAKE_ACCOUNT, true);
	else
		note_event(b, BRAKE_ACCOUNT, &v, code, 0, false);
}

/* ---- holding ---- */

/* us since 2026 */
static double
real_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (double)(t.tv_sec - ADMISSION_EPOCH_S) * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool
account_is_held(const struct brakes *b)
{
	const struct destination *x = strmap_get(&b->by_name, BRAKE_ACCOUNT);

	return x != NULL && x->brake.mode == BRAKE_HOLD;
}

bool
brakes_keep(struct brakes *b, struct flight *f, const char *host)
{
	static const struct outcome held = { .kind = OUTCOME_DEFERRED,
		.cls = OUTCOME_BLOCK,
		.scope = OUTCOME_SCOPE_ROUTE,
		.reason = "rate",
		.text = { "its provider asked us to wait", 29 } };
	char name[BRAKE_NAME_MAX + 1];
	const struct destination *x;
	long wait_s;

	if (b == NULL || b->limiting == 0)
		return false;
	if (account_is_held(b)) {
		settle_release(b->d->settler, f); /* it needs another permit */
		return true;
	}
	(void)name_of(b, f, host, name);
	x = destination_of(b, name, false);
	if (x == NULL || brake_lets_leave(&x->brake, real_now(), f->list != 0))
		return false;
	if (f->list != 0) {
		settle_release(b->d->settler, f);
		return true;
	}
	/* in the list of all others it would come back at once */
	wait_s = brake_left_s(&x->brake, real_now());
	settle_postpone(
	    b->d->settler, f, &held, about_s(wait_s > KEEP_LEAST_S ? wait_s : KEEP_LEAST_S));
	return true;
}

/* ---- Redis ---- */

static void
ignore(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply; /* what is lost brakes nobody */
}

static void
send_report(struct brakes *b, const char *key, const struct brake_report *report)
{
	char text[BRAKE_REPORT_MAX];
	const char *argv[] = { "RPUSH", key, text };

	brake_report_print(report, text);
	rdsloop_command(b->d->redis, ignore, NULL, 3, argv);
}

static void
report(struct brakes *b)
{
	char key[KEY_MAX];
	const char *trim[] = { "LTRIM", key, HEARD_MAX, "-1" };
	bool sent = false;

	(void)snprintf(key, sizeof(key), KEY_HEARD, POLICY_POOL);
	for (size_t i = 0; i < b->count; i++) {
		struct brake_report reports[BRAKE_REACTIONS + 1];
		size_t n = brake_ear_take(&b->list[i]->ear, b->list[i]->name, reports);

		for (size_t k = 0; k < n; k++)
			send_report(b, key, &reports[k]);
		sent = sent || n > 0;
	}
	if (sent)
		rdsloop_command(b->d->redis, ignore, NULL, 4, trim);
}

static void
on_told(void *ctx, const redisReply *reply)
{
	struct brakes *b = ctx;

	b->asking = false;
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		return; /* what holds goes on holding */
	for (size_t i = 0; i < b->count; i++)
		b->list[i]->brake = (struct brake){ 0 };
	b->limiting = 0;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const redisReply *name = reply->element[i], *text = reply->element[i + 1];
		struct destination *x;
		struct brake brake;

		if (name->type != REDIS_REPLY_STRING || text->type != REDIS_REPLY_STRING ||
		    name->len > BRAKE_NAME_MAX || !brake_parse(&brake, text->str) ||
		    (x = destination_of(b, name->str, true)) == NULL)
			continue;
		x->brake = brake;
		b->limiting += brake_is_limiting(&brake) || brake.window > 0 || brake.batch > 0;
	}
}

static void
on_timer(uv_timer_t *timer)
{
	struct brakes *b = timer->data;
	char key[KEY_MAX];
	const char *argv[] = { "HGETALL", key };

	if (b->asking || !rdsloop_is_ready(b->d->redis))
		return;
	report(b);
	(void)snprintf(key, sizeof(key), KEY_BRAKE, POLICY_POOL);
	b->asking = true;
	rdsloop_command(b->d->redis, on_told, b, 2, argv);
}

/* ---- life ---- */

int
brakes_new(struct brakes **brakes, struct dispatcher *d, struct err *err)
{
	struct brakes *b;

	*brakes = NULL;
	if (!d->config->pace_adaptive)
		return 0;
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return err_set(err, "no memory");
	b->policy = policy_new(d->config, err);
	if (b->policy == NULL) {
		free(b);
		return -1;
	}
	b->d = d;
	b->table = policy_providers(b->policy);
	b->is_mx = strcmp(d->config->dispatcher_transport, "mx") == 0;
	(void)uv_timer_init(&d->loop, &b->timer);
	b->timer.data = b;
	(void)uv_timer_start(&b->timer, on_timer, BRAKES_EVERY_MS, BRAKES_EVERY_MS);
	*brakes = b;
	return 0;
}

void
brakes_stop(struct brakes *b)
{
	if (b != NULL && !uv_is_closing((uv_handle_t *)&b->timer))
		uv_close((uv_handle_t *)&b->timer, NULL);
}

void
brakes_free(struct brakes *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < b->count; i++)
		free(b->list[i]);
	strmap_release(&b->by_name);
	policy_free(b->policy);
	free(b);
}

void
brakes_metrics(const struct brakes *b, struct buf *out)
{
	static const char name[] = "kairan_replies_total";

	metric_family(out, name, METRIC_COUNTER,
	    "Replies of remote hosts, by what the provider table makes of them; none: nothing");
	for (int i = 0; i < BRAKE_REACTIONS; i++)
		metric_sample(out, name,
		    &(struct metric_label){ "reaction", reaction_name((enum reaction)i) }, 1,
		    b != NULL ? (double)b->replies[i] : 0);
}
