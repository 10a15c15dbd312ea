/* SPDX-License-Identifier: Apache-2.0 */
/* sim_list: see rehearsal_parts.h. Lists as producer/handover.c fills them. */
#include "rehearsal_parts.h"

#include <stdlib.h>

void
sim_ids_push(struct sim *m, struct sim_ids *ids, uint32_t id)
{
	if (ids->count == ids->room) {
		size_t room = ids->room > 0 ? 2 * ids->room : 64;
		uint32_t *more = realloc(ids->id, room * sizeof(*more));

		if (more == NULL) {
			m->failed = true;
			return;
		}
		ids->id = more;
		ids->room = room;
	}
	ids->id[ids->count++] = id;
}

/* Of a run whose mail arrives one by one: what is there. */
static uint64_t
fresh_of(const struct sim_list *l)
{
	const struct sim_run *run = l->run;
	uint64_t taken = 0;

	if (run->def->arrive_per_s <= 0 || l->fresh == 0)
		return l->fresh;
	for (size_t i = 0; i < run->def->lane_count; i++)
		if (run->lanes[i].list == l)
			taken += run->lanes[i].def->count;
	taken -= l->fresh;
	return run->arrived > taken ? run->arrived - taken : 0;
}

uint64_t
sim_list_length(const struct sim_list *l)
{
	return l->front.count + fresh_of(l);
}

/* The lane of list 0 whose turn it is. */
static struct sim_lane *
next_lane(struct sim_list *l)
{
	int lane;

	if (l->number > 0) {
		for (size_t i = 0; i < l->run->def->lane_count; i++)
			if (l->run->lanes[i].list == l)
				return &l->run->lanes[i];
		return NULL;
	}
	while (l->order != NULL && (lane = lane_order_next(l->order)) >= 0)
		if (l->run->lanes[lane].list == l)
			return &l->run->lanes[lane];
	return NULL;
}

void
sim_lane_offer(struct sim *m, const struct sim_lane *lane, uint64_t count)
{
	m->waiting[lane->run - m->runs] += count;
	if (lane->run->def->class != SHARE_URGENT)
		m->waiting_at[lane->destination] += count;
}

bool
sim_list_pop(struct sim *m, struct sim_list *l, uint32_t *recipient)
{
	if (l->front.count > 0) {
		*recipient = l->front.id[--l->front.count];
	} else {
		struct sim_lane *lane = fresh_of(l) > 0 ? next_lane(l) : NULL;

		if (lane == NULL)
			return false;
		*recipient = lane->first + lane->next++;
		l->fresh--;
		m->waiting[l->run - m->runs]--;
		if (l->run->def->class != SHARE_URGENT)
			m->waiting_at[lane->destination]--;
	}
	retry_budget_earn(&l->retries, 1);
	return true;
}

struct sim_run *
sim_run_of(const struct sim *m, uint32_t recipient)
{
	uint32_t lane = m->recipients[recipient].lane;
	struct sim_run *run = m->runs;

	while (lane >= run->def->first_lane + run->def->lane_count)
		run++;
	return run;
}

struct sim_lane *
sim_lane_of(const struct sim *m, uint32_t recipient)
{
	struct sim_run *run = sim_run_of(m, recipient);

	return &run->lanes[m->recipients[recipient].lane - run->def->first_lane];
}

static struct sim_list *
list_of(const struct sim *m, uint32_t recipient)
{
	return sim_lane_of(m, recipient)->list;
}

void
sim_list_return(struct sim *m, uint32_t recipient)
{
	sim_ids_push(m, &list_of(m, recipient)->front, recipient);
	m->result->given_back++;
}

void
sim_list_later(struct sim *m, uint32_t recipient, double due)
{
	m->recipients[recipient].is_retry = true;
	m->recipients[recipient].due = due;
	heap_push(&list_of(m, recipient)->later, due, recipient);
	m->result->deferred++;
}

void
sim_list_push_due(struct sim *m, struct sim_list *l)
{
	bool early = (m->s->omit & OMIT_LADDER) != 0, free = (m->s->omit & OMIT_BUDGET) != 0;

	while (l->later.count > 0 && (early || heap_key(&l->later) <= m->now)) {
		if (l->fresh > 0 && !free && !retry_budget_take(&l->retries))
			return;
		sim_ids_push(m, &l->front, heap_pop(&l->later));
	}
}

/* Moves what is of a lane from one list to another. */
static void
move(struct sim *m, struct sim_list *from, struct sim_list *to, const struct sim_lane *lane)
{
	size_t kept = 0, count = from->later.count;

	for (size_t i = 0; i < from->front.count; i++) {
		uint32_t id = from->front.id[i];

		if (id >= lane->first && id - lane->first < lane->def->count)
			sim_ids_push(m, &to->front, id);
		else
			from->front.id[kept++] = id;
	}
	from->front.count = kept;
	for (size_t i = 0; i < count; i++) { /* all out and in again, in order */
		double due = heap_key(&from->later);
		uint32_t id = heap_pop(&from->later);

		if (id >= lane->first && id - lane->first < lane->def->count)
			heap_push(&to->later, due, id);
		else
			sim_ids_push(m, &from->front, id);
	}
	while (from->front.count > kept) {
		uint32_t id = from->front.id[--from->front.count];

		heap_push(&from->later, m->recipients[id].due, id);
	}
}

void
sim_run_shares(struct sim_run *run)
{
	uint64_t all = 0;

	for (size_t i = 0; i < run->def->lane_count; i++)
		all += run->lanes[i].list == run->lists ? run->lanes[i].def->count : 0;
	for (size_t i = 0; i < run->def->lane_count; i++) {
		struct sim_lane *l = &run->lanes[i];

		l->share = l->list == run->lists ? (double)l->def->count / (double)all : 1;
	}
}

void
sim_lane_relist(struct sim *m, struct sim_lane *lane)
{
	struct sim_list *from = lane->list, *to = &lane->run->lists[1 + (lane - lane->run->lanes)];

	if (from == to)
		return;
	lane->list = to;
	to->fresh = lane->def->count - lane->next;
	to->fresh -= lane->held < to->fresh ? lane->held : to->fresh;
	from->fresh -= to->fresh;
	move(m, from, to, lane);
	sim_run_shares(lane->run);
}

void
sim_settle(struct sim *m, uint32_t recipient, enum referee_end end)
{
	struct sim_recipient *r = &m->recipients[recipient];
	struct sim_run *run = sim_run_of(m, recipient);

	referee_settle(m->referee, recipient, end, m->now);
	r->state = (uint8_t)end;
	run->open--;
	run->sent += end == REFEREE_SENT;
	run->failed += end == REFEREE_FAILED;
	run->expired += end == REFEREE_EXPIRED;
	run->doubt += end == REFEREE_DOUBT;
	run->finish = m->now;
	if (run->open == 0)
		m->dirty = true;
}
