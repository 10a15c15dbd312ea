/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_compose: see campaign_compose.h. The parts that are shown one by one are rendered
 * from the same templates with the same values as the message.
 */
#include "campaign_compose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "addr.h"
#include "message.h"
#include "template.h"

#define SAMPLE_TOKEN "sample"
#define SAMPLE_ADDRESS "customer@shop.example"

enum { BUILTIN_UNSUBSCRIBE, BUILTIN_CAMPAIGN, BUILTINS };

static const struct slice builtin_names[BUILTINS] = {
	{ "unsubscribe_url", 15 },
	{ "campaign", 8 },
};

struct compose {
	const struct campaign_source *source;
	const json_t *recipient; /* NULL: samples */
	struct arena arena;
	struct template_value builtins[BUILTINS];
	struct err *err;
};

/* Text of a JSON value as PostgreSQL's ->> gives it. */
static struct template_value
value_of(struct compose *c, const json_t *value)
{
	struct template_value v = { .present = true };
	char number[40];
	char *dump;

	switch (json_typeof(value)) {
	case JSON_NULL:
		v.present = false;
		break;
	case JSON_STRING:
		v.text = slice_make(json_string_value(value), json_string_length(value));
		break;
	case JSON_TRUE:
		v.text = SLICE("true");
		break;
	case JSON_FALSE:
		v.text = SLICE("false");
		break;
	case JSON_INTEGER:
		(void)snprintf(
		    number, sizeof(number), "%lld", (long long)json_integer_value(value));
		v.text = arena_copy(&c->arena, slice_str(number));
		break;
	case JSON_REAL:
	case JSON_OBJECT:
	case JSON_ARRAY:
		dump = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
		v.text = arena_copy(&c->arena, slice_str(dump));
		free(dump);
		break;
	}
	return v;
}

static struct template_value
value_by_name(struct compose *c, struct slice name)
{
	const json_t *value;
	struct slice key = arena_copy(&c->arena, name);
	char *sample;

	if (key.ptr == NULL)
		return (struct template_value){ 0 };
	if (c->recipient == NULL) {
		sample = arena_alloc(&c->arena, name.len + 3);
		if (sample == NULL)
			return (struct template_value){ 0 };
		(void)snprintf(sample, name.len + 3, "[%s]", key.ptr);
		return (struct template_value){ slice_str(sample), true };
	}
	value = json_object_get(c->recipient, key.ptr);
	if (value == NULL)
		value = json_object_get(json_object_get(c->recipient, "attributes"), key.ptr);
	return value != NULL ? value_of(c, value) : (struct template_value){ 0 };
}

static struct template_value *
values_of(struct compose *c, const struct slice *names, size_t count)
{
	struct template_value *values = arena_array(&c->arena, count + 1, sizeof(*values));
	bool blank = strcmp(c->source->file.missing_field, "blank") == 0;

	for (size_t i = 0; values != NULL && i < count; i++) {
		values[i] = value_by_name(c, names[i]);
		if (!values[i].present && blank)
			values[i] = (struct template_value){ SLICE(""), true };
	}
	return values;
}

static int
fail_render(struct compose *c, enum template_status status, struct slice field)
{
	const char *policy = c->source->file.missing_field;

	switch (status) {
	case TEMPLATE_MISSING_FIELD:
		return err_set(c->err,
		    "this customer has no field \"%.*s\": the recipient would be %s "
		    "(missing_field = %s)",
		    SLICE_ARG(field), strcmp(policy, "skip") == 0 ? "skipped" : "failed", policy);
	case TEMPLATE_BAD_DATA:
		return err_set(c->err,
		    "the field \"%.*s\" is not fit to be sent (not UTF-8, or control "
		    "characters)",
		    SLICE_ARG(field));
	case TEMPLATE_TOO_LARGE:
		return err_set(
		    c->err, "the message becomes too large (field \"%.*s\")", SLICE_ARG(field));
	case TEMPLATE_OK:
		break;
	}
	return err_set(c->err, "the message cannot be made");
}

