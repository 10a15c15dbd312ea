/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_route: see ses_route.h. One struct call is one request at a time over a kept easy handle;
 * libcurl keeps the connections. A request is one flight, or up to SES_BULK_RECIPIENTS_MAX of a run
 * that asks for SES_CONTENT_BULK, which are gathered for a moment.
 *
 * The point of no return is the last byte of the body. A body that libcurl writes together with
 * the head, in one piece, is marked just before (on_request); a larger one when libcurl fetches its
 * last byte (on_read). libcurl repeats a request by itself when a reused connection dies before
 * the answer; past the mark that is refused by both. What ends past the mark without a whole
 * answer is in doubt.
 */
#include "ses_route.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "aws_call.h"
#include "aws_chain.h"
#include "brakes.h"
#include "curlloop.h"
#include "db.h"
#include "keys.h"
#include "log.h"
#include "mark.h"
#include "policy.h"
#include "rds_quota.h"
#include "ses_answer.h"
#include "ses_compose.h"
#include "ses_request.h"
#include "settle.h"

#define TICK_MS 1000
#define ACCOUNT_EVERY_MS 60000 /* between two looks at the account */
#define RATE_SHARE 0.9	       /* of MaxSendRate: sustained excess is refused */
#define BURST_US 50000	       /* unused time that may be caught up with */
#define SLOWER 0.7	       /* factor of the rate after a refusal for rate */
#define FASTER 1.02	       /* a second without one */
#define SLOWEST 0.1
#define SKEW_MIN_S 60	/* a signature is not refused for less */
#define ONE_PIECE 60000 /* bytes of a body that leave with the head (libcurl: 64 kB in all) */
#define DATE_MAX 64
#define GATHER_US 500000 /* the first of a bulk request waits no longer for others */
#define SPARE_CALLS 2	 /* one that gathers, one that is begun when that has waited enough */

struct call {
	struct ses_route *r;
	CURL *easy;
	struct aws_headers headers;
	struct flight *flights[SES_BULK_RECIPIENTS_MAX]; /* none: GetAccount */
	size_t count;
	bool bulk;
	uint64_t since_us; /* bulk: waits for others */
	struct ses_body body;
	struct buf answer;
	size_t given; /* bytes of the body that libcurl has */
	bool marked;  /* past the point of no return */
	bool refused; /* the mark was refused: not to be sent now */
	bool cut;     /* the answer was longer than it may be */
	char error_type[AWS_ERROR_TYPE_MAX + 1];
	char date[DATE_MAX];
	uint64_t started_us;
	unsigned epoch;
};

struct ses_route {
	struct dispatcher *d;
	const struct session_host *host;
	struct relay *relay; /* this endpoint, as the route knows it */
	struct aws_endpoint endpoint;
	struct curlloop *curl;
	char *url, *bulk_url, *account_url;
	struct call *calls;
	struct call *gathering; /* bulk, not begun; NULL: none */
	struct call **idle;
	size_t call_count, idle_count, busy;
	struct call account_call;
	bool account_busy, account_known, account_looking;
	uint64_t account_ms; /* last looked at */
	bool sending_disabled;

	struct aws_credentials credentials;
	struct sigv4_signer signer;
	bool signing; /* there are credentials */
	bool refused; /* SES does not take them: fetch others */
	uv_work_t work;
	struct aws_credentials fetched; /* by the worker thread, read when it is done */
	struct err fetch_err;
	const char *fetch_source;
	int fetch_result;
	bool fetching;
	uint64_t fetched_ms;

	int64_t skew_s; /* their clock minus ours */
	double rate;	/* messages a second, 0: no limit known */
	double factor;	/* of the rate, 1 when all is well */
	uint64_t next_us;
	double latency_s;
	unsigned epoch; /* counts the times it became unwell */
	bool probing;	/* one request shows whether it is over */
	uv_timer_t timer, tick;
	bool stopping, stopped;
};

static void on_done(void *ctx, void *priv, CURLcode code);
static void on_tick(uv_timer_t *timer);
static void fetch_credentials(struct ses_route *r);
static void stop_if_idle(struct ses_route *r);

/* ---- calls ---- */

