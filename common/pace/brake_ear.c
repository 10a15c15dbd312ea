/* SPDX-License-Identifier: Apache-2.0 */
/* brake_ear: see brake_ear.h. */
#include "brake_ear.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool
is_of_recipient(const struct provider_verdict *v)
{
	return v->reaction == REACTION_RCPT || v->reaction == REACTION_DROP;
}

/* RFC 6647: whoever is not known yet comes again, and nothing is said about our pace. A rule for a
 * whole code, or for 4.7.1, is meant for other replies. */
static struct provider_verdict
reaction_to(const struct providers *table, int group, const struct outcome *o)
{
	char text[12];
	struct slice enhanced = slice_str(outcome_enhanced_str(o, text));
	struct provider_verdict v = providers_reaction(table, group, o->code, enhanced, o->text);

	if (o->code / 100 != 4 || strcmp(o->reason, "greylisted") != 0 || is_of_recipient(&v))
		return v;
	v = providers_reaction(table, PROVIDERS_NONE, o->code, enhanced, o->text);
	if (!is_of_recipient(&v))
		v.reaction = REACTION_NONE;
	return v;
}

struct provider_verdict
brake_verdict(const struct providers *table, bool is_mx, int group, const struct outcome *o)
{
	struct provider_verdict v = reaction_to(table, group, o);
	bool of_account =
	    v.reaction == REACTION_ACCOUNT_RATE || v.reaction == REACTION_ACCOUNT_HOLD;
	bool of_recipient = is_of_recipient(&v);

	if (is_mx ? of_account : !of_account && !of_recipient && !(v.by_group && v.by_words))
		v.reaction = REACTION_NONE;
	if (!is_mx && of_recipient && !v.by_words)
		v.reaction = REACTION_NONE;
	return v;
}

/* Of a reply that is about the recipient, or about nobody. */
static struct brake_duty
duty_to_recipient(enum reaction reaction, struct outcome *o)
{
	struct brake_duty duty = { .is_answer = o->kind != OUTCOME_RELEASED };

	if (!duty.is_answer || reaction == REACTION_NONE)
		return duty;
	if (reaction == REACTION_DROP) {
		if (o->kind == OUTCOME_DEFERRED)
			o->kind = OUTCOME_FAILED;
		return duty;
	}
	o->kind = OUTCOME_DEFERRED;
	o->cls = OUTCOME_SOFT;
	duty.way = BRAKES_LATER;
	return duty;
}

struct brake_duty
brake_duty_of(const struct provider_verdict *v, struct outcome *o)
{
	struct brake_duty duty = { .is_event = true, .alike = o->kind == OUTCOME_RELEASED };

	switch (v->reaction) {
	case REACTION_NONE:
	case REACTION_RCPT:
	case REACTION_DROP:
		return duty_to_recipient(v->reaction, o);
	case REACTION_ACCOUNT_RATE:
	case REACTION_ACCOUNT_HOLD:
		duty.of_account = true; /* the route gives it back */
		duty.alike = false;
		return duty;
	case REACTION_CONN:
	case REACTION_MPC:
		if (o->kind == OUTCOME_RELEASED)
			return duty; /* another connection takes it */
		break;
	case REACTION_RATE:
	case REACTION_HOLD:
	case REACTION_STOP:
	case REACTION_PAUSE_CAMPAIGN:
		break;
	}
	o->kind = OUTCOME_DEFERRED;
	if (o->cls != OUTCOME_CONFIG)
		o->cls = OUTCOME_BLOCK;
	duty.way = BRAKES_POSTPONE;
	return duty;
}

long
brake_left_s(const struct brake *b, double now)
{
	return b->until > now ? (long)fmin((b->until - now) / 1e6, BRAKE_HOLD_LONGEST_S) : 0;
}

bool
brake_lets_leave(const struct brake *b, double now, bool own_list)
{
	return b->mode == BRAKE_FREE || b->mode == BRAKE_RATE ||
	    (own_list &&
		(b->mode == BRAKE_PROBE || (b->mode == BRAKE_HOLD && brake_left_s(b, now) == 0)));
}

void
brake_ear_answer(struct brake_ear *ear)
{
	ear->answers++;
	ear->has_news = true;
}

void
brake_ear_event(struct brake_ear *ear, const struct provider_verdict *v, int code, int run,
    uint64_t at_ms, bool alike)
{
	struct brake_heard *h = &ear->heard[v->reaction];

	if (alike && h->event.count > 0 && h->at_ms == at_ms)
		return;
	h->event.reaction = v->reaction;
	if (v->minutes > h->event.minutes)
		h->event.minutes = v->minutes;
	h->event.at_once = h->event.at_once || v->at_once;
	h->event.code = code;
	h->event.count++;
	h->run = run;
	h->at_ms = at_ms;
	ear->has_news = true;
}

size_t
brake_ear_take(
    struct brake_ear *ear, const char *name, struct brake_report reports[BRAKE_REACTIONS + 1])
{
	size_t n = 0;

	for (int k = 0; ear->has_news && k <= BRAKE_REACTIONS; k++) {
		struct brake_report *r = &reports[n];
		bool answers = k == BRAKE_REACTIONS;

		if (answers ? ear->answers == 0 : ear->heard[k].event.count == 0)
			continue;
		*r = (struct brake_report){ .answers = answers ? ear->answers : 0 };
		(void)snprintf(r->name, sizeof(r->name), "%s", name);
		if (!answers) {
			r->event = ear->heard[k].event;
			r->run = ear->heard[k].run;
		}
		n++;
	}
	*ear = (struct brake_ear){ 0 };
	return n;
}
