/* SPDX-License-Identifier: Apache-2.0 */
/* jsondoc_check: is jsondoc of the same mind as jansson about a document? For unit test and fuzzer. */
#ifndef KAIRAN_TESTS_JSONDOC_CHECK_H
#define KAIRAN_TESTS_JSONDOC_CHECK_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "jsondoc.h"

#define JSONDOC_CHECK_BYTES ((size_t)1024 * 1024)
#define JSONDOC_CHECK_DEPTH 16

static inline bool
jsondoc_is_like(const struct jsondoc *ours, const json_t *theirs)
{
	static const json_type types[] = { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_REAL, JSON_STRING,
		JSON_ARRAY, JSON_OBJECT };
	size_t i = 0;

	if (ours == NULL || theirs == NULL)
		return false;
	if (json_typeof(theirs) != types[ours->type] &&
	    !(ours->type == JSONDOC_NUMBER && json_is_integer(theirs)))
		return false;
	if (ours->type == JSONDOC_STRING)
		return slice_equal(
		    ours->text, slice_make(json_string_value(theirs), json_string_length(theirs)));
	if (ours->type == JSONDOC_ARRAY && jsondoc_count(ours) != json_array_size(theirs))
		return false;
	if (ours->type == JSONDOC_OBJECT && ours->count != json_object_size(theirs))
		return false;
	for (const struct jsondoc *item = ours->first; item != NULL; item = item->next, i++) {
		char key[256];

		if (ours->type == JSONDOC_ARRAY) {
			if (!jsondoc_is_like(item, json_array_get(theirs, i)))
				return false;
			continue;
		}
		if (item->key.len >= sizeof(key))
			continue;
		if (item->key.len > 0)
			memcpy(key, item->key.ptr, item->key.len);
		key[item->key.len] = '\0';
		if (!jsondoc_is_like(item, json_object_get(theirs, key)))
			return false;
	}
	return true;
}

/* *taken: was it accepted? False: they differ where they must not. What we refuse for its size or
 * depth and what jansson refuses for a number or a NUL in a key is left out; so is a refused text with
 * a NUL, for jansson forgets one that it has looked at behind a number. */
static inline bool
jsondoc_agrees(struct slice text, bool *taken)
{
	struct err err = { 0 };
	struct arena arena;
	json_error_t error;
	json_t *theirs = json_loadb(text.len > 0 ? text.ptr : "", text.len,
	    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	const struct jsondoc *ours;
	bool agrees;

	arena_init(&arena, 16 * JSONDOC_CHECK_BYTES);
	ours = jsondoc_parse(text, JSONDOC_CHECK_BYTES, JSONDOC_CHECK_DEPTH, &arena, &err);
	*taken = ours != NULL;
	if (ours == NULL)
		agrees = !json_is_object(theirs) || memchr(text.ptr, '\0', text.len) != NULL ||
		    strstr(err.msg, "deep") != NULL || strstr(err.msg, "many") != NULL ||
		    strstr(err.msg, "larger") != NULL;
	else if (theirs == NULL)
		agrees = json_error_code(&error) == json_error_numeric_overflow ||
		    json_error_code(&error) == json_error_null_byte_in_key;
	else
		agrees = jsondoc_is_like(ours, theirs);
	json_decref(theirs);
	arena_release(&arena);
	return agrees;
}

#endif
