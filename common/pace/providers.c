/* SPDX-License-Identifier: Apache-2.0 */
/*
 * providers: see providers.h. Names are kept sorted and found by bisection; rules are few and
 * walked. All strings live in one arena.
 */
#include "providers.h"

#include <ctype.h>
#include <stdlib.h>

#include "arena.h"
#include "rate.h"

#define FIELDS_MAX 8
#define REPLY_MAX 2048

enum name_kind { NAME_DOMAIN, NAME_MX };

struct name_row {
	enum name_kind kind;
	struct slice name; /* lower case, as in the table: leading dot or final ".*" included */
	int group;
	bool overriding;
};

struct rule {
	uint64_t groups[PROVIDERS_GROUPS_MAX / 64]; /* bits */
	bool any_group;
	int code; /* whole, 4 or 5 the first digit, 0 any */
	struct slice words;
	struct provider_verdict verdict;
	bool overriding;
};

struct providers {
	size_t line; /* that is being read */
	struct arena arena;
	struct provider_group groups[PROVIDERS_GROUPS_MAX];
	bool group_overriding[PROVIDERS_GROUPS_MAX];
	size_t group_count;
	int unknown; /* group of PROVIDERS_UNKNOWN */
	struct name_row *names;
	size_t name_count, name_room;
	struct rule *rules;
	size_t rule_count, rule_room;
};

static const struct {
	const char *name;
	enum reaction reaction;
} reactions[] = { { "none", REACTION_NONE }, { "conn", REACTION_CONN }, { "mpc", REACTION_MPC },
	{ "rate", REACTION_RATE }, { "hold", REACTION_HOLD }, { "stop", REACTION_STOP },
	{ "rcpt", REACTION_RCPT }, { "drop", REACTION_DROP },
	{ "pause-campaign", REACTION_PAUSE_CAMPAIGN }, { "account-rate", REACTION_ACCOUNT_RATE },
	{ "account-hold", REACTION_ACCOUNT_HOLD } };
#define REACTIONS (sizeof(reactions) / sizeof(reactions[0]))

const char *
reaction_name(enum reaction reaction)
{
	return reactions[reaction].name;
}

bool
reaction_parse(enum reaction *reaction, struct slice name)
{
	for (size_t i = 0; i < REACTIONS; i++)
		if (slice_equal(name, slice_str(reactions[i].name))) {
			*reaction = reactions[i].reaction;
			return true;
		}
	return false;
}

const char *
guard_name(enum guard_mode mode)
{
	return mode == GUARD_STRICT ? "strict" : mode == GUARD_SOFT ? "soft" : "off";
}

bool
guard_parse(enum guard_mode *mode, struct slice text)
{
	for (int m = GUARD_OFF; m <= GUARD_STRICT; m++)
		if (slice_equal(text, slice_str(guard_name((enum guard_mode)m)))) {
			*mode = (enum guard_mode)m;
			return true;
		}
	return false;
}

/* ---------------------------------------------------------------- reading */

static bool
is_name(struct slice s)
{
	if (s.len == 0 || s.len >= PROVIDERS_NAME_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!islower((unsigned char)s.ptr[i]) && !isdigit((unsigned char)s.ptr[i]) &&
		    s.ptr[i] != '-')
			return false;
	return true;
}

/* Lower-case labels with dots between; a leading dot or a final ".*" where the kind has them. */
static bool
is_host(struct slice s, enum name_kind kind)
{
	bool label = false, dot = false;

	if (s.len > 1 && s.ptr[0] == '.') {
		s.ptr++;
		s.len--;
		dot = true;
	} else if (kind == NAME_DOMAIN && s.len > 2 && memcmp(s.ptr + s.len - 2, ".*", 2) == 0) {
		s.len -= 2;
		dot = true;
	}
	if (s.len > 253)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '.' && !label)
			return false;
		if (c == '.')
			dot = true;
		else if (!islower((unsigned char)c) && !isdigit((unsigned char)c) && c != '-')
			return false;
		label = c != '.';
	}
	return label && dot;
}

static bool
is_zone(struct slice s)
{
	if (s.len == 0 || s.len >= PROVIDERS_NAME_MAX || !isalpha((unsigned char)s.ptr[0]))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!isalnum((unsigned char)s.ptr[i]) && strchr("/_+-", s.ptr[i]) == NULL)
			return false;
	return true;
}

