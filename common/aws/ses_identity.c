/* SPDX-License-Identifier: Apache-2.0 */
/* ses_identity: see ses_identity.h. */
#include "ses_identity.h"

#include "jsondoc.h"
#include "sigv4.h"

#define DEPTH_MAX 8
#define PAGE_BYTES ((size_t)1 << 20)

static struct slice
text_of(const struct jsondoc *object, const char *name)
{
	const struct jsondoc *value = jsondoc_get(object, name);

	return jsondoc_is(value, JSONDOC_STRING) ? value->text : slice_make(NULL, 0);
}

static bool
is_verified(const struct jsondoc *identity)
{
	struct slice status = text_of(identity, "VerificationStatus");

	return status.len > 0 ? slice_equal(status, SLICE("SUCCESS"))
			      : jsondoc_is(jsondoc_get(identity, "SendingEnabled"), JSONDOC_TRUE);
}

int
ses_identities_parse(
    struct slice json, struct arena *arena, struct ses_identity_page *page, struct err *err)
{
	const struct jsondoc *body = jsondoc_parse(json, PAGE_BYTES, DEPTH_MAX, arena, NULL);
	const struct jsondoc *list = jsondoc_get(body, "EmailIdentities");
	size_t count = jsondoc_count(list);

	*page = (struct ses_identity_page){ .next = text_of(body, "NextToken") };
	/* a last page may leave the list out */
	if (!jsondoc_is(body, JSONDOC_OBJECT) ||
	    (list != NULL && !jsondoc_is(list, JSONDOC_ARRAY)) || count > SES_IDENTITY_PAGE)
		return err_set(err, "the answer is no list of identities of SES");
	page->names = arena_array(arena, count + 1, sizeof(*page->names));
	if (page->names == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < count; i++) {
		const struct jsondoc *identity = jsondoc_at(list, i);
		struct slice name = text_of(identity, "IdentityName");

		if (name.len == 0 || name.len > SES_IDENTITY_MAX)
			return err_set(err, "the answer has an identity without a name");
		if (is_verified(identity))
			page->names[page->count++] = name;
	}
	return 0;
}

void
ses_identities_query(struct buf *out, struct slice next)
{
	if (next.len > 0) {
		buf_append_str(out, "NextToken=");
		sigv4_encode(out, next, false);
		buf_append_char(out, '&');
	}
	buf_printf(out, "PageSize=%d", SES_IDENTITY_PAGE);
}
