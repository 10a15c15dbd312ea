/* SPDX-License-Identifier: Apache-2.0 */
/* A file of credentials. Checked: what is taken is whole, within its limits and can be spoken. */
#include "common/auth.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	struct auth a;

	if (auth_parse(&a, slice_make((const char *)data, size), &err) < 0) {
		if (err.msg[0] == '\0' || a.secret[0] != '\0' || a.user[0] != '\0')
			abort();
		return 0;
	}
	if (a.user[0] == '\0' || a.secret[0] == '\0' || a.mechanisms == 0)
		abort();
	for (unsigned step = 0; step < 4; step++) {
		struct buf out;

		buf_init(&out, AUTH_LINE_MAX);
		auth_put(&out, &a, auth_choose(&a, a.mechanisms), step);
		if (buf_failed(&out) || out.len < 2 ||
		    memchr(out.data, '\n', out.len) != out.data + out.len - 1)
			abort();
		buf_release(&out);
	}
	auth_wipe(&a);
	return 0;
}
