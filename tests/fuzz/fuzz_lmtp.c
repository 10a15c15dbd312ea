/* SPDX-License-Identifier: Apache-2.0 */
/* A client that says anything: fed whole and byte by byte the session must say and take the
 * same, and no message may be answered twice. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lmtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
accepts(void *context, struct slice address)
{
	(void)context;
	return address.len > 2;
}

/* Everything said and taken, in one text. */
static void
converse(const uint8_t *data, size_t size, size_t step, struct buf *said)
{
	static const struct lmtp_config config = { "mx.test", 4096, accepts, NULL };
	struct lmtp *l = lmtp_new(&config);
	struct lmtp_message m;

	if (l == NULL)
		abort();
	for (size_t i = 0; i < size && !lmtp_is_over(l); i += step) {
		size_t n = step < size - i ? step : size - i;
		(void)!lmtp_input(l, (const char *)data + i, n);
		do {
			struct slice out = lmtp_output(l);
			buf_append_slice(said, out);
			lmtp_output_consume(l, out.len);
			if (!lmtp_message(l, &m))
				continue;
			if (m.rcpt_count == 0 || m.rcpt_count > LMTP_RCPTS_MAX || m.data.len > 4096)
				abort();
			buf_append_slice(said, m.sender);
			for (size_t k = 0; k < m.rcpt_count; k++)
				buf_append_slice(said, m.rcpts[k]);
			buf_append_slice(said, m.data);
			if (!lmtp_answer(l, m.ref, 250, "2.0.0 ok") ||
			    lmtp_answer(l, m.ref, 250, "2.0.0 ok"))
				abort();
		} while (lmtp_output(l).len > 0 || lmtp_message(l, &m));
	}
	lmtp_free(l);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole, bytes;

	if (size > 50000)
		return 0;
	buf_init(&whole, 1 << 24);
	buf_init(&bytes, 1 << 24);
	converse(data, size, size + 1, &whole);
	converse(data, size, 1, &bytes);
	if (!slice_equal(buf_slice(&whole), buf_slice(&bytes)))
		abort();
	buf_release(&whole);
	buf_release(&bytes);
	return 0;
}
