/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_tlsa: any bytes as TLSA records, each with its length (two bytes) in front; what is usable is
 * given to OpenSSL, which must refuse or take it without harm. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "tls.h"
#include "tlsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_context *
context(void)
{
	static struct tls_context *c;
	static const struct tls_settings settings = {
		.ca_file = "", .cert_file = "", .key_file = ""
	};
	struct err err = { 0 };

	if (c == NULL)
		c = tls_context_new(&settings, &err);
	assert(c != NULL);
	return c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_record records[DNS_RECORDS_MAX];
	struct dns_answer answer = {
		.status = DNS_FOUND, .records = records, .authenticated = true
	};
	struct tlsa *t;
	struct tls *tls;

	while (size >= 2 && answer.count < DNS_RECORDS_MAX) {
		size_t n = (size_t)data[0] << 8 | data[1];

		data += 2;
		size -= 2;
		n = n < size ? n : size;
		records[answer.count++] = (struct dns_record){ { (const char *)data, n }, 0 };
		data += n;
		size -= n;
	}
	t = tlsa_new(&answer, "base.example", "host.example");
	assert(t != NULL && t->count <= TLSA_RECORDS_MAX);
	assert((t->count > 0) == (tlsa_judge(&answer) == TLSA_VERIFY));
	for (size_t i = 0; i < t->count; i++)
		assert(t->records[i].data.len > 0);
	tls = tls_new(context(), "host.example", t);
	free(t);
	assert(tls == NULL || tls_state(tls) == TLS_HANDSHAKE);
	tls_free(tls);
	return 0;
}