/* The point of no return; false: it is not to be crossed now. */
static bool
cross(struct call *call)
{
	bool may = flight_run(call->flights[0])->running && !call->r->d->fenced;

	for (size_t i = 0; i < call->count && may; i++)
		may = mark_before(call->r->d, call->flights[i]);
	call->refused = !may;
	call->marked = may;
	return may;
}

/* A connection is there, nothing is written yet. */
static int
on_request(void *context, char *local, char *remote, int local_port, int remote_port)
{
	struct call *call = context;

	(void)local;
	(void)remote;
	(void)local_port;
	(void)remote_port;
	if (call->marked) /* a second time: never */
		return CURL_PREREQFUNC_ABORT;
	if (call->body.json.len > ONE_PIECE)
		return CURL_PREREQFUNC_OK; /* on_read marks */
	if (!cross(call))
		return CURL_PREREQFUNC_ABORT;
	call->given = call->body.json.len;
	return CURL_PREREQFUNC_OK;
}

static size_t
on_read(char *to, size_t size, size_t count, void *context)
{
	struct call *call = context;
	size_t left = call->body.json.len - call->given;
	size_t n = left < size * count ? left : size * count;

	if (call->marked)
		return CURL_READFUNC_ABORT; /* a second time: never */
	if (n == left && !cross(call))
		return CURL_READFUNC_ABORT;
	memcpy(to, call->body.json.data + call->given, n);
	call->given += n;
	return n;
}

static int
on_seek(void *context, curl_off_t offset, int origin)
{
	struct call *call = context;

	if (call->marked || origin != SEEK_SET || offset != 0)
		return CURL_SEEKFUNC_FAIL;
	call->given = 0;
	return CURL_SEEKFUNC_OK;
}

static size_t
on_write(char *data, size_t size, size_t count, void *context)
{
	struct call *call = context;

	(void)size;
	buf_append(&call->answer, data, count);
	call->cut = buf_failed(&call->answer);
	return call->cut ? 0 : count;
}

/* Copies the value of a header line when it is the one named. */
static void
note_header(const char *line, size_t n, const char *name, char *dst, size_t room)
{
	size_t skip = strlen(name);
	struct slice value;

	if (n <= skip || strncasecmp(line, name, skip) != 0)
		return;
	value = slice_trim(slice_make(line + skip, n - skip));
	(void)snprintf(dst, room, "%.*s", SLICE_ARG(value));
}

static size_t
on_header(char *data, size_t size, size_t count, void *context)
{
	struct call *call = context;

	(void)size;
	note_header(data, count, "x-amzn-errortype:", call->error_type, sizeof(call->error_type));
	note_header(data, count, "date:", call->date, sizeof(call->date));
	return count;
}

static bool
call_init(struct call *call, struct ses_route *r, bool sends)
{
	const struct config *config = r->d->config;
	const char *ca = aws_ca_file(config->ses_ca_file);
	CURL *easy = curl_easy_init();

	call->r = r;
	call->easy = easy;
	ses_body_init(&call->body);
	buf_init(&call->answer, SES_ANSWER_MAX);
	aws_headers_init(&call->headers);
	if (easy == NULL)
		return false;
	if (!sends)
		(void)curl_easy_setopt(easy, CURLOPT_URL, r->account_url);
	(void)curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, r->endpoint.is_tls ? "https" : "http");
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "kairan/" KAIRAN_VERSION);
	(void)curl_easy_setopt(
	    easy, CURLOPT_CONNECTTIMEOUT_MS, config->ses_connect_timeout_s * 1000);
	(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, config->ses_timeout_s * 1000);
	(void)curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, config->ses_idle_s);
	if (ca != NULL)
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, ca);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	if (!sends)
		return true;
	(void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
	(void)curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	(void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
	(void)curl_easy_setopt(easy, CURLOPT_READDATA, call);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
	(void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
	return true;
}

static void
call_release(struct call *call)
{
	curl_easy_cleanup(call->easy);
	aws_headers_release(&call->headers);
	ses_body_release(&call->body);
	buf_release(&call->answer);
}

static bool
call_begin(struct call *call, const char *method, const char *path, const char *content_type)
{
	struct ses_route *r = call->r;
	struct aws_request request = { .method = method,
		.path = slice_str(path),
		.content_type = content_type,
		.body = buf_slice(&call->body.json) };
	struct curl_slist *headers;

	headers = aws_headers_sign(&call->headers, &r->signer, &r->endpoint, &r->credentials,
	    &request, (time_t)(time(NULL) + r->skew_s));
	if (headers == NULL)
		return false;
	(void)curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, headers);
	if (content_type != NULL) {
		(void)curl_easy_setopt(
		    call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.json.len);
		(void)curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS,
		    call->body.json.len <= ONE_PIECE ? call->body.json.data : NULL);
	}
	buf_reset(&call->answer);
	call->given = 0;
	call->marked = call->refused = call->cut = false;
	call->error_type[0] = call->date[0] = '\0';
	call->started_us = dispatcher_now_us();
	call->epoch = r->epoch;
	return curl_multi_add_handle(curlloop_multi(r->curl), call->easy) == CURLM_OK;
}

