/* SPDX-License-Identifier: Apache-2.0 */
/* "address LF rules": no rules text and no address may bring more than a decision, and nothing
 * outside the domains in the rules is ever taken but by a token. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cidr.h"
#include "rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size), address;
	const char *end = size > 0 ? memchr(data, '\n', size) : NULL;
	struct cidr_list list;
	struct rules rules;
	struct err err;

	if (cidr_list_parse(&list, text, "k", &err) == 0 && list.count > CIDR_MAX)
		abort();
	cidr_list_release(&list);
	address = slice_make(text.ptr, end != NULL ? (size_t)(end - text.ptr) : size);
	text = slice_make(text.ptr + address.len, size - address.len);
	if (rules_parse(&rules, text, &err) == 0) {
		enum rule_action action = rules_decide(&rules, address, false);

		if (rules.count == 0 && action != RULE_FOREIGN)
			abort();
		if (action != RULE_FOREIGN && memchr(address.ptr, '@', address.len) == NULL)
			abort();
	}
	rules_release(&rules);
	return 0;
}
