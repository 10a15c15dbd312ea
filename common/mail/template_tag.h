/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_tag: what stands inside the braces of a tag that has more than a name. Pure; slices are
 * parts of what was given. What a name or a text means is the compiler's to say (template.h).
 */
#ifndef KAIRAN_TEMPLATE_TAG_H
#define KAIRAN_TEMPLATE_TAG_H

#include <stdbool.h>

#include "slice.h"

/* {{> name key=value ...}} or {{> "name" ...}}: true, the name, and what stands behind it. */
bool template_tag_partial(struct slice body, struct slice *name, struct slice *rest);

struct template_tag_argument {
	struct slice key;
	struct slice value; /* between the quotes, with its backslashes, or a word */
	char quote;	    /* '\0': a word */
};

enum template_tag_result {
	TEMPLATE_TAG_END,
	TEMPLATE_TAG_FOUND,
	TEMPLATE_TAG_BAD /* *rest begins with what is not key=value, or is not closed */
};

/* The next key=value of *rest, which is moved behind it. A backslash in a quoted value takes the
 * next character with it. */
enum template_tag_result template_tag_argument(
    struct slice *rest, struct template_tag_argument *argument);

/* "list as |x|" or "list as |x index|": the path, and the names in bars (empty when there are none).
 * False: something else stands behind the path; *path is that then. */
bool template_tag_names(struct slice body, struct slice *path, struct slice names[2]);

#endif
