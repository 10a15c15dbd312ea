/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of clamd: clean is one answer alone; anything else has a reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "clamd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = { 0 };
	char answer[1000];
	size_t n = size < sizeof(answer) ? size : sizeof(answer) - 1;

	memcpy(answer, data, n);
	answer[n] = '\0';
	switch (clamd_verdict(answer, &err)) {
	case CLAMD_CLEAN:
		if (strcmp(answer, "stream: OK") != 0 && strcmp(answer, "OK") != 0)
			abort();
		break;
	case CLAMD_FOUND:
		if (strstr(answer, " FOUND") == NULL || err.msg[0] == '\0')
			abort();
		break;
	case CLAMD_NO_VERDICT:
		if (err.msg[0] == '\0')
			abort();
		break;
	}
	return 0;
}
