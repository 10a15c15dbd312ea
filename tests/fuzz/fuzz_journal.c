/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_journal: any bytes as a header and as slots: nothing is read outside, what is a mark was
 * written as one, and an answer belongs to the mark it stands in. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "journal_slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
read_slot(const uint8_t *data)
{
	_Alignas(8) unsigned char slot[JOURNAL_SLOT_BYTES], again[JOURNAL_SLOT_BYTES] = { 0 };
	struct journal_mark mark, back;

	memcpy(slot, data, sizeof(slot));
	if (journal_slot_read(slot, &mark) != JOURNAL_MARK)
		return;
	/* a mark that was read and written is the same mark */
	journal_slot_dot(again, &mark.attempt, mark.generation, mark.at_s);
	if (mark.answered) {
		assert(mark.answer.text.len <= JOURNAL_TEXT_MAX);
		journal_slot_answer(again, &mark.answer);
	}
	assert(journal_slot_read(again, &back) == JOURNAL_MARK);
	assert(back.answered == mark.answered && back.generation == mark.generation);
	assert(memcmp(&back.attempt, &mark.attempt, sizeof(back.attempt)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal_header header;
	struct err err = { 0 };
	unsigned char *copy;

	/* as a header that was cut to this length: nothing behind it may be looked at */
	copy = calloc(1, size > 0 ? size : 1);
	if (copy == NULL)
		return 0;
	if (size > 0)
		memcpy(copy, data, size);
	if (journal_header_read(copy, size, &header, &err) == 0)
		assert(size >= journal_file_bytes(header.slots));
	free(copy);
	for (size_t at = 0; at + JOURNAL_SLOT_BYTES <= size; at += JOURNAL_SLOT_BYTES)
		read_slot(data + at);
	return 0;
}
