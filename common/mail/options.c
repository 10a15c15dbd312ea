/* SPDX-License-Identifier: Apache-2.0 */
/* options: see options.h. Pure. */
#include "options.h"

#include <jansson.h>

static const char domains_name[] = "iso_2022_jp";

static const struct {
	const char *name;
	size_t offset;
} texts[] = { { "sender_name", offsetof(struct options, sender_name) },
	{ "sender", offsetof(struct options, sender_addr) },
	{ "reply_to_name", offsetof(struct options, reply_to_name) } };

#define TEXTS (sizeof(texts) / sizeof(texts[0]))

static int
copy_text(struct slice *dst, const json_t *value, struct arena *arena, struct err *err)
{
	if (!json_is_string(value))
		return err_set(err, "the template's options are not understood");
	*dst = arena_copy(arena, slice_make(json_string_value(value), json_string_length(value)));
	return dst->ptr != NULL ? 0 : err_set(err, "no memory");
}

static int
read_object(struct options *options, const json_t *object, struct arena *arena, struct err *err)
{
	const json_t *domains = json_object_get(object, domains_name);
	size_t count = json_array_size(domains);

	if (!json_is_object(object) || count > OPTIONS_DOMAINS_MAX)
		return err_set(err, "the template's options are not understood");
	for (size_t i = 0; i < TEXTS; i++) {
		const json_t *value = json_object_get(object, texts[i].name);
		struct slice *dst = (void *)((char *)options + texts[i].offset);

		if (value != NULL && copy_text(dst, value, arena, err) != 0)
			return -1;
	}
	if (count == 0)
		return 0;
	options->jis_domains = arena_array(arena, count, sizeof(*options->jis_domains));
	if (options->jis_domains == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < count; i++)
		if (copy_text(&options->jis_domains[i], json_array_get(domains, i), arena, err) !=
		    0)
			return -1;
	options->jis_domain_count = count;
	return 0;
}

int
options_read(struct options *options, const char *json, struct arena *arena, struct err *err)
{
	json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	int result;

	*options = (struct options){ 0 };
	result = read_object(options, object, arena, err);
	json_decref(object);
	return result;
}

char *
options_write(const struct options *options)
{
	json_t *object = json_object(), *domains = json_array();
	char *text;

	for (size_t i = 0; i < TEXTS; i++) {
		const struct slice *s = (const void *)((const char *)options + texts[i].offset);

		if (s->len > 0)
			(void)json_object_set_new(
			    object, texts[i].name, json_stringn(s->ptr, s->len));
	}
	for (size_t i = 0; i < options->jis_domain_count; i++)
		(void)json_array_append_new(domains,
		    json_stringn(options->jis_domains[i].ptr, options->jis_domains[i].len));
	if (options->jis_domain_count > 0)
		(void)json_object_set(object, domains_name, domains);
	text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(domains);
	json_decref(object);
	return text;
}
