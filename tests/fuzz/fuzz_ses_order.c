/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the imitation of SES, read as SendEmail and as SendBulkEmail: what is accepted has a
 * recipient, and every entry an answer. */
#include <stdint.h>
#include <stdlib.h>

#include "ses_order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice json = slice_make((const char *)data, size);
	struct ses_bulk_order bulk;
	struct ses_order order;
	struct arena arena;
	struct err err = { 0 };

	arena_init(&arena, (size_t)4 << 20);
	if (ses_order_read(&order, json, &arena, &err) == 0 ? order.to.len == 0
							    : err.msg[0] == '\0')
		abort();
	ses_order_release(&order);
	if (ses_bulk_order_read(&bulk, json, &arena, &err) == 0 && bulk.count == 0)
		abort();
	for (size_t i = 0; i < bulk.count; i++) {
		const struct ses_bulk_order_entry *e = &bulk.entry[i];

		if ((e->error == NULL) != slice_equal(slice_str(e->status), SLICE("SUCCESS")) ||
		    (e->error == NULL && e->order.to.len == 0))
			abort();
	}
	ses_bulk_order_release(&bulk);
	arena_release(&arena);
	return 0;
}
