/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_dns_answer: any bytes as an answer of DNS, of a type by the first byte; what it says of MX is
 * decided about, with a name of ours among the hosts; what it says of TLSA is judged. Limits hold,
 * names are clean. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "mx.h"
#include "tlsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_plan(const struct dns_answer *answer)
{
	static const char *const own[] = { "own.example" };
	struct mx_plan plan;
	char key[MX_KEY_MAX];

	mx_decide(&plan, "d.example", answer, own, 1);
	assert(plan.count <= MX_HOSTS_MAX && (plan.count > 0) == (plan.verdict == MX_HOSTS));
	for (size_t i = 0; i < plan.count; i++) {
		const char *name = plan.hosts[i].name;

		assert(name[0] != '\0' && strcmp(name, own[0]) != 0);
		assert(i == 0 || plan.hosts[i - 1].preference <= plan.hosts[i].preference);
		for (; *name != '\0'; name++)
			assert(*name > ' ' && *name < 0x7f && *name != ',' && *name != '\\');
	}
	mx_key(&plan, false, key);
	assert(strlen(key) < MX_KEY_MAX);
	assert(mx_keep_s(answer) >= 60 && mx_keep_s(answer) <= 3600);
}

static void
check_tlsa(const struct dns_answer *answer)
{
	enum tlsa_verdict verdict = tlsa_judge(answer);
	struct tlsa *t = tlsa_new(answer, "b.example", "h.example");

	assert(t != NULL && t->count <= TLSA_RECORDS_MAX);
	assert(verdict != TLSA_VERIFY || t->count > 0);
	assert(verdict != TLSA_ENCRYPT || t->count == 0);
	for (size_t i = 0; i < t->count; i++)
		assert(t->records[i].usage >= 2 && t->records[i].data.len > 0);
	free(t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_answer answer;
	struct arena arena;
	enum dns_type type;

	if (size == 0)
		return 0;
	type = (enum dns_type)(data[0] % (DNS_TLSA + 1));
	arena_init(&arena, (size_t)4 << 20);
	dns_read_answer(&arena, type, data + 1, size - 1, &answer);
	assert(
	    answer.count <= DNS_RECORDS_MAX && (answer.count > 0) == (answer.status == DNS_FOUND));
	for (size_t i = 0; i < answer.count; i++)
		assert(answer.records[i].text.len <= (type < DNS_CNAME ? DNS_TEXT_MAX : size));
	if (type == DNS_MX)
		check_plan(&answer);
	if (type == DNS_TLSA)
		check_tlsa(&answer);
	arena_release(&arena);
	return 0;
}
