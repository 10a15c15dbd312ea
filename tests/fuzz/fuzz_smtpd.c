/* SPDX-License-Identifier: Apache-2.0 */
/* A client that says anything, in both dialects: fed whole and byte by byte the session must say
 * and take the same, and no message may be answered twice. In SMTP no content that is handed out
 * has a CR or LF alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum smtpd_verdict
accepts(void *context, struct slice address)
{
	(void)context;
	return address.len > 2 ? SMTPD_TAKE : address.len == 2 ? SMTPD_FOREIGN : SMTPD_UNKNOWN;
}

/* Everything said and taken, in one text. */
static void
converse(
    enum smtpd_dialect dialect, const uint8_t *data, size_t size, size_t step, struct buf *said)
{
	const struct smtpd_config config = { .hostname = "mx.test",
		.size_max = 4096,
		.accepts = accepts,
		.dialect = dialect,
		.offers_tls = true };
	struct smtpd *l = smtpd_new(&config);
	struct smtpd_message m;

	if (l == NULL)
		abort();
	for (size_t i = 0; i < size && !smtpd_is_over(l); i += step) {
		size_t n = step < size - i ? step : size - i;
		(void)!smtpd_input(l, (const char *)data + i, n);
		do {
			struct slice out = smtpd_output(l);
			buf_append_slice(said, out);
			smtpd_output_consume(l, out.len);
			if (!smtpd_message(l, &m))
				continue;
			if (m.rcpt_count == 0 || m.rcpt_count > SMTPD_RCPTS_MAX ||
			    m.data.len > 4096)
				abort();
			for (size_t k = 0; dialect == SMTPD_SMTP && k < m.data.len; k++)
				if ((m.data.ptr[k] == '\r' &&
					(k + 1 == m.data.len || m.data.ptr[k + 1] != '\n')) ||
				    (m.data.ptr[k] == '\n' &&
					(k == 0 || m.data.ptr[k - 1] != '\r')))
					abort();
			buf_append_slice(said, m.sender);
			for (size_t k = 0; k < m.rcpt_count; k++)
				buf_append_slice(said, m.rcpts[k]);
			buf_append_slice(said, m.data);
			if (!smtpd_answer(l, m.ref, 250, "2.0.0 ok") ||
			    smtpd_answer(l, m.ref, 250, "2.0.0 ok"))
				abort();
		} while (smtpd_output(l).len > 0 || smtpd_message(l, &m));
	}
	smtpd_free(l);
}

static void
compare(enum smtpd_dialect dialect, const uint8_t *data, size_t size)
{
	struct buf whole, bytes;

	buf_init(&whole, 1 << 24);
	buf_init(&bytes, 1 << 24);
	converse(dialect, data, size, size + 1, &whole);
	converse(dialect, data, size, 1, &bytes);
	if (!slice_equal(buf_slice(&whole), buf_slice(&bytes)))
		abort();
	buf_release(&whole);
	buf_release(&bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 50000)
		return 0;
	compare(SMTPD_LMTP, data, size);
	compare(SMTPD_SMTP, data, size);
	return 0;
}
