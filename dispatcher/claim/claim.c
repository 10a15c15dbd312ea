/* SPDX-License-Identifier: Apache-2.0 */
/* claim: see claim.h. The claimer: when to claim, flights that are late, ids that are given back. */
#include "claim.h"

#include <stdlib.h>
#include <string.h>

#include "claimer.h"
#include "embed.h"
#include "keys.h"
#include "log.h"
#include "pipeline.h"
#include "route.h"
#include "runs.h"
#include "settle.h"
#include "stats.h"

#define GIVE_BACK_CHUNK 500
#define LATE_RELEASE_MS 3000 /* without a permit for so long: give the claim back */
#define AHEAD_US 60000000    /* urgent mail goes before what has been due for less */

struct claimer *
claimer_new(struct dispatcher *d)
{
	struct claimer *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->d = d;
	claim_size_init(
	    &c->size, d->config->dispatcher_batch, dispatcher_batch_max(d), dispatcher_now_ms(d));
	rdsloop_script_init(&c->reserve, embed_common_lua_reserve_lua);
	rdsloop_script_init(&c->give_back, embed_common_lua_quota_return_lua);
	(void)uv_timer_init(&d->loop, &c->timer);
	c->timer.data = c;
	return c;
}

void
claimer_free(struct claimer *c)
{
	free(c);
}

void
claim_stop(struct claimer *c)
{
	(void)uv_timer_stop(&c->timer);
	if (!uv_is_closing((uv_handle_t *)&c->timer))
		uv_close((uv_handle_t *)&c->timer, NULL);
}

bool
claim_is_idle(const struct claimer *c)
{
	return c->pipeline == NULL && c->takings == 0 && c->late == NULL;
}

static void
on_timer(uv_timer_t *timer)
{
	claim_kick(timer->data);
}

int
claimer_list_of(const struct live_run *run, int lane)
{
	size_t low = 0, high = run->lane_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (run->lanes[mid] == lane)
			return lane;
		if (run->lanes[mid] < lane)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

void
claimer_set_due(struct flight *f, uint64_t due_us, uint64_t late_us)
{
	f->due_us = due_us;
	f->late_us = late_us;
	f->ahead_us = flight_run(f)->urgent && due_us <= dispatcher_now_us() ? AHEAD_US : 0;
}

/* ---- late flights ---- */

void
claim_late(struct claimer *c, struct flight *f)
{
	if (c->d->stopping || !flight_run(f)->running) {
		settle_release(c->d->settler, f);
		return;
	}
	f->missed_told = f->late_us == 0; /* it had none of its list */
	c->missed++;
	c->d->stats->permits_missed++;
	log_debug("missed its time run=%d send=%d", flight_run(f)->id, f->id);
	f->missed_ms = dispatcher_now_ms(c->d);
	f->next = c->late;
	c->late = f;
	claim_kick(c);
}

static void
release_late(struct claimer *c, const struct live_run *run, uint64_t age_ms)
{
	uint64_t now = dispatcher_now_ms(c->d);

	for (struct flight **link = &c->late, *f; (f = *link) != NULL;) {
		if ((run != NULL && flight_run(f) != run) || now - f->missed_ms < age_ms) {
			link = &f->next;
			continue;
		}
		*link = f->next;
		f->next = NULL;
		settle_release(c->d->settler, f);
	}
}

void
claim_release_late(struct claimer *c, const struct live_run *run)
{
	release_late(c, run, 0);
}

/* ---- when to claim ---- */

void
claim_kick(struct claimer *c)
{
	struct dispatcher *d = c->d;
	uint64_t now = dispatcher_now_ms(d), next = UINT64_MAX;
	bool wanted = false;

	if (c->pipeline == NULL)
		release_late(c, NULL, LATE_RELEASE_MS);
	if (d->stopping || d->fenced || d->quarantine[0] != '\0' || now < d->claims_from_ms ||
	    c->pipeline != NULL || c->takings > 0 || !pgloop_is_ready(d->claims) ||
	    !rdsloop_is_ready(d->redis) || route_is_held(d->route) ||
	    settle_is_behind(d->settler) ||
	    (d->stats->in_hand > 0 && memory_is_short(d->memory, now)))
		return; /* the periodic look at the runs kicks again */
	for (struct live_run *run = runs_first(d->runs); run != NULL; run = run->next) {
		uint64_t again =
		    run->urgent || run->again_ms > c->again_ms ? run->again_ms : c->again_ms;

		if (pipeline_is_wanted(c, run, now))
			wanted = true;
		else if (run->running && run->loaded && again > now && again < next)
			next = again;
	}
	if (wanted)
		pipeline_start(c);
	if (next != UINT64_MAX && !uv_is_closing((uv_handle_t *)&c->timer))
		(void)uv_timer_start(&c->timer, on_timer, next - now, 0);
}

/* ---- giving back ---- */

static void
ignore(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply; /* lost hints are found again by the producer */
}

static void
give_back(struct claimer *c, const char *key, const int *ids, size_t count)
{
	char text[GIVE_BACK_CHUNK][12];
	const char *argv[GIVE_BACK_CHUNK + 2] = { "LPUSH", key };

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "%d", ids[i]);
		argv[i + 2] = text[i];
	}
	if (count > 0)
		rdsloop_command(c->d->redis, ignore, NULL, (int)count + 2, argv);
}

void
claim_give_back(
    struct claimer *c, const struct live_run *run, const int *ids, const int *lanes, size_t count)
{
	for (size_t k = 0; k < run->lane_count; k++) {
		int chunk[GIVE_BACK_CHUNK];
		char key[KEY_MAX];
		size_t n = 0;

		if (run->lanes[k] == 0)
			(void)snprintf(key, sizeof(key), KEY_QUEUE, run->id, KEY_LANE_ALL);
		else
			(void)snprintf(key, sizeof(key), KEY_QUEUE_LANE, run->id, run->lanes[k]);
		/* the last one first, so that the first stands at the left in the end */
		for (size_t i = count; i-- > 0;) {
			if (claimer_list_of(run, lanes[i]) != run->lanes[k])
				continue;
			chunk[n++] = ids[i];
			if (n == GIVE_BACK_CHUNK) {
				give_back(c, key, chunk, n);
				n = 0;
			}
		}
		give_back(c, key, chunk, n);
	}
}