/* Renders one template alone. */
static int
render_part(struct compose *c, struct slice text, enum template_context context, struct buf *out)
{
	struct template_fields fields;
	struct template t;
	struct template_result result = { 0 };
	struct template_values values = { .builtins = c->builtins, .builtin_count = BUILTINS };

	if (!template_fields_init(&fields, builtin_names, BUILTINS, &c->arena))
		return err_set(c->err, "there is not enough memory");
	if (template_compile(&t, text, context, &fields, c->err) != 0)
		return -1;
	values.fields = values_of(c, fields.names, fields.count);
	values.count = fields.count;
	if (values.fields == NULL)
		return err_set(c->err, "there is not enough memory");
	if (template_render(&t, &values, out, &result) != TEMPLATE_OK)
		return fail_render(c, result.status, result.field);
	return 0;
}

/* "news" or the stream, in front of the sender's domain. */
static struct slice
list_id(struct compose *c, struct slice domain)
{
	const struct campaign_file *f = &c->source->file;
	const char *label = f->list[0] != '\0' ? f->list : f->stream;
	size_t n = strlen(label);
	char *id = arena_alloc(&c->arena, n + 1 + domain.len + 1);

	if (id == NULL)
		return SLICE("");
	memcpy(id, label, n);
	id[n] = '.';
	memcpy(id + n + 1, domain.ptr, domain.len);
	return slice_make(id, n + 1 + domain.len);
}

/* Where a recipient would unsubscribe; a campaign file alone gets a sample. */
static int
set_unsubscribe(struct compose *c, const struct config *config, struct message_source *m)
{
	const struct campaign_source *s = c->source;
	struct buf link;

	m->unsubscribe_mailto_domain = slice_str(
	    s->return_path_domain[0] != '\0' ? s->return_path_domain : config->feedback_domain);
	m->unsubscribe_url_base = slice_str(s->unsubscribe_base);
	if (s->path != NULL && m->unsubscribe_url_base.len == 0)
		m->unsubscribe_url_base = SLICE("https://unsubscribe.example/");
	buf_init(&link, 2000);
	if (m->unsubscribe_url_base.len > 0)
		buf_printf(&link, "%.*s%s", SLICE_ARG(m->unsubscribe_url_base), SAMPLE_TOKEN);
	else if (m->unsubscribe_mailto_domain.len > 0)
		buf_printf(&link, "mailto:u+%s@%.*s", SAMPLE_TOKEN,
		    SLICE_ARG(m->unsubscribe_mailto_domain));
	c->builtins[BUILTIN_UNSUBSCRIBE] =
	    (struct template_value){ arena_copy(&c->arena, buf_slice(&link)), link.len > 0 };
	c->builtins[BUILTIN_CAMPAIGN] = (struct template_value){ slice_str(s->file.name), true };
	buf_release(&link);
	return 0;
}

static struct slice
marked_subject(struct compose *c, const char *mark)
{
	const char *subject = c->source->file.subject;
	size_t size = strlen(subject) + (mark != NULL ? strlen(mark) : 0) + 2;
	char *text = arena_alloc(&c->arena, size);

	if (text != NULL)
		(void)snprintf(text, size, "%s%s%s", mark != NULL ? mark : "",
		    mark != NULL ? " " : "", subject);
	return slice_str(text);
}

static const char *
recipient_text(const json_t *recipient, const char *name)
{
	const char *text = json_string_value(json_object_get(recipient, name));

	return text != NULL ? text : "";
}

/* Compiles the whole message; *plan lives in the arena of c. */
static int
compile_message(
    struct compose *c, const struct config *config, const char *mark, struct message_plan **plan)
{
	const struct campaign_file *f = &c->source->file;
	struct message_header headers[CAMPAIGN_HEADERS_MAX];
	struct message_source m = { .from_name = slice_str(f->from_name),
		.from_addr = slice_str(f->from_address),
		.reply_to = slice_str(f->reply_to),
		.html = c->source->html,
		.text = c->source->text,
		.headers = headers,
		.header_count = f->header_count };
	const char *at = strrchr(f->from_address, '@');
	struct slice domain = slice_str(at != NULL ? at + 1 : "");

