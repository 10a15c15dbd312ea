/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: the same bytes whole and in pieces give the same replies; text also goes through the
 * search for enhanced codes and the classifier. First byte: size of the pieces. */
#include "smtp_reply.h"

#include <stdlib.h>

#include "classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t
mix(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * 1099511628211U;
}

static uint64_t
replies(const char *bytes, size_t n, size_t piece)
{
	struct smtp_reply_parser p;
	uint64_t sum = 14695981039346656037U;
	size_t at = 0;

	smtp_reply_init(&p);
	while (at < n) {
		size_t take = n - at < piece ? n - at : piece, used;
		struct smtp_reply reply;
		enum smtp_reply_result result =
		    smtp_reply_feed(&p, bytes + at, take, &used, &reply);

		at += used;
		if (result == SMTP_REPLY_BAD) {
			sum = mix(sum, 1);
			break;
		}
		if (result == SMTP_REPLY_MORE) {
			if (used != take)
				abort();
			continue;
		}
		if (used == 0 || reply.code < 100 || reply.code > 599 ||
		    reply.text.len > SMTP_REPLY_MAX)
			abort();
		if (reply.enhanced[0] != 0 && reply.enhanced[0] != reply.code / 100)
			abort();
		sum = mix(mix(sum, (uint64_t)reply.code), reply.text.len);
		for (size_t i = 0; i < reply.text.len; i++)
			sum = mix(sum, (unsigned char)reply.text.ptr[i]);
		for (int phase = 0; phase < OUTCOME_PHASES; phase++) {
			struct classify_input in = { .phase = (enum outcome_phase)phase,
				.code = reply.code,
				.text = reply.text };
			struct classify_verdict v;

			(void)smtp_enhanced_find(reply.text, 0, in.enhanced);
			v = classify(&in);
			if (v.reason == NULL || (reply.code < 500 && v.cls == OUTCOME_HARD))
				abort();
		}
	}
	smtp_reply_release(&p);
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes;
	size_t piece;

	if (size == 0)
		return 0;
	piece = 1 + data[0] % 64U;
	bytes = (const char *)data + 1;
	if (replies(bytes, size - 1, size) != replies(bytes, size - 1, piece))
		abort();
	return 0;
}
