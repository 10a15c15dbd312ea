/* SPDX-License-Identifier: Apache-2.0 */
/* ses_order: see ses_order.h. */
#include "ses_order.h"

#include <stdio.h>
#include <string.h>

#include "jsondoc.h"

#define ORDER_MAX ((size_t)56 << 20) /* a message of 40 MB in base64 */
#define DEPTH_MAX 8

static struct slice
text_of(const struct jsondoc *object, const char *name)
{
	const struct jsondoc *value = jsondoc_get(object, name);

	return jsondoc_is(value, JSONDOC_STRING) ? value->text : slice_make("", 0);
}

/* Over those that are there already. */
static void
read_tags(json_t *tags, const struct jsondoc *list)
{
	for (size_t i = 0; i < jsondoc_count(list); i++) {
		struct slice name = text_of(jsondoc_at(list, i), "Name");
		struct slice value = text_of(jsondoc_at(list, i), "Value");
		char key[SES_TAG_MAX + 1];

		(void)snprintf(key, sizeof(key), "%.*s", SLICE_ARG(name));
		(void)json_object_set_new(
		    tags, key, json_pack("[o]", json_stringn(value.ptr, value.len)));
	}
}

/* ---- templates ---- */

static bool
has_member(const struct jsondoc *object, struct slice name)
{
	const struct jsondoc *m = jsondoc_is(object, JSONDOC_OBJECT) ? object->first : NULL;

	while (m != NULL && !slice_equal(m->key, name))
		m = m->next;
	return m != NULL;
}

/* Takes the text up to the end of its first {{name}} off the front. False when there is none. */
static bool
next_attribute(struct slice *text, struct slice *name)
{
	const char *end = text->ptr + text->len, *open, *close;

	open = text->len > 0 ? memmem(text->ptr, text->len, "{{", 2) : NULL;
	close = open != NULL ? memmem(open + 2, (size_t)(end - open - 2), "}}", 2) : NULL;
	if (close == NULL)
		return false;
	*name = slice_trim(slice_make(open + 2, (size_t)(close - open - 2)));
	*text = slice_make(close + 2, (size_t)(end - close - 2));
	return true;
}

/* A template in a request knows simple substitution only (Developer Guide). */
static struct slice
missing_attribute(
    const struct jsondoc *content, const struct jsondoc *data, const struct jsondoc *defaults)
{
	static const char *const parts[] = { "Subject", "Text", "Html" };

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct slice text = text_of(content, parts[i]), name;

		while (next_attribute(&text, &name))
			if (!has_member(data, name) && !has_member(defaults, name))
				return name;
	}
	return slice_make("", 0);
}

/* Absent is {}. False when it is no object. */
static bool
read_data(const struct jsondoc *template, const char *name, struct arena *arena,
    const struct jsondoc **data)
{
	struct slice text = text_of(template, name);

	*data = NULL;
	if (text.len == 0)
		return jsondoc_get(template, name) == NULL;
	*data = jsondoc_parse(text, SES_TEMPLATE_DATA_MAX, DEPTH_MAX, arena, NULL);
	return *data != NULL;
}

/* The template that came along, and the data for everybody. */
static int
read_template(const struct jsondoc *template, struct arena *arena, const struct jsondoc **content,
    const struct jsondoc **defaults, struct err *err)
{
	*content = jsondoc_get(template, "TemplateContent");
	if (*content == NULL)
		return err_set(err,
		    "Template needs TemplateContent: this imitation keeps no templates by name");
	if (text_of(*content, "Text").len == 0 && text_of(*content, "Html").len == 0)
		return err_set(err, "TemplateContent needs Text or Html");
	if (!read_data(template, "TemplateData", arena, defaults))
		return err_set(err,
		    "TemplateData is no JSON object in a string of at most %d bytes",
		    SES_TEMPLATE_DATA_MAX);
	return 0;
}

/* ---- SendEmail ---- */

static int
read_simple(const struct jsondoc *simple, struct err *err)
{
	const struct jsondoc *body = jsondoc_get(simple, "Body");

	if (!jsondoc_is(jsondoc_get(jsondoc_get(simple, "Subject"), "Data"), JSONDOC_STRING))
		return err_set(err, "Simple needs Subject with Data");
	if (text_of(jsondoc_get(body, "Text"), "Data").len == 0 &&
	    text_of(jsondoc_get(body, "Html"), "Data").len == 0)
		return err_set(err, "Simple needs Body with Text or Html, with Data");
	if (jsondoc_count(jsondoc_get(simple, "Headers")) > SES_HEADERS_MAX)
		return err_set(err, "Simple has more than %d Headers", SES_HEADERS_MAX);
	return 0;
}

static int
read_content(
    struct ses_order *order, const struct jsondoc *content, struct arena *arena, struct err *err)
{
	const struct jsondoc *raw = jsondoc_get(content, "Raw");
	const struct jsondoc *simple = jsondoc_get(content, "Simple");
	const struct jsondoc *template = jsondoc_get(content, "Template"), *texts, *data;

