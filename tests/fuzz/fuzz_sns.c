/* SPDX-License-Identifier: Apache-2.0 */
/* A document that claims to be of SNS: parse, string to sign, every rule short of the key. */
#include <stdint.h>
#include <stdlib.h>

#include "sns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct slice topics[] = { { "arn:aws:sns:eu-west-1:123456789012:k", 36 } };
	static const struct sns_policy policy = { topics, 1, false };
	struct slice body = slice_make((const char *)data, size), text;
	struct sns_message msg;
	struct arena arena;
	struct err err;

	arena_init(&arena, 4 << 20);
	if (sns_parse(body, &arena, &msg, &err) == 0) {
		if (sns_canonical(&msg, &arena, &text) < 0 || text.len == 0 ||
		    text.ptr[text.len - 1] != '\n')
			abort();
		if (sns_admit(&msg, &policy, SLICE(""), &err) == 0 &&
		    (!slice_equal(msg.topic_arn, topics[0]) || msg.cert_url.len < 40))
			abort();
		if (sns_subscribe_url_check(&msg) &&
		    memcmp(msg.subscribe_url.ptr, "https://sns.", 12) != 0)
			abort();
	}
	if (sns_cert_url_check(body, SLICE("eu-west-1")) &&
	    memcmp(body.ptr, "https://sns.eu-west-1.amazonaws.com/", 36) != 0)
		abort();
	(void)sns_topic_region(body);
	arena_release(&arena);
	return 0;
}
