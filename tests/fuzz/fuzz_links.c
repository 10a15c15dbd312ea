/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_links: input = an HTML template. What is rewritten must compile whenever the template does,
 * destinations must fit a Location header, and rewriting again must find nothing more to count, unless
 * a mark kept a link out of it: marks are taken away.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "links.h"
#include "template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
compiles(struct slice html, struct arena *arena)
{
	static const struct slice builtin = { LINKS_TOKEN, sizeof(LINKS_TOKEN) - 1 };
	struct template_fields fields;
	struct template t;
	struct err err;

	return template_fields_init(&fields, &builtin, 1, arena) &&
	    template_compile(&t, html, TEMPLATE_HTML, &fields, &err) == 0;
}

static bool
has_mark(struct slice html)
{
	static const struct slice mark = { ":no-track", 9 };

	for (size_t i = 0; i + mark.len <= html.len; i++)
		if (slice_equal_nocase(slice_make(html.ptr + i, mark.len), mark))
			return true;
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct links_options o = { .base = { "https://w.jp/", 13 },
		.opens = true,
		.clicks = true,
		.files = true,
		.leave = { { "https://w.jp/", 13 } } };
	struct slice html = { (const char *)data, size }, out, again;
	struct links links, more;
	struct arena arena;
	struct err err;

	if (size > 100000)
		return 0;
	arena_init(&arena, (size_t)64 << 20);
	if (links_rewrite(html, &o, &arena, &links, &out, &err) == 0) {
		for (size_t i = 0; i < links.count; i++) {
			struct slice url = links.items[i].url;

			for (size_t k = 0; k < url.len; k++)
				if (url.ptr[k] <= ' ' || url.ptr[k] > '~')
					abort();
			if (!slice_starts_nocase(url, SLICE("http")) ||
			    !links_id_ok(slice_str(links.items[i].id)))
				abort();
		}
		o.opens = false;
		if (links_rewrite(out, &o, &arena, &more, &again, &err) != 0 ||
		    (more.count > 0 && !has_mark(html)))
			abort();
		if (compiles(html, &arena) && !compiles(out, &arena))
			abort();
	}
	arena_release(&arena);
	return 0;
}
