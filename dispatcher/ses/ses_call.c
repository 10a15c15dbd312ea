/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_call: see ses_call.h. The point of no return is the last byte of the body: the link asks before
 * it hands that over. What ends past the mark without a whole answer is in doubt.
 */
#include "ses_call.h"

#include "db.h"
#include "mark.h"
#include "settle.h"

/* ---- what became of the flights ---- */

static struct slice
address_of(const struct flight *f)
{
	return slice_str(db_text(f->batch->rows, f->row, CLAIM_ADDRESS));
}

static void
give_back(struct ses_call *call, struct flight *f, const struct outcome *why)
{
	const struct ses_call_host *h = call->host;

	h->route->give_back(h->route->ctx, h->relay, f, why);
}

/* One recipient: written down, or given back. */
static void
settle(struct ses_call *call, struct flight *f, struct ses_answer *a)
{
	struct dispatcher *d = call->host->d;
	struct outcome note;

	a->outcome.remote = slice_str(call->host->endpoint->host);
	note = a->outcome;
	if (a->action != SES_SETTLE)
		note.kind = OUTCOME_RELEASED; /* certainly not taken: it goes again */
	mark_answer(d, f, &note);
	if (a->action == SES_SETTLE)
		settle_outcome(d->settler, f, &a->outcome);
	else
		give_back(call, f, &a->outcome);
}

/* A refusal of the whole request does not say which recipient it is about: each by himself. */
static void
separate(struct ses_call *call, const struct outcome *refusal)
{
	struct outcome o = *refusal;

	o.kind = OUTCOME_RELEASED;
	for (size_t i = 0; i < call->count; i++) {
		struct flight *f = call->flights[i];

		f->alone = true;
		mark_answer(call->host->d, f, &o);
		give_back(call, f, &o);
	}
}

/* One answer for all of the request. The account comes last: a hold releases what is ready, the given
 * back too. */
static void
answered_once(struct ses_call *call, const struct http_answer *answer, bool whole)
{
	struct ses_answer_input in = { .status = answer->status,
		.error_type = slice_str(answer->error_type),
		.body = buf_slice(&answer->body),
		.whole = whole && !call->bulk, /* each has an answer of his own, or nobody */
		.body_left = call->marked };
	struct ses_answer a;

	if (call->count == 1)
		in.to = address_of(call->flights[0]);
	ses_answer_read(&a, &in);
	if (call->count > 1 && a.action == SES_SETTLE && a.outcome.kind == OUTCOME_FAILED)
		separate(call, &a.outcome);
	else
		for (size_t i = 0; i < call->count; i++)
			settle(call, call->flights[i], &a);
	call->host->heard(call->host->ctx, call, &a, answer->date);
}

/* An answer for each. False when it cannot be read as that: then nobody knows. */
static bool
answered_each(struct ses_call *call, const struct http_answer *answer)
{
	size_t first[SES_ACTIONS]; /* entry that asks for it, count: none */
	struct ses_bulk_answer list;
	struct ses_answer a;
	struct arena arena;
	bool good;

	arena_init(&arena, SES_ANSWER_ARENA_MAX);
	good = ses_bulk_answer_parse(&list, buf_slice(&answer->body), &arena) &&
	    list.count == call->count;
	for (size_t i = 0; i < SES_ACTIONS; i++)
		first[i] = call->count;
	for (size_t i = 0; i < call->count && good; i++) {
		ses_answer_bulk_entry(&a, &list.entry[i], address_of(call->flights[i]));
		if (first[a.action] == call->count)
			first[a.action] = i;
		settle(call, call->flights[i], &a);
	}
	for (size_t i = 0; i < SES_ACTIONS && good; i++) {
		if (first[i] == call->count)
			continue;
		ses_answer_bulk_entry(&a, &list.entry[first[i]], SLICE(""));
		a.outcome.remote = slice_str(call->host->endpoint->host);
		call->host->heard(call->host->ctx, call, &a, answer->date);
	}
	arena_release(&arena);
	return good;
}

