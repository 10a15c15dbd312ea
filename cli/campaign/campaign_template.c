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

struct campaign_place
campaign_part_place(const struct campaign_source *source, enum campaign_part part, size_t offset)
{
	const struct campaign_pieces *pieces = part == CAMPAIGN_HTML ? &source->html_pieces
	    : part == CAMPAIGN_TEXT				     ? &source->text_pieces
								     : NULL;
	const struct campaign_piece *piece = pieces != NULL ? piece_of(pieces, offset) : NULL;
	struct campaign_place place = { .part = "" };

	if (piece != NULL) {
		place.path = piece->path;
		place.part = piece->part;
		template_position(piece->text, offset - piece->from, &place.line, &place.column);
		return place;
	}
	template_position(campaign_part_text(source, part), offset, &place.line, &place.column);
	if (part == CAMPAIGN_SUBJECT && source->file.template[0] == '\0') {
		place.path = source->path;
		place.line = source->path != NULL ? source->file.subject_line : place.line;
	}
	return place;
}

const char *
campaign_part_at(const struct campaign_source *source, enum campaign_part part, size_t offset,
    char *dst, size_t size)
{
	struct campaign_place at = campaign_part_place(source, part, offset);

	if (at.path == NULL)
		(void)snprintf(dst, size, "%s: line %zu, column %zu: ", campaign_part_name(part),
		    at.line, at.column);
	else
		(void)snprintf(dst, size,
		    part == CAMPAIGN_SUBJECT ? "%s%s:%zu: subject, column %zu: " : "%s%s:%zu:%zu: ",
		    at.path, at.part, at.line, at.column);
	return dst;
}

const char *
campaign_part_name(enum campaign_part part)
{
	return parts[part].name;
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

/* The conditions under which an op stands, by the field that each is about. */
struct guards {
	struct {
		size_t until;
		uint32_t field;
	} guard[TEMPLATE_NESTING_MAX + 1];
	size_t count;
};

static void
guard_enter(struct guards *g, size_t at, const struct template_op *op)
{
	size_t kept = 0;

	for (size_t i = 0; i < g->count; i++)
		if (g->guard[i].until > at)
			g->guard[kept++] = g->guard[i];
	g->count = kept;
	if ((op->kind == TEMPLATE_OP_SKIP_UNLESS || op->kind == TEMPLATE_OP_EACH ||
		op->kind == TEMPLATE_OP_WITH) &&
	    op->ref.scope == 0 && g->count <= TEMPLATE_NESTING_MAX) {
		g->guard[g->count].until = op->target;
		g->guard[g->count++].field = op->ref.field;
	}
}

static bool
is_guarded(const struct guards *g, size_t at, const struct template_op *op)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->guard[i].until > at && g->guard[i].field == op->ref.field)
			return true;
	return false;
}

/* A field that stands under a condition may be missing: the condition can be about it. */
static void
note_uses(struct campaign_templates *t, enum campaign_part part)
{
	struct guards guards = { 0 };
	const struct template *p = &t->part[part];
	size_t conditional_until = 0;

	for (size_t i = 0; i < p->count; i++) {
		const struct template_op *op = &p->ops[i];
		bool shows = op->kind == TEMPLATE_OP_FIELD || op->kind == TEMPLATE_OP_EACH ||
		    op->kind == TEMPLATE_OP_WITH;
		bool required = shows && !op->has_default && i >= conditional_until;
		bool guarded = is_guarded(&guards, i, op);
		struct campaign_field *field;

		if (op->kind == TEMPLATE_OP_TEXT)
			continue;
		guard_enter(&guards, i, op);
		if (op->kind != TEMPLATE_OP_FIELD && op->target > conditional_until)
			conditional_until = op->target;
		if (op->kind == TEMPLATE_OP_SKIP || op->kind == TEMPLATE_OP_NEXT ||
		    op->ref.scope > 0)
			continue;
		if (op->ref.field & TEMPLATE_BUILTIN) {
			t->needs_unsubscribe |= required && message_is_unsubscribe(op->ref.field);
			t->needs_view |=
			    required && op->ref.field == (TEMPLATE_BUILTIN | MESSAGE_VIEW_URL);
			continue;
		}
		field = &t->field[op->ref.field];
		if (shows && !op->has_default && !guarded && !field->stops) {
			field->stops = true;
			field->stops_part = part;
			field->stops_at = op->at;
		}
		if (field->used && (field->required || !required))
			continue;
		field->name = op->ref.name;
		field->required = required;
		field->used = true;
		field->part = part;
		field->at = op->at;
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