/* ---- sending ---- */

static struct slice
address_of(const struct flight *f)
{
	return slice_str(db_text(f->batch->rows, f->row, CLAIM_ADDRESS));
}

/* epoch: when what says so began; what began before the last trouble says nothing new. */
static void
unwell(struct ses_route *r, unsigned epoch, const struct outcome *why)
{
	if (epoch != r->epoch)
		return;
	r->epoch++;
	r->probing = true;
	r->host->unwell(r->host->ctx, r->relay, why);
}

static void
put_back(struct call *call)
{
	struct ses_route *r = call->r;

	call->count = 0;
	ses_body_trim(&call->body);
	r->idle[r->idle_count++] = call;
}

static struct call *
idle_call(struct ses_route *r, bool bulk)
{
	struct call *call = r->idle[--r->idle_count];

	call->bulk = bulk;
	call->since_us = dispatcher_now_us();
	(void)curl_easy_setopt(call->easy, CURLOPT_URL, bulk ? r->bulk_url : r->url);
	return call;
}

static void
begin(struct call *call)
{
	const char *path = call->bulk ? SES_BULK_PATH : SES_SEND_PATH;
	struct ses_route *r = call->r;

	if (call_begin(call, "POST", path, "application/json")) {
		r->busy++;
		return;
	}
	for (size_t i = 0; i < call->count; i++)
		settle_release(r->d->settler, call->flights[i]);
	put_back(call);
}

static void
start(struct ses_route *r, struct flight *f)
{
	struct call *call = idle_call(r, false);

	if (!ses_compose_one(r->d, &call->body, f)) {
		settle_refusal(r->d->settler, f, &f->refusal);
		put_back(call);
		return;
	}
	call->flights[call->count++] = f;
	begin(call);
}

/* ---- several recipients in one request ---- */

static void
begin_gathered(struct ses_route *r)
{
	struct call *call = r->gathering;

	r->gathering = NULL;
	ses_compose_end(&call->body);
	begin(call);
}

/* Recipients of one request: no more than the account takes in a second. */
static size_t
gather_max(const struct ses_route *r)
{
	double rate = r->rate * r->factor;

	if (r->probing)
		return 1;
	if (r->rate <= 0 || rate >= SES_BULK_RECIPIENTS_MAX)
		return SES_BULK_RECIPIENTS_MAX;
	return rate > 1 ? (size_t)rate : 1;
}

/* Full, or nobody is left who could come along in time. */
static bool
gather_is_due(const struct ses_route *r)
{
	const struct call *call = r->gathering;

	return call->count >= gather_max(r) || call->flights[0]->alone ||
	    flight_run(call->flights[0])->ready == 0 ||
	    dispatcher_now_us() - call->since_us >= GATHER_US;
}