static int
parse_int(struct slice s, int min, int max, int *value)
{
	if (s.len == 0 || s.len > 7 || !slice_take_digits(&s, s.len, value))
		return -1;
	return *value < min || *value > max ? -1 : 0;
}

int
providers_find(const struct providers *p, struct slice name)
{
	for (size_t i = 0; i < p->group_count; i++)
		if (slice_equal(name, slice_str(p->groups[i].name)))
			return (int)i;
	return PROVIDERS_NONE;
}

int
providers_unknown(const struct providers *p)
{
	return p->unknown;
}

int
providers_filed(const struct providers *p, struct slice name)
{
	int group = providers_find(p, name);

	return group != PROVIDERS_NONE ? group : p->unknown;
}

static int
take_group(struct providers *p, const struct slice *f, bool overriding, struct err *err)
{
	struct provider_group g = { 0 };
	int at = providers_find(p, f[1]);

	if (!is_name(f[1]))
		return err_set(err, "a group's name is lower-case letters, digits and '-'");
	if (parse_int(f[2], 1, 10000, &g.connections) < 0 ||
	    parse_int(f[3], 1, 100000, &g.messages_per_connection) < 0)
		return err_set(err, "connections and messages per connection are numbers from 1");
	if (rate_parse(&g.rate_per_s, f[4], err) < 0)
		return -1;
	if (!guard_parse(&g.guard, f[5]))
		return err_set(err, "the guard is strict, soft or off");
	if (!is_zone(f[6]))
		return err_set(err, "the zone is an IANA name such as Asia/Tokyo");
	memcpy(g.name, f[1].ptr, f[1].len);
	memcpy(g.zone, f[6].ptr, f[6].len);
	if (at != PROVIDERS_NONE && p->group_overriding[at] == overriding)
		return err_set(err, "group %s has two rows; keep one", g.name);
	if (at == PROVIDERS_NONE && p->group_count == PROVIDERS_GROUPS_MAX)
		return err_set(err, "more than %d groups", PROVIDERS_GROUPS_MAX);
	if (at == PROVIDERS_NONE)
		at = (int)p->group_count++;
	g.line = overriding ? p->line : 0;
	p->groups[at] = g;
	p->group_overriding[at] = overriding;
	return 0;
}

static int
take_name(struct providers *p, const struct slice *f, enum name_kind kind, bool overriding,
    struct err *err)
{
	int group = providers_find(p, f[2]);

	if (!is_host(f[1], kind))
		return err_set(err,
		    "'%.*s' is no name: lower case, labels, no dot at the end; a suffix begins "
		    "with a dot",
		    SLICE_ARG(f[1]));
	if (group == PROVIDERS_NONE)
		return err_set(err, "there is no group '%.*s' above this row", SLICE_ARG(f[2]));
	if (p->name_count == p->name_room) {
		size_t room = p->name_room > 0 ? p->name_room * 2 : 256;
		struct name_row *more = realloc(p->names, room * sizeof(*more));

		if (more == NULL)
			return err_set(err, "no memory");
		p->names = more;
		p->name_room = room;
	}
	p->names[p->name_count++] = (struct name_row){
		.kind = kind, .name = f[1], .group = group, .overriding = overriding
	};
	return 0;
}

static int
rule_groups(const struct providers *p, struct slice list, struct rule *rule, struct err *err)
{
	if (slice_equal(list, SLICE("*"))) {
		rule->any_group = true;
		return 0;
	}
	while (list.len > 0) {
		const char *comma = memchr(list.ptr, ',', list.len);
		size_t n = comma != NULL ? (size_t)(comma - list.ptr) : list.len;
		int group = providers_find(p, slice_make(list.ptr, n));

		if (group == PROVIDERS_NONE)
			return err_set(
			    err, "there is no group '%.*s' above this row", (int)n, list.ptr);
		rule->groups[group / 64] |= (uint64_t)1 << (group % 64);
		n += comma != NULL;
		list = slice_make(list.ptr + n, list.len - n);
	}
	return 0;
}

static int
rule_reaction(struct slice word, struct rule *rule, struct err *err)
{
	if (word.len > 0 && word.ptr[word.len - 1] == '!') {
		rule->verdict.at_once = true;
		word.len--;
	}
	if (reaction_parse(&rule->verdict.reaction, word) &&
	    rule->verdict.reaction != REACTION_NONE)
		return 0;
	return err_set(err, "'%.*s' is no reaction", SLICE_ARG(word));
}

