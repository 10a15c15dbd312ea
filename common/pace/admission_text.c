/* SPDX-License-Identifier: Apache-2.0 */
/* admission_text: see admission_text.h. */
#include "admission_text.h"

#include <stdlib.h>
#include <string.h>

#include "strmap.h"

#define ACCOUNT (-1)

struct field {
	char *name; /* owned */
	bool is_lane;
	bool named; /* by the present publication */
	bool known; /* has a calendar */
	int number; /* of the lane or limiter */
};

struct admission_text {
	struct admission *a;
	struct strmap by_name;
	struct field **fields; /* owned */
	size_t count, room;
};

struct admission_text *
admission_text_new(void)
{
	struct admission_text *t = calloc(1, sizeof(*t));

	if (t != NULL && (t->a = admission_new()) == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

void
admission_text_free(struct admission_text *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->count; i++) {
		free(t->fields[i]->name);
		free(t->fields[i]);
	}
	free(t->fields);
	strmap_release(&t->by_name);
	admission_free(t->a);
	free(t);
}

struct admission *
admission_text_pool(struct admission_text *t)
{
	return t->a;
}

/* NULL without memory. */
static struct field *
add_field(struct admission_text *t, const char *name)
{
	struct field *f = calloc(1, sizeof(*f));

	if (f == NULL || (f->name = strdup(name)) == NULL)
		goto fail;
	f->is_lane = strncmp(name, ADMISSION_TEXT_LANE, strlen(ADMISSION_TEXT_LANE)) == 0;
	f->number = f->is_lane				? admission_add_lane(t->a, NULL, 0)
	    : strcmp(name, ADMISSION_TEXT_ACCOUNT) == 0 ? ACCOUNT
							: admission_add_limiter(t->a);
	if (f->number < 0 && strcmp(name, ADMISSION_TEXT_ACCOUNT) != 0)
		goto fail;
	if (t->count == t->room) {
		size_t room = t->room > 0 ? 2 * t->room : 64;
		struct field **more = realloc(t->fields, room * sizeof(*more));

		if (more == NULL)
			goto fail;
		t->fields = more;
		t->room = room;
	}
	if (!strmap_add(&t->by_name, f->name, f))
		goto fail;
	t->fields[t->count++] = f;
	return f;
fail:
	if (f != NULL)
		free(f->name);
	free(f);
	return NULL;
}

static struct field *
field_of(struct admission_text *t, const char *name)
{
	struct field *f = strmap_get(&t->by_name, name);

	return f != NULL ? f : add_field(t, name);
}

int
admission_text_lane(struct admission_text *t, const char *name)
{
	struct field *f = field_of(t, name);

	return f != NULL && f->is_lane ? f->number : -1;
}

int
admission_text_rows(const char *text, struct admission_row rows[ADMISSION_ROWS_MAX], size_t *count)
{
	for (*count = 0; *text != '\0'; (*count)++) {
		double values[3];

		if (*count == ADMISSION_ROWS_MAX)
			return -1;
		for (int i = 0; i < 3; i++) {
			char *end;

			values[i] = strtod(text, &end);
			if (end == text || *end != (i < 2 ? ',' : ';'))
				return -1;
			text = end + 1;
		}
		rows[*count] = (struct admission_row){ values[0], values[1], values[2] };
	}
	return 0;
}

/* "!NAME,NAME" of a lane, up to `end`. */
static int
read_chain(struct admission_text *t, const struct field *lane, const char *text, const char *end)
{
	int chain[ADMISSION_CHAIN_MAX];
	size_t n = 0;
	bool urgent = text < end && *text == '!';

	for (text += urgent; text < end;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		size_t len = (size_t)((comma != NULL ? comma : end) - text);
		char *name = strndup(text, len);
		struct field *f = name != NULL && len > 0 ? field_of(t, name) : NULL;

		free(name);
		text += len + 1;
		if (len == 0)
			continue;
		if (f == NULL || n == ADMISSION_CHAIN_MAX)
			return -1;
		chain[n++] = f->number;
	}
	admission_set_chain(t->a, lane->number, chain, n);
	admission_set_urgent(t->a, lane->number, urgent);
	return 0;
}

static void
drop(struct admission_text *t, struct field *f)
{
	if (f->is_lane)
		admission_drop_lane(t->a, f->number);
	else
		admission_drop_limiter(t->a, f->number);
	f->known = false;
}

int
admission_text_put(struct admission_text *t, uint64_t generation, double now, const char *field,
    const char *value, struct err *err)
{
	struct admission_row rows[ADMISSION_ROWS_MAX];
	const char *bar = strchr(value, '|');
	struct field *f;
	size_t n;

	if (admission_accept(t->a, generation, err) < 0)
		return -1;
	f = field_of(t, field);
	if (f == NULL)
		return err_set(err, "no memory");
	f->named = true;
	if (value[0] == '\0') {
		drop(t, f);
		return 0;
	}
	if (bar == NULL || admission_text_rows(bar + 1, rows, &n) < 0 ||
	    (f->is_lane && read_chain(t, f, value, bar) < 0))
		return err_set(err, "the calendar of %s is not understood", field);
	f->known = true;
	if (f->is_lane) {
		admission_rewind_lane(t->a, f->number, now);
		return admission_plan_lane(t->a, generation, f->number, rows, n, err);
	}
	admission_rewind_limiter(t->a, f->number, now);
	return admission_plan_limiter(t->a, generation, f->number, rows, n, err);
}

void
admission_text_end(struct admission_text *t)
{
	for (size_t i = 0; i < t->count; i++) {
		if (!t->fields[i]->named && t->fields[i]->known)
			drop(t, t->fields[i]);
		t->fields[i]->named = false;
	}
}