static void
gather(struct ses_route *r, struct flight *f)
{
	bool added;

	if (r->gathering != NULL &&
	    (f->alone || flight_run(r->gathering->flights[0]) != flight_run(f)))
		begin_gathered(r);
	do {
		if (r->gathering == NULL)
			r->gathering = idle_call(r, true);
		added = ses_compose_entry(r->d, &r->gathering->body, f);
		if (added) {
			r->gathering->flights[r->gathering->count++] = f;
		} else if (r->gathering->count == 0) {
			put_back(r->gathering);
			r->gathering = NULL;
		} else if (!f->refused) {
			begin_gathered(r);
		}
	} while (!added && !f->refused);
	if (!added)
		settle_refusal(r->d->settler, f, &f->refusal);
	if (r->gathering != NULL && gather_is_due(r))
		begin_gathered(r);
}

/* ---- pace ---- */

/* Little's law: what is under way is rate x latency; half as much again for what varies. */
static size_t
most_calls(const struct ses_route *r)
{
	double wanted = r->rate * r->factor * r->latency_s * 1.5 + 2;

	if (r->probing)
		return 1;
	if (r->rate <= 0 || wanted >= (double)r->call_count)
		return r->call_count;
	return (size_t)wanted;
}

static bool
can_send(const struct ses_route *r)
{
	return r->signing && !r->stopping && r->idle_count > 0 && r->busy < most_calls(r) &&
	    (r->account_known || r->rate > 0);
}

bool
ses_route_is_free(const struct ses_route *r)
{
	return can_send(r) && r->next_us <= dispatcher_now_us();
}

static void
on_timer(uv_timer_t *timer)
{
	ses_route_kick(timer->data);
}

/* Until the pace lets the next one go, or what was gathered has waited enough. */
static void
set_timer(struct ses_route *r)
{
	uint64_t now_us = dispatcher_now_us(), at_us = UINT64_MAX;

	if (r->next_us > now_us && can_send(r))
		at_us = r->next_us;
	if (r->gathering != NULL && r->gathering->since_us + GATHER_US < at_us)
		at_us = r->gathering->since_us + GATHER_US;
	if (at_us != UINT64_MAX && !r->stopped)
		(void)uv_timer_start(
		    &r->timer, on_timer, at_us > now_us ? (at_us - now_us + 999) / 1000 : 0, 0);
}

/* One more recipient: SES counts them, whatever the request. */
static void
charge(struct ses_route *r, uint64_t now_us)
{
	uint64_t earliest = now_us > BURST_US ? now_us - BURST_US : 0;

	if (r->rate <= 0)
		return;
	if (r->next_us < earliest)
		r->next_us = earliest;
	r->next_us += (uint64_t)(1e6 / (r->rate * r->factor));
}

void
ses_route_kick(struct ses_route *r)
{
	while (can_send(r)) {
		uint64_t now_us = dispatcher_now_us();
		struct flight *f;

		if (r->next_us > now_us)
			break;
		f = r->host->take(r->host->ctx, r->relay);
		if (f == NULL)
			break;
		charge(r, now_us);
		if (flight_run(f)->content == SES_CONTENT_BULK)
			gather(r, f);
		else
			start(r, f);
	}
	if (r->gathering != NULL && gather_is_due(r))
		begin_gathered(r);
	set_timer(r);
}

/* ---- answers ---- */

/* RFC 9110 5.6.7; keeps the old value when the header says nothing. */
static int64_t
their_skew(const struct call *call)
{
	time_t at = call->date[0] != '\0' ? curl_getdate(call->date, NULL) : -1;

	return at > 0 ? (int64_t)at - (int64_t)time(NULL) : call->r->skew_s;
}

/* A refused signature: by their clock next time, or it is not about the clock. */
static void
adjust_clock(struct ses_route *r, const struct call *call, const struct outcome *why)
{
	int64_t skew = their_skew(call), change = skew - r->skew_s;

	if (change >= SKEW_MIN_S || change <= -SKEW_MIN_S) {
		log_warn(
		    "clock of this host differs from the service's by %lld s; signing by theirs",
		    (long long)skew);
		r->skew_s = skew;
		r->epoch++; /* others that are under way have the old time */
	} else {
		unwell(r, call->epoch, why);
	}
}

