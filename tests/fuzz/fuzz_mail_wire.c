/* SPDX-License-Identifier: Apache-2.0 */
/* mail_wire: what a parser that was taken over may say, and what a daemon says to it. The first
 * byte chooses the reader. What is taken keeps its promises and comes back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "tests/support/events_check.h"
#include "mail_intake.h"
#include "mail_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_events(struct slice payload)
{
	static const struct mail_wire_token tokens[] = { { TOKEN_BOUNCE, { 7, 8, 1 } },
		{ TOKEN_UNSUBSCRIBE, { 7, 8, 0 } } };
	struct feedback_events events, again;
	struct arena arena;
	struct buf wire;

	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	buf_init(&wire, MAIL_WIRE_PAYLOAD_MAX);
	if (mail_wire_get_events(payload, tokens, 2, &arena, &events)) {
		if (events.count == 0)
			abort();
		events_check(&events);
		mail_wire_put_events(&wire, &events);
		if (!mail_wire_get_events(buf_slice(&wire), tokens, 2, &arena, &again) ||
		    again.count != events.count)
			abort();
	}
	buf_release(&wire);
	arena_release(&arena);
}

static void
read_mail(struct slice payload)
{
	struct inbound_input in;
	struct arena arena;
	struct buf wire;

	arena_init(&arena, MAIL_INTAKE_ARENA_MAX);
	buf_init(&wire, MAIL_WIRE_PAYLOAD_MAX);
	if (mail_wire_get_mail(payload, &arena, &in)) {
		mail_wire_put_mail(&wire, &in);
		if (wire.len != payload.len || memcmp(wire.data, payload.ptr, wire.len) != 0)
			abort();
	}
	buf_release(&wire);
	arena_release(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum token_purpose purpose;
	enum mail_wire_kind kind;
	struct slice payload, text;
	struct token token;
	bool is_ours;
	size_t n;

	if (size == 0)
		return 0;
	payload = slice_make((const char *)data + 1, size - 1);
	switch (data[0] & 3) {
	case 0:
		read_events(payload);
		break;
	case 1:
		read_mail(payload);
		break;
	case 2:
		(void)!mail_wire_get_question(payload, &purpose, &text);
		(void)!mail_wire_get_answer(payload, &is_ours, &token);
		break;
	default:
		if (size > MAIL_WIRE_HEADER && mail_wire_header_read(data + 1, &kind, &n) &&
		    n > MAIL_WIRE_PAYLOAD_MAX)
			abort();
		break;
	}
	return 0;
}
