/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_compose: see campaign_compose.h. The parts that are shown one by one are rendered
 * from the same templates with the same values as the message.
 */
#include "campaign_compose.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "addr.h"
#include "campaign_template.h"
#include "dkim_store.h"
#include "jsontext.h"
#include "message.h"
#include "template.h"

#define SAMPLE_TOKEN "sample"
#define SAMPLE_ADDRESS "customer@shop.example"

struct compose {
	const struct campaign_source *source;
	struct slice recipient; /* JSON text; empty: samples */
	struct arena arena;
	struct template_value builtins[MESSAGE_BUILTINS];
	struct err *err;
};

/* A JSON value as PostgreSQL's #>> gives it, or as #> gives it. */
static struct template_value
value_of(struct compose *c, struct slice value, bool json)
{
	struct template_value v = { .text = value };
	struct slice inside;
	char *plain;

	switch (jsontext_kind(value)) {
	case JSONTEXT_NONE:
	case JSONTEXT_NULL:
		return (struct template_value){ 0 };
	case JSONTEXT_STRING:
		if (json)
			break;
		inside = jsontext_inside(value);
		plain = arena_alloc(&c->arena, inside.len + 1);
		if (plain == NULL)
			return (struct template_value){ 0 };
		v.text = slice_make(plain, jsontext_decode(inside, plain));
		break;
	case JSONTEXT_FALSE:
	case JSONTEXT_TRUE:
	case JSONTEXT_NUMBER:
	case JSONTEXT_LIST:
	case JSONTEXT_OBJECT:
		break;
	}
	v.present = true;
	return v;
}

/* Along the names between the dots. */
static struct slice
member_by_path(struct slice value, struct slice path)
{
	while (value.len > 0) {
		const char *dot = memchr(path.ptr, '.', path.len);
		size_t n = dot != NULL ? (size_t)(dot - path.ptr) : path.len;

		value = jsontext_member(value, slice_make(path.ptr, n));
		if (dot == NULL)
			break;
		path = slice_make(dot + 1, path.len - n - 1);
	}
	return value;
}

/* A field shows its own name, a list has one value that does. */
static struct template_value
sample_of(struct compose *c, struct slice name, bool json)
{
	char *sample = arena_alloc(&c->arena, name.len + 8);

	if (sample == NULL)
		return (struct template_value){ 0 };
	(void)snprintf(sample, name.len + 8, json ? "[\"[%.*s]\"]" : "[%.*s]", SLICE_ARG(name));
	return (struct template_value){ slice_str(sample), true };
}

/* Where customer_field.h looks: a column, a path into a column, a path into attributes. */
static struct template_value
value_by_name(struct compose *c, struct slice name, bool json)
{
	struct slice value;

	if (c->recipient.len == 0)
		return sample_of(c, name, json);
	value = jsontext_member(c->recipient, name);
	if (value.len == 0)
		value = member_by_path(c->recipient, name);
	if (value.len == 0)
		value = member_by_path(jsontext_member(c->recipient, SLICE("attributes")), name);
	return value_of(c, value, json);
}

static struct template_value *
values_of(struct compose *c, const struct slice *names, const bool *json, size_t count)
{
	struct template_value *values = arena_array(&c->arena, count + 1, sizeof(*values));

	for (size_t i = 0; values != NULL && i < count; i++)
		values[i] = value_by_name(c, names[i], json[i]);
	return values;
}

/* Samples have no values inside a list. */
static bool
is_blank_missing(const struct compose *c)
{
	return c->recipient.len == 0 || strcmp(c->source->file.missing_field, "blank") == 0;
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
		    "the field \"%.*s\" is not fit to be sent (not UTF-8, a NUL, or no list or "
		    "object for #each or #with)",
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
	struct template_values values = { .builtins = c->builtins,
		.builtin_count = MESSAGE_BUILTINS,
		.blank_missing = is_blank_missing(c) };

	if (!template_fields_init(&fields, message_builtins, MESSAGE_BUILTINS, &c->arena))
		return err_set(c->err, "there is not enough memory");
	if (template_compile(&t, text, context, &fields, c->err) != 0)
		return -1;
	values.fields = values_of(c, fields.names, fields.json, fields.count);
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
	c->builtins[MESSAGE_UNSUBSCRIBE_URL] =
	    (struct template_value){ arena_copy(&c->arena, buf_slice(&link)), link.len > 0 };
	c->builtins[MESSAGE_SES_UNSUBSCRIBE_URL] = c->builtins[MESSAGE_UNSUBSCRIBE_URL];
	c->builtins[MESSAGE_CAMPAIGN] = (struct template_value){ slice_str(s->file.name), true };
	buf_release(&link);
	return 0;
}