/* The route is held as long as the account is refused; each action says how. */
static void
react(struct ses_route *r, const struct call *call, const struct ses_answer *a)
{
	switch (a->action) {
	case SES_SLOW:
		brakes_hear_account(r->d->brakes, REACTION_ACCOUNT_RATE, a->outcome.code);
		if (call->epoch == r->epoch)
			r->factor = r->factor * SLOWER > SLOWEST ? r->factor * SLOWER : SLOWEST;
		unwell(r, call->epoch, &a->outcome);
		break;
	case SES_QUOTA:
		brakes_hear_account(r->d->brakes, REACTION_ACCOUNT_HOLD, a->outcome.code);
		r->account_ms = 0; /* look at the account again */
		unwell(r, call->epoch, &a->outcome);
		break;
	case SES_REFRESH:
		/* several may be refused for the same credentials; once is enough */
		if (call->epoch == r->epoch) {
			r->signing = false;
			r->refused = true;
			r->epoch++;
			fetch_credentials(r);
		}
		break;
	case SES_CLOCK:
		adjust_clock(r, call, &a->outcome);
		break;
	case SES_HOLD:
		unwell(r, call->epoch, &a->outcome);
		break;
	case SES_SETTLE:
		break;
	}
}

static void
note_latency(struct ses_route *r, const struct call *call)
{
	double s = (double)(dispatcher_now_us() - call->started_us) / 1e6;

	r->latency_s = r->latency_s > 0 ? r->latency_s * 0.95 + s * 0.05 : s;
}

/* One recipient: written down, or given back. */
static void
settle(struct call *call, struct flight *f, struct ses_answer *a)
{
	struct ses_route *r = call->r;
	struct outcome note;

	a->outcome.remote = slice_str(r->endpoint.host);
	note = a->outcome;
	if (a->action != SES_SETTLE)
		note.kind = OUTCOME_RELEASED; /* certainly not taken: it goes again */
	mark_answer(r->d, f, &note);
	if (a->action == SES_SETTLE)
		settle_outcome(r->d->settler, f, &a->outcome);
	else
		r->host->give_back(r->host->ctx, r->relay, f, &a->outcome);
}

/* What an answer says of the account; last: a hold releases what is ready, the given back too. */
static void
hear(struct call *call, const struct ses_answer *a)
{
	struct ses_route *r = call->r;

	if (r->probing && call->epoch == r->epoch &&
	    (a->outcome.kind == OUTCOME_SENT || a->outcome.kind == OUTCOME_FAILED)) {
		r->probing = false;
		r->host->works(r->host->ctx, r->relay);
	}
	if (a->action == SES_SETTLE)
		brakes_hear_account(r->d->brakes, REACTION_NONE, 0);
	react(r, call, a);
}

/* A refusal of the whole request does not say which recipient it is about: each by himself. */
static void
separate(struct call *call, const struct outcome *refusal)
{
	struct outcome o = *refusal;

	o.kind = OUTCOME_RELEASED;
	for (size_t i = 0; i < call->count; i++) {
		struct flight *f = call->flights[i];

		f->alone = true;
		mark_answer(call->r->d, f, &o);
		call->r->host->give_back(call->r->host->ctx, call->r->relay, f, &o);
	}
}

/* One answer for all of the request. */
static void
answered(struct call *call, int status, bool whole)
{
	struct ses_answer_input in = { .status = status,
		.error_type = slice_str(call->error_type),
		.body = buf_slice(&call->answer),
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
	hear(call, &a);
}

/* An answer for each. False when it cannot be read as that: then nobody knows. */
static bool
answered_each(struct call *call)
{
	size_t first[SES_ACTIONS]; /* entry that asks for it, count: none */
	struct ses_bulk_answer list;
	struct ses_answer a;
	struct arena arena;
	bool good;

	arena_init(&arena, SES_ANSWER_ARENA_MAX);
	good = ses_bulk_answer_parse(&list, buf_slice(&call->answer), &arena) &&
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
		a.outcome.remote = slice_str(call->r->endpoint.host);
		hear(call, &a);
	}
	arena_release(&arena);
	return good;
}