static void
unanswered(struct ses_call *call, const struct ses_link_report *report)
{
	const struct ses_call_host *h = call->host;
	struct outcome o = { .kind = OUTCOME_RELEASED,
		.cls = OUTCOME_SOFT,
		.scope = OUTCOME_SCOPE_ROUTE,
		.phase = report->begun ? OUTCOME_PHASE_BODY : OUTCOME_PHASE_CONNECT,
		.reason = "network",
		.text = slice_str(report->text),
		.remote = slice_str(h->endpoint->host) };

	if (call->marked) {
		o.kind = OUTCOME_IN_DOUBT;
		o.phase = OUTCOME_PHASE_DOT;
		o.scope = OUTCOME_SCOPE_SESSION;
	}
	for (size_t i = 0; i < call->count; i++) {
		struct flight *f = call->flights[i];

		mark_answer(h->d, f, &o);
		if (call->marked)
			settle_outcome(h->d->settler, f, &o);
		else
			give_back(call, f, &o);
	}
	if (!call->marked && report->ours)
		h->crowded(h->ctx, call, &o);
	else if (!call->marked && report->end != SES_LINK_REFUSED)
		h->silent(h->ctx, call, &o);
}

/* ---- the request ---- */

/* The point of no return; false: it is not to be crossed now. */
static bool
cross(void *ctx)
{
	struct ses_call *call = ctx;
	struct dispatcher *d = call->host->d;
	bool may = mark_may(d, call->flights[0]);

	for (size_t i = 0; i < call->count && may; i++)
		may = mark_before(d, call->flights[i]);
	call->marked = may;
	if (may)
		call->host->left(call->host->ctx, call);
	return may;
}

static void
finish(struct ses_call *call)
{
	call->host->d->leaving -= call->count;
	call->count = 0;
	ses_body_trim(&call->body);
	call->host->done(call->host->ctx, call);
}

static void
on_ended(void *ctx, const struct ses_link_report *report)
{
	struct ses_call *call = ctx;
	const struct http_answer *answer = report->answer;
	bool is_whole = report->end == SES_LINK_WHOLE;

	/* a status counts even when the rest was cut, by us or by the connection */
	if (is_whole || report->end == SES_LINK_CUT) {
		call->host->answered(
		    call->host->ctx, (double)(dispatcher_now_us() - call->begun_us) / 1e6);
		if (!call->bulk || !call->marked || !is_whole || answer->status / 100 != 2 ||
		    !answered_each(call, answer))
			answered_once(call, answer, is_whole);
	} else {
		unanswered(call, report);
	}
	finish(call);
}

bool
ses_call_init(struct ses_call *call, const struct ses_call_host *host)
{
	static const struct ses_link_user user = { cross, on_ended };

	call->host = host;
	ses_body_init(&call->body);
	call->link = ses_link_new(host->place, &user, call);
	return call->link != NULL;
}

void
ses_call_release(struct ses_call *call)
{
	ses_link_free(call->link);
	ses_body_release(&call->body);
}

void
ses_call_begin(struct ses_call *call, unsigned epoch)
{
	struct aws_request request = { .method = "POST",
		.path = call->bulk ? SLICE(SES_BULK_PATH) : SLICE(SES_SEND_PATH),
		.content_type = "application/json",
		.body = ses_body_json(&call->body) };
	struct slice head = ses_credentials_sign(call->host->credentials, &request);

	call->host->d->leaving += call->count;
	call->epoch = epoch;
	call->marked = false;
	call->begun_us = dispatcher_now_us();
	if (head.len > 0 && ses_link_send(call->link, ses_body_request(&call->body, head)))
		return;
	for (size_t i = 0; i < call->count; i++)
		settle_release(call->host->d->settler, call->flights[i]);
	finish(call);
}
