/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_spf: any text as SPF record, asked for again and again by its own terms: an answer comes, within
 * the limits of RFC 7208 4.6.4. The same text as a list of tags. */
#include <assert.h>
#include <stdint.h>

#include "spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct slice text;
	unsigned asked;
};

static void
answer_all(
    void *ctx, struct arena *arena, const char *name, enum dns_type type, struct dns_answer *answer)
{
	struct world *w = ctx;

	w->asked++;
	*answer = (struct dns_answer){ .status = DNS_NONE,
		.records = arena_array(arena, 2, sizeof(struct dns_record)) };
	if (answer->records == NULL || name[0] == '\0')
		return;
	answer->records[0].text = type == DNS_TXT ? w->text
	    : type == DNS_A			  ? SLICE("192.0.2.1")
						  : SLICE("mx.example");
	answer->count = 1;
	answer->status = DNS_FOUND;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .text = { (const char *)data, size } };
	struct dns dns = { &w, answer_all };
	struct spf_answer answer;
	struct arena arena;
	struct slice value;

	if (size > DNS_TEXT_MAX)
		return 0;
	arena_init(&arena, (size_t)1 << 20);
	spf_check(&dns, &arena, "198.51.100.7", "example.jp", &answer);
	assert(answer.result <= SPF_PERMERROR);
	assert(answer.lookups <= SPF_LOOKUPS_MAX + 1 && w.asked <= 10 * (SPF_LOOKUPS_MAX + 2));
	if (dns_tag(w.text, SLICE("p"), &value))
		assert(value.ptr >= w.text.ptr && value.ptr + value.len <= w.text.ptr + w.text.len);
	arena_release(&arena);
	return 0;
}