/* No answer. */
static void
failed(struct call *call, CURLcode code)
{
	struct ses_route *r = call->r;
	struct outcome o = { .kind = OUTCOME_RELEASED,
		.cls = OUTCOME_SOFT,
		.scope = OUTCOME_SCOPE_ROUTE,
		.phase = call->given > 0 ? OUTCOME_PHASE_BODY : OUTCOME_PHASE_CONNECT,
		.reason = "network",
		.text = slice_str(curl_easy_strerror(code)),
		.remote = slice_str(r->endpoint.host) };

	if (call->marked) {
		o.kind = OUTCOME_IN_DOUBT;
		o.phase = OUTCOME_PHASE_DOT;
		o.scope = OUTCOME_SCOPE_SESSION;
	}
	for (size_t i = 0; i < call->count; i++) {
		struct flight *f = call->flights[i];

		mark_answer(r->d, f, &o);
		if (call->marked)
			settle_outcome(r->d->settler, f, &o);
		else
			r->host->give_back(r->host->ctx, r->relay, f, &o);
	}
	if (!call->marked && !call->refused)
		unwell(r, call->epoch, &o);
}

static void
use_account(struct ses_route *r, const struct rds_account *a)
{
	double rate =
	    r->d->config->ses_rate > 0 ? (double)r->d->config->ses_rate : a->max_rate * RATE_SHARE;

	if (rate > r->rate * 1.001 || rate < r->rate * 0.999)
		log_info("account rate=%.2f/s of %.2f/s sent_24h=%.0f quota=%.0f", rate,
		    a->max_rate, a->sent_24h, a->max_24h);
	r->rate = rate;
	if (a->paused > 0 && !r->sending_disabled)
		log_warn("sending is disabled for this account and region at SES");
	r->sending_disabled = a->paused > 0;
}

static void
account_answered(struct ses_route *r, CURLcode code, int status)
{
	struct call *call = &r->account_call;
	struct ses_account account;
	struct err err = { 0 };

	r->account_busy = false;
	r->account_known = true; /* sending goes on without, and tells more */
	if (code != CURLE_OK || status != 200 ||
	    ses_account_parse(&account, buf_slice(&call->answer), &err) < 0) {
		if (strstr(call->error_type, "Signature") != NULL ||
		    strstr(call->error_type, "RequestExpired") != NULL) {
			int64_t skew = their_skew(call);

			r->account_known = skew == r->skew_s; /* once more, by their clock */
			if (!r->account_known)
				r->account_ms = 0;
			r->skew_s = skew;
		}
		log_warn("account not known status=%d type=%.60s error=\"%s\"", status,
		    call->error_type, code != CURLE_OK ? curl_easy_strerror(code) : err.msg);
		return;
	}
	use_account(r,
	    &(struct rds_account){ .max_24h = account.max_24h,
		.max_rate = account.max_rate,
		.sent_24h = account.sent_24h,
		.paused = account.sending ? 0 : 1 });
}

static void
on_done(void *ctx, void *priv, CURLcode code)
{
	struct ses_route *r = ctx;
	struct call *call = priv;
	long status = 0;

	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (call == &r->account_call) {
		account_answered(r, code, (int)status);
	} else {
		/* a status counts even when the rest was cut, by us or by the connection */
		bool has_status = status >= 200 && !call->refused;

		if (has_status)
			note_latency(r, call);
		if (!has_status)
			failed(call, code);
		else if (!call->bulk || !call->marked || status / 100 != 2 || code != CURLE_OK ||
		    !answered_each(call))
			answered(call, (int)status, code == CURLE_OK);
		r->busy--;
		put_back(call);
	}
	if (r->stopping)
		stop_if_idle(r);
	else
		ses_route_kick(r);
}

/* The producer that leads asks for all; without one each dispatcher does. */
static void
on_account(void *ctx, const redisReply *reply)
{
	struct ses_route *r = ctx;
	struct rds_account a;

	r->account_looking = false;
	if (r->stopping)
		return;
	if (reply == NULL) {
		r->account_ms = 0; /* Redis is lost: when it is back */
		return;
	}
	rds_read_account(reply, &a);
	if (a.at > 0 && a.max_rate > 0 && a.max_rate < 1e6 &&
	    (double)time(NULL) - a.at < RDS_ACCOUNT_FRESH_S) {
		r->account_known = true;
		use_account(r, &a);
		ses_route_kick(r);
	} else if (r->signing && !r->account_busy) {
		r->account_busy = call_begin(&r->account_call, "GET", SES_ACCOUNT_PATH, NULL);
	}
}