	if ((raw != NULL) + (simple != NULL) + (template != NULL) != 1)
		return err_set(err, "Content needs one of Raw, Simple and Template");
	if (simple != NULL)
		return read_simple(simple, err);
	if (raw != NULL)
		return text_of(raw, "Data").len > 0 ? 0 : err_set(err, "Raw needs Data");
	if (read_template(template, arena, &texts, &data, err) != 0)
		return -1;
	order->missing = missing_attribute(texts, data, NULL);
	return 0;
}

/* "Name <a@b>" is a@b. */
static struct slice
address_of(struct slice mailbox)
{
	const char *open = mailbox.len > 0 ? memrchr(mailbox.ptr, '<', mailbox.len) : NULL;

	if (open == NULL || mailbox.ptr[mailbox.len - 1] != '>')
		return mailbox;
	return slice_make(open + 1, (size_t)(mailbox.ptr + mailbox.len - 1 - (open + 1)));
}

static bool
read_recipient(struct ses_order *order, const struct jsondoc *body)
{
	const struct jsondoc *to = jsondoc_get(jsondoc_get(body, "Destination"), "ToAddresses");
	const struct jsondoc *address = jsondoc_at(to, 0);

	if (jsondoc_count(to) == 1 && jsondoc_is(address, JSONDOC_STRING))
		order->to = address_of(address->text);
	return order->to.len > 0;
}

/* What a mail of either request has of the request. */
static void
order_init(struct ses_order *order, const struct jsondoc *body)
{
	*order = (struct ses_order){ .from = text_of(body, "FromEmailAddress"),
		.configuration_set = text_of(body, "ConfigurationSetName"),
		.tags = json_object() };
}

int
ses_order_read(struct ses_order *order, struct slice json, struct arena *arena, struct err *err)
{
	const struct jsondoc *body = jsondoc_parse(json, ORDER_MAX, DEPTH_MAX, arena, NULL);

	order_init(order, body);
	if (body == NULL)
		return err_set(err, "the request is no JSON object");
	if (read_content(order, jsondoc_get(body, "Content"), arena, err) != 0)
		return -1;
	if (!read_recipient(order, body))
		return err_set(err, "this imitation takes one recipient in ToAddresses");
	read_tags(order->tags, jsondoc_get(body, "EmailTags"));
	return 0;
}

void
ses_order_release(struct ses_order *order)
{
	json_decref(order->tags);
	order->tags = NULL;
}

/* ---- SendBulkEmail ---- */

static void
read_entry(struct ses_bulk_order_entry *e, const struct jsondoc *entry,
    const struct jsondoc *content, const struct jsondoc *defaults, struct arena *arena)
{
	const struct jsondoc *template =
	    jsondoc_get(jsondoc_get(entry, "ReplacementEmailContent"), "ReplacementTemplate");
	const struct jsondoc *data;

	e->status = "INVALID_PARAMETER";
	read_tags(e->order.tags, jsondoc_get(entry, "ReplacementTags"));
	if (!read_recipient(&e->order, entry)) {
		e->error = "this imitation takes one recipient in ToAddresses of an entry";
	} else if (!read_data(template, "ReplacementTemplateData", arena, &data)) {
		e->error = "ReplacementTemplateData is no JSON object in a string";
	} else if (jsondoc_count(jsondoc_get(entry, "ReplacementHeaders")) > SES_HEADERS_MAX) {
		e->error = "too many ReplacementHeaders";
	} else {
		e->status = "SUCCESS";
		e->order.missing = missing_attribute(content, data, defaults);
	}
}

int
ses_bulk_order_read(
    struct ses_bulk_order *bulk, struct slice json, struct arena *arena, struct err *err)
{
	const struct jsondoc *body = jsondoc_parse(json, ORDER_MAX, DEPTH_MAX, arena, NULL);
	const struct jsondoc *entries = jsondoc_get(body, "BulkEmailEntries");
	const struct jsondoc *content, *defaults, *entry;
	size_t count = jsondoc_count(entries);

	bulk->count = 0;
	if (body == NULL)
		return err_set(err, "the request is no JSON object");
	if (json.len > SES_BULK_BODY_MAX)
		return err_set(err, "the request is larger than %d bytes", SES_BULK_BODY_MAX);
	if (read_template(jsondoc_get(jsondoc_get(body, "DefaultContent"), "Template"), arena,
		&content, &defaults, err) != 0)
		return -1;
	if (count == 0 || count > SES_BULK_RECIPIENTS_MAX)
		return err_set(
		    err, "BulkEmailEntries has 1 to %d entries", SES_BULK_RECIPIENTS_MAX);
	for (entry = entries->first; entry != NULL; entry = entry->next) {
		struct ses_bulk_order_entry *e = &bulk->entry[bulk->count++];

		*e = (struct ses_bulk_order_entry){ 0 };
		order_init(&e->order, body);
		read_tags(e->order.tags, jsondoc_get(body, "DefaultEmailTags"));
		read_entry(e, entry, content, defaults, arena);
	}
	return 0;
}

void
ses_bulk_order_release(struct ses_bulk_order *bulk)
{
	for (size_t i = 0; i < bulk->count; i++)
		ses_order_release(&bulk->entry[i].order);
	bulk->count = 0;
}
