/* SPDX-License-Identifier: Apache-2.0 */
/* ses_suppression: see ses_suppression.h. */
#include "ses_suppression.h"

#include <jansson.h>
#include <string.h>

static struct slice
text_of(struct arena *arena, const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_string(value)
	    ? arena_copy(arena, slice_make(json_string_value(value), json_string_length(value)))
	    : slice_make(NULL, 0);
}

static int
read_entry(const json_t *entry, struct arena *arena, struct ses_suppressed *item, struct err *err)
{
	const json_t *updated = json_object_get(entry, "LastUpdateTime");
	struct slice reason = text_of(arena, entry, "Reason");
	double at = json_number_value(updated);

	item->address = text_of(arena, entry, "EmailAddress");
	item->is_complaint = slice_equal(reason, SLICE("COMPLAINT"));
	if (item->address.len == 0 ||
	    (!item->is_complaint && !slice_equal(reason, SLICE("BOUNCE"))))
		return err_set(
		    err, "the answer has an entry without an address or with an unknown reason");
	item->updated_s = at > 0 && at < 1e11 ? (int64_t)at : 0;
	return 0;
}

int
ses_suppressed_parse(
    struct slice json, struct arena *arena, struct ses_suppressed_page *page, struct err *err)
{
	json_t *body =
	    json_loadb(json.len > 0 ? json.ptr : "", json.len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(body, "SuppressedDestinationSummaries"), *entry;
	size_t i, count = json_array_size(list);
	int result = 0;

	*page = (struct ses_suppressed_page){ .next = text_of(arena, body, "NextToken") };
	/* a last page may leave the list out */
	if (!json_is_object(body) || (list != NULL && !json_is_array(list)) ||
	    count > SES_SUPPRESSED_PAGE)
		result = err_set(err, "the answer is no suppression list of SES");
	page->items = result == 0 ? arena_array(arena, count + 1, sizeof(*page->items)) : NULL;
	if (result == 0 && page->items == NULL)
		result = err_set(err, "no memory");
	json_array_foreach(list, i, entry)
	{
		if (result == 0)
			result = read_entry(entry, arena, &page->items[page->count++], err);
	}
	json_decref(body);
	return result;
}