static void
look_at_account(struct ses_route *r)
{
	char key[KEY_MAX];
	const char *argv[] = { "HMGET", key, RDS_ACCOUNT_FIELDS };

	r->account_ms = dispatcher_now_ms(r->d);
	r->account_looking = true;
	(void)snprintf(key, sizeof(key), KEY_ACCOUNT, POLICY_POOL);
	rdsloop_command(r->d->redis, on_account, r, (int)(sizeof(argv) / sizeof(argv[0])), argv);
}

/* ---- credentials ---- */

static void
fetch(uv_work_t *work)
{
	struct ses_route *r = work->data;
	struct aws_chain chain = { .region = r->endpoint.region,
		.ca_file = r->d->config->ses_ca_file,
		.timeout_s = r->d->config->ses_connect_timeout_s };

	r->fetch_result = aws_chain_fetch(&chain, &r->fetched, &r->fetch_source, &r->fetch_err);
}

/* Those that SES refused are no others: wait, and try again after the hold. */
static void
use_credentials(struct ses_route *r, const struct outcome *why)
{
	bool same = strcmp(r->credentials.access_key, r->fetched.access_key) == 0 &&
	    strcmp(r->credentials.session_token, r->fetched.session_token) == 0;
	struct outcome refused = *why;
	struct err err;

	if (r->refused && same) {
		refused.text = SLICE("SES refuses the credentials, and there are no others");
		unwell(r, r->epoch, &refused);
	}
	r->refused = false;
	r->credentials = r->fetched;
	sigv4_release(&r->signer);
	r->signing = sigv4_init(&r->signer, &r->credentials, r->endpoint.region,
			 r->endpoint.signing_name, &err) == 0;
	if (!same)
		log_info("credentials from=%s temporary=%s", r->fetch_source,
		    r->credentials.session_token[0] != '\0' ? "yes" : "no");
}

static void
on_fetched(uv_work_t *work, int status)
{
	struct ses_route *r = work->data;
	struct outcome why = { .phase = OUTCOME_PHASE_AUTH,
		.cls = OUTCOME_CONFIG,
		.scope = OUTCOME_SCOPE_ROUTE,
		.reason = "auth" };

	r->fetching = false;
	r->fetched_ms = dispatcher_now_us() / 1000;
	if (status == 0 && r->fetch_result == 0) {
		use_credentials(r, &why);
	} else if (!r->signing && !r->stopping) {
		why.text = slice_str(r->fetch_err.msg);
		unwell(r, r->epoch, &why);
	} else {
		log_warn("credentials not refreshed error=\"%s\"", r->fetch_err.msg);
	}
	aws_credentials_wipe(&r->fetched);
	if (r->stopping)
		stop_if_idle(r);
	else
		on_tick(&r->tick);
}

static void
fetch_credentials(struct ses_route *r)
{
	if (r->fetching || r->stopping)
		return;
	r->work.data = r;
	r->fetch_err.msg[0] = '\0';
	r->fetching = uv_queue_work(&r->d->loop, &r->work, fetch, on_fetched) == 0;
}

/* Every second: credentials before they end, the account every minute, the pace up again. */
static void
on_tick(uv_timer_t *timer)
{
	struct ses_route *r = timer->data;
	uint64_t now = dispatcher_now_ms(r->d), now_ms = dispatcher_now_us() / 1000;
	int64_t left = r->credentials.expires_s - (int64_t)time(NULL) - r->skew_s;
	bool ends = r->credentials.expires_s > 0 && left < AWS_REFRESH_BEFORE_S;

	/* tried again each 10 s while the old ones last or none are there */
	if ((!r->signing || ends) && now_ms - r->fetched_ms >= 10 * TICK_MS)
		fetch_credentials(r);
	if (r->signing && !r->account_busy && !r->account_looking &&
	    rdsloop_is_ready(r->d->redis) &&
	    (r->account_ms == 0 || now - r->account_ms >= ACCOUNT_EVERY_MS))
		look_at_account(r);
	r->factor = r->factor * FASTER < 1 ? r->factor * FASTER : 1;
	ses_route_kick(r);
}

