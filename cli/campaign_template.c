/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_template: see campaign_template.h. */
#include "campaign_template.h"

#include <stdio.h>
#include <string.h>

#include "message.h"

static const struct {
	const char *name;
	enum template_context context;
} parts[CAMPAIGN_PARTS] = { { "subject", TEMPLATE_HEADER }, { "html", TEMPLATE_HTML },
	{ "text", TEMPLATE_TEXT } };

struct slice
campaign_part_text(const struct campaign_source *source, enum campaign_part part)
{
	switch (part) {
	case CAMPAIGN_SUBJECT:
		return slice_trim(slice_str(source->file.subject));
	case CAMPAIGN_HTML:
		return source->html;
	case CAMPAIGN_TEXT:
	case CAMPAIGN_PARTS:
		break;
	}
	return source->text;
}

/* The file that a byte of the part was read from; NULL when it is none. */
static const struct campaign_piece *
piece_of(const struct campaign_pieces *pieces, size_t offset)
{
	const struct campaign_piece *found = NULL;

	for (size_t i = 0; i < pieces->count; i++)
		if (offset >= pieces->piece[i].from)
			found = &pieces->piece[i];
	return found;
}

const char *
campaign_part_at(const struct campaign_source *source, enum campaign_part part, size_t offset,
    char *dst, size_t size)
{
	const struct campaign_pieces *pieces = part == CAMPAIGN_HTML ? &source->html_pieces
	    : part == CAMPAIGN_TEXT				     ? &source->text_pieces
								     : NULL;
	const struct campaign_piece *piece = pieces != NULL ? piece_of(pieces, offset) : NULL;
	size_t line, column;

	if (piece != NULL) {
		template_position(piece->text, offset - piece->from, &line, &column);
		(void)snprintf(dst, size, "%s%s:%zu:%zu: ", piece->path, piece->part, line, column);
		return dst;
	}
	template_position(campaign_part_text(source, part), offset, &line, &column);
	if (part != CAMPAIGN_SUBJECT || source->path == NULL || source->file.template[0] != '\0')
		(void)snprintf(
		    dst, size, "%s: line %zu, column %zu: ", parts[part].name, line, column);
	else
		(void)snprintf(dst, size, "%s:%zu: subject, column %zu: ", source->path,
		    source->file.subject_line, column);
	return dst;
}

/* "line 3, column 14: what" becomes "file:3:14: what". */
static int
fail_part(const struct campaign_source *source, enum campaign_part part, const struct err *why,
    struct err *err)
{
	const char *what = why->msg;
	char plain[80], where[400];
	size_t line, column;

	template_position(campaign_part_text(source, part), why->offset, &line, &column);
	(void)snprintf(plain, sizeof(plain), "line %zu, column %zu: ", line, column);
	if (strncmp(what, plain, strlen(plain)) != 0) /* about the whole template */
		return err_set(err, "%.180s%.200s",
		    campaign_part_at(source, part, 0, where, sizeof(where)), what);
	return err_set(err, "%.180s%.210s",
	    campaign_part_at(source, part, why->offset, where, sizeof(where)),
	    what + strlen(plain));
}

/* A field that stands under a condition may be missing: the condition can be about it. */
static void
note_uses(struct campaign_templates *t, enum campaign_part part)
{
	const struct template *p = &t->part[part];
	size_t conditional_until = 0;

	for (size_t i = 0; i < p->count; i++) {
		const struct template_op *op = &p->ops[i];
		bool shows = op->kind == TEMPLATE_OP_FIELD || op->kind == TEMPLATE_OP_EACH ||
		    op->kind == TEMPLATE_OP_WITH;
		bool required = shows && !op->has_default && i >= conditional_until;
		struct campaign_field *field;

		if (op->kind == TEMPLATE_OP_TEXT)
			continue;
		if (op->kind != TEMPLATE_OP_FIELD && op->target > conditional_until)
			conditional_until = op->target;
		if (op->kind == TEMPLATE_OP_SKIP || op->kind == TEMPLATE_OP_NEXT ||
		    op->ref.scope > 0)
			continue;
		if (op->ref.field & TEMPLATE_BUILTIN) {
			t->needs_unsubscribe |= required && message_is_unsubscribe(op->ref.field);
			continue;
		}
		field = &t->field[op->ref.field];
		if (field->used && (field->required || !required))
			continue;
		*field = (struct campaign_field){ .name = op->ref.name,
			.required = required,
			.used = true,
			.part = part,
			.at = op->at };
	}
}

int
campaign_templates(struct campaign_templates *t, struct campaign_source *source, struct err *err)
{
	*t = (struct campaign_templates){ .field = arena_array(&source->arena, TEMPLATE_FIELDS_MAX,
					      sizeof(*t->field)) };
	if (t->field == NULL ||
	    !template_fields_init(&t->fields, message_builtins, MESSAGE_BUILTINS, &source->arena))
		return err_set(err, "there is not enough memory");
	for (enum campaign_part i = CAMPAIGN_SUBJECT; i < CAMPAIGN_PARTS; i++) {
		struct err why = { 0 };

		if (template_compile(&t->part[i], campaign_part_text(source, i), parts[i].context,
			&t->fields, &why) != 0)
			return fail_part(source, i, &why, err);
		note_uses(t, i);
	}
	for (size_t i = 0; i < t->fields.count; i++)
		t->field[i].json = t->fields.json[i];
	return 0;
}
