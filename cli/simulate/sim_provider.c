/* SPDX-License-Identifier: Apache-2.0 */
/* sim_provider: see sim_provider.h. */
#include "sim_provider.h"

#include <math.h>
#include <string.h>

#include "classify.h"
#include "hash.h"
#include "smtp_reply.h"

int
sim_reply_parse(struct sim_reply *reply, const char *text, struct err *err)
{
	struct slice s = slice_str(text);
	int code;

	if (!slice_take_digits(&s, 3, &code) || (s.len > 0 && s.ptr[0] != ' ') ||
	    (code / 100 != 2 && code / 100 != 4 && code / 100 != 5))
		return err_set(err,
		    "'%.60s' is no reply; write code and text, like \"421 4.7.28 too fast\"", text);
	*reply = (struct sim_reply){ .code = code, .text = s.len > 0 ? s.ptr + 1 : s.ptr };
	(void)smtp_enhanced_find(slice_str(reply->text), (unsigned)code / 100, reply->enhanced);
	return 0;
}

const struct sim_reply *
sim_provider_connect(struct sim_provider *p)
{
	if (p->manners.connections > 0 && p->open >= p->manners.connections)
		return &p->manners.too_many;
	p->open++;
	return NULL;
}

void
sim_provider_disconnect(struct sim_provider *p)
{
	p->open--;
}

/* A bucket of SIM_BURST_S. */
static bool
is_too_fast(struct sim_provider *p, double now)
{
	double rate = p->manners.rate_per_s, most = fmax(rate * SIM_BURST_S, 1);

	if (rate <= 0)
		return false;
	if (p->tokens_at <= 0)
		p->tokens = most;
	else
		p->tokens = fmin(most, p->tokens + rate * (now - p->tokens_at) / 1e6);
	p->tokens_at = now;
	if (p->tokens < 1)
		return true;
	p->tokens -= 1;
	return false;
}

/* The same recipients each time. */
static bool
is_unknown(const struct sim_provider *p, uint32_t recipient)
{
	return (double)(hash_spread(recipient) >> 11) / 9007199254740992.0 <
	    p->manners.unknown_part;
}

const struct sim_reply *
sim_provider_answer(struct sim_provider *p, const struct sim_try *t, double now, double chance)
{
	const struct sim_manners *m = &p->manners;

	for (size_t i = 0; i < p->mood_count; i++) {
		const struct sim_mood *mood = &p->moods[i];

		if (now >= mood->from && now < mood->till && chance < mood->part)
			return &mood->reply;
	}
	if (m->messages > 0 && t->in_connection >= m->messages)
		return &m->enough;
	if (is_too_fast(p, now))
		return &m->too_fast;
	if (m->greylist_us > 0 && (t->first_at < 0 || now - t->first_at < m->greylist_us))
		return &m->greylisted;
	if (m->unknown_part > 0 && is_unknown(p, t->recipient))
		return &m->unknown;
	return NULL;
}

struct outcome
sim_reply_outcome(const struct sim_reply *reply)
{
	struct outcome o = {
		.kind = OUTCOME_SENT, .phase = OUTCOME_PHASE_DOT, .code = 250, .reason = ""
	};
	struct classify_input in = { .phase = OUTCOME_PHASE_DOT };

	if (reply == NULL || reply->code / 100 == 2)
		return o;
	o.kind = reply->code / 100 == 4 ? OUTCOME_DEFERRED : OUTCOME_FAILED;
	o.cls = reply->code / 100 == 4 ? OUTCOME_SOFT : OUTCOME_HARD;
	o.code = in.code = reply->code;
	memcpy(o.enhanced, reply->enhanced, sizeof(o.enhanced));
	memcpy(in.enhanced, reply->enhanced, sizeof(in.enhanced));
	o.text = in.text = slice_str(reply->text);
	o.reason = classify(&in).reason;
	return o;
}
