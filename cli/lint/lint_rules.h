/* SPDX-License-Identifier: Apache-2.0 */
/* lint_rules: what lint.c and the rules themselves share; for nobody else. */
#ifndef KAIRAN_LINT_RULES_H
#define KAIRAN_LINT_RULES_H

#include <stdbool.h>

#include "lint.h"
#include "lint_html.h"

struct lint {
	const struct lint_input *in;
	struct arena *arena;
	const struct lint_rule *rule; /* being checked */
	struct lint_html html;
	struct slice seen[CAMPAIGN_PARTS]; /* what a reader sees of html and text: no tags */
	bool failed;			   /* the arena is full */
	size_t of_rule;			   /* its findings so far */
	struct lint_finding *findings;
	size_t count, capacity;
};

/* Adds a finding at a byte of a part. */
void lint_at(struct lint *l, enum campaign_part part, const char *at, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* About the campaign as a whole. */
void lint_whole(struct lint *l, const char *format, ...) PRINTF_LIKE(2, 3);

/* Foreign text fit for a message: short, one line, valid UTF-8. */
const char *lint_shown(struct lint *l, struct slice text);

/* Is one of the words (ends with NULL) in the text? ASCII case does not count. */
bool lint_has_word(struct slice text, const char *const *words);

/* The place of a word in any case; NULL when it is not there. */
const char *lint_find(struct slice text, struct slice word);

/* "https://a.example:8/x" to "a.example"; empty when there is none or a field makes it. */
struct slice lint_url_host(struct slice url);

/* The next "http://..." or "https://..." of a text behind *at; false behind the last. */
bool lint_next_url(struct slice text, size_t *at, struct slice *url);

/* The host is the domain or below it. */
bool lint_host_in(struct slice host, struct slice domain);

/* lint_body.c */
void lint_css_external(struct lint *l);
void lint_html_unbalanced(struct lint *l);
void lint_image_only(struct lint *l);
void lint_image_without_alt(struct lint *l);
void lint_image_without_size(struct lint *l);
void lint_link_other_host(struct lint *l);
void lint_link_not_https(struct lint *l);
void lint_link_relative(struct lint *l);
void lint_no_contact(struct lint *l);
void lint_no_optout_words(struct lint *l);
void lint_no_postal_address(struct lint *l);
void lint_no_preheader(struct lint *l);
void lint_no_sender_name(struct lint *l);
void lint_no_text_part(struct lint *l);
void lint_no_unsubscribe_link(struct lint *l);
void lint_tag_unsupported(struct lint *l);
void lint_tracking_words(struct lint *l);
void lint_url_shortener(struct lint *l);

/* lint_head.c */
void lint_field_absent(struct lint *l);
void lint_field_no_default(struct lint *l);
void lint_field_raw(struct lint *l);
void lint_from_free_mail(struct lint *l);
void lint_line_too_long(struct lint *l);
void lint_no_from_name(struct lint *l);
void lint_no_list(struct lint *l);
void lint_no_list_unsubscribe(struct lint *l);
void lint_no_one_click(struct lint *l);
void lint_no_reply(struct lint *l);
void lint_not_looked_up(struct lint *l);
void lint_over_carrier(struct lint *l);
void lint_over_gmail(struct lint *l);
void lint_over_size(struct lint *l);
void lint_ses_content(struct lint *l);
void lint_subject_encoding(struct lint *l);
void lint_subject_long(struct lint *l);

#endif