	for (size_t i = 0; i < f->header_count; i++)
		headers[i] = (struct message_header){ slice_str(f->headers[i].name),
			slice_str(f->headers[i].value) };
	m.subject = marked_subject(c, mark);
	m.list_id = list_id(c, domain);
	m.message_id_domain =
	    config->message_id_domain[0] != '\0' ? slice_str(config->message_id_domain) : domain;
	if (set_unsubscribe(c, config, &m) != 0)
		return -1;
	return message_compile(&m, &c->arena, plan, c->err);
}

static int
render_message(struct compose *c, const struct message_plan *plan, const struct addr *to,
    struct campaign_mail *mail)
{
	struct message_result result = { 0 };
	struct message_recipient r = { .to_addr = slice_make(to->text, to->len),
		.to_name = slice_str(recipient_text(c->recipient, "name")),
		.id_token = SLICE(SAMPLE_TOKEN),
		.unsubscribe_token = SLICE(SAMPLE_TOKEN),
		.date = time(NULL),
		.campaign = slice_str(c->source->file.name) };
	const struct slice *names = message_fields(plan, &r.value_count);
	struct slice text = message_text_source(plan);
	char left[60];

	(void)snprintf(left, sizeof(left), "sample-%lld", (long long)r.date);
	r.message_id_left = slice_str(left);
	r.values = values_of(c, names, r.value_count);
	if (r.values == NULL)
		return err_set(c->err, "there is not enough memory");
	if (message_render(plan, &r, &mail->eml, &result) != TEMPLATE_OK)
		return fail_render(c, result.status, result.field);
	mail->raw_fields = message_raw_fields(plan);
	if (r.to_name.len > 0 && r.to_name.len <= 300)
		(void)snprintf(mail->to, sizeof(mail->to), "%s <%s>", r.to_name.ptr, to->text);
	else
		(void)snprintf(mail->to, sizeof(mail->to), "%s", to->text);
	if (text.len > 0 && render_part(c, text, TEMPLATE_TEXT, &mail->text) != 0)
		return -1;
	if (c->source->html.len > 0)
		return render_part(c, c->source->html, TEMPLATE_HTML, &mail->html);
	return 0;
}

int
campaign_compose(struct campaign_mail *mail, const struct campaign_source *source,
    const struct config *config, const json_t *recipient, const char *to, const char *mark,
    struct err *err)
{
	struct compose c = { .source = source, .recipient = recipient, .err = err };
	const struct campaign_file *f = &source->file;
	struct message_plan *plan = NULL;
	struct err why = { 0 };
	struct addr address;
	int result = -1;

	*mail = (struct campaign_mail){ 0 };
	buf_init(&mail->eml, MESSAGE_BUFFER_MAX);
	buf_init(&mail->subject, TEMPLATE_OUTPUT_MAX);
	buf_init(&mail->html, TEMPLATE_OUTPUT_MAX);
	buf_init(&mail->text, TEMPLATE_OUTPUT_MAX);
	arena_init(&c.arena, (size_t)256 << 20);
	if (to == NULL)
		to = recipient == NULL ? SAMPLE_ADDRESS : recipient_text(recipient, "email");
	if (addr_parse(&address, slice_str(to), &why) != 0) {
		(void)err_set(
		    err, "the recipient has no address to send to (email): %.300s", why.msg);
		goto out;
	}
	(void)snprintf(mail->from, sizeof(mail->from), f->from_name[0] != '\0' ? "%s <%s>" : "%s%s",
	    f->from_name, f->from_address);
	if (compile_message(&c, config, mark, &plan) != 0)
		goto out;
	if (render_part(&c, marked_subject(&c, mark), TEMPLATE_HEADER, &mail->subject) != 0)
		goto out;
	result = render_message(&c, plan, &address, mail);
out:
	arena_release(&c.arena);
	return result;
}