static int
take_rule(struct providers *p, const struct slice *f, bool overriding, struct err *err)
{
	struct rule rule = { .overriding = overriding, .words = f[3] };

	if (rule_groups(p, f[1], &rule, err) < 0 || rule_reaction(f[4], &rule, err) < 0)
		return -1;
	if (!slice_equal(f[2], SLICE("-")) &&
	    (parse_int(f[2], 4, 599, &rule.code) < 0 || (rule.code > 5 && rule.code < 400)))
		return err_set(err, "the code is 4, 5, a whole code from 400, or -");
	if (slice_equal(f[3], SLICE("-")))
		rule.words = slice_make(NULL, 0);
	else if (f[3].len == 0)
		return err_set(err, "words are missing; - is any");
	for (size_t i = 0; i < rule.words.len; i++)
		if (isupper((unsigned char)rule.words.ptr[i]))
			return err_set(err, "words are written in lower case");
	if (rule.words.len == 0 && rule.code == 0)
		return err_set(err, "a rule needs a code or words");
	rule.verdict.by_words = rule.words.len > 0;
	rule.verdict.by_group = !rule.any_group;
	if (parse_int(f[5], 0, 1440, &rule.verdict.minutes) < 0)
		return err_set(err, "minutes are a number from 0 to 1440");
	if (p->rule_count == p->rule_room) {
		size_t room = p->rule_room > 0 ? p->rule_room * 2 : 128;
		struct rule *more = realloc(p->rules, room * sizeof(*more));

		if (more == NULL)
			return err_set(err, "no memory");
		p->rules = more;
		p->rule_room = room;
	}
	p->rules[p->rule_count++] = rule;
	return 0;
}

static int
take_row(struct providers *p, struct slice line, bool overriding, struct err *err)
{
	struct slice f[FIELDS_MAX];
	size_t n = 0, wanted;

	for (const char *at = line.ptr, *end = line.ptr + line.len; n < FIELDS_MAX; n++) {
		const char *tab = memchr(at, '\t', (size_t)(end - at));

		f[n] = slice_make(at, (size_t)((tab != NULL ? tab : end) - at));
		if (tab == NULL) {
			n++;
			break;
		}
		at = tab + 1;
	}
	wanted = slice_equal(f[0], SLICE("group"))				   ? 8
	    : slice_equal(f[0], SLICE("rule"))					   ? 7
	    : slice_equal(f[0], SLICE("domain")) || slice_equal(f[0], SLICE("mx")) ? 4
										   : 0;
	if (wanted == 0)
		return err_set(err, "a row begins with group, domain, mx or rule");
	if (n != wanted || (n == FIELDS_MAX && memchr(f[7].ptr, '\t', f[7].len) != NULL))
		return err_set(
		    err, "this kind of row has %zu fields, separated by one TAB", wanted);
	if (slice_trim(f[wanted - 1]).len == 0)
		return err_set(err, "the last field says where the row comes from");
	switch (f[0].ptr[0]) {
	case 'g':
		return take_group(p, f, overriding, err);
	case 'r':
		return take_rule(p, f, overriding, err);
	case 'd':
		return take_name(p, f, NAME_DOMAIN, overriding, err);
	default:
		return take_name(p, f, NAME_MX, overriding, err);
	}
}

static int
take_text(struct providers *p, struct slice text, bool overriding, struct err *err)
{
	struct slice copy;
	size_t line = 0;

	if (text.len > PROVIDERS_TEXT_MAX)
		return err_set(err, "the provider table is larger than 4 MB");
	if (text.len == 0)
		return 0;
	if (memchr(text.ptr, '\0', text.len) != NULL)
		return err_set(err, "the provider table holds a NUL byte");
	copy = arena_copy(&p->arena, text);
	if (copy.ptr == NULL)
		return err_set(err, "no memory");
	while (copy.len > 0) {
		const char *lf = memchr(copy.ptr, '\n', copy.len);
		size_t n = lf != NULL ? (size_t)(lf - copy.ptr) : copy.len;
		struct slice row = slice_make(copy.ptr, n);

		p->line = ++line;
		if (err != NULL)
			err->offset = line;
		if (row.len > 0 && row.ptr[row.len - 1] == '\r')
			row.len--;
		if (row.len > 0 && row.ptr[0] != '#' && take_row(p, row, overriding, err) < 0)
			return -1;
		n += lf != NULL;
		copy = slice_make(copy.ptr + n, copy.len - n);
	}
	return 0;
}