/* ---- life ---- */

static char *
join(const char *origin, const char *path)
{
	size_t n = strlen(origin) + strlen(path) + 1;
	char *url = malloc(n);

	if (url != NULL)
		(void)snprintf(url, n, "%s%s", origin, path);
	return url;
}

static bool
make_calls(struct ses_route *r)
{
	bool good = true;
	size_t count = (size_t)r->d->config->ses_connections + SPARE_CALLS;

	r->call_count = (size_t)r->d->config->ses_connections;
	r->calls = calloc(count, sizeof(*r->calls));
	r->idle = calloc(count, sizeof(struct call *));
	r->url = join(r->endpoint.origin, SES_SEND_PATH);
	r->bulk_url = join(r->endpoint.origin, SES_BULK_PATH);
	r->account_url = join(r->endpoint.origin, SES_ACCOUNT_PATH);
	if (r->calls == NULL || r->idle == NULL || r->url == NULL || r->bulk_url == NULL ||
	    r->account_url == NULL)
		return false;
	for (size_t i = 0; i < count && good; i++) {
		good = call_init(&r->calls[i], r, true);
		r->idle[r->idle_count++] = &r->calls[i];
	}
	return good && call_init(&r->account_call, r, false);
}

struct ses_route *
ses_route_new(
    struct dispatcher *d, const struct session_host *host, struct relay *relay, struct err *err)
{
	struct ses_route *r = calloc(1, sizeof(*r));
	char region[64];

	if (r == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	r->d = d;
	r->host = host;
	r->relay = relay;
	r->factor = 1;
	r->rate = (double)d->config->ses_rate;
	aws_chain_region(d->config->ses_region, region);
	if (aws_endpoint_make(&r->endpoint, AWS_SESV2, d->config->ses_endpoint, region, err) < 0) {
		free(r);
		return NULL;
	}
	if (!r->endpoint.is_tls)
		log_warn(
		    "endpoint %s is spoken to without TLS: for trials only", r->endpoint.origin);
	if (!make_calls(r) || (r->curl = curlloop_new(&d->loop, on_done, r)) == NULL) {
		(void)err_set(err, "no memory");
		ses_route_free(r);
		return NULL;
	}
	(void)curl_multi_setopt(
	    curlloop_multi(r->curl), CURLMOPT_MAXCONNECTS, d->config->ses_connections + 1);
	(void)uv_timer_init(&d->loop, &r->timer);
	(void)uv_timer_init(&d->loop, &r->tick);
	r->timer.data = r->tick.data = r;
	(void)uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
	fetch_credentials(r);
	return r;
}

void
ses_route_free(struct ses_route *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->idle_count && r->calls != NULL; i++)
		call_release(r->idle[i]);
	if (r->account_call.r != NULL)
		call_release(&r->account_call);
	curlloop_free(r->curl);
	aws_credentials_wipe(&r->credentials);
	sigv4_release(&r->signer);
	free(r->calls);
	free(r->idle);
	free(r->url);
	free(r->bulk_url);
	free(r->account_url);
	free(r);
}

static void
stop_if_idle(struct ses_route *r)
{
	if (!r->stopping || r->stopped || !ses_route_is_idle(r) || r->account_busy)
		return;
	r->stopped = true;
	curlloop_stop(r->curl);
	uv_close((uv_handle_t *)&r->timer, NULL);
	uv_close((uv_handle_t *)&r->tick, NULL);
}

void
ses_route_stop(struct ses_route *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	(void)uv_timer_stop(&r->tick);
	(void)uv_timer_stop(&r->timer);
	if (r->account_busy) {
		(void)curl_multi_remove_handle(curlloop_multi(r->curl), r->account_call.easy);
		r->account_busy = false;
	}
	if (r->gathering != NULL)
		begin_gathered(r);
	stop_if_idle(r);
}

bool
ses_route_is_idle(const struct ses_route *r)
{
	return r->busy == 0 && r->gathering == NULL;
}

size_t
ses_route_requests(const struct ses_route *r)
{
	return r->busy;
}

const char *
ses_route_name(const struct ses_route *r)
{
	return r->endpoint.host;
}
