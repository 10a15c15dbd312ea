/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_mta_sts: any text as the record and as the policy file of MTA-STS. */
#include <assert.h>
#include <stdint.h>

#include "mta_sts.h"
#include "sts_cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct dns_record record = { text, 0 };
	struct dns_answer answer = { .status = DNS_FOUND, .records = &record, .count = 1 };
	static struct mta_sts_policy policy;
	static struct sts_cached cached;
	char id[MTA_STS_ID_MAX + 1];

	if (sts_cache_read_line(text, 1800000000, &cached))
		assert(cached.domain[0] != '\0' && cached.policy.host_count > 0 &&
		    cached.policy.host_count <= MTA_STS_HOSTS_MAX && cached.until_s > 1800000000);
	if (mta_sts_read_record(&answer, id))
		assert(id[0] != '\0' && strlen(id) <= MTA_STS_ID_MAX);
	if (!mta_sts_read_policy(text, &policy))
		return 0;
	assert(policy.max_age_s <= MTA_STS_AGE_MAX_S && policy.host_count <= MTA_STS_HOSTS_MAX);
	assert(policy.mode == MTA_STS_NONE || policy.host_count > 0);
	for (size_t i = 0; i < policy.host_count; i++) {
		assert(policy.hosts[i][0] != '\0');
		if (policy.hosts[i][0] != '*')
			assert(mta_sts_allows(&policy, policy.hosts[i]));
	}
	(void)mta_sts_allows(&policy, "mx.example");
	return 0;
}
