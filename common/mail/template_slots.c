/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_slots: see template_slots.h. An op is run for everybody, once and in its place, when no
 * op before it leads behind it: those that skip, repeat or enter a value all name where they end.
 */
#include "template_slots.h"

bool
template_slots_make(struct template_slots *slots, const struct template *t, struct arena *arena)
{
	uint32_t *before = arena_array(arena, t->count + 1, sizeof(*before));
	size_t reach = 0; /* ops before it are inside of something */
	bool open = false;

	*slots = (struct template_slots){ .template = t, .before = before };
	if (before == NULL)
		return false;
	for (size_t i = 0; i < t->count; i++) {
		const struct template_op *op = &t->ops[i];

		if (op->kind == TEMPLATE_OP_TEXT && i >= reach) {
			before[i] = (uint32_t)slots->count;
			open = false;
			continue;
		}
		before[i] = TEMPLATE_IN_SLOT;
		slots->count += !open;
		open = true;
		if (op->kind != TEMPLATE_OP_TEXT && op->kind != TEMPLATE_OP_FIELD &&
		    op->target > reach)
			reach = op->target;
	}
	return true;
}

void
template_slots_texts(const struct template_slots *slots, struct buf *out)
{
	size_t done = 0;

	for (size_t i = 0; i < slots->template->count; i++) {
		if (slots->before[i] == TEMPLATE_IN_SLOT)
			continue;
		for (; done < slots->before[i]; done++)
			buf_append_char(out, '\0');
		buf_append_slice(out, slots->template->ops[i].text);
	}
	for (; done <= slots->count; done++)
		buf_append_char(out, '\0');
}

struct slot_sink {
	struct template_sink base; /* first: the callbacks get its address */
	const struct template_slots *slots;
	size_t done;
};

static void
end_slots(struct slot_sink *s, size_t count)
{
	for (; s->done < count; s->done++)
		buf_append_char(s->base.out, '\0');
}

static void
put_text(struct template_sink *sink, size_t op, struct slice text)
{
	struct slot_sink *s = (struct slot_sink *)sink;

	if (s->slots->before[op] == TEMPLATE_IN_SLOT)
		buf_append_slice(sink->out, text);
	else
		end_slots(s, s->slots->before[op]);
}

static void
put_value(struct template_sink *sink, struct slice piece)
{
	buf_append_slice(sink->out, piece);
}

enum template_status
template_slots_run(const struct template_slots *slots, const struct template_values *values,
    struct buf *out, struct template_result *result)
{
	struct slot_sink sink = {
		.base = { .out = out, .put_text = put_text, .put_value = put_value }, .slots = slots
	};

	if (template_run(slots->template, values, &sink.base, result) != TEMPLATE_OK)
		return result->status;
	end_slots(&sink, slots->count);
	return TEMPLATE_OK;
}
