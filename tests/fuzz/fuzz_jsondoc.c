/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON document: taken or refused, and read, as jansson does. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/support/jsondoc_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool taken;

	if (!jsondoc_agrees(slice_make((const char *)data, size), &taken))
		abort();
	return 0;
}