void
campaign_mail_release(struct campaign_mail *mail)
{
	buf_release(&mail->eml);
	buf_release(&mail->subject);
	buf_release(&mail->html);
	buf_release(&mail->text);
}

/* ---------------------------------------------------------------- fields */

/* Line and column (in characters) of the first tag that shows the field; 0 when not found. */
static void
find_tag(struct slice text, struct slice name, size_t *line, size_t *column)
{
	size_t l = 1, col = 1;

	*line = *column = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '{' && i + 1 < text.len && text.ptr[i + 1] == '{') {
			size_t k = i + 2;

			while (k < text.len && (text.ptr[k] == '{' || text.ptr[k] == ' '))
				k++;
			if (text.len - k > name.len &&
			    memcmp(text.ptr + k, name.ptr, name.len) == 0 &&
			    strchr(" }\t", text.ptr[k + name.len]) != NULL) {
				*line = l;
				*column = col;
				return;
			}
		}
		if (text.ptr[i] == '\n') {
			l++;
			col = 1;
		} else if (((unsigned char)text.ptr[i] & 0xc0) != 0x80) {
			col++;
		}
	}
}

struct uses {
	struct template_fields names;
	struct campaign_field *fields; /* TEMPLATE_FIELDS_MAX */
	bool needs_unsubscribe;
};

/* A field that stands under a condition may be missing: the condition can be about it. */
static void
note_uses(struct uses *u, const struct template *t, struct slice text, const char *part)
{
	size_t conditional_until = 0;

	for (size_t i = 0; i < t->count; i++) {
		const struct template_op *op = &t->ops[i];
		struct campaign_field *field;
		bool required;

		if (op->kind == TEMPLATE_OP_TEXT)
			continue;
		if (op->kind != TEMPLATE_OP_FIELD && op->target > conditional_until)
			conditional_until = op->target;
		if (op->kind == TEMPLATE_OP_SKIP)
			continue;
		required =
		    op->kind == TEMPLATE_OP_FIELD && !op->has_default && i >= conditional_until;
		if (op->field & TEMPLATE_BUILTIN) {
			if (required && (op->field & ~TEMPLATE_BUILTIN) == BUILTIN_UNSUBSCRIBE)
				u->needs_unsubscribe = true;
			continue;
		}
		field = &u->fields[op->field];
		if (field->part != NULL && (field->required || !required))
			continue;
		field->name = u->names.names[op->field];
		field->required = required;
		field->part = part;
		find_tag(text, field->name, &field->line, &field->column);
	}
}

int
campaign_fields(struct campaign_source *source, struct campaign_field **fields, size_t *count,
    bool *needs_unsubscribe, struct err *err)
{
	struct {
		const char *name;
		struct slice text;
		enum template_context context;
	} parts[] = { { "subject", slice_str(source->file.subject), TEMPLATE_HEADER },
		{ "html", source->html, TEMPLATE_HTML }, { "text", source->text, TEMPLATE_TEXT } };
	struct uses u = { 0 };

	u.fields = arena_array(&source->arena, TEMPLATE_FIELDS_MAX, sizeof(*u.fields));
	if (u.fields == NULL ||
	    !template_fields_init(&u.names, builtin_names, BUILTINS, &source->arena))
		return err_set(err, "there is not enough memory");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct template t;
		struct err why = { 0 };

		if (parts[i].text.len == 0)
			continue;
		if (template_compile(&t, parts[i].text, parts[i].context, &u.names, &why) != 0)
			return err_set(err, "%s: %.380s", parts[i].name, why.msg);
		note_uses(&u, &t, parts[i].text, parts[i].name);
	}
	*fields = u.fields;
	*count = u.names.count;
	*needs_unsubscribe = u.needs_unsubscribe;
	return 0;
}
