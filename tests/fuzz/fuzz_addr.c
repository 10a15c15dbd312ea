/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_addr: what is accepted is within the limits, has no byte that could end an SMTP command,
 * and its text and key are accepted again with the same key. */
#include <assert.h>
#include <stdint.h>

#include "addr.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	struct addr a, again;

	if (addr_parse(&a, slice_make((const char *)data, size), &err) < 0) {
		assert(err.msg[0] != '\0');
		return 0;
	}
	assert(a.len <= ADDR_MAX && strlen(a.text) == a.len && strlen(a.key) == a.len);
	assert(a.domain_at > 1 && a.domain_at <= 65 && a.text[a.domain_at - 1] == '@');
	for (size_t i = 0; i < a.len; i++) {
		unsigned char c = (unsigned char)a.text[i];

		assert(c > ' ' && c != 0x7f && c != '<' && c != '>' && c != '"' && c != ',');
		assert(a.key[i] < 'A' || a.key[i] > 'Z');
	}
	assert(utf8_ok(slice_str(a.text)) && !addr_needs_utf8(addr_domain(&a)));
	assert(addr_parse_sender(&again, slice_str(a.text), &err) ==
	    (addr_needs_utf8(slice_str(a.text)) ? -1 : 0));
	assert(addr_parse(&again, slice_str(a.text), &err) == 0);
	assert(strcmp(again.key, a.key) == 0 && strcmp(again.text, a.text) == 0);
	assert(addr_parse(&again, slice_str(a.key), &err) == 0);
	assert(strcmp(again.key, a.key) == 0);
	return 0;
}
