/* SPDX-License-Identifier: Apache-2.0 */
/* origins: see origins.h. */
#include "origins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

#define NONE "none"
#define OTHER "other"

/* COPY writes a backslash before what it escapes: such a value is no name. */
static bool
is_name(struct slice value)
{
	size_t n;

	if (value.len > ORIGINS_NAME_MAX)
		return false;
	for (size_t i = 0; i < value.len; i += n) {
		unsigned char c = (unsigned char)value.ptr[i];

		n = utf8_char(value.ptr + i, value.len - i);
		if (n == 0 || c < 0x20 || c == 0x7f || c == '\\' || c == '@' ||
		    utf8_bidi(value.ptr + i, value.len - i) > 0)
			return false;
	}
	return true;
}

int
origins_number(struct origins *o, struct slice value)
{
	char name[ORIGINS_NAME_MAX + 1];
	char **place;

	value = slice_trim(value);
	if (value.len == 0 || slice_equal(value, SLICE("\\N")))
		value = SLICE(NONE);
	if (!is_name(value))
		value = SLICE(OTHER);
	(void)snprintf(name, sizeof(name), "%.*s", SLICE_ARG(value));
	place = strmap_get(&o->numbers, name);
	if (place != NULL)
		return (int)(place - o->names) + 1;
	/* the last two places are kept for those that are no values */
	if (o->count >= ORIGINS_MAX && strcmp(name, NONE) != 0 && strcmp(name, OTHER) != 0)
		return origins_number(o, SLICE(OTHER));
	place = &o->names[o->count];
	*place = strdup(name);
	if (*place == NULL)
		return -1;
	if (!strmap_add(&o->numbers, *place, place)) {
		free(*place);
		return -1;
	}
	return ++o->count;
}

int
origins_save(const struct origins *o, struct db *db, int run, struct err *err)
{
	char run_text[16], number[16];

	(void)snprintf(run_text, sizeof(run_text), "%d", run);
	for (int i = 0; i < o->count; i++) {
		const char *params[] = { run_text, number, o->names[i] };

		(void)snprintf(number, sizeof(number), "%d", i + 1);
		if (db_run(db,
			"INSERT INTO kairan.run_origin (run_id, origin, name) VALUES ($1, $2, $3)",
			3, params) < 0)
			return err_set(err, "writing origins: %s", db->error);
	}
	return 0;
}

void
origins_release(struct origins *o)
{
	for (int i = 0; i < o->count; i++)
		free(o->names[i]);
	strmap_release(&o->numbers);
	o->count = 0;
}
