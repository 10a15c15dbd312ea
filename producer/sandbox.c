/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox: see sandbox.h. */
#include "sandbox.h"

#include <poll.h>

#include "log.h"
#include "pgarray.h"
#include "ses_identity.h"

#define PAUSE_MS 1100
#define PAGES_MAX 10 /* a sandbox has few identities; an account has 10,000 at most */
#define TREE_MAX ((size_t)16 << 20)
#define LIST_MAX ((size_t)PAGES_MAX * SES_IDENTITY_PAGE * (SES_IDENTITY_MAX + 4))

/* One page into the list; *next is the token of the page behind, in its own buffer. */
static int
read_page(const struct aws_client *client, struct buf *next, struct buf *list, size_t *count,
    struct err *err)
{
	struct aws_request request = { .method = "GET", .path = SLICE(SES_IDENTITY_PATH) };
	struct ses_identity_page page;
	struct aws_reply reply;
	struct arena arena;
	struct buf query;
	int result = -1;

	arena_init(&arena, TREE_MAX);
	buf_init(&query, 8192);
	aws_reply_init(&reply);
	ses_identities_query(&query, buf_slice(next));
	request.query = buf_slice(&query);
	(void)poll(NULL, 0, PAUSE_MS);
	if (buf_failed(&query))
		(void)err_set(err, "ListEmailIdentities gave a token that is too long");
	else if (aws_call(client, &request, &reply, err) == 0 && reply.status != 200)
		(void)err_set(err, "ListEmailIdentities was refused with status %d %.100s",
		    reply.status, reply.error_type);
	else if (reply.status == 200)
		result = ses_identities_parse(buf_slice(&reply.body), &arena, &page, err);
	if (result == 0) {
		for (size_t i = 0; i < page.count; i++)
			pgarray_text(list, page.names[i]);
		*count += page.count;
		buf_reset(next);
		buf_append_slice(next, page.next);
	}
	aws_reply_release(&reply);
	buf_release(&query);
	arena_release(&arena);
	return result;
}

static int
write_row(struct db *db, const char *region, struct buf *list, size_t count, struct err *err)
{
	const char *params[] = { region, pgarray_end(list) };

	if (params[1] == NULL)
		return err_set(err, "there are too many identities");
	if (db_run(db,
		"INSERT INTO kairan.ses_sandbox (region, identities) SELECT $1, coalesce((SELECT "
		"array_agg(DISTINCT lower(i)) FROM unnest($2::text[]) AS i), '{}') ON CONFLICT "
		"(region) DO UPDATE SET identities = EXCLUDED.identities, looked_at = now()",
		2, params) < 0)
		return err_set(err, "writing the identities: %s", db->error);
	log_debug("sandbox identities=%zu", count);
	return 0;
}

int
sandbox_keep(struct db *db, const struct aws_client *client, bool is_on, struct err *err)
{
	const char *region = client->endpoint->region;
	struct buf next, list;
	size_t count = 0;
	int result = 0;

	if (!is_on)
		return db_run(db, "DELETE FROM kairan.ses_sandbox WHERE region = $1", 1, &region) <
			0
		    ? err_set(err, "leaving the sandbox: %s", db->error)
		    : 0;
	buf_init(&next, 4096);
	buf_init(&list, LIST_MAX);
	for (int pages = 0; result == 0 && (pages == 0 || next.len > 0); pages++) {
		if (pages == PAGES_MAX)
			result = err_set(err, "there are more identities than a sandbox has");
		else
			result = read_page(client, &next, &list, &count, err);
	}
	if (result == 0)
		result = write_row(db, region, &list, count, err);
	buf_release(&next);
	buf_release(&list);
	return result;
}