/* ---------------------------------------------------------------- names */

static int
compare_name(enum name_kind kind, struct slice name, const struct name_row *row)
{
	size_t n = name.len < row->name.len ? name.len : row->name.len;
	int by =
	    kind != row->kind ? (int)kind - (int)row->kind : memcmp(name.ptr, row->name.ptr, n);

	return by != 0 ? by : (name.len > row->name.len) - (name.len < row->name.len);
}

static int
compare_rows(const void *a, const void *b)
{
	const struct name_row *x = a, *y = b;
	int by = compare_name(x->kind, x->name, y);

	return by != 0 ? by : (int)y->overriding - (int)x->overriding;
}

/* Sorted, the overriding row of a name first; the others of the name go. */
static int
sort_names(struct providers *p, struct err *err)
{
	size_t kept = 0;

	if (p->name_count > 0)
		qsort(p->names, p->name_count, sizeof(*p->names), compare_rows);
	for (size_t i = 0; i < p->name_count; i++) {
		const struct name_row *row = &p->names[i];

		if (kept == 0 || compare_name(row->kind, row->name, &p->names[kept - 1]) != 0) {
			p->names[kept++] = *row;
		} else if (row->overriding == p->names[kept - 1].overriding) {
			if (err != NULL)
				err->offset = 0;
			return err_set(err, "'%.*s' has two rows; keep one", SLICE_ARG(row->name));
		}
	}
	p->name_count = kept;
	return 0;
}

/* Rules of the overriding text come first, each text's in its own order. */
static int
order_rules(struct providers *p, struct err *err)
{
	struct rule *sorted = calloc(p->rule_count + 1, sizeof(*sorted));
	size_t n = 0;

	if (sorted == NULL)
		return err_set(err, "no memory");
	for (int pass = 1; pass >= 0; pass--)
		for (size_t i = 0; i < p->rule_count; i++)
			if (p->rules[i].overriding == (pass == 1))
				sorted[n++] = p->rules[i];
	free(p->rules);
	p->rules = sorted;
	p->rule_room = p->rule_count;
	return 0;
}

struct providers *
providers_new(struct slice text, struct slice override, struct err *err)
{
	struct providers *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	arena_init(&p->arena, 3 * PROVIDERS_TEXT_MAX);
	if (take_text(p, text, false, err) < 0 || take_text(p, override, true, err) < 0 ||
	    sort_names(p, err) < 0 || order_rules(p, err) < 0) {
		providers_free(p);
		return NULL;
	}
	p->unknown = providers_find(p, SLICE(PROVIDERS_UNKNOWN));
	if (p->unknown == PROVIDERS_NONE) {
		(void)err_set(err,
		    "the group '" PROVIDERS_UNKNOWN "' is missing; it holds whatever is unknown");
		providers_free(p);
		return NULL;
	}
	return p;
}

void
providers_free(struct providers *p)
{
	if (p == NULL)
		return;
	arena_release(&p->arena);
	free(p->names);
	free(p->rules);
	free(p);
}

size_t
providers_count(const struct providers *p)
{
	return p->group_count;
}

const struct provider_group *
providers_group(const struct providers *p, int group)
{
	return &p->groups[group];
}

static unsigned
lower_of(const struct providers *p, int group, int of_table, unsigned configured)
{
	if (group == PROVIDERS_NONE || group == p->unknown || (unsigned)of_table >= configured)
		return configured;
	return (unsigned)of_table;
}

unsigned
providers_connections(const struct providers *p, int group, unsigned configured)
{
	return lower_of(p, group, group >= 0 ? p->groups[group].connections : 0, configured);
}

unsigned
providers_messages(const struct providers *p, int group, unsigned configured)
{
	return lower_of(
	    p, group, group >= 0 ? p->groups[group].messages_per_connection : 0, configured);
}

