/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session against a server that says anything. First byte: options; second: how much is
 * written at a time, its low bits options too. Then records: a byte of kind and length, and bytes of the server.
 * Checked: one outcome for every envelope, sent and in doubt only past the dot, nothing of the
 * content before may_send.
 */
#include "dispatcher/smtp/smtp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES 6

struct world {
	struct smtp *s;
	unsigned offered;
	unsigned outcomes[MESSAGES + 1];
	bool may[MESSAGES + 1], dot[MESSAGES + 1];
	bool asked, refuse_send, refuse_dot;
	size_t write_max;
};

static const struct auth credentials = { "u", "p", AUTH_PLAIN | AUTH_LOGIN | AUTH_XOAUTH2 };

static bool
may_send(void *ctx, uint64_t ref)
{
	struct world *w = ctx;

	if (w->may[ref])
		abort();
	w->may[ref] = w->asked = true;
	return !w->refuse_send;
}

static bool
before_dot(void *ctx, uint64_t ref)
{
	struct world *w = ctx;

	if (!w->may[ref] || w->dot[ref])
		abort();
	w->dot[ref] = !w->refuse_dot;
	return !w->refuse_dot;
}

static void
take(struct world *w)
{
	struct outcome o;
	uint64_t ref;

	while (smtp_next_outcome(w->s, &ref, &o)) {
		if (ref == 0 || ref > w->offered || ++w->outcomes[ref] > 1)
			abort();
		if ((o.kind == OUTCOME_SENT || o.kind == OUTCOME_IN_DOUBT) && !w->dot[ref])
			abort();
		if (o.reason == NULL || o.text.len > OUTCOME_TEXT_MAX)
			abort();
		for (size_t i = 0; i < o.text.len; i++)
			if ((unsigned char)o.text.ptr[i] < ' ')
				abort();
		if (o.remote_id.len > o.text.len)
			abort();
	}
}

static void
turn(struct world *w)
{
	static const char mark[] = "CONTENT";
	unsigned rounds = 0;

	do {
		struct slice out;

		if (smtp_wants_tls(w->s))
			smtp_secured(w->s);
		take(w);
		while (w->offered < MESSAGES && smtp_wants(w->s)) {
			static const struct slice data[3] = {
				{ "CONTENT: 1\r\n\r\n.x\r\n", 18 },
				{ "CONTENT\n.\r.\r\nx", 14 },
				{ "CONTENT", 7 },
			};

			w->offered++;
			smtp_offer(w->s,
			    &(struct smtp_envelope){ .ref = w->offered,
				.mail_from = SLICE("b@example.org"),
				.rcpt_to = SLICE("r@example.net"),
				.envid = SLICE("a=b"),
				.data = data[w->offered % 3] });
		}
		while ((out = smtp_output(w->s)).len > 0) {
			size_t n = out.len < w->write_max ? out.len : w->write_max;

			if (memmem(out.ptr, out.len, mark, sizeof(mark) - 1) != NULL && !w->asked)
				abort();
			smtp_wrote(w->s, n);
		}
		if (++rounds > 64)
			abort();
	} while (smtp_has_outcome(w->s));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { 0 };
	struct smtp_options o = { .ehlo_name = "me.example.org",
		.ctx = &w,
		.may_send = may_send,
		.before_dot = before_dot };

	if (size < 2)
		return 0;
	o.pipelining = (data[0] & 1) != 0;
	o.next_behind_dot = (data[0] & 2) != 0;
	o.dsn = (data[0] & 4) != 0;
	o.max_messages = data[0] >> 6;
	o.chunking = (data[0] & 32) != 0;
	o.lmtp = data[1] % 7 == 3;
	o.tls = (enum smtp_tls)(data[1] % 4);
	o.auth = data[1] % 5 == 2 ? &credentials : NULL;
	w.refuse_send = (data[0] & 24) == 8;
	w.refuse_dot = (data[0] & 24) == 24;
	w.write_max = data[1] == 0 ? SIZE_MAX : data[1];
	w.s = smtp_new(&o, NULL);
	if (w.s == NULL)
		return 0;
	turn(&w);
	for (size_t at = 2; at < size;) {
		unsigned kind = data[at] >> 6;
		size_t n = data[at++] & 63U;

		if (n > size - at)
			n = size - at;
		if (kind == 3 && n == 1)
			smtp_timeout(w.s);
		else if (kind == 3 && n == 2)
			smtp_quit(w.s);
		smtp_input(w.s, (const char *)data + at, n);
		if (kind != 2)
			turn(&w); /* else the caller is slow */
		at += n;
	}
	smtp_eof(w.s);
	take(&w);
	turn(&w);
	smtp_eof(w.s);
	turn(&w);
	if (!smtp_is_closed(w.s))
		abort();
	for (unsigned ref = 1; ref <= w.offered; ref++)
		if (w.outcomes[ref] != 1)
			abort();
	smtp_free(w.s);
	return 0;
}
