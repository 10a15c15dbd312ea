/* SPDX-License-Identifier: Apache-2.0 */
/* machine: see machine.h. */
#include "machine.h"

#include <string.h>

#define COLUMNS 5

enum what { AGENT_IS, AGENT_HAS, AGENT_NONE, METHOD, PURPOSE, SOON, BURST, WHATS };

static const char *const whats[WHATS] = { "agent-is", "agent-has", "agent-none", "method",
	"purpose", "soon", "burst" };
static const char *const whos[WHO_COUNT] = { "person", "proxy", "machine" };

const char *
machine_who_name(enum machine_who who)
{
	return whos[who];
}

static unsigned
find_word(struct slice word, const char *const *words, unsigned count)
{
	unsigned i = 0;

	while (i < count && !slice_equal(word, slice_str(words[i])))
		i++;
	return i;
}

/* Takes up to the next c off the front. */
static struct slice
cut_at(struct slice *s, char c)
{
	const char *at = s->len > 0 ? memchr(s->ptr, c, s->len) : NULL;
	struct slice before = slice_make(s->ptr, at != NULL ? (size_t)(at - s->ptr) : s->len);

	*s = at != NULL ? slice_make(at + 1, s->len - before.len - 1) : slice_make(NULL, 0);
	return before;
}

static bool
take_number(struct slice *s, unsigned *value)
{
	size_t digits = 0;
	int n = 0;

	while (digits < s->len && digits < 5 && s->ptr[digits] >= '0' && s->ptr[digits] <= '9')
		digits++;
	if (digits == 0 || !slice_take_digits(s, digits, &n))
		return false;
	*value = (unsigned)n;
	return true;
}

/* soon N and burst N/S. */
static bool
take_setting(struct machine_rules *rules, enum what what, struct slice text)
{
	unsigned links = 0, seconds = 0;

	if (what == SOON) {
		if (!take_number(&text, &seconds) || text.len > 0 || seconds > 3600)
			return false;
		if (!rules->has_soon)
			rules->soon_s = seconds;
		rules->has_soon = true;
		return true;
	}
	if (!take_number(&text, &links) || !slice_take_char(&text, "/") ||
	    !take_number(&text, &seconds) || text.len > 0 || links < 2 || seconds > 60)
		return false;
	if (!rules->has_burst) {
		rules->burst_links = links;
		rules->burst_s = seconds;
	}
	rules->has_burst = true;
	return true;
}

static int
take_line(struct machine_rules *rules, struct slice line, unsigned number, struct arena *arena,
    struct err *err)
{
	struct slice column[COLUMNS];
	struct machine_rule *rule;
	unsigned what, who;

	for (unsigned i = 0; i < COLUMNS; i++)
		column[i] = i + 1 < COLUMNS ? cut_at(&line, '\t') : line;
	what = find_word(column[0], whats, WHATS);
	who = find_word(column[2], whos, WHO_COUNT);
	if (what == WHATS || who == WHO_COUNT || column[3].len == 0 || column[4].len == 0)
		return err_set(err,
		    "line %u: expected what, pattern, who, name and source with tabs between",
		    number);
	if (what == SOON || what == BURST)
		return take_setting(rules, (enum what)what, column[1])
		    ? 0
		    : err_set(err, "line %u: expected soon SECONDS or burst LINKS/SECONDS", number);
	if ((column[1].len == 0) != (what == AGENT_NONE))
		return err_set(err, "line %u: the pattern is missing, or not wanted", number);
	if (rules->count == MACHINE_RULES_MAX)
		return err_set(err, "more than %d rules", MACHINE_RULES_MAX);
	rule = &rules->items[rules->count++];
	*rule = (struct machine_rule){ .what = what,
		.who = (enum machine_who)who,
		.pattern = arena_copy(arena, column[1]),
		.name = arena_copy(arena, column[3]).ptr };
	return rule->name != NULL && (column[1].len == 0 || rule->pattern.ptr != NULL)
	    ? 0
	    : err_set(err, "no memory");
}

int
machine_rules_parse(
    struct machine_rules *rules, struct slice text, struct arena *arena, struct err *err)
{
	for (unsigned number = 1; text.len > 0; number++) {
		struct slice line = cut_at(&text, '\n');

		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (take_line(rules, line, number, arena, err) != 0)
			return -1;
	}
	return 0;
}

static bool
has(struct slice text, struct slice part)
{
	for (size_t i = 0; i + part.len <= text.len; i++)
		if (slice_starts_nocase(slice_make(text.ptr + i, text.len - i), part))
			return true;
	return false;
}

static bool
fits(const struct machine_rule *rule, const struct machine_request *r)
{
	switch ((enum what)rule->what) {
	case AGENT_IS:
		return slice_equal(r->agent, rule->pattern);
	case AGENT_HAS:
		return has(r->agent, rule->pattern);
	case AGENT_NONE:
		return r->agent.len == 0;
	case METHOD:
		return slice_equal(rule->pattern, r->is_head ? SLICE("HEAD") : SLICE("GET"));
	case PURPOSE:
		return has(r->purpose, rule->pattern);
	case SOON:
	case BURST:
	case WHATS:
		break;
	}
	return false;
}

struct machine_verdict
machine_judge(const struct machine_rules *rules, const struct machine_request *request)
{
	struct machine_request r = *request;

	r.agent = slice_trim(r.agent);
	for (unsigned i = 0; i < rules->count; i++)
		if (fits(&rules->items[i], &r))
			return (
			    struct machine_verdict){ rules->items[i].who, rules->items[i].name };
	return (struct machine_verdict){ WHO_PERSON, "none" };
}
