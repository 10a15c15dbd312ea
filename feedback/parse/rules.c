/* SPDX-License-Identifier: Apache-2.0 */
/* rules: see rules.h. */
#include "rules.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *word;
	enum rule_action action;
} actions[] = {
	{ "accept", RULE_ACCEPT },
	{ "keep", RULE_KEEP },
	{ "drop", RULE_DROP },
	{ "bounce", RULE_BOUNCE },
};

static struct slice
take_word(struct slice *line)
{
	size_t n = 0;
	struct slice word;

	*line = slice_trim(*line);
	while (n < line->len && line->ptr[n] != ' ' && line->ptr[n] != '\t')
		n++;
	word = slice_make(line->ptr, n);
	*line = slice_trim(slice_make(line->ptr + n, line->len - n));
	return word;
}

/* Letters, digits, dots and hyphens; bytes of UTF-8. A wildcard would be a slip. */
static bool
is_domain(struct slice s)
{
	if (s.len == 0 || s.len > 255 || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c < 0x80 && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
			return false;
	}
	return memmem(s.ptr, s.len, "..", 2) == NULL;
}

static struct slice
domain_of(struct slice address)
{
	const char *at = address.len > 0 ? memrchr(address.ptr, '@', address.len) : NULL;

	if (at == NULL)
		return slice_make(NULL, 0);
	return slice_make(at + 1, (size_t)(address.ptr + address.len - at) - 1);
}

static int
parse_line(struct rule *rule, struct slice line, unsigned number, struct err *err)
{
	struct slice who = take_word(&line), what = take_word(&line);
	size_t i = 0;

	while (i < sizeof(actions) / sizeof(actions[0]) &&
	    !slice_equal_nocase(what, slice_str(actions[i].word)))
		i++;
	if (i == sizeof(actions) / sizeof(actions[0]) || line.len > 0)
		return err_set(err,
		    "line %u: needs a recipient and one of accept, keep, drop, bounce", number);
	rule->who = who;
	rule->action = actions[i].action;
	rule->kind = RULE_ADDRESS;
	if (slice_equal_nocase(who, SLICE("token"))) {
		rule->kind = RULE_TOKEN;
	} else if (memchr(who.ptr, '@', who.len) == NULL) {
		rule->kind = who.ptr[0] == '.' ? RULE_BELOW : RULE_DOMAIN;
		if (who.ptr[0] == '.')
			who = slice_make(who.ptr + 1, who.len - 1);
		if (!is_domain(who))
			return err_set(err,
			    "line %u: write token, user@domain, domain, or .domain for those below "
			    "it",
			    number);
	} else if (who.ptr[0] == '@' || !is_domain(domain_of(who))) {
		return err_set(err, "line %u: no address; a domain is written without @", number);
	}
	return 0;
}

int
rules_parse(struct rules *rules, struct slice text, struct err *err)
{
	struct slice rest;
	unsigned number = 0;

	*rules = (struct rules){ 0 };
	if (text.len > RULES_TEXT_MAX)
		return err_set(err, "more than %zu bytes", RULES_TEXT_MAX);
	rules->text = malloc(text.len + 1);
	rules->items = calloc(RULES_MAX, sizeof(*rules->items));
	if (rules->text == NULL || rules->items == NULL)
		return err_set(err, "no memory");
	if (text.len > 0)
		memcpy(rules->text, text.ptr, text.len);
	rest = slice_make(rules->text, text.len);
	while (rest.len > 0) {
		const char *end = memchr(rest.ptr, '\n', rest.len), *comment;
		size_t n = end != NULL ? (size_t)(end - rest.ptr) : rest.len;
		struct slice line = slice_make(rest.ptr, n);

		number++;
		rest = slice_make(rest.ptr + n + (end != NULL), rest.len - n - (end != NULL));
		comment = n > 0 ? memchr(line.ptr, '#', n) : NULL;
		if (comment != NULL)
			line.len = (size_t)(comment - line.ptr);
		line = slice_trim(line);
		if (line.len == 0)
			continue;
		if (memchr(line.ptr, '\0', line.len) != NULL)
			return err_set(err, "line %u: holds a NUL", number);
		if (rules->count == RULES_MAX)
			return err_set(err, "more than %d rules", RULES_MAX);
		if (parse_line(&rules->items[rules->count], line, number, err) < 0)
			return -1;
		rules->count++;
	}
	return 0;
}

int
rules_standard(struct rules *rules, struct slice domain, struct err *err)
{
	char text[1200];
	int n = snprintf(text, sizeof(text),
	    "token accept\npostmaster@%.*s keep\nabuse@%.*s keep\nfbl@%.*s keep\n%.*s bounce\n",
	    SLICE_ARG(domain), SLICE_ARG(domain), SLICE_ARG(domain), SLICE_ARG(domain));

	if (!is_domain(domain)) {
		*rules = (struct rules){ 0 };
		return err_set(err, "feedback.domain must be set");
	}
	return rules_parse(rules, slice_make(text, (size_t)n), err);
}

void
rules_release(struct rules *rules)
{
	free(rules->text);
	free(rules->items);
	*rules = (struct rules){ 0 };
}

static bool
is_below(struct slice domain, struct slice dotted)
{
	return domain.len > dotted.len &&
	    slice_equal_nocase(
		slice_make(domain.ptr + domain.len - dotted.len, dotted.len), dotted);
}

static bool
fits(const struct rule *rule, struct slice address, struct slice domain, bool is_token)
{
	switch (rule->kind) {
	case RULE_TOKEN:
		return is_token;
	case RULE_ADDRESS:
		return slice_equal_nocase(address, rule->who);
	case RULE_DOMAIN:
		return slice_equal_nocase(domain, rule->who);
	case RULE_BELOW:
		return is_below(domain, rule->who);
	}
	return false;
}

/* Is the domain one that the rules speak of? */
static bool
is_ours(const struct rules *rules, struct slice domain)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *r = &rules->items[i];

		if ((r->kind == RULE_ADDRESS && slice_equal_nocase(domain, domain_of(r->who))) ||
		    fits(r, (struct slice){ NULL, 0 }, domain, false))
			return true;
	}
	return false;
}

enum rule_action
rules_decide(const struct rules *rules, struct slice address, bool is_token)
{
	struct slice domain = domain_of(address);

	if (domain.len == 0)
		return RULE_FOREIGN;
	for (size_t i = 0; i < rules->count; i++)
		if (fits(&rules->items[i], address, domain, is_token))
			return rules->items[i].action;
	return is_ours(rules, domain) ? RULE_BOUNCE : RULE_FOREIGN;
}
