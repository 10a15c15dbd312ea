/* SPDX-License-Identifier: Apache-2.0 */
/* tlsa: see tlsa.h. */
#include "tlsa.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD_BYTES 3 /* usage, selector, matching type */

enum { DANE_TA = 2, DANE_EE = 3, SPKI = 1, SHA256 = 1, SHA512 = 2 };

bool
tlsa_read(struct slice data, struct tlsa_record *record)
{
	const unsigned char *head = (const unsigned char *)data.ptr;

	if (data.len <= HEAD_BYTES)
		return false;
	*record = (struct tlsa_record){ .usage = head[0],
		.selector = head[1],
		.matching = head[2],
		.data = slice_make(data.ptr + HEAD_BYTES, data.len - HEAD_BYTES) };
	if ((record->usage != DANE_TA && record->usage != DANE_EE) || record->selector > SPKI)
		return false;
	switch (record->matching) {
	case 0:
		return true;
	case SHA256:
		return record->data.len == 32;
	case SHA512:
		return record->data.len == 64;
	default:
		return false;
	}
}

enum tlsa_verdict
tlsa_judge(const struct dns_answer *answer)
{
	struct tlsa_record record;

	if (answer->status == DNS_FAILED)
		return TLSA_LATER;
	if (answer->status == DNS_NONE || !answer->authenticated)
		return TLSA_NONE;
	for (size_t i = 0; i < answer->count; i++)
		if (tlsa_read(answer->records[i].text, &record))
			return TLSA_VERIFY;
	return TLSA_ENCRYPT;
}

struct tlsa *
tlsa_new(const struct dns_answer *answer, const char *base, const char *host)
{
	struct tlsa *t;
	size_t bytes = 0, at = 0;

	for (size_t i = 0; i < answer->count; i++)
		bytes += answer->records[i].text.len;
	t = calloc(1, sizeof(*t) + bytes);
	if (t == NULL)
		return NULL;
	(void)snprintf(t->base, sizeof(t->base), "%s", base);
	(void)snprintf(t->host, sizeof(t->host), "%s", host);
	for (size_t i = 0; i < answer->count && t->count < TLSA_RECORDS_MAX; i++) {
		struct tlsa_record *r = &t->records[t->count];

		if (!tlsa_read(answer->records[i].text, r))
			continue;
		memcpy(t->bytes + at, r->data.ptr, r->data.len);
		r->data.ptr = t->bytes + at;
		at += r->data.len;
		t->count++;
	}
	return t;
}