/* The page that would show the mail; a campaign file alone gets a sample. Links are shown as they
 * were written, whatever the stream counts. */
static void
set_view(struct compose *c, const struct config *config, struct message_source *m)
{
	struct buf link;

	m->web_base = slice_str(config->web_base);
	if (c->source->path != NULL && m->web_base.len == 0)
		m->web_base = SLICE("https://web.example/");
	if (m->web_base.len == 0)
		return;
	buf_init(&link, 2000);
	buf_printf(&link, "%.*s%sv/%s", SLICE_ARG(m->web_base),
	    m->web_base.ptr[m->web_base.len - 1] == '/' ? "" : "/", SAMPLE_TOKEN);
	c->builtins[MESSAGE_VIEW_URL] =
	    (struct template_value){ arena_copy(&c->arena, buf_slice(&link)), true };
	buf_release(&link);
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

/* A text of the recipient; "" when there is none. */
static const char *
recipient_text(struct compose *c, const char *name)
{
	struct slice value = jsontext_member(c->recipient, slice_str(name));
	const char *text = NULL;

	if (jsontext_kind(value) == JSONTEXT_STRING)
		text = arena_copy(&c->arena, value_of(c, value, false).text).ptr;
	return text != NULL ? text : "";
}

static const char *
from_domain(const struct campaign_source *source)
{
	const char *at = strrchr(source->file.from_address, '@');

	return at != NULL ? at + 1 : "";
}

/* Whether the stream's way to Amazon SES can carry it. The keys may be for the dispatcher's eyes. */
static void
check_content(const struct compose *c, const struct config *config, const struct message_plan *plan,
    struct campaign_mail *mail)
{
	enum ses_content content = c->source->ses_content;
	struct dkim *dkim = NULL;

	if (content == SES_CONTENT_RAW)
		return;
	if (dkim_store_load(config->dkim_dir, from_domain(c->source), config->dkim_also, &dkim,
		&mail->unread_key) == 0)
		mail->unread_key.msg[0] = '\0';
	if (ses_content_check(plan, content, dkim != NULL, c->source->file.stream, &mail->unfit) ==
	    0)
		mail->unfit.msg[0] = '\0';
	dkim_free(dkim);
}

/* Compiles the whole message; *plan lives in the arena of c. */
static int
compile_message(
    struct compose *c, const struct config *config, const char *mark, struct message_plan **plan)
{
	const struct campaign_file *f = &c->source->file;
	struct message_header headers[CAMPAIGN_HEADERS_MAX];
	struct slice domains[CAMPAIGN_LIST_MAX];
	struct message_source m = { .from_name = slice_str(f->from_name),
		.from_addr = slice_str(f->from_address),
		.sender_name = slice_str(f->sender_name),
		.sender_addr = slice_str(f->sender_address),
		.reply_to_name = slice_str(f->reply_to_name),
		.reply_to = slice_str(f->reply_to),
		.html = c->source->html,
		.text = c->source->text,
		.headers = headers,
		.header_count = f->header_count,
		.files = c->source->files,
		.file_count = c->source->file_count,
		.auto_submitted = c->source->auto_submitted,
		.jis_domains = domains,
		.jis_domain_count = f->iso_2022_jp.count };
	struct slice domain = slice_str(from_domain(c->source));

	for (size_t i = 0; i < f->header_count; i++)
		headers[i] = (struct message_header){ slice_str(f->headers[i].name),
			slice_str(f->headers[i].value) };
	for (size_t i = 0; i < f->iso_2022_jp.count; i++)
		domains[i] = slice_str(f->iso_2022_jp.name[i]);
	m.subject = marked_subject(c, mark);
	m.feedback_id = message_feedback_id(&c->arena, f->name,
	    f->list[0] != '\0' ? f->list : f->stream, f->stream, config->message_sender_id);
	m.list_id = list_id(c, domain);
	m.message_id_domain =
	    config->message_id_domain[0] != '\0' ? slice_str(config->message_id_domain) : domain;
	if (set_unsubscribe(c, config, &m) != 0)
		return -1;
	set_view(c, config, &m);
	m.slots = c->source->ses_content == SES_CONTENT_BULK;
	return message_compile(&m, &c->arena, plan, c->err);
}

static int
render_message(struct compose *c, const struct message_plan *plan, const struct addr *to,
    struct campaign_mail *mail)
{
	struct message_result result = { 0 };
	struct message_recipient r = { .to_addr = slice_make(to->text, to->len),
		.to_name = slice_str(recipient_text(c, "name")),
		.id_token = SLICE(SAMPLE_TOKEN),
		.unsubscribe_token = SLICE(SAMPLE_TOKEN),
		.view_token = SLICE(SAMPLE_TOKEN),
		.date = time(NULL),
		.campaign = slice_str(c->source->file.name) };
	const struct slice *names = message_fields(plan, &r.value_count);
	bool *json = arena_array(&c->arena, r.value_count + 1, sizeof(*json));
	struct slice text = message_text_source(plan);
	char left[60];

	(void)snprintf(left, sizeof(left), "sample-%lld", (long long)r.date);
	r.message_id_left = slice_str(left);
	r.blank_missing = is_blank_missing(c);
	for (size_t i = 0; json != NULL && i < r.value_count; i++)
		json[i] = message_field_is_json(plan, i);
	r.values = json != NULL ? values_of(c, names, json, r.value_count) : NULL;
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
		return render_part(c, message_html_source(plan), TEMPLATE_HTML, &mail->html);
	return 0;
}

int
campaign_compose(struct campaign_mail *mail, struct campaign_source *source,
    const struct config *config, struct slice recipient, const char *to, const char *mark,
    struct err *err)
{
	struct compose c = { .source = source, .recipient = recipient, .err = err };
	const struct campaign_file *f = &source->file;
	struct campaign_templates templates;
	struct message_plan *plan = NULL;
	struct err why = { 0 };
	struct addr address;
	char where[300];
	int result = -1;

	*mail = (struct campaign_mail){ 0 };
	buf_init(&mail->eml, MESSAGE_BUFFER_MAX);
	buf_init(&mail->subject, TEMPLATE_OUTPUT_MAX);
	buf_init(&mail->html, TEMPLATE_OUTPUT_MAX);
	buf_init(&mail->text, TEMPLATE_OUTPUT_MAX);
	arena_init(&c.arena, (size_t)256 << 20);
	if (to == NULL)
		to = recipient.len == 0 ? SAMPLE_ADDRESS : recipient_text(&c, "email");
	if (addr_parse(&address, slice_str(to), &why) != 0) {
		(void)err_set(
		    err, "the recipient has no address to send to (email): %.300s", why.msg);
		goto out;
	}
	(void)snprintf(mail->from, sizeof(mail->from), f->from_name[0] != '\0' ? "%s <%s>" : "%s%s",
	    f->from_name, f->from_address);
	/* for errors with their files */
	if (campaign_templates(&templates, source, err) != 0)
		goto out;
	if (compile_message(&c, config, mark, &plan) != 0) {
		why = *err;
		(void)err_set(err, "%.150s%.240s",
		    campaign_source_at(source, 0, where, sizeof(where)), why.msg);
		goto out;
	}
	check_content(&c, config, plan, mail);
	if (render_part(&c, marked_subject(&c, mark), TEMPLATE_HEADER, &mail->subject) != 0)
		goto out;
	result = render_message(&c, plan, &address, mail);
out:
	arena_release(&c.arena);
	return result;
}

int
campaign_sign(struct campaign_mail *mail, const struct campaign_source *source,
    const struct config *config, struct err *err)
{
	const struct dkim_options options = { .now_s = (int64_t)time(NULL),
		.lifetime_s = config->dkim_expire_s };
	struct dkim *dkim = NULL;
	int result;

	if (dkim_store_load(config->dkim_dir, from_domain(source), config->dkim_also, &dkim, err) <
	    0)
		return -1;
	result = dkim != NULL ? dkim_sign(dkim, &options, &mail->eml, err) : 0;
	dkim_free(dkim);
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
