/* SPDX-License-Identifier: Apache-2.0 */
/* ses_template: see ses_template.h. */
#include "ses_template.h"

#include <jansson.h>
#include <string.h>

/* One text of the object, which may be absent or null. */
static int
take_part(
    const json_t *object, const char *name, struct arena *arena, struct slice *dst, struct err *err)
{
	const json_t *value = json_object_get(object, name);

	*dst = slice_make("", 0);
	if (value == NULL || json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return err_set(err, "%s is not a text: put it in quotes", name);
	/* json_loadb refuses \u0000, so the text is what strlen() says */
	*dst = arena_copy(arena, slice_str(json_string_value(value)));
	return dst->ptr != NULL ? 0 : err_set(err, "there is not enough memory");
}

static int
take_parts(const json_t *root, struct arena *arena, struct ses_template *t, struct err *err)
{
	static const char *const old[] = { "SubjectPart", "HtmlPart", "TextPart" };
	static const char *const new[] = { "Subject", "Html", "Text" };
	struct slice *const parts[] = { &t->subject, &t->html, &t->text };
	const json_t *object = json_object_get(root, "Template");
	const char *const *names = old;

	if (object == NULL)
		object = json_object_get(root, "TemplateContent");
	if (object == NULL)
		object = root;
	if (!json_is_object(object))
		return err_set(err, "Template (or TemplateContent) is not an object");
	if (object == json_object_get(root, "TemplateContent"))
		names = new;
	for (size_t i = 0; i < 3; i++)
		if (take_part(object, names[i], arena, parts[i], err) != 0)
			return -1;
	if (t->subject.len == 0)
		return err_set(err, "%s is missing or empty", names[0]);
	if (t->html.len == 0 && t->text.len == 0)
		return err_set(err, "%s and %s are both missing or empty", names[1], names[2]);
	return 0;
}

int
ses_template_parse(struct ses_template *t, struct slice file, struct arena *arena, struct err *err)
{
	json_error_t why;
	json_t *root;
	int result;

	*t = (struct ses_template){ 0 };
	err->offset = 0;
	if (file.len >= 3 && memcmp(file.ptr, "\xef\xbb\xbf", 3) == 0)
		file = slice_make(file.ptr + 3, file.len - 3);
	root = json_loadb(file.len > 0 ? file.ptr : "", file.len, JSON_REJECT_DUPLICATES, &why);
	if (root == NULL) {
		err->offset = why.line > 0 ? (size_t)why.line : 0;
		return err_set(err, "not JSON: %s (column %d)", why.text, why.column);
	}
	if (json_is_object(root))
		result = take_parts(root, arena, t, err);
	else
		result = err_set(err, "not a template of Amazon SES: an object {...} is expected");
	json_decref(root);
	return result;
}
