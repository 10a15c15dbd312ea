/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_campaign_file: any bytes as a campaign file; what is accepted keeps its promises. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/campaign/campaign_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct campaign_file *f)
{
	struct err err;

	assert(campaign_name_ok(slice_str(f->name)));
	assert(f->segment[0] != '\0' && f->from_address[0] != '\0');
	assert(f->html[0] != '\0' || f->text[0] != '\0');
	assert(f->html[0] == '\0' || campaign_path_ok(slice_str(f->html)));
	assert(f->text[0] == '\0' || campaign_path_ok(slice_str(f->text)));
	assert(f->start[0] == '\0' || campaign_time_ok(slice_str(f->start), &err) == 0);
	assert(f->header_count <= CAMPAIGN_HEADERS_MAX);
	for (size_t i = 0; i < f->header_count; i++)
		assert(strpbrk(f->headers[i].value, "\r\n") == NULL);
	assert(strpbrk(f->subject, "\r\n") == NULL && strpbrk(f->from_name, "\r\n") == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct campaign_file file;
	struct err err = { 0 };
	struct arena arena;

	arena_init(&arena, (size_t)4 << 20);
	if (campaign_file_parse(&file, slice_make((const char *)data, size), &arena, &err) == 0)
		check(&file);
	else
		assert(err.msg[0] != '\0');
	arena_release(&arena);
	return 0;
}