static int
lookup(const struct providers *p, enum name_kind kind, struct slice name)
{
	size_t low = 0, high = p->name_count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int by = compare_name(kind, name, &p->names[mid]);

		if (by == 0)
			return p->names[mid].group;
		if (by < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return PROVIDERS_NONE;
}

/* .b.c, then .c for a.b.c: the longest suffix wins. `whole` tries .a.b.c as well. */
static int
lookup_suffix(const struct providers *p, enum name_kind kind, struct slice name)
{
	for (size_t i = 0; i + 1 < name.len; i++)
		if (name.ptr[i] == '.') {
			int g = lookup(p, kind, slice_make(name.ptr + i, name.len - i));

			if (g != PROVIDERS_NONE)
				return g;
		}
	return PROVIDERS_NONE;
}

/* Lower case and without the dot at the end, in dst; {NULL, 0} when it does not fit a name. */
static struct slice
fold(struct slice name, char *dst, size_t size)
{
	if (name.len > 0 && name.ptr[name.len - 1] == '.')
		name.len--;
	if (name.len == 0 || name.len >= size)
		return slice_make(NULL, 0);
	for (size_t i = 0; i < name.len; i++)
		dst[i] = (char)tolower((unsigned char)name.ptr[i]);
	return slice_make(dst, name.len);
}

int
providers_of_domain(const struct providers *p, struct slice domain)
{
	char name[256 + 2], pattern[256 + 2];
	struct slice s = fold(domain, name, 256);
	const char *dot = s.len > 0 ? memchr(s.ptr, '.', s.len) : NULL;
	int group = s.len > 0 ? lookup(p, NAME_DOMAIN, s) : PROVIDERS_NONE;

	if (group == PROVIDERS_NONE && dot != NULL) {
		size_t head = (size_t)(dot - s.ptr);
		unsigned dots = 0;

		for (size_t i = head; i < s.len; i++)
			dots += s.ptr[i] == '.';
		if (dots <= 2) {
			memcpy(pattern, s.ptr, head);
			memcpy(pattern + head, ".*", 2);
			group = lookup(p, NAME_DOMAIN, slice_make(pattern, head + 2));
		}
	}
	return group != PROVIDERS_NONE ? group : lookup_suffix(p, NAME_DOMAIN, s);
}

static int
of_host(const struct providers *p, struct slice host)
{
	char name[256];
	struct slice s = fold(host, name, sizeof(name));
	int group = s.len > 0 ? lookup(p, NAME_MX, s) : PROVIDERS_NONE;

	return group != PROVIDERS_NONE ? group : lookup_suffix(p, NAME_MX, s);
}

int
providers_of_mx(const struct providers *p, const struct slice *hosts, size_t count)
{
	int group = count > 0 ? of_host(p, hosts[0]) : PROVIDERS_NONE;

	for (size_t i = 1; i < count && group != PROVIDERS_NONE; i++)
		if (of_host(p, hosts[i]) != group)
			return PROVIDERS_NONE;
	return group;
}

/* ---------------------------------------------------------------- replies */

static bool
has_words(struct slice words, const char *text, size_t len)
{
	while (words.len > 0) {
		const char *bar = memchr(words.ptr, '|', words.len);
		size_t n = bar != NULL ? (size_t)(bar - words.ptr) : words.len;

		if (n > 0 && memmem(text, len, words.ptr, n) != NULL)
			return true;
		n += bar != NULL;
		words = slice_make(words.ptr + n, words.len - n);
	}
	return false;
}

struct provider_verdict
providers_reaction(
    const struct providers *p, int group, int code, struct slice enhanced, struct slice text)
{
	char folded[REPLY_MAX + 34];
	size_t n = 0;

	for (size_t i = 0; i < enhanced.len && i < 32; i++)
		folded[n++] = enhanced.ptr[i];
	folded[n++] = ' ';
	for (size_t i = 0; i < text.len && i < REPLY_MAX; i++)
		folded[n++] = (char)tolower((unsigned char)text.ptr[i]);
	for (size_t i = 0; i < p->rule_count; i++) {
		const struct rule *r = &p->rules[i];
		bool ours = r->any_group ||
		    (group >= 0 && (r->groups[group / 64] >> (group % 64) & 1) != 0);

		if (!ours || (r->code != 0 && r->code != code && r->code != code / 100))
			continue;
		if (r->words.len == 0 || has_words(r->words, folded, n))
			return r->verdict;
	}
	return (struct provider_verdict){ .reaction = REACTION_NONE };
}
